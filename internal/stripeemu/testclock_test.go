package stripeemu_test

import (
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/stripeemu"
)

func (a *account) awaitClock(t *testing.T, id string) *stripe.TestHelpersTestClock {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if clock := must(a.api.TestHelpersTestClocks.Get(id, nil))(t); clock.Status == "ready" {
			return clock
		}
	}
	t.Fatal("the test clock is never ready")
	return nil
}

// TestTestClock lets one customer live ahead of the account.
func TestTestClock(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	begin := at(t, "2030-01-31T00:00:00Z")
	clock := must(a.api.TestHelpersTestClocks.New(&stripe.TestHelpersTestClockParams{FrozenTime: stripe.Int64(begin), Name: stripe.String("life")}))(t)
	customer := must(a.api.Customers.New(&stripe.CustomerParams{
		TestClock: stripe.String(clock.ID), PaymentMethod: stripe.String("pm_card_visa"),
	}))(t)
	methods := a.Objects("payment_method")
	s := a.subscribe(t, customer, a.price(t, 1000, "month"), func(p *stripe.SubscriptionParams) {
		p.DefaultPaymentMethod = stripe.String(methods[0]["id"].(string))
	})
	other := a.subscribe(t, a.cardholder(t, "pm_card_visa"), a.price(t, 1000, "month"), nil)
	if s.Created != begin || s.TestClock.ID != clock.ID || other.TestClock != nil {
		t.Fatalf("created %d on %v", s.Created, s.TestClock)
	}
	advance := func(to int64) error {
		moving, err := a.api.TestHelpersTestClocks.Advance(clock.ID, &stripe.TestHelpersTestClockAdvanceParams{FrozenTime: stripe.Int64(to)})
		if err == nil && moving.Status != "advancing" {
			t.Errorf("answered %s", moving.Status)
		}
		return err
	}
	if advance(begin-1) == nil || advance(at(t, "2030-04-01T00:00:00Z")) == nil {
		t.Error("the clock runs back, or over three months at once")
	}
	if err := advance(at(t, "2030-03-30T00:00:00Z")); err != nil {
		t.Fatal(err)
	}
	if ready := a.awaitClock(t, clock.ID); ready.FrozenTime != at(t, "2030-03-30T00:00:00Z") {
		t.Errorf("ready at %d", ready.FrozenTime)
	}
	s = a.subscription(t, s.ID)
	if s.CurrentPeriodEnd != at(t, "2030-03-31T00:00:00Z") || !s.LatestInvoice.Paid || s.LatestInvoice.Created != at(t, "2030-02-28T00:00:00Z") {
		t.Errorf("period until %d, invoice of %d paid %t", s.CurrentPeriodEnd, s.LatestInvoice.Created, s.LatestInvoice.Paid)
	}
	if still := a.subscription(t, other.ID); still.CurrentPeriodEnd != other.CurrentPeriodEnd {
		t.Error("the clock moves a customer who is not on it")
	}
	count := func(params *stripe.SubscriptionListParams) (n int) {
		for listed := a.api.Subscriptions.List(params); listed.Next(); n++ {
		}
		return n
	}
	if all, here, theirs := count(&stripe.SubscriptionListParams{}), count(&stripe.SubscriptionListParams{TestClock: stripe.String(clock.ID)}),
		count(&stripe.SubscriptionListParams{Customer: stripe.String(customer.ID)}); all != 1 || here != 1 || theirs != 1 {
		t.Errorf("listed %d off clocks, %d on it, %d of the customer", all, here, theirs)
	}
	must(a.api.TestHelpersTestClocks.Del(clock.ID, nil))(t)
	if _, err := a.api.Subscriptions.Get(s.ID, nil); err == nil {
		t.Error("the subscription outlives its clock")
	}
}
