package stripeemu_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/stripeemu"
)

// start is when the lives of these tests begin: long enough ago for the clock
// of the machine not to matter.
const start = "2025-01-15T10:00:00Z"

func newLife(t *testing.T, config stripeemu.Config) *account {
	t.Helper()
	config.Now = newClock(start).now
	a := newAccount(t, config)
	t.Cleanup(func() { a.checkState(t) })
	return a
}

// cardholder is a customer with a default card.
func (a *account) cardholder(t *testing.T, method string) *stripe.Customer {
	t.Helper()
	customer := a.newCustomer(t)
	pm := must(a.api.PaymentMethods.Attach(method, &stripe.PaymentMethodAttachParams{Customer: stripe.String(customer.ID)}))(t)
	return must(a.api.Customers.Update(customer.ID, &stripe.CustomerParams{
		InvoiceSettings: &stripe.CustomerInvoiceSettingsParams{DefaultPaymentMethod: stripe.String(pm.ID)}}))(t)
}

func (a *account) subscribe(t *testing.T, customer *stripe.Customer, price *stripe.Price, change func(*stripe.SubscriptionParams)) *stripe.Subscription {
	t.Helper()
	params := &stripe.SubscriptionParams{Customer: stripe.String(customer.ID), Items: []*stripe.SubscriptionItemsParams{{Price: stripe.String(price.ID)}}}
	if change != nil {
		change(params)
	}
	return must(a.api.Subscriptions.New(params))(t)
}

// subscription reads one with its latest invoice.
func (a *account) subscription(t *testing.T, id string) *stripe.Subscription {
	t.Helper()
	params := &stripe.SubscriptionParams{}
	params.AddExpand("latest_invoice.payment_intent")
	return must(a.api.Subscriptions.Get(id, params))(t)
}

func at(t *testing.T, text string) int64 {
	t.Helper()
	return must(time.Parse(time.RFC3339, text))(t).Unix()
}

// happened lists the events since a mark, without those of the catalog.
func (a *account) happened(mark int) []string {
	return a.after(mark)
}

const days = 24 * time.Hour

// TestRenewal follows a subscription over the end of its period: the period
// moves first, the invoice is a draft for an hour, then it is paid.
func TestRenewal(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	s := a.subscribe(t, a.cardholder(t, "pm_card_visa"), a.price(t, 1000, "month"), nil)
	if s.Status != stripe.SubscriptionStatusActive || s.CurrentPeriodEnd != at(t, "2025-02-15T10:00:00Z") {
		t.Fatalf("new: %s until %d", s.Status, s.CurrentPeriodEnd)
	}
	mark := len(a.eventTypes())
	a.Advance(31 * days)
	if diff := cmp.Diff([]string{"invoice.upcoming", "customer.subscription.updated", "invoice.created"}, a.happened(mark)); diff != "" {
		t.Errorf("events at the end of the period (-want +got):\n%s", diff)
	}
	s = a.subscription(t, s.ID)
	if s.LatestInvoice.Status != stripe.InvoiceStatusDraft || s.CurrentPeriodStart != at(t, "2025-02-15T10:00:00Z") || s.CurrentPeriodEnd != at(t, "2025-03-15T10:00:00Z") {
		t.Errorf("renewed: invoice %s, period %d to %d", s.LatestInvoice.Status, s.CurrentPeriodStart, s.CurrentPeriodEnd)
	}
	mark = len(a.eventTypes())
	a.Advance(time.Hour)
	want := []string{
		"invoice.finalized", "payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "invoice.updated", "invoice.paid", "invoice.payment_succeeded",
	}
	if diff := cmp.Diff(want, a.happened(mark)); diff != "" {
		t.Errorf("events an hour later (-want +got):\n%s", diff)
	}
	i := a.subscription(t, s.ID).LatestInvoice
	if !i.Paid || i.BillingReason != stripe.InvoiceBillingReasonSubscriptionCycle || i.AmountPaid != 1000 ||
		i.PeriodStart != at(t, start) || i.Lines.Data[0].Period.Start != at(t, "2025-02-15T10:00:00Z") {
		t.Errorf("invoice: %+v", i)
	}
	if paid := i.StatusTransitions.PaidAt; paid != at(t, "2025-02-15T11:00:00Z") {
		t.Errorf("paid at %d", paid)
	}
}

// TestAYear jumps over twelve renewals at once: each happens at its own time.
func TestAYear(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	s := a.subscribe(t, a.cardholder(t, "pm_card_visa"), a.price(t, 1000, "month"), nil)
	a.Advance(366 * days)
	invoices := a.Objects("invoice")
	if len(invoices) != 13 {
		t.Fatalf("%d invoices", len(invoices))
	}
	for n, invoice := range invoices {
		if invoice["status"] != "paid" || invoice["subscription"] != s.ID {
			t.Errorf("invoice %d is %v", n, invoice["status"])
		}
	}
	if end := a.subscription(t, s.ID).CurrentPeriodEnd; end != at(t, "2026-02-15T10:00:00Z") {
		t.Errorf("period ends %d", end)
	}
}

// TestAnchor keeps the day of the month over a shorter month.
func TestAnchor(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	a.Advance(16 * days) // the 31st
	s := a.subscribe(t, a.cardholder(t, "pm_card_visa"), a.price(t, 1000, "month"), nil)
	for _, want := range []string{"2025-02-28T10:00:00Z", "2025-03-31T10:00:00Z", "2025-04-30T10:00:00Z"} {
		s = a.subscription(t, s.ID)
		if s.CurrentPeriodEnd != at(t, want) {
			t.Errorf("period ends %s, want %s", time.Unix(s.CurrentPeriodEnd, 0).UTC(), want)
		}
		a.Advance(time.Unix(s.CurrentPeriodEnd, 0).Sub(a.Time()))
	}
}

// TestDunning lets every attempt at a renewal fail: past_due with a plan, then
// what the settings say.
func TestDunning(t *testing.T) {
	t.Parallel()
	for then, want := range map[string]stripe.SubscriptionStatus{
		"": stripe.SubscriptionStatusCanceled, "unpaid": stripe.SubscriptionStatusUnpaid, "past_due": stripe.SubscriptionStatusPastDue,
	} {
		a := newLife(t, stripeemu.Config{Dunning: stripeemu.Dunning{Then: then}})
		customer := a.cardholder(t, "pm_card_visa")
		s := a.subscribe(t, customer, a.price(t, 1000, "month"), nil)
		if err := a.DeclineCard(customer.InvoiceSettings.DefaultPaymentMethod.ID, "insufficient_funds"); err != nil {
			t.Fatal(err)
		}
		mark := len(a.eventTypes())
		a.Advance(31*days + time.Hour)
		s = a.subscription(t, s.ID)
		i := s.LatestInvoice
		if s.Status != stripe.SubscriptionStatusPastDue || i.AttemptCount != 1 || i.NextPaymentAttempt != a.Time().Add(3*days).Unix() {
			t.Errorf("%q: %s after attempt %d, next %d", then, s.Status, i.AttemptCount, i.NextPaymentAttempt)
		}
		if i.PaymentIntent.LastPaymentError.DeclineCode != "insufficient_funds" {
			t.Errorf("%q: declined as %s", then, i.PaymentIntent.LastPaymentError.DeclineCode)
		}
		wanted := []string{
			"invoice.upcoming", "customer.subscription.updated", "invoice.created", "invoice.finalized", "payment_intent.created",
			"charge.failed", "payment_intent.payment_failed", "invoice.payment_failed", "customer.updated", "customer.subscription.updated",
		}
		if diff := cmp.Diff(wanted, a.happened(mark)); diff != "" {
			t.Errorf("%q: events (-want +got):\n%s", then, diff)
		}
		a.Advance(15 * days)
		s = a.subscription(t, s.ID)
		if s.Status != want || s.LatestInvoice.AttemptCount != 4 || s.LatestInvoice.NextPaymentAttempt != 0 || s.LatestInvoice.Status != stripe.InvoiceStatusOpen {
			t.Errorf("%q: %s after attempt %d, invoice %s", then, s.Status, s.LatestInvoice.AttemptCount, s.LatestInvoice.Status)
		}
		if then == "" && s.CancellationDetails.Reason != stripe.SubscriptionCancellationDetailsReasonPaymentFailed {
			t.Errorf("canceled because of %s", s.CancellationDetails.Reason)
		}
	}
}

// TestRecovery pays the open invoice of a past_due subscription by hand.
func TestRecovery(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	customer := a.cardholder(t, "pm_card_chargeCustomerFail")
	s := a.subscribe(t, customer, a.price(t, 1000, "month"), func(p *stripe.SubscriptionParams) { p.TrialPeriodDays = stripe.Int64(7) })
	a.Advance(7*days + time.Hour)
	s = a.subscription(t, s.ID)
	if s.Status != stripe.SubscriptionStatusPastDue {
		t.Fatalf("a card that fails later leaves it %s", s.Status)
	}
	if _, err := a.api.Invoices.Pay(s.LatestInvoice.ID, nil); err == nil {
		t.Error("the same card pays")
	}
	if again := a.subscription(t, s.ID).LatestInvoice; again.AttemptCount != 1 || again.NextPaymentAttempt != s.LatestInvoice.NextPaymentAttempt {
		t.Errorf("an attempt by hand changes the plan: %d, %d", again.AttemptCount, again.NextPaymentAttempt)
	}
	paid := must(a.api.Invoices.Pay(s.LatestInvoice.ID, &stripe.InvoicePayParams{PaymentMethod: stripe.String("pm_card_visa")}))(t)
	if s = a.subscription(t, s.ID); !paid.Paid || s.Status != stripe.SubscriptionStatusActive {
		t.Errorf("paid %t, subscription %s", paid.Paid, s.Status)
	}
	if _, err := a.api.Invoices.Pay(paid.ID, nil); err == nil {
		t.Error("paid twice")
	}
}

func TestTrialEnds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		card, without string
		want          stripe.SubscriptionStatus
		event         string
	}{
		{"pm_card_visa", "", stripe.SubscriptionStatusActive, "invoice.paid"},
		{"", "create_invoice", stripe.SubscriptionStatusPastDue, "invoice.payment_failed"},
		{"", "pause", stripe.SubscriptionStatusPaused, "customer.subscription.paused"},
		{"", "cancel", stripe.SubscriptionStatusCanceled, "customer.subscription.deleted"},
	}
	for _, tt := range tests {
		a := newLife(t, stripeemu.Config{})
		customer := a.newCustomer(t)
		if tt.card != "" {
			customer = a.cardholder(t, tt.card)
		}
		s := a.subscribe(t, customer, a.price(t, 1000, "month"), func(p *stripe.SubscriptionParams) {
			p.TrialPeriodDays = stripe.Int64(14)
			if tt.without != "" {
				p.TrialSettings = &stripe.SubscriptionTrialSettingsParams{EndBehavior: &stripe.SubscriptionTrialSettingsEndBehaviorParams{
					MissingPaymentMethod: stripe.String(tt.without)}}
			}
		})
		if s.Status != stripe.SubscriptionStatusTrialing {
			t.Fatalf("%+v: starts as %s", tt, s.Status)
		}
		a.Advance(11*days - time.Second)
		if slices.Contains(a.eventTypes(), "customer.subscription.trial_will_end") {
			t.Errorf("%+v: notice comes early", tt)
		}
		a.Advance(time.Second)
		if !slices.Contains(a.eventTypes(), "customer.subscription.trial_will_end") {
			t.Errorf("%+v: no notice three days before the end", tt)
		}
		a.Advance(3*days + time.Hour)
		if got := a.subscription(t, s.ID).Status; got != tt.want || !slices.Contains(a.eventTypes(), tt.event) {
			t.Errorf("%+v: ends as %s, events %v", tt, got, a.eventTypes())
		}
	}
}

// TestResume continues a subscription that was paused at the end of its trial.
func TestResume(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	customer := a.newCustomer(t)
	s := a.subscribe(t, customer, a.price(t, 1000, "month"), func(p *stripe.SubscriptionParams) {
		p.TrialPeriodDays = stripe.Int64(1)
		p.TrialSettings = &stripe.SubscriptionTrialSettingsParams{EndBehavior: &stripe.SubscriptionTrialSettingsEndBehaviorParams{MissingPaymentMethod: stripe.String("pause")}}
	})
	a.Advance(5 * days)
	pm := must(a.api.PaymentMethods.Attach("pm_card_visa", &stripe.PaymentMethodAttachParams{Customer: stripe.String(customer.ID)}))(t)
	must(a.api.Subscriptions.Update(s.ID, &stripe.SubscriptionParams{DefaultPaymentMethod: stripe.String(pm.ID)}))(t)
	must(a.api.Subscriptions.Resume(s.ID, &stripe.SubscriptionResumeParams{}))(t)
	s = a.subscription(t, s.ID)
	if s.Status != stripe.SubscriptionStatusActive || s.CurrentPeriodStart != a.Time().Unix() || !s.LatestInvoice.Paid {
		t.Errorf("%s from %d, paid %t", s.Status, s.CurrentPeriodStart, s.LatestInvoice.Paid)
	}
	if !slices.Contains(a.eventTypes(), "customer.subscription.resumed") {
		t.Error("nobody is told")
	}
}

func TestIncompleteExpires(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	s := a.subscribe(t, a.newCustomer(t), a.price(t, 1000, "month"), func(p *stripe.SubscriptionParams) {
		p.PaymentBehavior = stripe.String("default_incomplete")
	})
	a.Advance(23*time.Hour - time.Second)
	if got := a.subscription(t, s.ID); got.Status != stripe.SubscriptionStatusIncomplete || got.LatestInvoice.Status != stripe.InvoiceStatusOpen {
		t.Errorf("before: %s, invoice %s", got.Status, got.LatestInvoice.Status)
	}
	a.Advance(time.Second)
	got := a.subscription(t, s.ID)
	if got.Status != stripe.SubscriptionStatusIncompleteExpired || got.LatestInvoice.Status != stripe.InvoiceStatusVoid {
		t.Errorf("after: %s, invoice %s", got.Status, got.LatestInvoice.Status)
	}
}

func TestPaymentBehaviorOfNew(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	customer, price := a.cardholder(t, "pm_card_chargeCustomerFail"), a.price(t, 1000, "month")
	if s := a.subscribe(t, customer, price, nil); s.Status != stripe.SubscriptionStatusIncomplete {
		t.Errorf("allow_incomplete: %s", s.Status)
	}
	before := len(a.Objects("subscription"))
	events := len(a.eventTypes())
	_, err := a.api.Subscriptions.New(&stripe.SubscriptionParams{
		Customer: stripe.String(customer.ID), Items: []*stripe.SubscriptionItemsParams{{Price: stripe.String(price.ID)}},
		PaymentBehavior: stripe.String("error_if_incomplete"),
	})
	if refusal, ok := errors.AsType[*stripe.Error](err); !ok || refusal.HTTPStatusCode != 402 || refusal.Code != stripe.ErrorCodeCardDeclined {
		t.Errorf("error_if_incomplete: %v", err)
	}
	if len(a.Objects("subscription")) != before || len(a.eventTypes()) != events {
		t.Error("error_if_incomplete leaves something behind")
	}
	_, err = a.api.Subscriptions.New(&stripe.SubscriptionParams{
		Customer: stripe.String(a.newCustomer(t).ID), Items: []*stripe.SubscriptionItemsParams{{Price: stripe.String(price.ID)}},
	})
	if err == nil {
		t.Error("a customer without a card subscribes")
	}
}
