package stripehook_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"example.com/saaskit/internal/catalog/catalogtest"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/stripeemu"
	"example.com/saaskit/internal/stripehook"
)

// startRounds starts an instance with its clock, and stops it once the query gives what is wanted.
func (w *world) startRounds(want, query string) {
	w.t.Helper()
	workers := river.NewWorkers()
	w.service.AddWorkers(workers)
	jobs, err := river.NewClient(riverpgxv5.New(w.pool), &river.Config{
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 4}}, Workers: workers, PeriodicJobs: w.service.PeriodicJobs(),
		FetchCooldown: 5 * time.Millisecond, FetchPollInterval: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := jobs.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.await(want, query)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := jobs.Stop(ctx); err != nil {
		w.t.Fatal(err)
	}
}

// Where instances are replaced every hour, the round of a day comes all the same, and once a day.
func TestRoundsComeWithTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed()
	const rounds = `SELECT count(*) FROM river_job WHERE kind IN ('stripe_sweep', 'stripe_reconcile') AND state = 'completed'`
	for start := 1; start <= 26; start += 5 {
		w.startRounds(fmt.Sprint(3*((start+4)/5)), rounds)
		if census, want := w.gets("/v1/disputes"), 1+(start-1)/25; census != want {
			t.Errorf("start %d: %d rounds of a day, want %d", start, census, want)
		}
		w.clock.Add(5 * time.Hour)
	}
	w.want("3", `SELECT count(*) FROM stripe_rounds WHERE ran_at > now() - interval '1 hour'`)
}

// What never came to its end is late from the beginning.
func TestRoundsThatNeverEndAreLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed()
	w.exec(`UPDATE stripe_rounds SET begun_at = $1`, w.clock.Now().Add(-3*time.Hour))
	ages := func() string {
		var all []string
		for _, name := range []string{"sweep", "reconcile", "census"} {
			all = append(all, fmt.Sprint(w.metric("saaskit_stripe_"+name+"_age_seconds")))
		}
		return strings.Join(all, " ")
	}
	if got := ages(); got != "10800 10800 10800" {
		t.Errorf("ages before the first: %s", got)
	}
	// A restricted key without a permission: that list alone is not read.
	forbid := func(path string) func() {
		return w.emu.Inject(faultBody(path, http.StatusForbidden, object{"error": object{"type": "invalid_request_error", "message": "no permission"}}))
	}
	remove := forbid("/v1/events")
	if _, err := w.service.Sweep(t.Context(), false); err == nil {
		t.Error("a sweep without permission is no error")
	}
	if w.metric("saaskit_stripe_circuit_open") != 0 || w.alarms("key_refused") != 0 {
		t.Error("the circuit is open")
	}
	if got := ages(); got != "10800 10800 10800" {
		t.Errorf("ages after a sweep that failed: %s", got)
	}
	remove()
	remove = forbid("/v1/disputes")
	w.patch("sub_1", object{"status": "past_due"})
	w.subscription("sub_2")
	w.invoice("in_2", "sub_2")
	done, err := w.service.Reconcile(t.Context(), stripehook.Reconciliation{All: true})
	if err == nil || !strings.Contains(err.Error(), "/v1/disputes") || done.Failed != 0 || done.Drift < 2 {
		t.Errorf("%+v, %v", done, err)
	}
	w.want("sub_1 past_due sub_2 active", `SELECT string_agg(id || ' ' || status, ' ' ORDER BY id) FROM subscriptions`)
	if w.metric("saaskit_stripe_circuit_open") != 0 {
		t.Error("the circuit is open")
	}
	if got := ages(); got != "10800 0 10800" {
		t.Errorf("ages after a list that failed: %s", got)
	}
	remove()
	w.reconcile(true)
	w.sweep()
	if got := ages(); got != "300 0 0" {
		t.Errorf("ages at last: %s", got)
	}
	// A key that is refused altogether opens it still.
	w.emu.Inject(faultBody("/v1/events", http.StatusUnauthorized, object{"error": object{"type": "invalid_request_error"}}))
	if _, err := w.service.Sweep(t.Context(), false); err == nil || w.metric("saaskit_stripe_circuit_open") != 1 {
		t.Errorf("refused: %v", err)
	}
}

// A draft that is deleted, and nobody tells: it is over. What cannot be looked at goes behind what can.
func TestReconcileOfWhatIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed()
	for _, id := range []string{"in_draft", "in_open"} {
		status := strings.TrimPrefix(id, "in_")
		w.invoice(id, "sub_1", object{"status": status, "paid": false, "amount_paid": 0, "amount_remaining": 1000, "billing_reason": "subscription_cycle"})
		w.settled(w.about("invoice.updated", id))
	}
	missing := object{"error": object{"type": "invalid_request_error", "code": "resource_missing", "message": "No such invoice", "param": "id"}}
	for _, id := range []string{"in_draft", "in_open"} {
		w.emu.Inject(faultBody("/v1/invoices/"+id, http.StatusNotFound, missing))
	}
	w.clock.Add(time.Hour)
	w.emu.Inject(faultBody("/v1/subscriptions/sub_1", http.StatusNotFound, missing))
	var told []string
	done, err := w.service.Reconcile(t.Context(), stripehook.Reconciliation{Report: func(kind, id, what string) {
		told = append(told, kind+" "+id+" "+what)
	}})
	if err != nil || done.Failed != 2 || done.Drift != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	slices.Sort(told)
	const why = ": no such object at Stripe: it was wiped with the test data, or STRIPE_API_KEY is of another Stripe account; see `saaskit stripe doctor`"
	if want := []string{
		"invoice in_draft differs from Stripe", "invoice in_open fetch in_open" + why, "subscription sub_1 fetch sub_1" + why,
	}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	w.want("in_draft deleted in_open open", `SELECT string_agg(id || ' ' || status, ' ' ORDER BY id) FROM invoices WHERE id <> 'in_1'`)
	w.want("2", `SELECT count(*) FROM stripe_objects WHERE tried_at > last_fetch_at`)
	if done := w.reconcile(false); done.Looked != 0 {
		t.Errorf("at once again: %+v", done)
	}
	w.clock.Add(time.Hour)
	if done := w.reconcile(false); done.Failed != 2 || done.Looked != 2 {
		t.Errorf("an hour later: %+v", done)
	}
}

// A customer whose balance or card has changed without a word.
func TestCensusOfCustomers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed()
	w.customer("cus_other")
	w.settled(w.about("customer.updated", "cus_1"))
	if done := w.reconcile(true); done.Drift != 0 {
		t.Errorf("nothing has changed: %+v", done)
	}
	w.patch("cus_1", object{"balance": -700})
	w.clock.Add(time.Hour)
	if done := w.reconcile(true); done.Drift != 1 || done.Failed != 0 {
		t.Errorf("%+v", done)
	}
	w.want("-700", `SELECT balance FROM stripe_customers`)
}

// What was paid before the catalogue knew its price is granted once it does, once.
func TestWithheldGrantsAreMadeUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	w.subscription("sub_1")
	plan, pack, never := w.price("price_new", "month", 1000, "usd"), w.price("price_pack_new", "", 500, "usd"), w.price("price_never", "month", 9, "usd")
	w.invoice("in_1", "sub_1", object{"lines": list("/v1/invoices/in_1/lines", w.line("il_1", plan, 1000), w.line("il_2", w.basic(), 1000))})
	w.invoice("in_2", "sub_1", object{"currency": "eur"}) // of a price in another currency
	w.invoice("in_3", "sub_1", object{"lines": list("/v1/invoices/in_3/lines", w.line("il_3", never, 9))})
	w.session("cs_pack", object{"mode": "payment", "payment_intent": "pi_pack", "line_items": w.sessionLines(pack, 1)})
	w.intent("pi_pack", object{"latest_charge": nil})
	w.settled(w.about("invoice.paid", "in_1"), w.about("invoice.paid", "in_2"), w.about("invoice.paid", "in_3"), w.about("checkout.session.completed", "cs_pack"))
	w.want("10", `SELECT balance FROM credit_accounts`)
	w.want("4", `SELECT count(*) FROM outbox WHERE kind = 'operator_alarm'`)
	w.clock.Add(time.Hour)
	alarms := w.alarms("unknown_price")
	w.reconcile(false)
	w.want("10", `SELECT balance FROM credit_accounts`)
	if w.alarms("unknown_price") != alarms {
		t.Error("it alarms again, and nothing has changed")
	}
	w.exec(`INSERT INTO tier_prices (lookup_key, tier_id, interval, currency, amount, stripe_price_id, archived_at, created_at)
		VALUES ('new', 'basic', 'month', 'usd', 1000, 'price_new', now(), now())`)
	w.exec(`INSERT INTO credit_pack_prices (lookup_key, pack_id, currency, amount, credits, stripe_price_id, archived_at, created_at)
		SELECT 'pack_new', pack_id, currency, amount, credits, 'price_pack_new', now(), now() FROM credit_pack_prices WHERE stripe_price_id = '` + catalogtest.PricePack + `'`)
	for range 2 {
		w.clock.Add(time.Hour)
		if done := w.reconcile(false); done.Failed != 0 {
			t.Errorf("%+v", done)
		}
		w.want("70", `SELECT balance FROM credit_accounts`)
	}
	w.want("invoice:in_1:il_1 invoice:in_1:il_2 session:cs_pack", `SELECT string_agg(natural_key, ' ' ORDER BY natural_key) FROM credit_lots`)
	if n := w.gets("/v1/invoices/in_3"); n != 1 {
		t.Errorf("what is still not known was looked at %d times", n)
	}
	w.proven()
}

// What grants nothing under any price is looked at once when the price is known, and not each time that the clock comes by; what was looked
// at longest ago comes first.
func TestWithheldGrantsThatNeverCome(t *testing.T) {
	t.Parallel()
	p := newPlan(t, true)
	plan, pack := p.price("price_new", "month", 900, "usd"), p.price("price_pack_new", "", 500, "usd")
	credited := p.gives("il_gives", plan, 900)
	p.bill("in_2", "manual", p.line("il_2", plan, 900))
	p.bill("in_3", "subscription_update", credited, p.takes("il_3", p.basicYear, 900), p.takes("il_4", pack, 500))
	p.bill("in_4", "subscription_cycle", p.line("il_5", plan, 0, object{"quantity": 0}))
	p.session("cs_sub", object{"mode": "payment", "payment_intent": "pi_in_1", "line_items": p.sessionLines(plan, 1)})
	p.settled(p.about("checkout.session.completed", "cs_sub"))
	p.bill("in_8", "subscription_cycle", p.line("il_8", plan, 900))
	p.bill("in_9", "subscription_cycle", p.line("il_9", plan, 900))
	p.exec(`INSERT INTO tier_prices (lookup_key, tier_id, interval, currency, amount, stripe_price_id, archived_at, created_at)
		VALUES ('new', 'basic', 'month', 'usd', 900, 'price_new', now(), now())`)
	p.exec(`INSERT INTO credit_pack_prices (lookup_key, pack_id, currency, amount, credits, stripe_price_id, archived_at, created_at)
		SELECT 'pack_new', pack_id, currency, amount, credits, 'price_pack_new', now(), now() FROM credit_pack_prices LIMIT 1`)
	p.exec(`UPDATE stripe_objects SET tried_at = last_fetch_at + interval '1 minute' WHERE id = 'in_8'`)
	for most, want := range map[int32]string{1: "[in_2]", 100: "[in_2 in_3 in_4 in_9 in_8]"} {
		if got, err := p.service.WithheldGrants(t.Context(), most); err != nil || fmt.Sprint(got) != want {
			t.Errorf("at most %d: %v, %v; want %s", most, got, err, want)
		}
	}
	p.clock.Add(2 * time.Hour)
	p.reconcile(false)
	if got, err := p.service.WithheldGrants(t.Context(), 100); err != nil || len(got) > 0 {
		t.Errorf("all are settled: %v, %v", got, err)
	}
	p.want("invoice:in_8:il_8 invoice:in_9:il_9", `SELECT string_agg(natural_key, ' ' ORDER BY natural_key) FROM credit_lots WHERE natural_key ~ 'in_[2-9]'`)
}

// An event that was dead and is replayed is not dead again because its new job is lost.
func TestRequeueAfterAReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	event := w.about("customer.updated", "cus_1")
	id := event["id"].(string)
	w.post(event)
	discard := func() {
		w.exec(`UPDATE river_job SET state = 'discarded', finalized_at = now() WHERE args->>'event_id' = $1`, id)
		w.clock.Add(2 * time.Minute)
		if err := w.service.Requeue(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	discard()
	w.wantEvent(id, "dead")
	w.replay(id)
	w.exec(`DELETE FROM river_job WHERE args->>'event_id' = $1 AND state = 'available'`, id)
	w.clock.Add(2 * time.Minute)
	if err := w.service.Requeue(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wantEvent(id, "pending")
	w.want("1", `SELECT count(*) FROM river_job WHERE args->>'event_id' = $1 AND state = 'available'`, id)
	discard() // it kills the process again
	w.wantEvent(id, "dead")
}

// A replay takes back the job that pauses before its last attempt: a new one has all of them.
func TestReplayInTheLadderBeginsAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	w.subscription("sub_1")
	event := w.about(updated, "sub_1")
	id := event["id"].(string)
	w.post(event)
	w.exec(`UPDATE river_job SET state = 'retryable', attempt = 9, scheduled_at = now() + interval '1 day'`)
	w.replay(id)
	w.want("available 0 cancelled 9", `SELECT string_agg(state || ' ' || attempt, ' ' ORDER BY attempt) FROM river_job WHERE args->>'event_id' = $1`, id)
	// What is ignored now needs none.
	w.exec(`UPDATE stripe_events SET livemode = true, payload = NULL, status = 'quarantined', done_at = now()`)
	w.replay(id)
	w.want("0", `SELECT count(*) FROM river_job WHERE state NOT IN ('cancelled')`)
}

// A job that makes its last attempt while somebody replays its event does not end it.
func TestReplayDuringTheLastAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	w.subscription("sub_1")
	reached, release := make(chan struct{}, 9), make(chan struct{})
	w.emu.Inject(stripeemu.Fault{Method: http.MethodGet, Path: "/v1/subscriptions/*", Status: http.StatusBadRequest, Do: func(*http.Request) {
		reached <- struct{}{}
		<-release
	}})
	event := w.about(updated, "sub_1")
	id := event["id"].(string)
	w.post(event)
	w.exec(`UPDATE river_job SET attempt = max_attempts - 1`)
	w.startRiver(w.service)
	<-reached
	w.replay(id)
	close(release)
	w.await("discarded retryable", `SELECT string_agg(state::text, ' ' ORDER BY state::text) FROM river_job WHERE args->>'event_id' = $1`, id)
	w.wantEvent(id, "pending")
	w.want("2", `SELECT attempts FROM stripe_events`)
	if n := w.metric("saaskit_stripe_events_finished_total", "status", "dead") + w.alarms("dead"); n != 0 {
		t.Errorf("it counts as dead")
	}
	// The new job's last one does.
	w.exec(`UPDATE river_job SET state = 'available', attempt = max_attempts - 1, scheduled_at = now() WHERE state = 'retryable'`)
	w.await("dead", `SELECT status FROM stripe_events`)
}

// The answer to a replay is stored as it was given.
func TestReplayAnswersAsBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	event := w.about("customer.updated", "cus_1")
	id := event["id"].(string)
	w.settled(event)
	key, err := idempotency.New("user:1", "replayStripeEvent", "k", id)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		got, again, err := w.service.Replay(t.Context(), key, id, operator)
		if err != nil || again != (i == 1) || got.Status != "pending" || got.ID != id || got.Replays != 1 || got.Payload != nil {
			t.Errorf("answer %d: replayed %t: %+v, %v", i, again, got, err)
		}
		w.drain()
		w.wantEvent(id, "done")
	}
	w.want("0", `SELECT count(*) FROM idempotency_keys WHERE result::text LIKE '%' || $1 || '%'`, canary)
}
