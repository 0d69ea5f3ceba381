package stripeemu_test

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/stripeemu"
)

// A clock is moved by its test.
type clock struct{ seconds atomic.Int64 }

func newClock(start string) *clock {
	c := &clock{}
	at, err := time.Parse(time.RFC3339, start)
	if err != nil {
		panic(err)
	}
	c.seconds.Store(at.Unix())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(c.seconds.Load(), 0) }
func (c *clock) advance(d time.Duration) { c.seconds.Add(int64(d / time.Second)) }

// codeOf is the code, or the bare type, of a refusal by the API.
func codeOf(err error) string {
	refusal, ok := errors.AsType[*stripe.Error](err)
	if !ok {
		return ""
	}
	if refusal.Code != "" {
		return string(refusal.Code)
	}
	return string(refusal.Type)
}

// after returns the types of events since a number of them.
func (a *account) after(n int) []string { return a.eventTypes()[n:] }

func TestOneTimePayment(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	session := a.session(t, a.price(t, 500, ""), func(p *stripe.CheckoutSessionParams) {
		p.LineItems[0].Quantity = stripe.Int64(3)
		p.PaymentIntentData = &stripe.CheckoutSessionPaymentIntentDataParams{Metadata: map[string]string{"pack": "small"}}
	})
	before := len(a.eventTypes())
	a.pay(t, session)
	want := []string{"payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "checkout.session.completed"}
	if diff := cmp.Diff(want, a.after(before)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	params := &stripe.CheckoutSessionParams{}
	params.AddExpand("payment_intent.latest_charge.balance_transaction")
	done := must(a.api.CheckoutSessions.Get(session.ID, params))(t)
	if done.Customer != nil || done.Invoice != nil || done.CustomerDetails.Email != "ada@example.com" {
		t.Errorf("a guest's session: customer %v, invoice %v, details %+v", done.Customer, done.Invoice, done.CustomerDetails)
	}
	intent := done.PaymentIntent
	charge := intent.LatestCharge
	if intent.AmountReceived != 1500 || intent.Metadata["pack"] != "small" || charge.Metadata["pack"] != "small" || !charge.Paid {
		t.Errorf("intent %+v", intent)
	}
	if b := charge.BalanceTransaction; b.Amount != 1500 || b.Net != b.Amount-b.Fee || b.Fee != 74 {
		t.Errorf("balance transaction: %d - %d = %d", b.Amount, b.Fee, b.Net)
	}
}

func TestInvoiceOfOneTimePayment(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	session := a.session(t, a.price(t, 500, ""), func(p *stripe.CheckoutSessionParams) {
		p.InvoiceCreation = &stripe.CheckoutSessionInvoiceCreationParams{Enabled: stripe.Bool(true)}
	})
	a.pay(t, session)
	params := &stripe.CheckoutSessionParams{}
	params.AddExpand("invoice.charge")
	invoice := must(a.api.CheckoutSessions.Get(session.ID, params))(t).Invoice
	if invoice == nil || !invoice.Paid || invoice.AmountPaid != 500 || invoice.Charge.Amount != 500 || invoice.Charge.Invoice.ID != invoice.ID {
		t.Errorf("invoice %+v", invoice)
	}
	if page := open(t, invoice.HostedInvoiceURL); page.status != http.StatusOK || !strings.Contains(page.body, "$5.00") {
		t.Errorf("invoice page: %d %s", page.status, page.body)
	}
	if page := open(t, invoice.Charge.ReceiptURL); page.status != http.StatusOK || !strings.Contains(page.body, "4242") {
		t.Errorf("receipt: %d %s", page.status, page.body)
	}
}

// TestDecline tries a subscription with a refused card, then with a good one:
// the second attempt pays the same invoice of the same subscription.
func TestDecline(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	session := a.session(t, a.price(t, 1000, "month"), nil)
	before := len(a.eventTypes())
	form := url.Values{"action": {"pay"}, "email": {"ada@example.com"}, "card_number": {"4000 0000 0000 9995"}}
	got := submit(t, session.URL, form)
	if got.status != http.StatusPaymentRequired || !strings.Contains(got.body, "insufficient funds") || !strings.Contains(got.body, `data-code="insufficient_funds"`) {
		t.Fatalf("declined: %d %s", got.status, got.body)
	}
	want := []string{
		"customer.created", "customer.updated", "invoice.created", "invoice.finalized", "payment_intent.created",
		"customer.subscription.created", "charge.failed", "payment_intent.payment_failed", "invoice.payment_failed",
	}
	if diff := cmp.Diff(want, a.after(before)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	subscription := a.Objects("subscription")[0]
	if subscription["status"] != "incomplete" {
		t.Errorf("subscription is %v", subscription["status"])
	}
	intent := must(a.api.PaymentIntents.Get(a.Objects("payment_intent")[0]["id"].(string), nil))(t)
	if intent.Status != stripe.PaymentIntentStatusRequiresPaymentMethod || intent.LastPaymentError.DeclineCode != "insufficient_funds" {
		t.Errorf("intent: %s, %+v", intent.Status, intent.LastPaymentError)
	}
	a.pay(t, session)
	if all := a.Objects("subscription"); len(all) != 1 || all[0]["status"] != "active" || all[0]["id"] != subscription["id"] {
		t.Errorf("after the good card: %v", all)
	}
	if len(a.Objects("invoice")) != 1 || len(a.Objects("customer")) != 1 || len(a.Objects("charge")) != 2 {
		t.Errorf("%d invoices, %d customers, %d charges", len(a.Objects("invoice")), len(a.Objects("customer")), len(a.Objects("charge")))
	}
}

func TestPageRefusesForms(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	session := a.session(t, a.price(t, 1000, ""), nil)
	good := func(changes ...string) url.Values {
		form := url.Values{"action": {"pay"}, "email": {"ada@example.com"}}
		for i := 0; i < len(changes); i += 2 {
			form.Set(changes[i], changes[i+1])
		}
		return form
	}
	tests := []struct {
		name   string
		form   url.Values
		status int
		says   string
	}{
		{"no email", good("email", ""), http.StatusBadRequest, "email is incomplete"},
		{"no such action", good("action", "borrow"), http.StatusBadRequest, "action"},
		{"bad check digit", good("card_number", "4242424242424241"), http.StatusPaymentRequired, "number is invalid"},
		{"no digits", good("card_number", "4242x24242424242"), http.StatusPaymentRequired, "number is invalid"},
		{"a real card", good("card_number", "4111111111111111"), http.StatusPaymentRequired, "test_mode_live_card"},
		{"expired", good("card_expiry", "01/20"), http.StatusPaymentRequired, "in the past"},
		{"thirteenth month", good("card_expiry", "13/34"), http.StatusPaymentRequired, "date is invalid"},
		{"short security code", good("card_cvc", "1"), http.StatusPaymentRequired, "security code is invalid"},
		{"generic decline", good("action", "decline"), http.StatusPaymentRequired, "generic_decline"},
		{"expired at the bank", good("card_number", "4000000000000069"), http.StatusPaymentRequired, "expired_card"},
	}
	for _, tt := range tests {
		got := submit(t, session.URL, tt.form)
		if got.status != tt.status || !strings.Contains(got.body, tt.says) {
			t.Errorf("%s: %d, no %q on the page", tt.name, got.status, tt.says)
		}
	}
	if o, _ := a.Get(session.ID); o["status"] != "open" {
		t.Errorf("session is %v", o["status"])
	}
}

func TestPageOfSession(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	session := a.session(t, a.price(t, 1000, "month"), nil)
	if page := open(t, session.URL); !strings.Contains(page.body, "$10.00") || !strings.Contains(page.body, "per month") {
		t.Errorf("page does not show the order: %s", page.body)
	}
	if got := submit(t, session.URL, url.Values{"action": {"cancel"}}); got.status != http.StatusSeeOther || got.location != "https://shop.example/back" {
		t.Errorf("cancel: %d to %q", got.status, got.location)
	}
	a.pay(t, session)
	if page := open(t, session.URL); page.status != http.StatusGone {
		t.Errorf("page of a paid session: %d", page.status)
	}
	if got := submit(t, session.URL, url.Values{"action": {"pay"}, "email": {"eve@example.com"}}); got.status != http.StatusGone {
		t.Errorf("second payment: %d", got.status)
	}
	if len(a.Objects("charge")) != 1 {
		t.Errorf("%d charges", len(a.Objects("charge")))
	}
	if page := open(t, a.url+"/c/pay/cs_test_none"); page.status != http.StatusNotFound {
		t.Errorf("page of no session: %d", page.status)
	}
}

// TestPageEscapes shows a product's name as text.
func TestPageEscapes(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	price := a.price(t, 100, "")
	must(a.api.Products.Update(price.Product.ID, &stripe.ProductParams{Name: stripe.String("<script>alert(1)</script>")}))(t)
	if page := open(t, a.session(t, price, nil).URL); strings.Contains(page.body, "<script>") || !strings.Contains(page.body, "&lt;script&gt;") {
		t.Error("the page carries markup of a product's name")
	}
}

func TestExpire(t *testing.T) {
	t.Parallel()
	clock := newClock("2025-03-01T12:00:00Z")
	a := newAccount(t, stripeemu.Config{Now: clock.now})
	price := a.price(t, 1000, "month")
	asked, timed, tried := a.session(t, price, nil), a.session(t, price, nil), a.session(t, price, nil)
	submit(t, tried.URL, url.Values{"action": {"decline"}, "email": {"ada@example.com"}})
	expired := must(a.api.CheckoutSessions.Expire(asked.ID, nil))(t)
	if expired.Status != stripe.CheckoutSessionStatusExpired || expired.URL != "" {
		t.Errorf("expired session: %s, %q", expired.Status, expired.URL)
	}
	if _, err := a.api.CheckoutSessions.Expire(asked.ID, nil); err == nil {
		t.Error("expired twice")
	}
	clock.advance(24*time.Hour - time.Second)
	if got := must(a.api.CheckoutSessions.Get(timed.ID, nil))(t); got.Status != stripe.CheckoutSessionStatusOpen {
		t.Errorf("a second before its time the session is %s", got.Status)
	}
	clock.advance(time.Second)
	if got := must(a.api.CheckoutSessions.Get(timed.ID, nil))(t); got.Status != stripe.CheckoutSessionStatusExpired {
		t.Errorf("at its time the session is %s", got.Status)
	}
	if page := open(t, timed.URL); page.status != http.StatusGone {
		t.Errorf("page of an expired session: %d", page.status)
	}
	types := a.eventTypes()
	for _, want := range []string{"invoice.voided", "payment_intent.canceled", "customer.subscription.updated"} {
		if !slices.Contains(types, want) {
			t.Errorf("the declined subscription left no %s: %v", want, types)
		}
	}
	if s := a.Objects("subscription")[0]; s["status"] != "incomplete_expired" {
		t.Errorf("the declined subscription is %v", s["status"])
	}
}

func TestSessionRefusals(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	monthly, yearly, pack := a.price(t, 1000, "month"), a.price(t, 9000, "year"), a.price(t, 500, "")
	archived := a.price(t, 500, "")
	must(a.api.Prices.Update(archived.ID, &stripe.PriceParams{Active: stripe.Bool(false)}))(t)
	item := func(price string) *stripe.CheckoutSessionLineItemParams {
		return &stripe.CheckoutSessionLineItemParams{Price: stripe.String(price), Quantity: stripe.Int64(1)}
	}
	tests := []struct {
		name   string
		change func(*stripe.CheckoutSessionParams)
		param  string
	}{
		{"no such price", func(p *stripe.CheckoutSessionParams) { p.LineItems = append(p.LineItems, item("price_none")) }, "line_items[1][price]"},
		{"archived price", func(p *stripe.CheckoutSessionParams) { p.LineItems[0] = item(archived.ID) }, "line_items[0][price]"},
		{"no quantity", func(p *stripe.CheckoutSessionParams) { p.LineItems[0].Quantity = nil }, "line_items[0][quantity]"},
		{"recurring in payment mode", func(p *stripe.CheckoutSessionParams) { p.Mode = stripe.String("payment") }, "mode"},
		{"nothing recurring", func(p *stripe.CheckoutSessionParams) { p.LineItems[0] = item(pack.ID) }, "mode"},
		{"two intervals", func(p *stripe.CheckoutSessionParams) { p.LineItems = append(p.LineItems, item(yearly.ID)) }, "line_items[1][price]"},
		{"currency", func(p *stripe.CheckoutSessionParams) { p.Currency = stripe.String("chf") }, "line_items[0][price]"},
		{"no such customer", func(p *stripe.CheckoutSessionParams) { p.Customer = stripe.String("cus_none") }, "customer"},
		{"expires too soon", func(p *stripe.CheckoutSessionParams) { p.ExpiresAt = stripe.Int64(time.Now().Unix() + 60) }, "expires_at"},
		{"expires too late", func(p *stripe.CheckoutSessionParams) { p.ExpiresAt = stripe.Int64(time.Now().Unix() + 90000) }, "expires_at"},
	}
	for _, tt := range tests {
		params := &stripe.CheckoutSessionParams{
			Mode: stripe.String("subscription"), SuccessURL: stripe.String("https://shop.example/"),
			LineItems: []*stripe.CheckoutSessionLineItemParams{item(monthly.ID)},
		}
		tt.change(params)
		_, err := a.api.CheckoutSessions.New(params)
		refusal, ok := errors.AsType[*stripe.Error](err)
		if !ok || refusal.HTTPStatusCode != http.StatusBadRequest || refusal.Param != tt.param {
			t.Errorf("%s: got %v, want a refusal of %s", tt.name, err, tt.param)
		}
	}
	if len(a.Objects("checkout.session")) != 0 {
		t.Error("a refused session exists")
	}
}

// TestFreeSubscription has an invoice over nothing: paid, without a charge.
func TestFreeSubscription(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	session := a.session(t, a.price(t, 0, "month"), func(p *stripe.CheckoutSessionParams) {
		p.PaymentMethodCollection = stripe.String("if_required")
	})
	if page := open(t, session.URL); strings.Contains(page.body, "card_number") {
		t.Error("the page asks for a card")
	}
	a.pay(t, session)
	params := &stripe.CheckoutSessionParams{}
	params.AddExpand("subscription.latest_invoice")
	done := must(a.api.CheckoutSessions.Get(session.ID, params))(t)
	invoice := done.Subscription.LatestInvoice
	if done.PaymentStatus != stripe.CheckoutSessionPaymentStatusNoPaymentRequired || done.Subscription.Status != stripe.SubscriptionStatusActive {
		t.Errorf("session %s, subscription %s", done.PaymentStatus, done.Subscription.Status)
	}
	if !invoice.Paid || invoice.Charge != nil || invoice.PaymentIntent != nil || invoice.Total != 0 {
		t.Errorf("invoice %+v", invoice)
	}
	if types := a.eventTypes(); !slices.Contains(types, "invoice.paid") || slices.Contains(types, "charge.succeeded") {
		t.Errorf("events %v", types)
	}
}

func TestTrial(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{Now: newClock("2025-03-01T12:00:00Z").now})
	session := a.session(t, a.price(t, 1000, "month"), func(p *stripe.CheckoutSessionParams) {
		p.SubscriptionData = &stripe.CheckoutSessionSubscriptionDataParams{TrialPeriodDays: stripe.Int64(14)}
	})
	if session.AmountTotal != 0 {
		t.Errorf("due now: %d", session.AmountTotal)
	}
	page := open(t, session.URL).body
	for _, said := range []string{"14 days free", "Then $10.00 per month", "Due today"} {
		if !strings.Contains(page, said) {
			t.Errorf("the page does not say %q", said)
		}
	}
	a.pay(t, session)
	params := &stripe.CheckoutSessionParams{}
	params.AddExpand("subscription.latest_invoice")
	s := must(a.api.CheckoutSessions.Get(session.ID, params))(t).Subscription
	end := time.Date(2025, 3, 15, 12, 0, 0, 0, time.UTC).Unix()
	if s.Status != stripe.SubscriptionStatusTrialing || s.TrialEnd != end || s.CurrentPeriodEnd != end || s.LatestInvoice.AmountPaid != 0 {
		t.Errorf("%s until %d, period end %d, paid %d", s.Status, s.TrialEnd, s.CurrentPeriodEnd, s.LatestInvoice.AmountPaid)
	}
	if s.DefaultPaymentMethod == nil {
		t.Error("the card was not kept for later")
	}
}

// TestCurrencyOption buys in a currency that the price offers beside its own.
func TestCurrencyOption(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	product := must(a.api.Products.New(&stripe.ProductParams{Name: stripe.String("Pro")}))(t)
	price := must(a.api.Prices.New(&stripe.PriceParams{
		Product: stripe.String(product.ID), Currency: stripe.String("usd"), UnitAmount: stripe.Int64(1000),
		Recurring:       &stripe.PriceRecurringParams{Interval: stripe.String("month")},
		CurrencyOptions: map[string]*stripe.PriceCurrencyOptionsParams{"eur": {UnitAmount: stripe.Int64(900)}},
	}))(t)
	customer := must(a.api.Customers.New(&stripe.CustomerParams{Email: stripe.String("ada@example.com")}))(t)
	in := func(currency string) func(*stripe.CheckoutSessionParams) {
		return func(p *stripe.CheckoutSessionParams) {
			p.Currency, p.Customer = stripe.String(currency), stripe.String(customer.ID)
		}
	}
	a.pay(t, a.session(t, price, in("eur")))
	if invoice := a.Objects("invoice")[0]; invoice["currency"] != "eur" || invoice["total"] != int64(900) {
		t.Errorf("invoice: %v %v", invoice["total"], invoice["currency"])
	}
	params := &stripe.CheckoutSessionParams{Mode: stripe.String("subscription"), SuccessURL: stripe.String("https://shop.example/"),
		LineItems: []*stripe.CheckoutSessionLineItemParams{{Price: stripe.String(price.ID), Quantity: stripe.Int64(1)}}}
	in("usd")(params)
	if _, err := a.api.CheckoutSessions.New(params); err == nil {
		t.Error("one customer may subscribe in two currencies")
	}
}

// TestMonthEnds clamps a period to the last day of a shorter month.
func TestMonthEnds(t *testing.T) {
	t.Parallel()
	for start, want := range map[string]string{
		"2025-01-31T10:00:00Z": "2025-02-28T10:00:00Z", "2024-01-30T10:00:00Z": "2024-02-29T10:00:00Z",
		"2025-03-15T10:00:00Z": "2025-04-15T10:00:00Z", "2025-12-31T10:00:00Z": "2026-01-31T10:00:00Z",
	} {
		a := newAccount(t, stripeemu.Config{Now: newClock(start).now})
		a.pay(t, a.session(t, a.price(t, 1000, "month"), nil))
		got := time.Unix(a.Objects("subscription")[0]["current_period_end"].(int64), 0).UTC().Format(time.RFC3339)
		if got != want {
			t.Errorf("a month from %s ends at %s, want %s", start, got, want)
		}
	}
}
