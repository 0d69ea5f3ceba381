package stripeemu_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/stripeemu"
)

// paid makes a charge of 1000 to a test card.
func (a *account) paid(t *testing.T, method string) *stripe.Charge {
	t.Helper()
	intent := must(a.api.PaymentIntents.New(&stripe.PaymentIntentParams{
		Amount: stripe.Int64(1000), Currency: stripe.String("usd"), PaymentMethod: stripe.String(method), Confirm: stripe.Bool(true),
		Customer: stripe.String(a.newCustomer(t).ID),
	}))(t)
	return must(a.api.Charges.Get(intent.LatestCharge.ID, nil))(t)
}

func (a *account) refund(charge *stripe.Charge, amount int64) (*stripe.Refund, error) {
	params := &stripe.RefundParams{Charge: stripe.String(charge.ID)}
	if amount > 0 {
		params.Amount = stripe.Int64(amount)
	}
	return a.api.Refunds.New(params)
}

// TestRefunds gives a charge back in three parts.
func TestRefunds(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	charge := a.paid(t, "pm_card_visa")
	mark := len(a.eventTypes())
	for _, amount := range []int64{300, 300, 0} {
		must(a.refund(charge, amount))(t)
	}
	if diff := cmp.Diff([]string{"charge.refunded", "charge.refunded", "charge.refunded"}, a.happened(mark)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	params := &stripe.ChargeParams{}
	params.AddExpand("refunds")
	charge = must(a.api.Charges.Get(charge.ID, params))(t)
	if charge.AmountRefunded != 1000 || !charge.Refunded || len(charge.Refunds.Data) != 3 || charge.Refunds.Data[0].Amount != 400 {
		t.Errorf("refunded %d, %t, %d refunds", charge.AmountRefunded, charge.Refunded, len(charge.Refunds.Data))
	}
	if _, err := a.refund(charge, 1); codeOf(err) != "charge_already_refunded" {
		t.Errorf("a fourth: %v", err)
	}
	if _, err := a.refund(a.paid(t, "pm_card_visa"), 1001); err == nil {
		t.Error("more than was paid comes back")
	}
	listed := a.api.Refunds.List(&stripe.RefundListParams{Charge: stripe.String(charge.ID)})
	for listed.Next() {
		if txn := must(a.api.BalanceTransactions.Get(listed.Refund().BalanceTransaction.ID, nil))(t); txn.Net != -listed.Refund().Amount {
			t.Errorf("booked %d for %d", txn.Net, listed.Refund().Amount)
		}
	}
}

// TestRefundTurns follows the cards whose refunds change later.
func TestRefundTurns(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	slow, failing := a.paid(t, "pm_card_pendingRefund"), a.paid(t, "pm_card_refundFail")
	first, second := must(a.refund(slow, 0))(t), must(a.refund(failing, 400))(t)
	if first.Status != stripe.RefundStatusPending || second.Status != stripe.RefundStatusSucceeded {
		t.Errorf("at first %s and %s", first.Status, second.Status)
	}
	mark := len(a.eventTypes())
	a.Advance(4 * days)
	first, second = must(a.api.Refunds.Get(first.ID, nil))(t), must(a.api.Refunds.Get(second.ID, nil))(t)
	if first.Status != stripe.RefundStatusSucceeded || second.Status != stripe.RefundStatusFailed || second.FailureReason == "" {
		t.Errorf("then %s and %s (%s)", first.Status, second.Status, second.FailureReason)
	}
	if diff := cmp.Diff([]string{"charge.refund.updated", "charge.refund.updated", "charge.updated"}, a.happened(mark)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if charge := must(a.api.Charges.Get(failing.ID, nil))(t); charge.AmountRefunded != 0 || charge.Refunded {
		t.Errorf("a failed refund still counts: %d", charge.AmountRefunded)
	}
	third := must(a.refund(failing, 1000))(t)
	if err := a.FailRefund(third.ID); err != nil {
		t.Error(err)
	}
	if a.FailRefund(third.ID) == nil {
		t.Error("a refund fails twice")
	}
}

// TestDispute follows the money of a dispute: away, and back if it is won.
func TestDispute(t *testing.T) {
	t.Parallel()
	for evidence, want := range map[string]string{"winning_evidence": "won", "losing_evidence": "lost", "": "lost"} {
		a := newLife(t, stripeemu.Config{})
		mark := len(a.eventTypes())
		charge := a.paid(t, "pm_card_createDispute")
		disputes := a.Objects("dispute")
		if len(disputes) != 1 || !charge.Disputed || disputes[0]["status"] != "needs_response" {
			t.Fatalf("%d disputes, charge disputed %t", len(disputes), charge.Disputed)
		}
		id := disputes[0]["id"].(string)
		if _, err := a.refund(charge, 0); codeOf(err) != "charge_disputed" {
			t.Errorf("refund of a disputed charge: %v", err)
		}
		events := []string{"charge.dispute.created", "charge.dispute.funds_withdrawn"}
		if evidence == "" {
			a.Advance(14 * days)
		} else {
			must(a.api.Disputes.Update(id, &stripe.DisputeParams{Evidence: &stripe.DisputeEvidenceParams{UncategorizedText: stripe.String(evidence)}}))(t)
			events = append(events, "charge.dispute.updated")
		}
		if want == "won" {
			events = append(events, "charge.dispute.funds_reinstated")
		}
		events = append(events, "charge.dispute.closed")
		got := slices.DeleteFunc(a.happened(mark), func(s string) bool { return !strings.HasPrefix(s, "charge.dispute.") })
		if diff := cmp.Diff(events, got); diff != "" {
			t.Errorf("%q: events (-want +got):\n%s", evidence, diff)
		}
		d := must(a.api.Disputes.Get(id, nil))(t)
		var net int64
		for _, txn := range d.BalanceTransactions {
			net += txn.Net
		}
		if string(d.Status) != want || want == "won" && net != 0 || want == "lost" && net != -2500 {
			t.Errorf("%q: %s, net %d", evidence, d.Status, net)
		}
	}
}

// TestInquiry moves no money, until it becomes a dispute.
func TestInquiry(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	charge := a.paid(t, "pm_card_createDisputeInquiry")
	id := a.Objects("dispute")[0]["id"].(string)
	d := must(a.api.Disputes.Get(id, nil))(t)
	if d.Status != stripe.DisputeStatusWarningNeedsResponse || len(d.BalanceTransactions) != 0 || !d.IsChargeRefundable {
		t.Errorf("inquiry: %s, %d movements", d.Status, len(d.BalanceTransactions))
	}
	if a.DecideDispute(id, "won") == nil {
		t.Error("an inquiry is won")
	}
	if err := a.DecideDispute(id, "escalate"); err != nil {
		t.Fatal(err)
	}
	if d = must(a.api.Disputes.Close(id, nil))(t); d.Status != stripe.DisputeStatusLost || len(d.BalanceTransactions) != 1 {
		t.Errorf("escalated and given up: %s, %d movements", d.Status, len(d.BalanceTransactions))
	}
	second := must(a.Dispute(a.paid(t, "pm_card_visa").ID, stripeemu.DisputeOptions{Inquiry: true, Amount: 400, Reason: "general"}))(t)
	a.Advance(91 * days)
	if d = must(a.api.Disputes.Get(second, nil))(t); d.Status != stripe.DisputeStatusWarningClosed || d.Amount != 400 {
		t.Errorf("nobody follows up: %s, %d", d.Status, d.Amount)
	}
	_ = charge
}

func (a *account) coupon(t *testing.T, change func(*stripe.CouponParams)) *stripe.Coupon {
	t.Helper()
	params := &stripe.CouponParams{}
	change(params)
	return must(a.api.Coupons.New(params))(t)
}

// TestCouponDurations discounts the renewals that a coupon is for, and no other.
func TestCouponDurations(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*stripe.CouponParams)
		want   []int64 // of the first three invoices
	}{
		{"once", func(p *stripe.CouponParams) { p.PercentOff, p.Duration = stripe.Float64(50), stripe.String("once") }, []int64{500, 1000, 1000}},
		{"repeating", func(p *stripe.CouponParams) {
			p.PercentOff, p.Duration, p.DurationInMonths = stripe.Float64(25.5), stripe.String("repeating"), stripe.Int64(2)
		}, []int64{745, 745, 1000}},
		{"forever", func(p *stripe.CouponParams) {
			p.AmountOff, p.Currency, p.Duration = stripe.Int64(300), stripe.String("usd"), stripe.String("forever")
		}, []int64{700, 700, 700}},
		{"more than it costs", func(p *stripe.CouponParams) {
			p.AmountOff, p.Currency, p.Duration = stripe.Int64(5000), stripe.String("usd"), stripe.String("once")
		}, []int64{0, 1000, 1000}},
	}
	for _, tt := range tests {
		a := newLife(t, stripeemu.Config{})
		coupon := a.coupon(t, tt.change)
		s := a.subscribe(t, a.cardholder(t, "pm_card_visa"), a.price(t, 1000, "month"), func(p *stripe.SubscriptionParams) { p.Coupon = stripe.String(coupon.ID) })
		if used := coupon.Duration == stripe.CouponDurationOnce; used != (s.Discount == nil) || !used && s.Discount.Coupon.ID != coupon.ID {
			t.Errorf("%s: discount %+v", tt.name, s.Discount)
		}
		var got []int64
		for range 3 {
			i := a.subscription(t, s.ID).LatestInvoice
			got = append(got, i.AmountPaid)
			a.Advance(time.Unix(a.subscription(t, s.ID).CurrentPeriodEnd, 0).Add(time.Hour).Sub(a.Time()))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if s := a.subscription(t, s.ID); (s.Discount != nil) != (coupon.Duration == stripe.CouponDurationForever) {
			t.Errorf("%s: discount at the end: %+v", tt.name, s.Discount)
		}
		if c := must(a.api.Coupons.Get(coupon.ID, nil))(t); c.TimesRedeemed != 1 {
			t.Errorf("%s: redeemed %d times", tt.name, c.TimesRedeemed)
		}
	}
}

// TestPromotionCode is typed in on the payment page.
func TestPromotionCode(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	coupon := a.coupon(t, func(p *stripe.CouponParams) { p.PercentOff, p.Duration = stripe.Float64(20), stripe.String("forever") })
	promo := must(a.api.PromotionCodes.New(&stripe.PromotionCodeParams{Coupon: stripe.String(coupon.ID), Code: stripe.String("SPRING"), MaxRedemptions: stripe.Int64(1)}))(t)
	allow := func(p *stripe.CheckoutSessionParams) { p.AllowPromotionCodes = stripe.Bool(true) }
	session := a.session(t, a.price(t, 1000, "month"), allow)
	page := submit(t, session.URL, url.Values{"action": {"apply"}, "promotion_code": {"spring"}})
	if page.status != http.StatusOK || !strings.Contains(page.body, "$8.00") {
		t.Errorf("apply: %d", page.status)
	}
	if bad := submit(t, session.URL, url.Values{"action": {"apply"}, "promotion_code": {"WINTER"}}); bad.status != http.StatusBadRequest {
		t.Errorf("a wrong code: %d", bad.status)
	}
	a.pay(t, session)
	params := &stripe.CheckoutSessionParams{}
	params.AddExpand("subscription.latest_invoice")
	done := must(a.api.CheckoutSessions.Get(session.ID, params))(t)
	i := done.Subscription.LatestInvoice
	if done.AmountTotal != 800 || done.TotalDetails.AmountDiscount != 200 || i.AmountPaid != 800 || i.TotalDiscountAmounts[0].Amount != 200 {
		t.Errorf("session %d, invoice %d", done.AmountTotal, i.AmountPaid)
	}
	if d := done.Subscription.Discount; d.PromotionCode.ID != promo.ID || d.CheckoutSession != session.ID {
		t.Errorf("discount %+v", d)
	}
	if promo = must(a.api.PromotionCodes.Get(promo.ID, nil))(t); promo.Active || promo.TimesRedeemed != 1 {
		t.Errorf("the code is active %t after its only use", promo.Active)
	}
	again := a.session(t, a.price(t, 1000, "month"), allow)
	if page := submit(t, again.URL, url.Values{"action": {"apply"}, "promotion_code": {"SPRING"}}); page.status != http.StatusBadRequest {
		t.Errorf("second use: %d", page.status)
	}
}

// TestSessionDiscount gives the discount with the session, in both modes.
func TestSessionDiscount(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	coupon := a.coupon(t, func(p *stripe.CouponParams) {
		p.AmountOff, p.Currency, p.Duration = stripe.Int64(150), stripe.String("usd"), stripe.String("once")
	})
	for _, interval := range []string{"", "month"} {
		session := a.session(t, a.price(t, 1000, interval), func(p *stripe.CheckoutSessionParams) {
			p.Discounts = []*stripe.CheckoutSessionDiscountParams{{Coupon: stripe.String(coupon.ID)}}
		})
		a.pay(t, session)
		if done := must(a.api.CheckoutSessions.Get(session.ID, nil))(t); done.AmountTotal != 850 || done.AmountSubtotal != 1000 {
			t.Errorf("%q: %d of %d", interval, done.AmountTotal, done.AmountSubtotal)
		}
		if charge := a.Objects("charge")[0]; charge["amount"] != int64(850) {
			t.Errorf("%q: charged %v", interval, charge["amount"])
		}
	}
}

// TestManualInvoice goes through the states of an invoice of one's own.
func TestManualInvoice(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	customer := a.cardholder(t, "pm_card_visa")
	pack := a.price(t, 500, "")
	invoice := func() *stripe.Invoice {
		must(a.api.InvoiceItems.New(&stripe.InvoiceItemParams{Customer: stripe.String(customer.ID), Price: stripe.String(pack.ID), Quantity: stripe.Int64(3)}))(t)
		must(a.api.InvoiceItems.New(&stripe.InvoiceItemParams{Customer: stripe.String(customer.ID), Amount: stripe.Int64(-200),
			Currency: stripe.String("usd"), Description: stripe.String("thanks")}))(t)
		return must(a.api.Invoices.New(&stripe.InvoiceParams{Customer: stripe.String(customer.ID), PendingInvoiceItemsBehavior: stripe.String("include")}))(t)
	}
	draft := invoice()
	if draft.Status != stripe.InvoiceStatusDraft || draft.AmountDue != 1300 || draft.AutoAdvance || draft.BillingReason != stripe.InvoiceBillingReasonManual {
		t.Errorf("draft: %s, %d", draft.Status, draft.AmountDue)
	}
	final := must(a.api.Invoices.FinalizeInvoice(draft.ID, nil))(t)
	if final.Status != stripe.InvoiceStatusOpen || final.Number == "" || final.PaymentIntent == nil {
		t.Errorf("finalized: %s, %q", final.Status, final.Number)
	}
	if _, err := a.api.Invoices.FinalizeInvoice(draft.ID, nil); codeOf(err) != "invoice_not_editable" {
		t.Errorf("finalized twice: %v", err)
	}
	if paid := must(a.api.Invoices.Pay(final.ID, nil))(t); !paid.Paid || paid.AmountPaid != 1300 || paid.Charge == nil {
		t.Errorf("paid: %+v", paid)
	}
	if _, err := a.api.Invoices.VoidInvoice(final.ID, nil); err == nil {
		t.Error("a paid invoice is voided")
	}

	voided := must(a.api.Invoices.FinalizeInvoice(invoice().ID, nil))(t)
	if v := must(a.api.Invoices.VoidInvoice(voided.ID, nil))(t); v.Status != stripe.InvoiceStatusVoid {
		t.Errorf("voided: %s", v.Status)
	}
	bad := must(a.api.Invoices.FinalizeInvoice(invoice().ID, nil))(t)
	if u := must(a.api.Invoices.MarkUncollectible(bad.ID, nil))(t); u.Status != stripe.InvoiceStatusUncollectible {
		t.Errorf("marked: %s", u.Status)
	}
	if late := must(a.api.Invoices.Pay(bad.ID, nil))(t); !late.Paid {
		t.Errorf("an uncollectible invoice, paid late: %s", late.Status)
	}
	outside := must(a.api.Invoices.Pay(must(a.api.Invoices.FinalizeInvoice(invoice().ID, nil))(t).ID, &stripe.InvoicePayParams{PaidOutOfBand: stripe.Bool(true)}))(t)
	if !outside.Paid || !outside.PaidOutOfBand || outside.Charge != nil {
		t.Errorf("out of band: %t, %t", outside.Paid, outside.PaidOutOfBand)
	}
	gone := invoice()
	must(a.api.Invoices.Del(gone.ID, nil))(t)
	if _, err := a.api.Invoices.Get(gone.ID, nil); codeOf(err) != "resource_missing" {
		t.Errorf("deleted: %v", err)
	}
}

// TestAutoAdvance finalizes and collects a draft an hour later.
func TestAutoAdvance(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	customer := a.cardholder(t, "pm_card_visa")
	must(a.api.InvoiceItems.New(&stripe.InvoiceItemParams{Customer: stripe.String(customer.ID), Amount: stripe.Int64(900), Currency: stripe.String("usd")}))(t)
	draft := must(a.api.Invoices.New(&stripe.InvoiceParams{Customer: stripe.String(customer.ID), AutoAdvance: stripe.Bool(true),
		PendingInvoiceItemsBehavior: stripe.String("include")}))(t)
	a.Advance(time.Hour)
	if i := must(a.api.Invoices.Get(draft.ID, nil))(t); !i.Paid || i.AmountPaid != 900 {
		t.Errorf("%s, %d", i.Status, i.AmountPaid)
	}
}

// TestTaxCheckout notes automatic tax and a tax id; without registrations the
// tax is nothing.
func TestTaxCheckout(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	customer := a.newCustomer(t)
	price := a.price(t, 1000, "month")
	params := &stripe.CheckoutSessionParams{
		Mode: stripe.String("subscription"), Customer: stripe.String(customer.ID), SuccessURL: stripe.String("https://shop.example/"),
		LineItems:       []*stripe.CheckoutSessionLineItemParams{{Price: stripe.String(price.ID), Quantity: stripe.Int64(1)}},
		AutomaticTax:    &stripe.CheckoutSessionAutomaticTaxParams{Enabled: stripe.Bool(true)},
		TaxIDCollection: &stripe.CheckoutSessionTaxIDCollectionParams{Enabled: stripe.Bool(true)},
	}
	if _, err := a.api.CheckoutSessions.New(params); codeOf(err) != "customer_tax_location_invalid" {
		t.Errorf("a customer without an address: %v", err)
	}
	params.CustomerUpdate = &stripe.CheckoutSessionCustomerUpdateParams{Address: stripe.String("auto"), Name: stripe.String("auto")}
	session := must(a.api.CheckoutSessions.New(params))(t)
	a.pay(t, session)
	session = must(a.api.CheckoutSessions.Get(session.ID, nil))(t)
	if session.AutomaticTax.Status != "complete" || session.AmountTotal != 1000 || !session.TaxIDCollection.Enabled {
		t.Errorf("%+v, %d", session.AutomaticTax, session.AmountTotal)
	}
	if c := must(a.api.Customers.Get(customer.ID, nil))(t); c.Address == nil || c.Address.Country != "US" {
		t.Errorf("address %+v", c.Address)
	}
	if s := a.Objects("subscription")[0]; s["automatic_tax"].(map[string]any)["enabled"] != true {
		t.Errorf("subscription %v", s["automatic_tax"])
	}
}

// TestCreditNotes credits an invoice before and after it is paid.
func TestCreditNotes(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "insufficient_funds")
	l.Advance(21*days + time.Hour)
	opened := l.subscription(t, l.sub.ID).LatestInvoice
	note := func(invoice string, change func(*stripe.CreditNoteParams)) (*stripe.CreditNote, error) {
		params := &stripe.CreditNoteParams{Invoice: stripe.String(invoice), Reason: stripe.String("order_change")}
		change(params)
		return l.api.CreditNotes.New(params)
	}
	amount := func(cents int64) func(*stripe.CreditNoteParams) {
		return func(p *stripe.CreditNoteParams) { p.Amount = stripe.Int64(cents) }
	}
	before := must(note(opened.ID, amount(400)))(t)
	if i := must(l.api.Invoices.Get(opened.ID, nil))(t); before.Type != "pre_payment" || i.AmountRemaining != 600 || i.PrePaymentCreditNotesAmount != 400 {
		t.Errorf("%s leaves %d", before.Type, i.AmountRemaining)
	}
	if _, err := note(opened.ID, amount(601)); err == nil {
		t.Error("more than what is left is credited")
	}
	taken := must(note(opened.ID, amount(100)))(t)
	must(l.api.CreditNotes.VoidCreditNote(taken.ID, nil))(t)
	if paid := must(l.api.Invoices.Pay(opened.ID, &stripe.InvoicePayParams{PaymentMethod: stripe.String("pm_card_visa")}))(t); paid.AmountPaid != 600 {
		t.Errorf("paid %d", paid.AmountPaid)
	}
	after := must(note(opened.ID, func(p *stripe.CreditNoteParams) {
		p.Amount, p.RefundAmount, p.CreditAmount = stripe.Int64(300), stripe.Int64(200), stripe.Int64(100)
	}))(t)
	if after.Type != "post_payment" || after.Refund == nil || after.CustomerBalanceTransaction == nil {
		t.Errorf("after: %+v", after)
	}
	if c := must(l.api.Customers.Get(l.customer.ID, nil))(t); c.Balance != -100 {
		t.Errorf("balance %d", c.Balance)
	}
	if _, err := note(opened.ID, amount(10)); err == nil {
		t.Error("a credit goes nowhere")
	}
	rest := must(l.api.Invoices.Get(l.sub.LatestInvoice.ID, nil))(t)
	line := must(note(rest.ID, func(p *stripe.CreditNoteParams) {
		p.OutOfBandAmount = stripe.Int64(1000)
		p.Lines = []*stripe.CreditNoteLineParams{{Type: stripe.String("invoice_line_item"), InvoiceLineItem: stripe.String(rest.Lines.Data[0].ID), Quantity: stripe.Int64(1)}}
	}))(t)
	if line.Amount != 1000 || line.Lines.Data[0].InvoiceLineItem != rest.Lines.Data[0].ID {
		t.Errorf("by line: %d", line.Amount)
	}
}

// TestRefundEvents has events of refunds themselves in an account of a newer
// version.
func TestRefundEvents(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	if err := a.SetAccountVersion("2025-03-31.basil"); err != nil {
		t.Fatal(err)
	}
	refund := must(a.refund(a.paid(t, "pm_card_visa"), 400))(t)
	if err := a.FailRefund(refund.ID); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"refund.created", "charge.refunded", "refund.updated", "refund.failed", "charge.refund.updated"} {
		if !slices.Contains(a.eventTypes(), want) {
			t.Errorf("no %s", want)
		}
	}
}
