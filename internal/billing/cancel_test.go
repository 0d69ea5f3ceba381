package billing_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/problem"
)

func (w *world) cancel(now bool) billing.State {
	w.t.Helper()
	state, _, err := w.CancelSubscription(w.t.Context(), w.to("", ""), now)
	if err != nil {
		w.t.Fatalf("CancelSubscription: %v", err)
	}
	return state
}

func TestCancelAndResume(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, func(v *billing.Wish) { v.Tier = "pro" })
	w.change(w.to("basic", "")) // a schedule is in the way
	for range 2 {
		s := w.cancel(false)
		if s.Status != "active" || !s.Access || s.CancelAt == nil || !s.CancelAt.Equal(*s.CurrentPeriodEnd) || s.Scheduled != nil {
			t.Fatalf("canceled: %+v", s)
		}
	}
	for range 2 {
		s, _, err := w.ResumeSubscription(t.Context(), w.to("", ""))
		if err != nil || s.CancelAt != nil || s.CancelAtPeriodEnd || s.Tier != "pro" {
			t.Fatalf("resumed: %+v, %v", s, err)
		}
	}
	if s := w.cancel(true); s.Status != "canceled" || s.Access || s.EndedAt == nil {
		t.Errorf("canceled now: %+v", s)
	}
	if _, _, err := w.ResumeSubscription(t.Context(), w.to("", "")); !errors.Is(err, problem.NoSubscription) {
		t.Errorf("resumed after its end: %v", err)
	}
	if o, _ := w.emu.Get(sub); o["status"] != "canceled" {
		t.Errorf("at Stripe: %v", o["status"])
	}
}

// endAt gives the subscription an end that is a date, as Stripe's portal does.
func (w *world) endAt(sub string, at time.Time) {
	w.t.Helper()
	if _, err := w.api().Subscriptions.Update(sub, &stripe.SubscriptionParams{
		CancelAt: stripe.Int64(at.Unix()), ProrationBehavior: stripe.String("none"),
	}); err != nil {
		w.t.Fatal(err)
	}
	w.sync("subscription", sub)
}

// An end that is set for much later is no cancellation: it comes at the end of the period then. An earlier one stays.
func TestCancelOfOneThatEndsByDate(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	soon := w.Now().Add(aThird).UTC().Truncate(time.Second)
	w.endAt(sub, soon)
	if s := w.cancel(false); s.CancelAt == nil || !s.CancelAt.Equal(soon) {
		t.Errorf("ends soon: %+v", s)
	}
	w.endAt(sub, w.Now().Add(300*24*time.Hour))
	if s := w.cancel(false); s.CancelAt == nil || !s.CancelAt.Equal(*s.CurrentPeriodEnd) {
		t.Errorf("canceled: ends %v, the period %v", s.CancelAt, s.CurrentPeriodEnd)
	}
	invoices := len(w.emu.Objects("invoice"))
	w.wait(32 * 24 * time.Hour)
	if o, _ := w.emu.Get(sub); o["status"] != "canceled" || len(w.emu.Objects("invoice")) != invoices {
		t.Errorf("a month later it is %v, with %d more invoices", o["status"], len(w.emu.Objects("invoice"))-invoices)
	}
}

// An end that is a date is taken back as well.
func TestResumeOfOneThatEndsByDate(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	w.endAt(sub, w.Now().Add(aThird))
	for range 2 {
		s, _, err := w.ResumeSubscription(t.Context(), w.to("", ""))
		if err != nil || s.CancelAt != nil || s.CancelAtPeriodEnd {
			t.Errorf("resumed: %+v, %v", s, err)
		}
	}
	w.wait(aThird + time.Hour)
	if o, _ := w.emu.Get(sub); o["status"] != "active" || o["cancel_at"] != nil {
		t.Errorf("at Stripe: %v, ends %v", o["status"], o["cancel_at"])
	}
}

// A subscription that ended at Stripe without our knowing: the change is refused, and we know.
func TestChangeOfWhatHasEnded(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	if _, err := w.api().Subscriptions.Cancel(sub, nil); err != nil {
		t.Fatal(err)
	}
	w.changeRefused(w.to("pro", ""), problem.NoSubscription)
	if s := w.state(); s.Status != "canceled" {
		t.Errorf("state: %+v", s)
	}
}

// A trial that has ended without a payment method is over until somebody pays.
func TestResumeOfAPaused(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	o, _ := w.emu.Get(sub)
	customer := o["customer"].(string)
	pause := func(card string) {
		t.Helper()
		if card != "" {
			w.card(sub, card)
		}
		if _, err := w.emu.Patch(sub, map[string]any{"status": "paused"}); err != nil {
			t.Fatal(err)
		}
		w.sync("subscription", sub)
		if s := w.state(); s.Status != "paused" || s.Access {
			t.Fatalf("paused: %+v", s)
		}
	}
	resume := func() billing.State {
		t.Helper()
		s, _, err := w.ResumeSubscription(t.Context(), w.to("", ""))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	pause("")
	w.changeRefused(w.to("pro", ""), problem.PaymentOverdue)
	w.wait(aThird)
	if s := resume(); s.Status != "active" || !s.Access || s.Due != nil || !s.CurrentPeriodStart.Equal(w.Now().UTC().Truncate(time.Second)) &&
		w.Now().Sub(*s.CurrentPeriodStart) > time.Minute {
		t.Errorf("resumed: %+v", s)
	}
	if n := w.count("SELECT count(*) FROM credit_lots WHERE source = 'allowance'"); n < 1 {
		t.Error("no allowance")
	}

	// With a card that is declined it stays paused, for one invoice and not for one of each try.
	pause("pm_card_chargeCustomerFail")
	invoices := len(w.emu.Objects("invoice"))
	s := resume()
	if s.Status != "paused" || s.Access || s.Due == nil || s.Due.HostedInvoiceURL == "" {
		t.Fatalf("declined: %+v, due %+v", s, s.Due)
	}
	if _, _, err := w.ResumeSubscription(t.Context(), w.to("", "")); !errors.Is(err, problem.PaymentFailed) {
		t.Errorf("declined again: %v", err)
	}
	if n := len(w.emu.Objects("invoice")) - invoices; n != 1 {
		t.Errorf("%d invoices", n)
	}
	pm, err := w.api().PaymentMethods.Attach("pm_card_visa", &stripe.PaymentMethodAttachParams{Customer: stripe.String(customer)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.api().Subscriptions.Update(sub, &stripe.SubscriptionParams{DefaultPaymentMethod: stripe.String(pm.ID)}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if s := resume(); s.Status != "active" || !s.Access || s.Due != nil {
			t.Errorf("paid: %+v, due %+v", s, s.Due)
		}
	}
	if n := len(w.emu.Objects("invoice")) - invoices; n != 1 {
		t.Errorf("%d invoices", n)
	}
}
