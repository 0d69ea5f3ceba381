package stripeemu_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/stripeemu"
)

// A tierLife is one customer with a card and a subscription to the cheaper of
// two prices, in the middle of its first period of 31 days.
type tierLife struct {
	*account
	customer           *stripe.Customer
	basic, pro, yearly *stripe.Price
	sub                *stripe.Subscription
}

func newTierLife(t *testing.T, card string) tierLife {
	t.Helper()
	a := newLife(t, stripeemu.Config{})
	l := tierLife{account: a, basic: a.price(t, 1000, "month"), pro: a.price(t, 3000, "month"), yearly: a.price(t, 20000, "year")}
	l.customer = a.cardholder(t, "pm_card_visa")
	l.sub = a.subscribe(t, l.customer, l.basic, nil)
	if card != "" {
		if err := a.DeclineCard(l.customer.InvoiceSettings.DefaultPaymentMethod.ID, card); err != nil {
			t.Fatal(err)
		}
	}
	a.Advance(10 * days)
	return l
}

func (l tierLife) change(price *stripe.Price, more func(*stripe.SubscriptionParams)) *stripe.SubscriptionParams {
	params := &stripe.SubscriptionParams{
		Items: []*stripe.SubscriptionItemsParams{{ID: stripe.String(l.sub.Items.Data[0].ID), Price: stripe.String(price.ID)}},
	}
	if more != nil {
		more(params)
	}
	return params
}

func (l tierLife) update(params *stripe.SubscriptionParams) (*stripe.Subscription, error) {
	params.AddExpand("latest_invoice.payment_intent")
	return l.api.Subscriptions.Update(l.sub.ID, params)
}

func behave(proration, payment string) func(*stripe.SubscriptionParams) {
	return func(p *stripe.SubscriptionParams) {
		if proration != "" {
			p.ProrationBehavior = stripe.String(proration)
		}
		if payment != "" {
			p.PaymentBehavior = stripe.String(payment)
		}
	}
}

func amounts(lines []*stripe.InvoiceLineItem) []int64 {
	var all []int64
	for _, line := range lines {
		all = append(all, line.Amount)
	}
	return all
}

// TestUpgradeNow bills the rest of the period at once: 21 of 31 days.
func TestUpgradeNow(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "")
	mark := len(l.eventTypes())
	s := must(l.update(l.change(l.pro, behave("always_invoice", ""))))(t)
	i := s.LatestInvoice
	if diff := cmp.Diff([]int64{-677, 2032}, amounts(i.Lines.Data)); diff != "" { // 1000×21/31, 3000×21/31
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if i.AmountPaid != 1355 || i.BillingReason != stripe.InvoiceBillingReasonSubscriptionUpdate || !i.Paid {
		t.Errorf("invoice: %d, %s, paid %t", i.AmountPaid, i.BillingReason, i.Paid)
	}
	credit, debit := i.Lines.Data[0], i.Lines.Data[1]
	if credit.Description != "Unused time on Pro after 25 Jan 2025" || !credit.Proration || credit.Discountable || credit.Price.ID != l.basic.ID {
		t.Errorf("credit: %+v", credit)
	}
	if credit.ProrationDetails.CreditedItems.Invoice != l.sub.LatestInvoice.ID || debit.Description != "Remaining time on Pro after 25 Jan 2025" {
		t.Errorf("credits %+v, debit %q", credit.ProrationDetails.CreditedItems, debit.Description)
	}
	if s.Items.Data[0].Price.ID != l.pro.ID || s.Items.Data[0].ID != l.sub.Items.Data[0].ID || s.CurrentPeriodEnd != l.sub.CurrentPeriodEnd {
		t.Errorf("item %+v until %d", s.Items.Data[0], s.CurrentPeriodEnd)
	}
	want := []string{
		"invoiceitem.created", "invoiceitem.created", "invoice.created", "invoice.finalized", "payment_intent.created",
		"customer.subscription.updated", "charge.succeeded", "payment_intent.succeeded", "invoice.updated", "invoice.paid", "invoice.payment_succeeded",
	}
	if diff := cmp.Diff(want, l.happened(mark)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// TestRounding rounds half a cent and more away from zero, on both sides.
func TestRounding(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "")
	odd := l.price(t, 1300, "month") // 1300×21/31 = 880.6
	must(l.update(l.change(odd, behave("none", ""))))(t)
	s := must(l.update(l.change(l.basic, behave("always_invoice", ""))))(t)
	if diff := cmp.Diff([]int64{-881, 677}, amounts(s.LatestInvoice.Lines.Data)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// TestUpgradeLater leaves the items for the next invoice.
func TestUpgradeLater(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "")
	s := must(l.update(l.change(l.pro, nil)))(t)
	if s.LatestInvoice.ID != l.sub.LatestInvoice.ID || len(l.Objects("invoiceitem")) != 2 {
		t.Fatalf("invoice %s, %d items", s.LatestInvoice.ID, len(l.Objects("invoiceitem")))
	}
	upcoming := must(l.api.Invoices.Upcoming(&stripe.InvoiceUpcomingParams{Subscription: stripe.String(s.ID)}))(t)
	l.Advance(21*days + time.Hour)
	i := l.subscription(t, s.ID).LatestInvoice
	if diff := cmp.Diff([]int64{-677, 2032, 3000}, amounts(i.Lines.Data)); diff != "" || i.AmountPaid != 4355 {
		t.Errorf("paid %d, lines (-want +got):\n%s", i.AmountPaid, diff)
	}
	if diff := cmp.Diff(amounts(i.Lines.Data), amounts(upcoming.Lines.Data)); diff != "" || upcoming.AmountDue != i.AmountDue {
		t.Errorf("announced %d, due %d, lines (-invoice +upcoming):\n%s", upcoming.AmountDue, i.AmountDue, diff)
	}
}

func TestUpgradeWithoutProration(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "")
	s := must(l.update(l.change(l.pro, behave("none", ""))))(t)
	if len(l.Objects("invoiceitem")) != 0 || s.Items.Data[0].Price.ID != l.pro.ID {
		t.Errorf("%d items, price %s", len(l.Objects("invoiceitem")), s.Items.Data[0].Price.ID)
	}
	l.Advance(21*days + time.Hour)
	if i := l.subscription(t, s.ID).LatestInvoice; i.AmountPaid != 3000 {
		t.Errorf("next invoice: %d", i.AmountPaid)
	}
}

// TestPreviewIsWhatIsCharged compares the preview of many changes with the
// invoice that each then brings about, line by line.
func TestPreviewIsWhatIsCharged(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change    func(l tierLife, p *stripe.SubscriptionParams)
		coupon    int64
		immediate bool
	}{
		"upgrade":  {change: func(l tierLife, p *stripe.SubscriptionParams) { p.Items[0].Price = stripe.String(l.pro.ID) }, immediate: true},
		"coupon":   {change: func(l tierLife, p *stripe.SubscriptionParams) { p.Items[0].Price = stripe.String(l.pro.ID) }, coupon: 25, immediate: true},
		"quantity": {change: func(_ tierLife, p *stripe.SubscriptionParams) { p.Items[0].Quantity = stripe.Int64(7) }, immediate: true},
		"interval": {change: func(l tierLife, p *stripe.SubscriptionParams) { p.Items[0].Price = stripe.String(l.yearly.ID) }, immediate: true},
		"anchor":   {change: func(_ tierLife, p *stripe.SubscriptionParams) { p.BillingCycleAnchorNow = stripe.Bool(true) }, immediate: true},
		"another item": {change: func(l tierLife, p *stripe.SubscriptionParams) {
			p.Items = append(p.Items, &stripe.SubscriptionItemsParams{Price: stripe.String(l.pro.ID)})
		}, immediate: true},
		"next period": {change: func(l tierLife, p *stripe.SubscriptionParams) {
			p.Items[0].Price = stripe.String(l.pro.ID)
			p.ProrationBehavior = stripe.String("create_prorations")
		}},
		"no proration": {change: func(l tierLife, p *stripe.SubscriptionParams) {
			p.Items[0].Price = stripe.String(l.pro.ID)
			p.ProrationBehavior = stripe.String("none")
		}},
		"discount goes": {change: func(l tierLife, p *stripe.SubscriptionParams) {
			p.Items[0].Price = stripe.String(l.pro.ID)
			p.ProrationBehavior = stripe.String("none")
		}, coupon: 10},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newTierLife(t, "")
			if tt.coupon > 0 {
				coupon := must(l.api.Coupons.New(&stripe.CouponParams{PercentOff: stripe.Float64(float64(tt.coupon)), Duration: stripe.String("forever")}))(t)
				must(l.api.Subscriptions.Update(l.sub.ID, &stripe.SubscriptionParams{Coupon: stripe.String(coupon.ID)}))(t)
			}
			params := &stripe.SubscriptionParams{ProrationBehavior: stripe.String("always_invoice"),
				Items: []*stripe.SubscriptionItemsParams{{ID: stripe.String(l.sub.Items.Data[0].ID)}}}
			tt.change(l, params)
			events, objects := len(l.eventTypes()), len(l.Objects("invoice"))
			preview := must(l.api.Invoices.Upcoming(&stripe.InvoiceUpcomingParams{
				Subscription: stripe.String(l.sub.ID), SubscriptionItems: params.Items, SubscriptionProrationBehavior: params.ProrationBehavior,
				SubscriptionBillingCycleAnchorNow: params.BillingCycleAnchorNow,
			}))(t)
			if len(l.eventTypes()) != events || len(l.Objects("invoice")) != objects {
				t.Error("the preview leaves traces")
			}
			must(l.update(params))(t)
			if !tt.immediate {
				l.Advance(21*days + time.Hour)
			}
			i := l.subscription(t, l.sub.ID).LatestInvoice
			if diff := cmp.Diff(amounts(preview.Lines.Data), amounts(i.Lines.Data)); diff != "" || preview.AmountDue != i.AmountDue || preview.Total != i.Total {
				t.Errorf("preview %d (total %d), charged %d (%d); lines (-preview +charged):\n%s", preview.AmountDue, preview.Total, i.AmountDue, i.Total, diff)
			}
			if !i.Paid || i.ID == l.sub.LatestInvoice.ID {
				t.Errorf("invoice %s, paid %t", i.ID, i.Paid)
			}
		})
	}
}

// TestDowngradeNow credits the customer, who spends it at the renewal.
func TestDowngradeNow(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "")
	must(l.update(l.change(l.pro, behave("none", ""))))(t)
	s := must(l.update(l.change(l.basic, behave("always_invoice", ""))))(t)
	i := s.LatestInvoice
	if i.Total != -1355 || i.AmountDue != 0 || !i.Paid || i.Charge != nil || i.EndingBalance != -1355 {
		t.Errorf("total %d, due %d, paid %t, balance %d", i.Total, i.AmountDue, i.Paid, i.EndingBalance)
	}
	if c := must(l.api.Customers.Get(l.customer.ID, nil))(t); c.Balance != -1355 {
		t.Errorf("balance %d", c.Balance)
	}
	l.Advance(21*days + time.Hour)
	i = l.subscription(t, s.ID).LatestInvoice
	if i.Total != 1000 || i.AmountDue != 0 || i.StartingBalance != -1355 || i.EndingBalance != -355 || !i.Paid {
		t.Errorf("renewal: total %d, due %d, balance %d to %d", i.Total, i.AmountDue, i.StartingBalance, i.EndingBalance)
	}
	l.Advance(28 * days)
	i = l.subscription(t, s.ID).LatestInvoice
	if i.AmountPaid != 645 || i.EndingBalance != 0 {
		t.Errorf("the one after: paid %d, balance %d", i.AmountPaid, i.EndingBalance)
	}
}

func TestOtherInterval(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "")
	s := must(l.update(l.change(l.yearly, nil)))(t)
	if diff := cmp.Diff([]int64{-677, 20000}, amounts(s.LatestInvoice.Lines.Data)); diff != "" || s.LatestInvoice.AmountPaid != 19323 {
		t.Errorf("paid %d, lines (-want +got):\n%s", s.LatestInvoice.AmountPaid, diff)
	}
	if s.CurrentPeriodStart != l.Time().Unix() || s.CurrentPeriodEnd != at(t, "2026-01-25T10:00:00Z") || s.BillingCycleAnchor != s.CurrentPeriodStart {
		t.Errorf("period %d to %d, anchor %d", s.CurrentPeriodStart, s.CurrentPeriodEnd, s.BillingCycleAnchor)
	}
}

// TestDeclinedUpgrade shows what each payment_behavior makes of a card that is
// refused.
func TestDeclinedUpgrade(t *testing.T) {
	t.Parallel()
	t.Run("error_if_incomplete", func(t *testing.T) {
		t.Parallel()
		l := newTierLife(t, "insufficient_funds")
		mark := len(l.eventTypes())
		_, err := l.update(l.change(l.pro, behave("always_invoice", "error_if_incomplete")))
		if refusal, ok := errors.AsType[*stripe.Error](err); !ok || refusal.HTTPStatusCode != 402 || refusal.DeclineCode != "insufficient_funds" {
			t.Errorf("got %v", err)
		}
		s := l.subscription(t, l.sub.ID)
		if s.Items.Data[0].Price.ID != l.basic.ID || s.Status != stripe.SubscriptionStatusActive || len(l.eventTypes()) != mark || len(l.Objects("invoiceitem")) != 0 {
			t.Errorf("not rolled back: %s, %s, events %v", s.Items.Data[0].Price.ID, s.Status, l.happened(mark))
		}
	})
	t.Run("allow_incomplete", func(t *testing.T) {
		t.Parallel()
		l := newTierLife(t, "insufficient_funds")
		s := must(l.update(l.change(l.pro, behave("always_invoice", "allow_incomplete"))))(t)
		if s.Items.Data[0].Price.ID != l.pro.ID || s.Status != stripe.SubscriptionStatusPastDue || s.LatestInvoice.Status != stripe.InvoiceStatusOpen {
			t.Errorf("%s, %s, invoice %s", s.Items.Data[0].Price.ID, s.Status, s.LatestInvoice.Status)
		}
	})
	t.Run("default_incomplete", func(t *testing.T) {
		t.Parallel()
		l := newTierLife(t, "")
		s := must(l.update(l.change(l.pro, behave("always_invoice", "default_incomplete"))))(t)
		intent := s.LatestInvoice.PaymentIntent
		if s.Status != stripe.SubscriptionStatusPastDue || intent.Status != stripe.PaymentIntentStatusRequiresPaymentMethod {
			t.Errorf("%s, intent %s", s.Status, intent.Status)
		}
		must(l.api.PaymentIntents.Confirm(intent.ID, &stripe.PaymentIntentConfirmParams{PaymentMethod: stripe.String("pm_card_visa")}))(t)
		if s := l.subscription(t, s.ID); s.Status != stripe.SubscriptionStatusActive || !s.LatestInvoice.Paid {
			t.Errorf("confirmed: %s", s.Status)
		}
	})
}

// TestPendingUpdate bills an upgrade that waits for its payment.
func TestPendingUpdate(t *testing.T) {
	t.Parallel()
	pending := func(t *testing.T) (tierLife, *stripe.Subscription) {
		t.Helper()
		l := newTierLife(t, "insufficient_funds")
		s := must(l.update(l.change(l.pro, behave("always_invoice", "pending_if_incomplete"))))(t)
		if s.Items.Data[0].Price.ID != l.basic.ID || s.Status != stripe.SubscriptionStatusActive || s.PendingUpdate == nil ||
			s.PendingUpdate.SubscriptionItems[0].Price.ID != l.pro.ID || s.PendingUpdate.ExpiresAt != l.Time().Add(23*time.Hour).Unix() {
			t.Fatalf("%s, %s, pending %+v", s.Items.Data[0].Price.ID, s.Status, s.PendingUpdate)
		}
		return l, s
	}
	t.Run("paid", func(t *testing.T) {
		t.Parallel()
		l, s := pending(t)
		must(l.api.Invoices.Pay(s.LatestInvoice.ID, &stripe.InvoicePayParams{PaymentMethod: stripe.String("pm_card_visa")}))(t)
		s = l.subscription(t, s.ID)
		if s.Items.Data[0].Price.ID != l.pro.ID || s.PendingUpdate != nil || !slices.Contains(l.eventTypes(), "customer.subscription.pending_update_applied") {
			t.Errorf("%s, pending %+v", s.Items.Data[0].Price.ID, s.PendingUpdate)
		}
	})
	t.Run("expired", func(t *testing.T) {
		t.Parallel()
		l, s := pending(t)
		l.Advance(23 * time.Hour)
		invoice := s.LatestInvoice.ID
		s = l.subscription(t, s.ID)
		if s.Items.Data[0].Price.ID != l.basic.ID || s.PendingUpdate != nil || !slices.Contains(l.eventTypes(), "customer.subscription.pending_update_expired") {
			t.Errorf("%s, pending %+v", s.Items.Data[0].Price.ID, s.PendingUpdate)
		}
		if i, _ := l.Get(invoice); i["status"] != "void" {
			t.Errorf("invoice is %v", i["status"])
		}
	})
	t.Run("succeeds at once", func(t *testing.T) {
		t.Parallel()
		l := newTierLife(t, "")
		s := must(l.update(l.change(l.pro, behave("always_invoice", "pending_if_incomplete"))))(t)
		if s.Items.Data[0].Price.ID != l.pro.ID || s.PendingUpdate != nil || !s.LatestInvoice.Paid {
			t.Errorf("%s, pending %+v", s.Items.Data[0].Price.ID, s.PendingUpdate)
		}
	})
	t.Run("only what can wait", func(t *testing.T) {
		t.Parallel()
		l := newTierLife(t, "")
		params := l.change(l.pro, behave("always_invoice", "pending_if_incomplete"))
		params.AddMetadata("a", "b")
		if _, err := l.update(params); err == nil || !strings.Contains(err.Error(), "metadata") {
			t.Errorf("metadata: %v", err)
		}
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	t.Run("at the end of the period", func(t *testing.T) {
		t.Parallel()
		l := newTierLife(t, "")
		s := must(l.api.Subscriptions.Update(l.sub.ID, &stripe.SubscriptionParams{CancelAtPeriodEnd: stripe.Bool(true)}))(t)
		if s.CancelAt != s.CurrentPeriodEnd || s.CanceledAt != l.Time().Unix() || s.Status != stripe.SubscriptionStatusActive {
			t.Errorf("%s, cancel at %d, canceled at %d", s.Status, s.CancelAt, s.CanceledAt)
		}
		if _, err := l.api.Invoices.Upcoming(&stripe.InvoiceUpcomingParams{Subscription: stripe.String(s.ID)}); codeOf(err) != "invoice_upcoming_none" {
			t.Errorf("upcoming: %v", err)
		}
		s = must(l.api.Subscriptions.Update(s.ID, &stripe.SubscriptionParams{CancelAtPeriodEnd: stripe.Bool(false)}))(t)
		if s.CancelAt != 0 || s.CanceledAt != 0 {
			t.Errorf("taken back: cancel at %d", s.CancelAt)
		}
		must(l.api.Subscriptions.Update(s.ID, &stripe.SubscriptionParams{CancelAtPeriodEnd: stripe.Bool(true)}))(t)
		l.Advance(22 * days)
		s = l.subscription(t, s.ID)
		if s.Status != stripe.SubscriptionStatusCanceled || s.EndedAt != s.CurrentPeriodEnd || len(l.Objects("invoice")) != 1 {
			t.Errorf("%s, ended %d, %d invoices", s.Status, s.EndedAt, len(l.Objects("invoice")))
		}
	})
	t.Run("at a date", func(t *testing.T) {
		t.Parallel()
		l := newTierLife(t, "")
		when := l.Time().Add(5 * days).Unix()
		must(l.api.Subscriptions.Update(l.sub.ID, &stripe.SubscriptionParams{
			CancelAt: stripe.Int64(when), ProrationBehavior: stripe.String("none")}))(t)
		l.Advance(6 * days)
		if s := l.subscription(t, l.sub.ID); s.Status != stripe.SubscriptionStatusCanceled || s.EndedAt != when {
			t.Errorf("%s, ended %d", s.Status, s.EndedAt)
		}
	})
	t.Run("now, prorated", func(t *testing.T) {
		t.Parallel()
		l := newTierLife(t, "")
		must(l.api.Subscriptions.Cancel(l.sub.ID, &stripe.SubscriptionCancelParams{Prorate: stripe.Bool(true), InvoiceNow: stripe.Bool(true)}))(t)
		if c := must(l.api.Customers.Get(l.customer.ID, nil))(t); c.Balance != -677 {
			t.Errorf("balance %d", c.Balance)
		}
	})
	t.Run("what it owes", func(t *testing.T) {
		t.Parallel()
		l := newTierLife(t, "generic_decline")
		l.Advance(21*days + time.Hour)
		must(l.api.Subscriptions.Cancel(l.sub.ID, nil))(t)
		i := l.subscription(t, l.sub.ID).LatestInvoice
		l.Advance(30 * days)
		if again := l.subscription(t, l.sub.ID).LatestInvoice; again.Status != stripe.InvoiceStatusOpen || again.AttemptCount != i.AttemptCount || again.NextPaymentAttempt != 0 {
			t.Errorf("%s after %d attempts", again.Status, again.AttemptCount)
		}
	})
}

// TestPauseCollection has three behaviours, none of which changes the status.
func TestPauseCollection(t *testing.T) {
	t.Parallel()
	for behavior, want := range map[string]stripe.InvoiceStatus{
		"keep_as_draft": stripe.InvoiceStatusDraft, "void": stripe.InvoiceStatusVoid, "mark_uncollectible": stripe.InvoiceStatusUncollectible,
	} {
		l := newTierLife(t, "")
		s := must(l.api.Subscriptions.Update(l.sub.ID, &stripe.SubscriptionParams{PauseCollection: &stripe.SubscriptionPauseCollectionParams{
			Behavior: stripe.String(behavior), ResumesAt: stripe.Int64(l.Time().Add(40 * days).Unix())}}))(t)
		if s.Status != stripe.SubscriptionStatusActive || string(s.PauseCollection.Behavior) != behavior {
			t.Errorf("%s: %s, %+v", behavior, s.Status, s.PauseCollection)
		}
		l.Advance(22 * days)
		if s := l.subscription(t, s.ID); s.LatestInvoice.Status != want || s.Status != stripe.SubscriptionStatusActive {
			t.Errorf("%s: invoice %s, subscription %s", behavior, s.LatestInvoice.Status, s.Status)
		}
		l.Advance(30 * days)
		if s := l.subscription(t, s.ID); s.PauseCollection != nil || !s.LatestInvoice.Paid {
			t.Errorf("%s: not resumed: %+v, paid %t", behavior, s.PauseCollection, s.LatestInvoice.Paid)
		}
	}
}

func TestTrialOfUpdate(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "")
	end := l.Time().Add(10 * days).Unix()
	s := must(l.update(&stripe.SubscriptionParams{TrialEnd: stripe.Int64(end)}))(t)
	if s.Status != stripe.SubscriptionStatusTrialing || s.CurrentPeriodEnd != end || s.LatestInvoice.Total != -677 {
		t.Errorf("%s until %d, invoice %d", s.Status, s.CurrentPeriodEnd, s.LatestInvoice.Total)
	}
	s = must(l.update(&stripe.SubscriptionParams{TrialEndNow: stripe.Bool(true)}))(t)
	if s.Status != stripe.SubscriptionStatusActive || s.CurrentPeriodStart != l.Time().Unix() || s.LatestInvoice.Total != 1000 || s.LatestInvoice.AmountPaid != 323 {
		t.Errorf("%s from %d, total %d, paid %d", s.Status, s.CurrentPeriodStart, s.LatestInvoice.Total, s.LatestInvoice.AmountPaid)
	}
}

// TestFreeToPaid begins a new period where nothing was paid before.
func TestFreeToPaid(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	s := a.subscribe(t, a.cardholder(t, "pm_card_visa"), a.price(t, 0, "month"), nil)
	a.Advance(10 * days)
	pro := a.price(t, 3000, "month")
	s = must(a.api.Subscriptions.Update(s.ID, &stripe.SubscriptionParams{
		Items: []*stripe.SubscriptionItemsParams{{ID: stripe.String(s.Items.Data[0].ID), Price: stripe.String(pro.ID)}}}))(t)
	i := a.subscription(t, s.ID).LatestInvoice
	if s.CurrentPeriodStart != a.Time().Unix() || i.AmountPaid != 3000 {
		t.Errorf("period from %d, paid %d", s.CurrentPeriodStart, i.AmountPaid)
	}
}

// TestItems changes a subscription through its items.
func TestItems(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "")
	added := must(l.api.SubscriptionItems.New(&stripe.SubscriptionItemParams{
		Subscription: stripe.String(l.sub.ID), Price: stripe.String(l.pro.ID), ProrationBehavior: stripe.String("always_invoice")}))(t)
	if i := l.subscription(t, l.sub.ID).LatestInvoice; i.AmountPaid != 2032 {
		t.Errorf("added: paid %d", i.AmountPaid)
	}
	changed := must(l.api.SubscriptionItems.Update(added.ID, &stripe.SubscriptionItemParams{Quantity: stripe.Int64(2), ProrationBehavior: stripe.String("none")}))(t)
	if changed.Quantity != 2 || must(l.api.SubscriptionItems.Get(added.ID, nil))(t).Quantity != 2 {
		t.Errorf("changed: %d", changed.Quantity)
	}
	must(l.api.SubscriptionItems.Del(added.ID, &stripe.SubscriptionItemParams{ProrationBehavior: stripe.String("none")}))(t)
	if s := l.subscription(t, l.sub.ID); len(s.Items.Data) != 1 || s.Items.Data[0].Price.ID != l.basic.ID {
		t.Errorf("removed: %d items", len(s.Items.Data))
	}
	if _, err := l.api.SubscriptionItems.Get(added.ID, nil); codeOf(err) != "resource_missing" {
		t.Errorf("after removal: %v", err)
	}
}
