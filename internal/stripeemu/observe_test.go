package stripeemu_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"example.com/saaskit/internal/stripeemu"
)

// The observations of this file run against the emulator, and by TestObserveStripe
// against Stripe's own test mode. What Stripe answers is written to
// testdata/observed, from where every later run compares the emulator with it.
// Everything lives on test clocks, which the run deletes.

// An observation drives one account and returns what it saw: amounts, statuses,
// error codes and events, never ids.
type observation struct {
	name string
	look func(t *testing.T, o *observer) map[string]any
}

// An observer is one account under observation.
type observer struct {
	api                *client.API
	now                int64
	clock              string
	customer           string
	basic, pro, yearly string
	known              map[string]bool // events from before
}

func observations() []observation {
	return []observation{
		{"upgrade", observeUpgrade}, {"downgrade", observeDowngrade}, {"interval", observeInterval}, {"renewal", observeRenewal},
		{"dunning", observeDunning}, {"pending", observePending}, {"refund", observeRefund}, {"refusals", observeRefusals},
		{"coupon", observeCoupon}, {"trial", observeTrial},
	}
}

// TestObservations leads each observation against the emulator, and compares where somebody has seen what Stripe does.
func TestObservations(t *testing.T) {
	t.Parallel()
	for _, seen := range observations() {
		t.Run(seen.name, func(t *testing.T) {
			t.Parallel()
			emulated := written(t, seen.look(t, newObserver(t, newAccount(t, stripeemu.Config{}).api)))
			switch observed, err := os.ReadFile(observedFile(seen.name)); {
			case errors.Is(err, os.ErrNotExist): // nobody has looked at Stripe yet
			case err != nil:
				t.Fatal(err)
			case string(observed) != emulated:
				t.Errorf("Stripe and the emulator differ (-Stripe +emulator):\n%s", cmp.Diff(string(observed), emulated))
			}
		})
	}
}

func observedFile(name string) string { return filepath.Join("testdata", "observed", name+".json") }

func written(t *testing.T, facts map[string]any) string {
	t.Helper()
	return string(must(json.MarshalIndent(facts, "", "  "))(t)) + "\n"
}

// newObserver sets an account up: a customer with a card on a test clock, and
// three prices.
func newObserver(t *testing.T, api *client.API) *observer {
	t.Helper()
	o := &observer{api: api, now: at(t, "2030-01-15T10:00:00Z")}
	clock := must(api.TestHelpersTestClocks.New(&stripe.TestHelpersTestClockParams{FrozenTime: stripe.Int64(o.now)}))(t)
	o.clock = clock.ID
	t.Cleanup(func() { _, _ = api.TestHelpersTestClocks.Del(clock.ID, nil) })
	o.customer = must(api.Customers.New(&stripe.CustomerParams{Email: stripe.String("observer@example.com"), TestClock: stripe.String(clock.ID)}))(t).ID
	o.prefer(t, "pm_card_visa")
	product := must(api.Products.New(&stripe.ProductParams{Name: stripe.String("Observed")}))(t).ID
	price := func(amount int64, interval string) string {
		return must(api.Prices.New(&stripe.PriceParams{Product: stripe.String(product), Currency: stripe.String("usd"), UnitAmount: stripe.Int64(amount),
			Recurring: &stripe.PriceRecurringParams{Interval: stripe.String(interval)}}))(t).ID
	}
	o.basic, o.pro, o.yearly = price(1000, "month"), price(3000, "month"), price(20000, "year")
	return o
}

// prefer attaches a card and makes it the default.
func (o *observer) prefer(t *testing.T, card string) string {
	t.Helper()
	method := must(o.api.PaymentMethods.Attach(card, &stripe.PaymentMethodAttachParams{Customer: stripe.String(o.customer)}))(t)
	must(o.api.Customers.Update(o.customer, &stripe.CustomerParams{
		InvoiceSettings: &stripe.CustomerInvoiceSettingsParams{DefaultPaymentMethod: stripe.String(method.ID)}}))(t)
	return method.ID
}

func (o *observer) subscribe(t *testing.T, change func(*stripe.SubscriptionParams)) *stripe.Subscription {
	t.Helper()
	params := &stripe.SubscriptionParams{Customer: stripe.String(o.customer), Items: []*stripe.SubscriptionItemsParams{{Price: stripe.String(o.basic)}}}
	if change != nil {
		change(params)
	}
	return must(o.api.Subscriptions.New(params))(t)
}

func (o *observer) advance(t *testing.T, by time.Duration) {
	t.Helper()
	o.now += int64(by / time.Second)
	must(o.api.TestHelpersTestClocks.Advance(o.clock, &stripe.TestHelpersTestClockAdvanceParams{FrozenTime: stripe.Int64(o.now)}))(t)
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if must(o.api.TestHelpersTestClocks.Get(o.clock, nil))(t).Status == "ready" {
			return
		}
	}
	t.Fatal("the test clock is never ready")
}

// mark forgets the events so far.
func (o *observer) mark(t *testing.T) {
	t.Helper()
	o.known = map[string]bool{}
	for _, event := range o.events(t) {
		o.known[event.ID] = true
	}
}

// events lists those about the observed customer, newest first.
func (o *observer) events(t *testing.T) []*stripe.Event {
	t.Helper()
	var found []*stripe.Event
	params := &stripe.EventListParams{}
	params.Limit = stripe.Int64(100)
	params.Single = true
	iterator := o.api.Events.List(params)
	for iterator.Next() {
		if event := iterator.Event(); !o.known[event.ID] && event.Data.Object["customer"] == o.customer {
			found = append(found, event)
		}
	}
	if err := iterator.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

// happened lists the types of the events since the mark, sorted: their order
// within a second means nothing.
func (o *observer) happened(t *testing.T) []string {
	t.Helper()
	var types []string
	for _, event := range o.events(t) {
		types = append(types, string(event.Type))
	}
	slices.Sort(types)
	return types
}

func (o *observer) read(t *testing.T, id string) *stripe.Subscription {
	t.Helper()
	params := &stripe.SubscriptionParams{}
	params.AddExpand("latest_invoice")
	return must(o.api.Subscriptions.Get(id, params))(t)
}

// facts are what a subscription and its latest invoice come to.
func (o *observer) facts(t *testing.T, id string) map[string]any {
	t.Helper()
	s := o.read(t, id)
	i := s.LatestInvoice
	var lines []string
	for _, line := range i.Lines.Data {
		lines = append(lines, fmt.Sprintf("%d %s proration %t", line.Amount, line.Description, line.Proration))
	}
	slices.Sort(lines)
	return map[string]any{
		"status": s.Status, "period": s.CurrentPeriodEnd - s.CurrentPeriodStart, "pending": s.PendingUpdate != nil, "lines": lines,
		"invoice": i.Status, "reason": i.BillingReason, "total": i.Total, "due": i.AmountDue, "paid": i.AmountPaid,
		"starting_balance": i.StartingBalance, "ending_balance": i.EndingBalance, "attempts": i.AttemptCount,
	}
}

func (o *observer) change(s *stripe.Subscription, price string) *stripe.SubscriptionParams {
	return &stripe.SubscriptionParams{
		Items:             []*stripe.SubscriptionItemsParams{{ID: stripe.String(s.Items.Data[0].ID), Price: stripe.String(price)}},
		ProrationBehavior: stripe.String("always_invoice"),
	}
}

func observeUpgrade(t *testing.T, o *observer) map[string]any {
	s := o.subscribe(t, nil)
	o.advance(t, 10*days+12345*time.Second)
	o.mark(t)
	preview := must(o.api.Invoices.Upcoming(&stripe.InvoiceUpcomingParams{Subscription: stripe.String(s.ID),
		SubscriptionItems: o.change(s, o.pro).Items, SubscriptionProrationBehavior: stripe.String("always_invoice")}))(t)
	must(o.api.Subscriptions.Update(s.ID, o.change(s, o.pro)))(t)
	return map[string]any{"preview": preview.AmountDue, "after": o.facts(t, s.ID), "events": o.happened(t)}
}

func observeDowngrade(t *testing.T, o *observer) map[string]any {
	s := o.subscribe(t, func(p *stripe.SubscriptionParams) { p.Items[0].Price = stripe.String(o.pro) })
	o.advance(t, 7*days)
	must(o.api.Subscriptions.Update(s.ID, o.change(s, o.basic)))(t)
	now := o.facts(t, s.ID)
	o.advance(t, 24*days+2*time.Hour)
	return map[string]any{"now": now, "renewed": o.facts(t, s.ID)}
}

func observeInterval(t *testing.T, o *observer) map[string]any {
	s := o.subscribe(t, nil)
	o.advance(t, 3*days)
	must(o.api.Subscriptions.Update(s.ID, o.change(s, o.yearly)))(t)
	return map[string]any{"after": o.facts(t, s.ID)}
}

func observeRenewal(t *testing.T, o *observer) map[string]any {
	s := o.subscribe(t, nil)
	o.mark(t)
	o.advance(t, 31*days+10*time.Minute)
	draft := o.facts(t, s.ID)
	o.advance(t, 2*time.Hour)
	return map[string]any{"draft": draft, "paid": o.facts(t, s.ID), "events": o.happened(t)}
}

func observeDunning(t *testing.T, o *observer) map[string]any {
	s := o.subscribe(t, nil)
	o.prefer(t, "pm_card_chargeCustomerFail")
	o.mark(t)
	o.advance(t, 31*days+3*time.Hour)
	failed := o.facts(t, s.ID)
	_, byHand := o.api.Invoices.Pay(o.read(t, s.ID).LatestInvoice.ID, nil)
	o.prefer(t, "pm_card_visa")
	must(o.api.Invoices.Pay(o.read(t, s.ID).LatestInvoice.ID, nil))(t)
	return map[string]any{"failed": failed, "by hand": refusalOf(byHand), "recovered": o.facts(t, s.ID), "events": o.happened(t)}
}

func observePending(t *testing.T, o *observer) map[string]any {
	s := o.subscribe(t, nil)
	o.prefer(t, "pm_card_chargeCustomerFail")
	o.advance(t, 5*days)
	params := o.change(s, o.pro)
	params.PaymentBehavior = stripe.String("error_if_incomplete")
	_, refused := o.api.Subscriptions.Update(s.ID, params)
	params = o.change(s, o.pro)
	params.PaymentBehavior = stripe.String("pending_if_incomplete")
	must(o.api.Subscriptions.Update(s.ID, params))(t)
	pending := o.facts(t, s.ID)
	o.advance(t, 25*time.Hour)
	return map[string]any{"refused": refusalOf(refused), "pending": pending, "expired": o.facts(t, s.ID)}
}

func observeRefund(t *testing.T, o *observer) map[string]any {
	s := o.subscribe(t, nil)
	charge := o.read(t, s.ID).LatestInvoice.Charge.ID
	o.mark(t)
	part := must(o.api.Refunds.New(&stripe.RefundParams{Charge: stripe.String(charge), Amount: stripe.Int64(300)}))(t)
	_, tooMuch := o.api.Refunds.New(&stripe.RefundParams{Charge: stripe.String(charge), Amount: stripe.Int64(701)})
	rest := must(o.api.Refunds.New(&stripe.RefundParams{Charge: stripe.String(charge)}))(t)
	_, again := o.api.Refunds.New(&stripe.RefundParams{Charge: stripe.String(charge)})
	c := must(o.api.Charges.Get(charge, nil))(t)
	return map[string]any{
		"parts": []int64{part.Amount, rest.Amount}, "status": part.Status, "refunded": c.AmountRefunded, "all": c.Refunded,
		"too much": refusalOf(tooMuch), "again": refusalOf(again), "events": o.happened(t),
	}
}

// refusalOf is what a program can tell of an error.
func refusalOf(err error) string {
	refusal, ok := errors.AsType[*stripe.Error](err)
	if !ok {
		return fmt.Sprint(err)
	}
	return fmt.Sprintf("%d %s %s %s %s", refusal.HTTPStatusCode, refusal.Type, refusal.Code, refusal.DeclineCode, refusal.Param)
}

func observeRefusals(t *testing.T, o *observer) map[string]any {
	s := o.subscribe(t, nil)
	invoice := o.read(t, s.ID).LatestInvoice.ID
	facts := map[string]any{}
	see := func(name string, err error) { facts[name] = refusalOf(err) }
	see("pay a paid invoice", second(o.api.Invoices.Pay(invoice, nil)))
	see("void a paid invoice", second(o.api.Invoices.VoidInvoice(invoice, nil)))
	see("finalize a paid invoice", second(o.api.Invoices.FinalizeInvoice(invoice, nil)))
	see("no such subscription", second(o.api.Subscriptions.Get("sub_none", nil)))
	see("no such price", second(o.api.Subscriptions.New(&stripe.SubscriptionParams{Customer: stripe.String(o.customer),
		Items: []*stripe.SubscriptionItemsParams{{Price: stripe.String("price_none")}}})))
	see("declined card", second(o.api.PaymentMethods.Attach("pm_card_chargeDeclined", &stripe.PaymentMethodAttachParams{Customer: stripe.String(o.customer)})))
	see("authentication off session", second(o.api.PaymentIntents.New(&stripe.PaymentIntentParams{Amount: stripe.Int64(500), Currency: stripe.String("usd"),
		Customer: stripe.String(o.customer), PaymentMethod: stripe.String(o.prefer(t, "pm_card_authenticationRequired")),
		OffSession: stripe.Bool(true), Confirm: stripe.Bool(true)})))
	must(o.api.Subscriptions.Cancel(s.ID, nil))(t)
	see("cancel twice", second(o.api.Subscriptions.Cancel(s.ID, nil)))
	see("upcoming of a canceled one", second(o.api.Invoices.Upcoming(&stripe.InvoiceUpcomingParams{Subscription: stripe.String(s.ID)})))
	see("no such coupon", second(o.api.Subscriptions.New(&stripe.SubscriptionParams{Customer: stripe.String(o.customer), Coupon: stripe.String("none"),
		Items: []*stripe.SubscriptionItemsParams{{Price: stripe.String(o.basic)}}})))
	return facts
}

func observeCoupon(t *testing.T, o *observer) map[string]any {
	coupon := must(o.api.Coupons.New(&stripe.CouponParams{PercentOff: stripe.Float64(33.33), Duration: stripe.String("once")}))(t)
	s := o.subscribe(t, func(p *stripe.SubscriptionParams) { p.Coupon = stripe.String(coupon.ID) })
	first := o.facts(t, s.ID)
	o.advance(t, 10*days)
	must(o.api.Subscriptions.Update(s.ID, o.change(s, o.pro)))(t)
	upgraded := o.facts(t, s.ID)
	o.advance(t, 21*days+2*time.Hour)
	return map[string]any{"first": first, "upgraded": upgraded, "renewed": o.facts(t, s.ID)}
}

func observeTrial(t *testing.T, o *observer) map[string]any {
	o.mark(t)
	s := o.subscribe(t, func(p *stripe.SubscriptionParams) { p.TrialPeriodDays = stripe.Int64(14) })
	begun := o.facts(t, s.ID)
	o.advance(t, 14*days+2*time.Hour)
	return map[string]any{"begun": begun, "ended": o.facts(t, s.ID), "events": o.happened(t)}
}
