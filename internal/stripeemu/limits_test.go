package stripeemu_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/stripeemu"
)

func form(pairs ...string) url.Values {
	values := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return values
}

// TestLimits refuses what Stripe refuses although it has the right shape.
func TestLimits(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "")
	eur := must(l.api.Customers.New(&stripe.CustomerParams{}))(t)
	inEuro := must(l.api.Invoices.New(&stripe.InvoiceParams{Customer: stripe.String(eur.ID), Currency: stripe.String("eur")}))(t)
	off := l.coupon(t, func(p *stripe.CouponParams) {
		p.AmountOff, p.Currency, p.Duration = stripe.Int64(100), stripe.String("eur"), stripe.String("forever")
	})
	promo := must(l.api.PromotionCodes.New(&stripe.PromotionCodeParams{
		Coupon: stripe.String(l.coupon(t, func(p *stripe.CouponParams) {
			p.PercentOff, p.Duration = stripe.Float64(10), stripe.String("forever")
		}).ID),
		Restrictions: &stripe.PromotionCodeRestrictionsParams{MinimumAmount: stripe.Int64(2000), MinimumAmountCurrency: stripe.String("usd")}}))(t)
	card := must(l.api.PaymentMethods.Attach("pm_card_visa", &stripe.PaymentMethodAttachParams{Customer: stripe.String(eur.ID)}))(t)
	must(l.api.PaymentMethods.Detach(card.ID, nil))(t)
	ended := l.subscribe(t, l.cardholder(t, "pm_card_visa"), l.basic, nil)
	must(l.api.Subscriptions.Cancel(ended.ID, nil))(t)
	gone := must(l.api.Customers.New(&stripe.CustomerParams{}))(t)
	orphan := must(l.api.Invoices.New(&stripe.InvoiceParams{Customer: stripe.String(gone.ID)}))(t)
	must(l.api.Customers.Del(gone.ID, nil))(t)
	past, soon := strconv.FormatInt(l.Time().Add(-time.Hour).Unix(), 10), strconv.FormatInt(l.Time().Add(days).Unix(), 10)
	sub, who, item := "/v1/subscriptions/"+l.sub.ID, l.customer.ID, l.sub.Items.Data[0].ID
	for name, c := range map[string]struct {
		path   string
		form   url.Values
		status int
		code   string
	}{
		"less than can be charged":   {"/v1/payment_intents", form("amount", "49", "currency", "usd"), 400, "amount_too_small"},
		"more than can be charged":   {"/v1/payment_intents", form("amount", "100000000", "currency", "usd"), 400, "amount_too_large"},
		"a currency of nobody":       {"/v1/payment_intents", form("amount", "100", "currency", "qqq"), 400, ""},
		"a small order":              {"/v1/checkout/sessions", form("mode", "payment", "success_url", "https://x.example/", "line_items[0][price]", l.price(t, 20, "").ID, "line_items[0][quantity]", "1"), 400, "amount_too_small"},
		"fewer than none":            {sub, form("items[0][id]", item, "items[0][quantity]", "-1"), 400, "parameter_invalid_integer"},
		"more than can be billed":    {sub, form("items[0][id]", item, "items[0][quantity]", "90000000"), 400, "amount_too_large"},
		"a trial of three years":     {"/v1/subscriptions", form("customer", who, "items[0][price]", l.basic.ID, "trial_period_days", "1000"), 400, ""},
		"a trial of minus one day":   {"/v1/subscriptions", form("customer", who, "items[0][price]", l.basic.ID, "trial_period_days", "-1"), 400, ""},
		"nothing off":                {"/v1/coupons", form("percent_off", "0", "duration", "once"), 400, ""},
		"more than all off":          {"/v1/coupons", form("percent_off", "100.5", "duration", "once"), 400, ""},
		"a negative amount off":      {"/v1/coupons", form("amount_off", "-5", "currency", "usd", "duration", "once"), 400, "parameter_invalid_integer"},
		"redeemed in the past":       {"/v1/coupons", form("percent_off", "5", "duration", "once", "redeem_by", past), 400, ""},
		"coupon of other money":      {"/v1/subscriptions", form("customer", who, "items[0][price]", l.basic.ID, "coupon", off.ID), 400, ""},
		"coupon of a draft":          {"/v1/invoices", form("customer", who, "currency", "usd", "discounts[0][coupon]", off.ID), 400, ""},
		"a code for larger orders":   {"/v1/subscriptions", form("customer", who, "items[0][price]", l.basic.ID, "promotion_code", promo.ID), 400, ""},
		"of another customer":        {"/v1/invoiceitems", form("customer", who, "invoice", inEuro.ID, "amount", "100", "currency", "eur"), 400, ""},
		"of another currency":        {"/v1/invoiceitems", form("customer", eur.ID, "invoice", inEuro.ID, "amount", "100", "currency", "usd"), 400, ""},
		"of another's subscription":  {"/v1/invoiceitems", form("customer", eur.ID, "subscription", l.sub.ID, "amount", "100", "currency", "usd"), 400, ""},
		"nobody to bill":             {"/v1/invoices/" + orphan.ID + "/finalize", nil, 400, ""},
		"an end in the past":         {sub, form("cancel_at", past), 400, ""},
		"an end within the period":   {sub, form("cancel_at", soon), 501, "not_emulated"},
		"an ended one's description": {"/v1/subscriptions/" + ended.ID, form("description", "x"), 400, ""},
		"a detached card":            {"/v1/payment_methods/" + card.ID + "/attach", form("customer", eur.ID), 400, ""},
		"a bottomless label":         {"/v1/customers", form("metadata"+strings.Repeat("[a]", 20_000), "x"), 400, "parameter_unknown"},
		"a schedule by invoice": {"/v1/subscription_schedules", form("customer", who, "phases[0][items][0][price]", l.basic.ID,
			"phases[0][collection_method]", "send_invoice"), 501, "not_emulated"},
	} {
		status, answer := l.send(t, http.MethodPost, c.path, c.form, nil)
		code, _ := answer["code"].(string)
		if status != c.status || c.code != "" && code != c.code {
			t.Errorf("%s: %d %q, %v", name, status, code, answer["message"])
		}
	}
	if status, _ := l.send(t, http.MethodPost, "/v1/customers", nil, http.Header{"Idempotency-Key": {strings.Repeat("k", 256)}}); status != 400 {
		t.Errorf("a key of 256 characters: %d", status)
	}
	for _, query := range []string{
		"subscription=" + l.sub.ID + "&customer=" + eur.ID, "subscription=" + l.sub.ID + "&currency=eur", "customer=" + eur.ID + "&coupon=" + off.ID,
	} {
		if status, _ := l.send(t, http.MethodGet, "/v1/invoices/upcoming?"+query, nil, nil); status == 200 {
			t.Errorf("upcoming of %s", query)
		}
	}
}

// TestEndedSubscriptionSaysWhy takes the reason and labels afterwards.
func TestEndedSubscriptionSaysWhy(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "")
	must(l.api.Subscriptions.Cancel(l.sub.ID, nil))(t)
	params := &stripe.SubscriptionParams{CancellationDetails: &stripe.SubscriptionCancellationDetailsParams{Comment: stripe.String("too dear")}}
	params.AddMetadata("seen", "yes")
	s := must(l.api.Subscriptions.Update(l.sub.ID, params))(t)
	if s.CancellationDetails.Comment != "too dear" || s.Metadata["seen"] != "yes" {
		t.Errorf("%+v, %v", s.CancellationDetails, s.Metadata)
	}
}

// TestSmallInvoice leaves what cannot be charged to the customer's balance.
func TestSmallInvoice(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	customer := a.cardholder(t, "pm_card_visa")
	i := must(a.api.Invoices.New(&stripe.InvoiceParams{Customer: stripe.String(customer.ID)}))(t)
	must(a.api.InvoiceItems.New(&stripe.InvoiceItemParams{
		Customer: stripe.String(customer.ID), Invoice: stripe.String(i.ID), Amount: stripe.Int64(30), Currency: stripe.String("USD")}))(t)
	i = must(a.api.Invoices.FinalizeInvoice(i.ID, nil))(t)
	if i.Status != stripe.InvoiceStatusPaid || i.AmountDue != 0 || i.EndingBalance != 30 || i.Currency != "usd" {
		t.Errorf("%s, due %d, balance %d in %s", i.Status, i.AmountDue, i.EndingBalance, i.Currency)
	}
	if c := must(a.api.Customers.Get(customer.ID, nil))(t); c.Balance != 30 || len(a.Objects("charge")) != 0 {
		t.Errorf("balance %d, %d charges", c.Balance, len(a.Objects("charge")))
	}
}

// TestIDsOfTheirMakers may be the same for a coupon and a product.
func TestIDsOfTheirMakers(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	must(a.api.Products.New(&stripe.ProductParams{ID: stripe.String("pro"), Name: stripe.String("Pro")}))(t)
	must(a.api.Coupons.New(&stripe.CouponParams{ID: stripe.String("pro"), PercentOff: stripe.Float64(5), Duration: stripe.String("once")}))(t)
	if _, err := a.api.Coupons.New(&stripe.CouponParams{ID: stripe.String("pro"), PercentOff: stripe.Float64(5), Duration: stripe.String("once")}); codeOf(err) != "resource_already_exists" {
		t.Errorf("a second coupon: %v", err)
	}
	must(a.api.Coupons.Del("pro", nil))(t)
	if p := must(a.api.Products.Get("pro", nil))(t); p.Name != "Pro" {
		t.Errorf("product %+v", p)
	}
}

// TestBackFromTheBank leads to the return_url with what the shop wants to know.
func TestBackFromTheBank(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	for action, want := range map[string]string{"complete": "succeeded", "fail": "failed"} {
		intent := must(a.api.PaymentIntents.New(&stripe.PaymentIntentParams{
			Amount: stripe.Int64(1000), Currency: stripe.String("usd"), PaymentMethod: stripe.String("pm_card_authenticationRequired"),
			Confirm: stripe.Bool(true), ReturnURL: stripe.String("https://shop.example/done?order=7")}))(t)
		to := intent.NextAction.RedirectToURL
		if to.ReturnURL != "https://shop.example/done?order=7" {
			t.Errorf("return_url %q", to.ReturnURL)
		}
		got := submit(t, to.URL, url.Values{"action": {action}})
		back := must(url.Parse(got.location))(t)
		query := back.Query()
		if back.Host != "shop.example" || query.Get("order") != "7" || query.Get("payment_intent") != intent.ID || query.Get("redirect_status") != want {
			t.Errorf("%s: %d %q", action, got.status, got.location)
		}
	}
}

// TestPhaseSetsItsFields gives the subscription all of a phase when it begins.
func TestPhaseSetsItsFields(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "")
	card := must(l.api.PaymentMethods.Attach("pm_card_mastercard", &stripe.PaymentMethodAttachParams{Customer: stripe.String(l.customer.ID)}))(t)
	schedule := must(l.api.SubscriptionSchedules.New(&stripe.SubscriptionScheduleParams{FromSubscription: stripe.String(l.sub.ID)}))(t)
	now := schedule.Phases[0]
	items := []*stripe.SubscriptionSchedulePhaseItemParams{{Price: stripe.String(l.basic.ID)}}
	must(l.api.SubscriptionSchedules.Update(schedule.ID, &stripe.SubscriptionScheduleParams{Phases: []*stripe.SubscriptionSchedulePhaseParams{
		{Items: items, StartDate: stripe.Int64(now.StartDate), EndDate: stripe.Int64(now.EndDate)},
		{Items: items, Iterations: stripe.Int64(1), Description: stripe.String("second"), DefaultPaymentMethod: stripe.String(card.ID)},
	}}))(t)
	l.Advance(25 * days)
	s := l.subscription(t, l.sub.ID)
	if s.Description != "second" || s.DefaultPaymentMethod == nil || s.DefaultPaymentMethod.ID != card.ID {
		t.Errorf("description %q, card %+v", s.Description, s.DefaultPaymentMethod)
	}
}

// TestDisputeBounds refuses what no bank sends; an inquiry that is given up is
// closed and nothing is lost.
func TestDisputeBounds(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	charge := a.paid(t, "pm_card_visa").ID
	for _, options := range []stripeemu.DisputeOptions{{Amount: -1}, {Amount: 1001}, {Reason: "bad mood"}} {
		if _, err := a.Dispute(charge, options); err == nil {
			t.Errorf("disputed with %+v", options)
		}
	}
	id := must(a.Dispute(charge, stripeemu.DisputeOptions{Inquiry: true}))(t)
	if _, err := a.Dispute(charge, stripeemu.DisputeOptions{}); err == nil {
		t.Error("two open disputes of one charge")
	}
	if d := must(a.api.Disputes.Close(id, nil))(t); d.Status != stripe.DisputeStatusWarningClosed {
		t.Errorf("closed: %s", d.Status)
	}
}

// TestSettingsAreChecked refuses settings that could not work.
func TestSettingsAreChecked(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	for _, c := range [][3]string{
		{"POST", "/faults", `{"status": 99}`}, {"POST", "/faults", `{"status": 1000}`}, {"POST", "/faults", `{"status": 500, "times": -1}`},
		{"POST", "/faults", `{"status": 500, "path": "/v1/["}`}, {"POST", "/faults", `{"status": 500, "method": "FETCH"}`}, {"POST", "/faults", `{}`},
		{"PUT", "/account", `{"api_version": "abcd-ef-gh"}`}, {"PUT", "/account", `{"api_version": "2023-13-45"}`},
	} {
		if status, _ := a.steer(t, c[0], c[1], c[2]); status != 400 {
			t.Errorf("%s %s %s: %d", c[0], c[1], c[2], status)
		}
	}
}

// TestClockTakesItsMoneyAlong leaves no movement of a deleted clock's charges.
func TestClockTakesItsMoneyAlong(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	clock := must(a.api.TestHelpersTestClocks.New(&stripe.TestHelpersTestClockParams{FrozenTime: stripe.Int64(a.Time().Unix())}))(t)
	customer := must(a.api.Customers.New(&stripe.CustomerParams{TestClock: stripe.String(clock.ID)}))(t)
	must(a.api.PaymentIntents.New(&stripe.PaymentIntentParams{
		Amount: stripe.Int64(1000), Currency: stripe.String("usd"), PaymentMethod: stripe.String("pm_card_visa"), Confirm: stripe.Bool(true),
		Customer: stripe.String(customer.ID)}))(t)
	must(a.api.TestHelpersTestClocks.Del(clock.ID, nil))(t)
	if left := a.Objects("balance_transaction"); len(left) != 0 {
		t.Errorf("%d movements are left", len(left))
	}
}
