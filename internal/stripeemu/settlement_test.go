package stripeemu_test

import (
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/stripeemu"
)

// TestBalanceIsSpentOnce finalizes two drafts one after the other: the second
// finds what the first has left of the customer's credit.
func TestBalanceIsSpentOnce(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	customer := a.cardholder(t, "pm_card_visa")
	must(a.api.CustomerBalanceTransactions.New(&stripe.CustomerBalanceTransactionParams{
		Customer: stripe.String(customer.ID), Amount: stripe.Int64(-1500), Currency: stripe.String("usd")}))(t)
	draft := func() *stripe.Invoice {
		i := must(a.api.Invoices.New(&stripe.InvoiceParams{Customer: stripe.String(customer.ID)}))(t)
		must(a.api.InvoiceItems.New(&stripe.InvoiceItemParams{
			Customer: stripe.String(customer.ID), Invoice: stripe.String(i.ID), Amount: stripe.Int64(1000), Currency: stripe.String("usd")}))(t)
		return i
	}
	first, second := draft(), draft()
	var due []int64
	for _, i := range []*stripe.Invoice{first, second} {
		due = append(due, must(a.api.Invoices.FinalizeInvoice(i.ID, nil))(t).AmountDue)
	}
	if diff := cmp.Diff([]int64{0, 500}, due); diff != "" {
		t.Errorf("due (-want +got):\n%s", diff)
	}
	if left := must(a.api.Customers.Get(customer.ID, nil))(t).Balance; left != 0 {
		t.Errorf("%d of the credit is left", left)
	}
}

// TestOnceCouponIsGone is used up by the first invoice: the subscription has it
// no more, an upgrade is billed in full, and its credit is what was paid.
func TestOnceCouponIsGone(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "")
	coupon := l.coupon(t, func(p *stripe.CouponParams) { p.PercentOff, p.Duration = stripe.Float64(50), stripe.String("once") })
	mark := len(l.eventTypes())
	l.sub = l.subscribe(t, l.cardholder(t, "pm_card_visa"), l.basic, func(p *stripe.SubscriptionParams) { p.Coupon = stripe.String(coupon.ID) })
	if l.sub.Discount != nil || !slices.Contains(l.happened(mark), "customer.discount.deleted") {
		t.Errorf("after its invoice: discount %+v, events %v", l.sub.Discount, l.happened(mark))
	}
	l.Advance(10 * days)
	s := must(l.update(l.change(l.pro, behave("always_invoice", ""))))(t)
	if diff := cmp.Diff([]int64{-339, 2032}, amounts(s.LatestInvoice.Lines.Data)); diff != "" { // 500×21/31 as 25 Jan to 25 Feb has 31 days
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if s.LatestInvoice.Total != -339+2032 {
		t.Errorf("total %d", s.LatestInvoice.Total)
	}
}

// TestCreditIsWhatWasPaid gives back the part of a line that was paid, whatever
// kind of discount it had and whoever had it.
func TestCreditIsWhatWasPaid(t *testing.T) {
	t.Parallel()
	percent := func(p *stripe.CouponParams) { p.PercentOff, p.Duration = stripe.Float64(50), stripe.String("forever") }
	amount := func(p *stripe.CouponParams) {
		p.AmountOff, p.Currency, p.Duration = stripe.Int64(400), stripe.String("usd"), stripe.String("forever")
	}
	for name, c := range map[string]struct {
		coupon     func(*stripe.CouponParams)
		ofCustomer bool
		want       []int64
	}{
		"percentage of the customer":     {percent, true, []int64{-339, 1016}},
		"percentage of the subscription": {percent, false, []int64{-339, 1016}},
		"amount of the subscription":     {amount, false, []int64{-406, 2032}}, // 600×21/31
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newTierLife(t, "")
			coupon := l.coupon(t, c.coupon)
			customer := l.cardholder(t, "pm_card_visa")
			if c.ofCustomer {
				must(l.api.Customers.Update(customer.ID, &stripe.CustomerParams{Coupon: stripe.String(coupon.ID)}))(t)
			}
			l.sub = l.subscribe(t, customer, l.basic, func(p *stripe.SubscriptionParams) {
				if !c.ofCustomer {
					p.Coupon = stripe.String(coupon.ID)
				}
			})
			l.Advance(10 * days)
			s := must(l.update(l.change(l.pro, behave("always_invoice", ""))))(t)
			if diff := cmp.Diff(c.want, amounts(s.LatestInvoice.Lines.Data)); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

// TestConfirmTwice leaves alone what is held already.
func TestConfirmTwice(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	held := must(a.api.PaymentIntents.New(&stripe.PaymentIntentParams{
		Amount: stripe.Int64(1000), Currency: stripe.String("usd"), PaymentMethod: stripe.String("pm_card_visa"), Confirm: stripe.Bool(true),
		CaptureMethod: stripe.String("manual")}))(t)
	if _, err := a.api.PaymentIntents.Confirm(held.ID, nil); codeOf(err) != "payment_intent_unexpected_state" {
		t.Errorf("confirmed again: %v", err)
	}
	if charges := a.Objects("charge"); len(charges) != 1 {
		t.Errorf("%d charges", len(charges))
	}
}

// TestPausedUpgrade bills a change of a subscription whose collection is paused
// as the pause says.
func TestPausedUpgrade(t *testing.T) {
	t.Parallel()
	for behavior, want := range map[string]stripe.InvoiceStatus{
		"keep_as_draft": stripe.InvoiceStatusDraft, "void": stripe.InvoiceStatusVoid, "mark_uncollectible": stripe.InvoiceStatusUncollectible,
	} {
		t.Run(behavior, func(t *testing.T) {
			t.Parallel()
			l := newTierLife(t, "")
			must(l.api.Subscriptions.Update(l.sub.ID, &stripe.SubscriptionParams{
				PauseCollection: &stripe.SubscriptionPauseCollectionParams{Behavior: stripe.String(behavior)}}))(t)
			charges := len(l.Objects("charge"))
			s := must(l.update(l.change(l.pro, behave("always_invoice", ""))))(t)
			if s.LatestInvoice.Status != want || s.Status != stripe.SubscriptionStatusActive || len(l.Objects("charge")) != charges {
				t.Errorf("invoice %s, subscription %s, %d charges more", s.LatestInvoice.Status, s.Status, len(l.Objects("charge"))-charges)
			}
		})
	}
}

// TestRefundTellsWhatChanged compares the previous attributes of two refunds:
// the first leaves the charge not refunded in full, as it was.
func TestRefundTellsWhatChanged(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	charge := a.paid(t, "pm_card_visa")
	must(a.refund(charge, 300))(t)
	must(a.refund(charge, 0))(t)
	var told []map[string]any
	for _, event := range a.Objects("event") {
		if event["type"] == "charge.refunded" {
			told = append(told, event["data"].(map[string]any)["previous_attributes"].(map[string]any))
		}
	}
	want := []map[string]any{{"amount_refunded": int64(300), "refunded": false}, {"amount_refunded": int64(0)}}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("previous attributes, newest first (-want +got):\n%s", diff)
	}
}

// TestRefusedLeavesNothing refuses requests whose handlers have done half of
// their work by then.
func TestRefusedLeavesNothing(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	price := a.price(t, 1000, "month")
	must(a.api.Prices.Update(price.ID, &stripe.PriceParams{LookupKey: stripe.String("pro")}))(t)
	draft := must(a.api.Invoices.New(&stripe.InvoiceParams{Customer: stripe.String(a.newCustomer(t).ID)}))(t)
	events := a.eventTypes()
	for name, c := range map[string]struct {
		path string
		form url.Values
	}{
		"a key taken for a product that does not exist": {"/v1/prices", url.Values{
			"currency": {"usd"}, "unit_amount": {"1"}, "product": {"prod_none"}, "lookup_key": {"pro"}, "transfer_lookup_key": {"true"}}},
		"a draft with a coupon that does not exist": {"/v1/invoices/" + draft.ID, url.Values{
			"description": {"changed"}, "discounts[0][coupon]": {"none"}}},
	} {
		if status, _ := a.send(t, http.MethodPost, c.path, c.form, nil); status != http.StatusBadRequest {
			t.Errorf("%s: status %d", name, status)
		}
	}
	if key := must(a.api.Prices.Get(price.ID, nil))(t).LookupKey; key != "pro" {
		t.Errorf("the key is %q", key)
	}
	if text := must(a.api.Invoices.Get(draft.ID, nil))(t).Description; text != "" {
		t.Errorf("the draft says %q", text)
	}
	if diff := cmp.Diff(events, a.eventTypes()); diff != "" {
		t.Errorf("events (-before +after):\n%s", diff)
	}
}
