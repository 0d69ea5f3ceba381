package stripeemu_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"
)

// downgradeLater puts a schedule on a subscription that changes its price at
// the end of the period.
func (l tierLife) downgradeLater(t *testing.T, end string) *stripe.SubscriptionSchedule {
	t.Helper()
	schedule := must(l.api.SubscriptionSchedules.New(&stripe.SubscriptionScheduleParams{FromSubscription: stripe.String(l.sub.ID)}))(t)
	current := schedule.Phases[0]
	return must(l.api.SubscriptionSchedules.Update(schedule.ID, &stripe.SubscriptionScheduleParams{
		EndBehavior: stripe.String(end),
		Phases: []*stripe.SubscriptionSchedulePhaseParams{
			{StartDate: stripe.Int64(current.StartDate), EndDate: stripe.Int64(current.EndDate),
				Items: []*stripe.SubscriptionSchedulePhaseItemParams{{Price: stripe.String(current.Items[0].Price.ID), Quantity: stripe.Int64(1)}}},
			{Iterations: stripe.Int64(1), Items: []*stripe.SubscriptionSchedulePhaseItemParams{{Price: stripe.String(l.pro.ID), Quantity: stripe.Int64(2)}}},
		},
	}))(t)
}

// TestSchedule changes the price with the period: the renewal bills it, nothing
// is prorated, and the subscription goes on without the schedule at its end.
func TestSchedule(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "")
	schedule := l.downgradeLater(t, "release")
	s := l.subscription(t, l.sub.ID)
	if s.Items.Data[0].Price.ID != l.basic.ID || s.Schedule.ID != schedule.ID || len(l.Objects("invoiceitem")) != 0 {
		t.Fatalf("at first: %s", s.Items.Data[0].Price.ID)
	}
	upcoming := must(l.api.Invoices.Upcoming(&stripe.InvoiceUpcomingParams{Subscription: stripe.String(s.ID)}))(t)
	l.Advance(21*days + time.Hour)
	s = l.subscription(t, s.ID)
	i := s.LatestInvoice
	if upcoming.AmountDue != i.AmountDue {
		t.Errorf("announced %d, due %d", upcoming.AmountDue, i.AmountDue)
	}
	if s.Items.Data[0].Price.ID != l.pro.ID || s.Items.Data[0].Quantity != 2 || i.AmountPaid != 6000 || len(i.Lines.Data) != 1 {
		t.Errorf("second phase: %s × %d, paid %d in %d lines", s.Items.Data[0].Price.ID, s.Items.Data[0].Quantity, i.AmountPaid, len(i.Lines.Data))
	}
	if s.CurrentPeriodEnd != at(t, "2025-03-15T10:00:00Z") {
		t.Errorf("period ends %d", s.CurrentPeriodEnd)
	}
	l.Advance(28 * days)
	schedule = must(l.api.SubscriptionSchedules.Get(schedule.ID, nil))(t)
	s = l.subscription(t, s.ID)
	if schedule.Status != stripe.SubscriptionScheduleStatusReleased || schedule.ReleasedSubscription.ID != s.ID || s.Schedule != nil || s.Status != stripe.SubscriptionStatusActive {
		t.Errorf("at the end: %s, subscription %s with %v", schedule.Status, s.Status, s.Schedule)
	}
	for _, want := range []string{"subscription_schedule.created", "subscription_schedule.updated", "subscription_schedule.expiring", "subscription_schedule.released"} {
		if !slices.Contains(l.eventTypes(), want) {
			t.Errorf("no %s", want)
		}
	}
}

func TestScheduleCancels(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "")
	schedule := l.downgradeLater(t, "cancel")
	if _, err := l.api.Subscriptions.Update(l.sub.ID, &stripe.SubscriptionParams{CancelAtPeriodEnd: stripe.Bool(true)}); err == nil {
		t.Error("a scheduled subscription is canceled past its schedule")
	}
	l.Advance(60 * days)
	if got := must(l.api.SubscriptionSchedules.Get(schedule.ID, nil))(t); got.Status != stripe.SubscriptionScheduleStatusCompleted {
		t.Errorf("schedule is %s", got.Status)
	}
	if s := l.subscription(t, l.sub.ID); s.Status != stripe.SubscriptionStatusCanceled || s.EndedAt != at(t, "2025-03-15T10:00:00Z") {
		t.Errorf("subscription is %s, ended %d", s.Status, s.EndedAt)
	}
}

func TestScheduleReleased(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "")
	schedule := l.downgradeLater(t, "release")
	must(l.api.SubscriptionSchedules.Release(schedule.ID, nil))(t)
	l.Advance(22 * days)
	if s := l.subscription(t, l.sub.ID); s.Items.Data[0].Price.ID != l.basic.ID || s.LatestInvoice.AmountPaid != 1000 {
		t.Errorf("%s, paid %d", s.Items.Data[0].Price.ID, s.LatestInvoice.AmountPaid)
	}
	if _, err := l.api.SubscriptionSchedules.Release(schedule.ID, nil); err == nil {
		t.Error("released twice")
	}
}

// TestScheduleStarts makes its subscription when its time comes.
func TestScheduleStarts(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "")
	schedule := must(l.api.SubscriptionSchedules.New(&stripe.SubscriptionScheduleParams{
		Customer: stripe.String(l.customer.ID), StartDate: stripe.Int64(l.Time().Add(2 * days).Unix()),
		Phases: []*stripe.SubscriptionSchedulePhaseParams{{Iterations: stripe.Int64(3),
			Items: []*stripe.SubscriptionSchedulePhaseItemParams{{Price: stripe.String(l.pro.ID), Quantity: stripe.Int64(1)}}}},
	}))(t)
	if schedule.Status != stripe.SubscriptionScheduleStatusNotStarted || schedule.Subscription != nil {
		t.Errorf("at first: %s", schedule.Status)
	}
	l.Advance(2 * days)
	schedule = must(l.api.SubscriptionSchedules.Get(schedule.ID, nil))(t)
	if s := l.subscription(t, schedule.Subscription.ID); s.Status != stripe.SubscriptionStatusActive || !s.LatestInvoice.Paid {
		t.Errorf("subscription is %s", s.Status)
	}
	must(l.api.SubscriptionSchedules.Cancel(schedule.ID, nil))(t)
	if s := l.subscription(t, schedule.Subscription.ID); s.Status != stripe.SubscriptionStatusCanceled {
		t.Errorf("canceled with its schedule: %s", s.Status)
	}
}
