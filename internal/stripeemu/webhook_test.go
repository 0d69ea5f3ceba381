package stripeemu_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/stripeemu"
)

func (a *account) newCustomer(t *testing.T) *stripe.Customer {
	t.Helper()
	return must(a.api.Customers.New(&stripe.CustomerParams{Email: stripe.String("ada@example.com")}))(t)
}

// undelivered lists the events that some endpoint has not taken.
func (a *account) undelivered(t *testing.T) []string {
	t.Helper()
	var ids []string
	iterator := a.api.Events.List(&stripe.EventListParams{DeliverySuccess: stripe.Bool(false)})
	for iterator.Next() {
		ids = append(ids, iterator.Event().ID)
	}
	if err := iterator.Err(); err != nil {
		t.Fatal(err)
	}
	return ids
}

// fast retries an hour later after some milliseconds.
var fast = stripeemu.Config{RetryCompression: 1e6}

func TestRetry(t *testing.T) {
	t.Parallel()
	a := newAccount(t, fast)
	statuses := []int{500, 302, 404, 200}
	in := newInbox(t, func(n int) int { return statuses[n-1] })
	a.Register(in.url, secret)
	a.newCustomer(t)
	events := in.received(t, a)
	if len(events) != 4 {
		t.Fatalf("%d deliveries", len(events))
	}
	for i, attempt := range a.Attempts() {
		if events[i].ID != events[0].ID || attempt.Number != i+1 || attempt.Status != statuses[i] {
			t.Errorf("attempt %d: %+v", i, attempt)
		}
	}
	if o, _ := a.Get(events[0].ID); o["pending_webhooks"] != int64(0) || events[0].PendingWebhooks != 1 {
		t.Errorf("pending: %v at the end, %d in the payload", o["pending_webhooks"], events[0].PendingWebhooks)
	}
	if left := a.undelivered(t); len(left) != 0 {
		t.Errorf("undelivered: %v", left)
	}
}

// TestGivesUp stops after eight attempts; the event stays listed as undelivered
// and can be sent again.
func TestGivesUp(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{RetryCompression: 1e8})
	in := newInbox(t, func(n int) int {
		if n <= 8 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	a.Register(in.url, secret)
	a.newCustomer(t)
	events := in.received(t, a)
	if len(events) != 8 {
		t.Fatalf("%d attempts", len(events))
	}
	if left := a.undelivered(t); !slices.Equal(left, []string{events[0].ID}) {
		t.Errorf("undelivered: %v", left)
	}
	if err := a.Resend(events[0].ID); err != nil {
		t.Fatal(err)
	}
	if events := in.received(t, a); len(events) != 9 || len(a.undelivered(t)) != 0 {
		t.Errorf("after the resend: %d attempts, undelivered %v", len(events), a.undelivered(t))
	}
}

func TestEndpointsChoose(t *testing.T) {
	t.Parallel()
	a := newAccount(t, fast)
	all, some, off := newInbox(t, nil), newInbox(t, nil), newInbox(t, nil)
	a.Register(all.url, secret)
	a.Register(some.url, secret, "product.created")
	disabled := a.Register(off.url, secret)
	must(a.api.WebhookEndpoints.Update(disabled, &stripe.WebhookEndpointParams{Disabled: stripe.Bool(true)}))(t)
	a.newCustomer(t)
	a.price(t, 100, "")
	if got := len(all.received(t, a)); got != 3 {
		t.Errorf("the endpoint for all got %d", got)
	}
	if got := some.received(t, a); len(got) != 1 || got[0].Type != "product.created" {
		t.Errorf("the choosy endpoint got %d", len(got))
	}
	if got := len(off.received(t, a)); got != 0 {
		t.Errorf("the disabled endpoint got %d", got)
	}
}

// TestEndpointSecret shows the secret once, and signs with it.
func TestEndpointSecret(t *testing.T) {
	t.Parallel()
	a := newAccount(t, fast)
	params := &stripe.WebhookEndpointParams{URL: stripe.String("https://hook.example/"), EnabledEvents: stripe.StringSlice([]string{"*"})}
	created := must(a.api.WebhookEndpoints.New(params))(t)
	if len(created.Secret) < 30 {
		t.Errorf("secret %q", created.Secret)
	}
	if read := must(a.api.WebhookEndpoints.Get(created.ID, nil))(t); read.Secret != "" {
		t.Error("the secret is shown twice")
	}
	again := a.Register("https://hook.example/", secret)
	if again != created.ID {
		t.Error("registering the same URL made a second endpoint")
	}
}

func TestDeliveryFaults(t *testing.T) {
	t.Parallel()
	a := newAccount(t, fast)
	in := newInbox(t, nil)
	a.Register(in.url, secret)
	a.SetDeliveryFaults(stripeemu.DeliveryFaults{
		Duplicate: 2, Shuffle: 20 * time.Millisecond, Delay: time.Millisecond,
		Drop: func(eventType string) bool { return eventType == "price.created" },
	})
	a.price(t, 100, "")
	events := in.received(t, a)
	if len(events) != 3 || events[0].ID != events[1].ID || events[1].ID != events[2].ID || events[0].Type != "product.created" {
		t.Errorf("deliveries: %+v", events)
	}
	left := a.undelivered(t)
	if len(left) != 1 || must(a.api.Events.Get(left[0], nil))(t).Type != "price.created" {
		t.Errorf("undelivered: %v", left)
	}
	a.SetDeliveryFaults(stripeemu.DeliveryFaults{})
	a.newCustomer(t)
	if events := in.received(t, a); len(events) != 4 {
		t.Errorf("without faults: %d deliveries", len(events)-3)
	}
}

// TestSlowReceiver takes no answer in time for a failure.
func TestSlowReceiver(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{RetryCompression: 1e6, AnswerTimeout: 30 * time.Millisecond})
	release := make(chan struct{})
	calls := make(chan int, 100)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		calls <- 1
		if len(calls) == 1 {
			<-release
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	a.Register(server.URL, secret)
	a.newCustomer(t)
	a.settle(t)
	attempts := a.Attempts()
	if len(attempts) != 2 || attempts[0].Err == nil || attempts[0].Status != 0 || attempts[1].Status != http.StatusOK {
		t.Errorf("attempts: %+v", attempts)
	}
}

// TestCloseEndsDeliveries does not wait for an hour's pause.
func TestCloseEndsDeliveries(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{RetryCompression: 1})
	in := newInbox(t, func(int) int { return http.StatusInternalServerError })
	a.Register(in.url, secret)
	a.newCustomer(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := a.Settle(ctx); err == nil {
		t.Error("settled although an attempt is to come")
	}
	closed := make(chan struct{})
	go func() {
		a.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Fatal("Close waits for the next attempt")
	}
}

func TestEventList(t *testing.T) {
	t.Parallel()
	clock := newClock("2025-03-01T12:00:00Z")
	a := newAccount(t, stripeemu.Config{Now: clock.now})
	a.newCustomer(t)
	clock.advance(time.Hour)
	a.price(t, 100, "")
	count := func(params *stripe.EventListParams) (n int) {
		for iterator := a.api.Events.List(params); iterator.Next(); {
			n++
		}
		return n
	}
	since := &stripe.RangeQueryParams{GreaterThanOrEqual: clock.now().Unix()}
	if got := count(&stripe.EventListParams{CreatedRange: since}); got != 2 {
		t.Errorf("since the last hour: %d", got)
	}
	if got := count(&stripe.EventListParams{Types: stripe.StringSlice([]string{"customer.created", "price.created"})}); got != 2 {
		t.Errorf("of two types: %d", got)
	}
	if got := count(&stripe.EventListParams{Type: stripe.String("product.*")}); got != 1 {
		t.Errorf("by pattern: %d", got)
	}
	oldest := a.Objects("event")[2]["id"].(string)
	params := &stripe.EventListParams{}
	params.EndingBefore = stripe.String(oldest)
	iterator := a.api.Events.List(params)
	if !iterator.Next() || iterator.Event().Type != "product.created" {
		t.Errorf("the event after the oldest is %+v", iterator.Event())
	}
	many := make([]string, 21)
	for i := range many {
		many[i] = "customer.created"
	}
	if iterator := a.api.Events.List(&stripe.EventListParams{Types: stripe.StringSlice(many)}); iterator.Next() || iterator.Err() == nil {
		t.Error("21 types are accepted")
	}
	clock.advance(31 * 24 * time.Hour)
	if got := count(&stripe.EventListParams{}); got != 0 {
		t.Errorf("after 31 days: %d", got)
	}
}
