package stripehook_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"example.com/saaskit/internal/stripeemu"
	"example.com/saaskit/internal/stripehook"
)

func TestC40Throttled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	event := w.about("invoice.paid", "in_1")
	id := event["id"].(string)
	w.post(event)
	faults := []stripeemu.Fault{
		{Status: 429}, {Status: 429}, {Status: 500}, {Abort: true}, {Delay: time.Minute}, {Status: 400}, {Status: 404, Body: object{"error": object{
			"type": "invalid_request_error", "message": "Unrecognized request URL"}}},
	}
	for i, fault := range faults {
		remove := w.emu.Inject(fault)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if err := w.service.Work(ctx, id, false); err == nil || snoozed(err) {
			t.Errorf("fault %d: %v, want a failed attempt", i, err)
		}
		cancel()
		remove()
		w.want(fmt.Sprintf("pending %d", i+1), `SELECT status || ' ' || attempts FROM stripe_events`)
		w.want("0", `SELECT count(*) FROM credit_lots`)
	}
	w.drain()
	w.wantAllDone(1)
	w.want("10", `SELECT balance FROM credit_accounts`)
}

func TestC41BadAPIKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	w.post(w.about("invoice.paid", "in_1"), w.about("customer.subscription.updated", "sub_1"), w.about("customer.updated", "cus_1"))
	remove := w.emu.Inject(stripeemu.Fault{Status: 401})
	for range 5 {
		for _, id := range w.texts(`SELECT id FROM stripe_events ORDER BY id`) {
			if err := w.try(id, true); !snoozed(err) {
				t.Errorf("%v, want it snoozed", err)
			}
		}
	}
	w.want("3 0", `SELECT count(*) || ' ' || sum(attempts) FROM stripe_events WHERE status = 'pending'`)
	if n := len(w.emu.Requests()); n != 1 {
		t.Errorf("%d requests with a bad key, want one", n)
	}
	if w.alarms("key_refused") != 1 || w.metric("saaskit_stripe_circuit_open") != 1 {
		t.Errorf("alarms %v, circuit %v", w.alarms("key_refused"), w.metric("saaskit_stripe_circuit_open"))
	}
	remove()
	w.clock.Add(time.Minute)
	w.drain()
	w.wantAllDone(3)
	if w.metric("saaskit_stripe_circuit_open") != 0 {
		t.Error("the circuit is still open")
	}
}

func TestC42ObjectGone(t *testing.T) {
	t.Parallel()
	for name, reverse := range map[string]bool{"created first": false, "deleted first": true} {
		w := newWorld(t)
		snapshot := w.put("product", object{"id": "prod_basic", "active": true})
		w.emu.Remove("prod_basic")
		created, deleted := w.event("product.created", snapshot), w.event("product.deleted", snapshot)
		if reverse {
			w.settled(deleted)
			w.settled(created)
		} else {
			w.post(created)
			if err := w.try(created["id"].(string), false); !snoozed(err) {
				t.Fatalf("%v, want it parked", err)
			}
			w.settled(deleted)
		}
		w.wantAllDone(2)
		w.want("true", `SELECT deleted_at IS NOT NULL FROM stripe_objects`)
		if w.alarms("catalog_drift") == 0 { // it is a product that we sell
			t.Errorf("%s: no alarm", name)
		}
	}
}

// An object that cannot be fetched although nobody has said that it was deleted.
func TestC42GoneWithoutAWord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	w.settled(w.about("invoice.paid", "in_1"))
	missing := w.about("customer.subscription.updated", "sub_1")
	draft := w.event("invoice.created", object{"id": "in_draft", "object": "invoice", "customer": "cus_1", "status": "draft"})
	clock := w.event("customer.subscription.updated", object{"id": "sub_clock", "object": "subscription", "customer": "cus_1", "test_clock": "clock_1"})
	w.emu.Remove("sub_1")
	w.settled(missing, draft, clock)
	w.wantEvent(missing["id"].(string), "ignored:gone")
	w.wantEvent(draft["id"].(string), "done")
	w.wantEvent(clock["id"].(string), "done")
	w.want("active", `SELECT status FROM subscriptions WHERE id = 'sub_1'`) // not finding is not a deletion
	if w.alarms("gone") != 1 {
		t.Error("no alarm")
	}
}

// When a deleted object cannot be fetched, the event is all there is.
func TestC42DeletionFromThePayload(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	w.invoice("in_2", "sub_1", object{"status": "draft", "paid": false})
	w.settled(w.about("invoice.paid", "in_1"), w.about("invoice.created", "in_2"))
	ended := w.clock.Now().Add(-time.Hour).Unix()
	subscription := w.about("customer.subscription.deleted", "sub_1")
	laid(subscription["data"].(object)["object"].(object), object{"status": "canceled", "ended_at": ended})
	invoice := w.about("invoice.deleted", "in_2")
	w.emu.Remove("sub_1")
	w.emu.Remove("in_2")
	w.settled(subscription, invoice)
	w.wantAllDone(4)
	w.want("true", `SELECT status = 'canceled' AND extract(epoch FROM ended_at)::bigint = $1 FROM subscriptions`, ended)
	w.want("deleted", `SELECT status FROM invoices WHERE id = 'in_2'`)
}

func TestC43ModeMismatchFromTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	w.settled(w.about("invoice.paid", "in_1"))
	event := w.about("customer.subscription.deleted", "sub_1")
	defer w.emu.Inject(faultBody("/v1/subscriptions/sub_1", 404, object{"error": object{"type": "invalid_request_error", "code": "resource_missing",
		"message": "No such subscription: 'sub_1'; a similar object exists in live mode, but a test mode key was used to make this request."}}))()
	w.settled(event)
	w.wantEvent(event["id"].(string), "quarantined:environment")
	w.want("active", `SELECT status FROM subscriptions`)
}

func TestC44EffectsAtomic(t *testing.T) {
	t.Parallel()
	fail := true
	w := newWorld(t, with(func(c *stripehook.Config) {
		c.Failpoints.BeforeCommit = func(id string) error {
			if id == "in_1" && fail {
				return errors.New("failed before the commit")
			}
			return nil
		}
	}))
	w.signup()
	event := w.about("invoice.paid", "in_1")
	w.post(event)
	if err := w.try(event["id"].(string), false); err == nil {
		t.Fatal("the failpoint did not fail")
	}
	const effects = `SELECT concat_ws(' ', (SELECT count(*) FROM credit_lots), (SELECT count(*) FROM credit_entries), (SELECT count(*) FROM outbox),
		(SELECT count(*) FROM invoices), (SELECT count(*) FROM stripe_events WHERE status = 'done'))`
	w.want("0 0 0 0 0", effects)
	fail = false
	w.drain()
	w.want("1 1 1 1 1", effects)
}

func TestC45DifferentObjectsInParallel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	const subscriptions, each = 50, 4
	states := []string{"trialing", "past_due", "active", "unpaid"}
	stop := w.startRiver(w.service)
	w.startRiver(w.newService()) // a second server: eight workers in all
	for round := range each {
		for i := range subscriptions {
			id := fmt.Sprintf("sub_%d", i)
			if round == 0 {
				w.subscription(id)
			}
			w.patch(id, object{"status": states[(round+i)%len(states)]})
			w.post(w.about("customer.subscription.updated", id))
		}
	}
	w.await("0", `SELECT count(*) FROM stripe_events WHERE status = 'pending'`)
	stop()
	w.wantAllDone(subscriptions * each)
	w.want("0", `SELECT sum(attempts) FROM stripe_events`) // no deadlock, no other error
	for _, stored := range w.emu.Objects("subscription") {
		w.want(stored["status"].(string), `SELECT status FROM subscriptions WHERE id = $1`, stored["id"])
	}
}

func TestC46GracefulShutdown(t *testing.T) {
	t.Parallel()
	h := newHold("fetched in_1 1")
	w := newWorld(t, with(func(c *stripehook.Config) { c.Failpoints.AfterFetch = h.point("fetched") }))
	w.signup()
	w.post(w.about("invoice.paid", "in_1"))
	stop := w.startRiver(w.service)
	h.await(t, "fetched in_1 1")
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	time.AfterFunc(200*time.Millisecond, func() { h.release("fetched in_1 1") })
	<-stopped
	w.want("0", `SELECT attempts FROM stripe_events`) // a stop is no failure
	w.startRiver(w.newService())
	w.await("done", `SELECT status FROM stripe_events`)
	w.want("10", `SELECT balance FROM credit_accounts`)
}

func TestRequeue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	lost, exhausted, running := w.about("invoice.paid", "in_1"), w.about("customer.updated", "cus_1"), w.about("charge.succeeded", "ch_in_1")
	w.post(lost, exhausted, running)
	w.exec(`DELETE FROM river_job WHERE args->>'event_id' = $1`, lost["id"])
	w.exec(`UPDATE river_job SET state = 'discarded', finalized_at = now() WHERE args->>'event_id' = $1`, exhausted["id"])
	if err := w.service.Requeue(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.want("2", `SELECT count(*) FROM river_job`) // too young
	w.clock.Add(2 * time.Minute)
	for range 2 {
		if err := w.service.Requeue(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.want("1", `SELECT count(*) FROM river_job WHERE args->>'event_id' = $1`, lost["id"])
	w.want("1", `SELECT count(*) FROM river_job WHERE args->>'event_id' = $1`, running["id"])
	w.wantEvent(exhausted["id"].(string), "dead")
	if w.alarms("dead") != 1 {
		t.Error("no alarm")
	}
	if age := w.metric("saaskit_stripe_oldest_pending_seconds"); age < 119 || age > 121 {
		t.Errorf("age of the oldest pending event: %v", age)
	}
}

// An event of another environment on the same account of Stripe's waits for its customer by intent: that is no age to be alarmed by.
func TestParkedEventsAreNotLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	w.customer("cus_staging", object{"metadata": object{"app_env": "staging"}})
	e := w.about("customer.updated", "cus_staging")
	w.post(e)
	id := e["id"].(string)
	w.clock.Add(time.Minute)
	if age := w.metric("saaskit_stripe_oldest_pending_seconds"); age < 59 {
		t.Errorf("%v seconds of one that nobody has looked at", age)
	}
	for range 3 {
		if err := w.try(id, false); !snoozed(err) {
			t.Fatal(err)
		}
		w.clock.Add(12 * time.Minute)
		if age, parked := w.metric("saaskit_stripe_oldest_pending_seconds"), w.metric("saaskit_stripe_events_parked"); age != 0 || parked != 1 {
			t.Errorf("%v seconds, %v parked", age, parked)
		}
	}
	w.must(w.try(id, false))
	w.wantEvent(id, "ignored:unowned")
	// One that was parked and then failed is late.
	w.exec(`UPDATE stripe_events SET status = 'pending', done_at = NULL, attempts = 1`)
	if age := w.metric("saaskit_stripe_oldest_pending_seconds"); age < 60 {
		t.Errorf("%v seconds of one that fails", age)
	}
}
