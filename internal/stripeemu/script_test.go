package stripeemu_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/stripeemu"
)

// TestScriptedObject sets versions of an object behind the API's back.
func TestScriptedObject(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	created := must(a.Create("subscription", map[string]any{"id": "sub_1", "customer": "cus_1", "status": "incomplete"}))(t)
	status := func() stripe.SubscriptionStatus { return must(a.api.Subscriptions.Get("sub_1", nil))(t).Status }
	if status() != "incomplete" || created["customer"] != "cus_1" {
		t.Errorf("created: %s, %v", status(), created["customer"])
	}
	must(a.Patch("sub_1", map[string]any{"status": "past_due"}))(t)
	if status() != "past_due" {
		t.Errorf("patched: %s", status())
	}
	created["status"] = "active"
	if err := a.Put(created); err != nil || status() != "active" {
		t.Errorf("put: %s, %v", status(), err)
	}
	if _, err := a.Patch("sub_1", map[string]any{"status": "overdue"}); err == nil || status() != "active" {
		t.Errorf("a status that Stripe does not have: %s, %v", status(), err)
	}
	if _, err := a.Patch("sub_none", map[string]any{"status": "active"}); err == nil {
		t.Error("patched what is not there")
	}
	if err := a.Put(map[string]any{"id": "sub_2", "object": "subscription"}); err == nil {
		t.Error("put half a subscription")
	}
	if len(a.Objects("event")) != 0 {
		t.Error("scripting emitted an event")
	}
	a.Remove("sub_1")
	if _, err := a.api.Subscriptions.Get("sub_1", nil); codeOf(err) != "resource_missing" {
		t.Errorf("removed: %v", err)
	}
}

// TestScriptedEvents sends what Stripe would, and what it has not invented yet.
func TestScriptedEvents(t *testing.T) {
	t.Parallel()
	a := newAccount(t, fast)
	in := newInbox(t, nil)
	a.Register(in.url, secret)
	object := must(a.Create("subscription", map[string]any{"id": "sub_1"}))(t)
	first := must(a.Emit("customer.subscription.updated", object))(t)
	second := must(a.EmitEvent(map[string]any{
		"id": "evt_fixed", "type": "made.up.event", "created": 5, "livemode": true, "account": "acct_1",
		"data": map[string]any{"object": map[string]any{"object": "made_up"}},
	}))(t)
	got := map[string]stripe.Event{}
	for _, event := range in.received(t, a) {
		got[event.ID] = event
	}
	if e := got[first]; e.Type != "customer.subscription.updated" || e.Data.Object["id"] != "sub_1" || e.APIVersion != stripe.APIVersion {
		t.Errorf("first: %+v", e)
	}
	if e := got["evt_fixed"]; second != "evt_fixed" || e.Created != 5 || !e.Livemode || e.Account != "acct_1" || e.Type != "made.up.event" {
		t.Errorf("second: %+v", e)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	must(a.Create("subscription", map[string]any{"id": "sub_1"}))(t)
	must(a.Create("subscription", map[string]any{"id": "sub_2"}))(t)
	get := func(id string) int {
		_, err := a.api.Subscriptions.Get(id, nil)
		if refusal, ok := err.(*stripe.Error); ok { //nolint:errorlint // stripe-go returns it unwrapped
			return refusal.HTTPStatusCode
		}
		if err != nil {
			return 0
		}
		return http.StatusOK
	}
	a.Inject(stripeemu.Fault{Method: http.MethodGet, Path: "/v1/subscriptions/*", Times: 2, Status: http.StatusTooManyRequests})
	if got := []int{get("sub_1"), get("sub_2"), get("sub_1")}; got[0] != 429 || got[1] != 429 || got[2] != 200 {
		t.Errorf("two limited, then none: %v", got)
	}
	remove := a.Inject(stripeemu.Fault{Path: "/v1/subscriptions/sub_1", Status: http.StatusUnauthorized})
	if got := []int{get("sub_1"), get("sub_2"), get("sub_1")}; got[0] != 401 || got[1] != 200 || got[2] != 401 {
		t.Errorf("one path only: %v", got)
	}
	a.Inject(stripeemu.Fault{Times: 1, Status: http.StatusInternalServerError})
	if got := []int{get("sub_1"), get("sub_1")}; got[0] != 500 || got[1] != 401 {
		t.Errorf("the latest fault first: %v", got)
	}
	remove()
	if got := get("sub_1"); got != 200 {
		t.Errorf("removed: %d", got)
	}
	remove = a.Inject(stripeemu.Fault{Abort: true}) // every time: net/http tries a dropped GET again by itself
	if got := get("sub_1"); got != 0 {
		t.Errorf("aborted: %d", got)
	}
	remove()
	a.Inject(stripeemu.Fault{Times: 1, Status: http.StatusNotFound, Header: http.Header{"Stripe-Should-Retry": {"false"}},
		Body: map[string]any{"error": map[string]any{"type": "invalid_request_error", "code": "resource_missing",
			"message": "No such subscription: 'sub_1'; a similar object exists in live mode, but a test mode key was used to make this request."}}})
	if _, err := a.api.Subscriptions.Get("sub_1", nil); err == nil || !strings.Contains(err.Error(), "similar object exists in live mode") {
		t.Errorf("own body: %v", err)
	}
}

// TestFaultAfterEffect loses the answer of a creation that has happened: the
// retry of stripe-go, with the same key, finds it.
func TestFaultAfterEffect(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	a.Inject(stripeemu.Fault{Method: http.MethodPost, Times: 1, After: true, Abort: true})
	params := &stripe.CustomerParams{Name: stripe.String("Ada")}
	params.SetIdempotencyKey("k1")
	if _, err := a.api.Customers.New(params); err == nil {
		t.Fatal("the answer was not lost")
	}
	customer := must(a.api.Customers.New(params))(t)
	if all := a.Objects("customer"); len(all) != 1 || all[0]["id"] != customer.ID {
		t.Errorf("%d customers", len(all))
	}
}

// TestHeldRequest stops a request before and after it reads the state, while
// the state changes.
func TestHeldRequest(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		a := newAccount(t, stripeemu.Config{})
		must(a.Create("subscription", map[string]any{"id": "sub_1", "status": "incomplete"}))(t)
		reached, release := make(chan struct{}), make(chan struct{})
		a.Inject(stripeemu.Fault{Path: "/v1/subscriptions/sub_1", Times: 1, After: after, Do: func(*http.Request) {
			close(reached)
			<-release
		}})
		var got stripe.SubscriptionStatus
		var group sync.WaitGroup
		group.Go(func() {
			if s, err := a.api.Subscriptions.Get("sub_1", nil); err != nil {
				t.Error(err)
			} else {
				got = s.Status
			}
		})
		select {
		case <-reached:
		case <-time.After(20 * time.Second):
			t.Fatal("the request never came")
		}
		must(a.Patch("sub_1", map[string]any{"status": "active"}))(t)
		close(release)
		group.Wait()
		want := stripe.SubscriptionStatusActive
		if after {
			want = stripe.SubscriptionStatusIncomplete
		}
		if got != want {
			t.Errorf("held after reading %t: %s, want %s", after, got, want)
		}
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	a.Inject(stripeemu.Fault{Delay: 50 * time.Millisecond, Times: 1})
	begin := time.Now()
	a.newCustomer(t)
	if took := time.Since(begin); took < 50*time.Millisecond {
		t.Errorf("took %s", took)
	}
}

// TestScriptedSubscription has items whose prices lead nowhere: it can still be
// canceled and labelled, and time leaves it alone.
func TestScriptedSubscription(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	s := must(a.Create("subscription", map[string]any{"customer": "cus_none", "status": "active"}))(t)
	id := s["id"].(string)
	params := &stripe.SubscriptionParams{CancelAtPeriodEnd: stripe.Bool(true)}
	params.AddMetadata("a", "b")
	if got := must(a.api.Subscriptions.Update(id, params))(t); !got.CancelAtPeriodEnd || got.Metadata["a"] != "b" {
		t.Errorf("updated: %+v", got)
	}
	a.Advance(400 * days)
	if got, _ := a.Get(id); got["status"] != "active" || got["current_period_end"] != s["current_period_end"] {
		t.Errorf("time has changed it: %v", got["status"])
	}
	if got := must(a.api.Subscriptions.Cancel(id, nil))(t); got.Status != stripe.SubscriptionStatusCanceled {
		t.Errorf("canceled: %s", got.Status)
	}
}
