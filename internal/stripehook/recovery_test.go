package stripehook_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/page"
	"example.com/saaskit/internal/problem"
	"example.com/saaskit/internal/stripehook"
)

var operator = audit.Operator("test")

func (w *world) replay(id string) {
	w.t.Helper()
	if _, _, err := w.service.Replay(w.t.Context(), idempotency.Key{}, id, operator); err != nil {
		w.t.Error(err)
	}
}

func (w *world) reconcile(all bool) stripehook.Reconciled {
	w.t.Helper()
	done, err := w.service.Reconcile(w.t.Context(), stripehook.Reconciliation{All: all, Report: func(kind, id, what string) { w.t.Log(kind, id, what) }})
	if err != nil {
		w.t.Fatal(err)
	}
	return done
}

func (w *world) sweep() stripehook.Swept {
	w.t.Helper()
	swept, err := w.service.Sweep(w.t.Context(), false)
	if err != nil {
		w.t.Fatal(err)
	}
	return swept
}

func TestC37ManualReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	event := w.about("invoice.paid", "in_1")
	id := event["id"].(string)
	w.settled(event)
	effects := `SELECT concat_ws(' ', (SELECT count(*) FROM credit_entries), (SELECT count(*) FROM outbox), (SELECT count(*) FROM transactions))`
	before := w.text(effects)
	w.patch("in_1", object{"attempt_count": 7}) // changed without an event: the replay finds it
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { w.replay(id) })
	}
	both.Wait()
	w.want("1", `SELECT count(*) FROM river_job WHERE kind = 'stripe_event' AND state = 'available' AND args->>'event_id' = $1`, id)
	w.drain()
	w.wantEvent(id, "done")
	w.want("7", `SELECT attempt_count FROM invoices`)
	w.want(before, effects)
	w.want("2", `SELECT replays FROM stripe_events`)
	w.want("2", `SELECT count(*) FROM audit_log WHERE action = 'stripe_event.replay'`)
	w.exec(`UPDATE stripe_events SET payload = NULL`)
	w.patch("in_1", object{"attempt_count": 8})
	w.replay(id)
	w.drain()
	w.wantEvent(id, "done")
	w.want("8", `SELECT attempt_count FROM invoices`)
	w.want(before, effects)
	if _, _, err := w.service.Replay(t.Context(), idempotency.Key{}, "evt_none", operator); !is(err, problem.NotFound) {
		t.Error(err)
	}
}

func TestC38ReplayOfDead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	mend := w.emu.Inject(faultBody("/v1/invoices/in_1", 500, object{"error": object{"type": "api_error"}}))
	dead, other := w.about("invoice.paid", "in_1"), w.about("customer.updated", "cus_1")
	w.post(dead, other)
	if err := w.try(dead["id"].(string), true); err == nil {
		t.Fatal("no error")
	}
	if err := w.try(other["id"].(string), false); err != nil {
		t.Fatal(err)
	}
	w.wantEvent(dead["id"].(string), "dead")
	mend()
	filter := stripehook.Filter{Type: "invoice.paid", Status: "dead"}
	for _, want := range []int{1, 0} {
		if n, err := w.service.ReplayAll(t.Context(), filter, 100, operator); err != nil || n != want {
			t.Errorf("%d, %v; want %d", n, err, want)
		}
	}
	w.want("0", `SELECT attempts FROM stripe_events WHERE id = $1`, dead["id"])
	w.drain()
	w.wantAllDone(2)
	w.want("10", `SELECT balance FROM credit_accounts`)
	w.want("1", `SELECT count(*) FROM outbox WHERE kind = 'receipt'`)
	// One that is of another mode stays what it is.
	foreign := w.about("invoice.paid", "in_1")
	foreign["livemode"] = true
	w.post(foreign)
	w.replay(foreign["id"].(string))
	w.wantEvent(foreign["id"].(string), "quarantined:livemode")
}

func TestEventsAreListedInPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	for range 5 {
		w.clock.Add(time.Second)
		w.post(w.about("customer.updated", "cus_1"))
	}
	var ids []string
	for r := (page.Request{Limit: 2}); ; {
		p, err := w.service.Events(t.Context(), stripehook.Filter{Status: "pending", ObjectID: "cus_1"}, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range p.Data {
			ids = append(ids, e.ID)
		}
		if r.Cursor = p.Next; p.Next == "" {
			break
		}
	}
	want := w.texts(`SELECT id FROM stripe_events ORDER BY received_at DESC`)
	if !slices.Equal(ids, want) {
		t.Errorf("%v, want %v", ids, want)
	}
}

// missed makes events at Stripe that nobody delivers, and lets time go by.
func (w *world) missed(n int) {
	w.t.Helper()
	for i := range n {
		w.patch("sub_1", object{"metadata": object{"n": fmt.Sprint(i)}})
		stored, _ := w.emu.Get("sub_1")
		if _, err := w.emu.Emit(updated, stored); err != nil {
			w.t.Fatal(err)
		}
	}
	w.clock.Add(2 * day)
}

func TestC98EndpointDisabledTwoDays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed()
	w.sweep()
	w.missed(299)
	w.patch("sub_1", object{"status": "past_due"})
	stored, _ := w.emu.Get("sub_1")
	if _, err := w.emu.Emit(updated, stored); err != nil {
		t.Fatal(err)
	}
	w.clock.Add(time.Hour)
	if dry, err := w.service.Sweep(t.Context(), true); err != nil || dry.Found != 300 {
		t.Errorf("dry: %+v, %v", dry, err)
	}
	if swept := w.sweep(); swept.Found != 300 {
		t.Errorf("%+v", swept)
	}
	w.drain()
	w.want("300", `SELECT count(*) FROM stripe_events WHERE source = 'sweep' AND status = 'done' AND secret_index = -1`)
	w.want("past_due", `SELECT status FROM subscriptions`)
	if got := w.metric("saaskit_stripe_events_swept_total"); got != 300 {
		t.Errorf("metric %v", got)
	}
	if again := w.sweep(); again.Found != 0 {
		t.Errorf("again: %+v", again)
	}
	if n := w.gets("/v1/subscriptions/sub_1"); n > 5 {
		t.Errorf("%d reads of one subscription", n)
	}
}

func TestC99SweepAndWebhookTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	var events []object
	for range 20 {
		stored, _ := w.emu.Get("in_1")
		if _, err := w.emu.Emit("invoice.paid", stored); err != nil {
			t.Fatal(err)
		}
	}
	events = w.sent()
	w.clock.Add(time.Hour)
	var both sync.WaitGroup
	both.Go(func() { w.post(events...) })
	both.Go(func() { w.sweep() })
	both.Wait()
	w.drain()
	w.wantAllDone(20)
	w.want("10 1", `SELECT balance || ' ' || (SELECT count(*) FROM credit_entries) FROM credit_accounts`)
	w.want("20", `SELECT count(DISTINCT args->>'event_id') FROM river_job WHERE kind = 'stripe_event'`)
	w.want("20", `SELECT count(*) FROM river_job WHERE kind = 'stripe_event'`)
}

func TestC100EventNeverGenerated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.paid()
	w.patch("sub_1", object{"status": "past_due"})
	w.refund("ch_in_1", 1000) // its events are not delivered
	w.clock.Add(time.Hour)
	dry, err := w.service.Reconcile(t.Context(), stripehook.Reconciliation{All: true, Dry: true})
	if err != nil || dry.Drift != 2 {
		t.Errorf("dry: %+v, %v", dry, err)
	}
	w.want("active", `SELECT status FROM subscriptions`)
	w.want("10", `SELECT balance FROM credit_accounts`)
	if done := w.reconcile(true); done.Drift != 2 || done.Failed != 0 {
		t.Errorf("%+v", done)
	}
	w.want("past_due", `SELECT status FROM subscriptions`)
	w.want("0", `SELECT balance FROM credit_accounts`)
	w.want("system stripe_reconcile", `SELECT DISTINCT actor_kind || ' ' || actor_id FROM audit_log WHERE action IN ('refund.create') `)
	if got := w.metric("saaskit_stripe_drift_repaired_total"); got != 2 {
		t.Errorf("metric %v", got)
	}
	w.clock.Add(time.Hour)
	if again := w.reconcile(true); again.Drift != 0 {
		t.Errorf("again: %+v", again)
	}
	w.proven()
}

// What gives money back is found by the lists, however old the payment is, and although no event was ever made of it.
func TestReconcileFindsMoneyThatWentBack(t *testing.T) {
	t.Parallel()
	t.Run("a credit note", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.paid()
		w.creditNote(stripe.CreditNoteParams{CreditAmount: stripe.Int64(1000)})
		w.sent() // none of them comes
		w.clock.Add(2 * time.Hour)
		w.reconcile(true)
		w.want("0", `SELECT balance FROM credit_accounts`)
	})
	t.Run("a refund of an old payment", func(t *testing.T) {
		t.Parallel()
		p := newPlan(t, true)
		p.clock.Add(70 * day)
		p.available(10)
		p.refund("ch_in_1", 10000)
		p.sent()
		p.clock.Add(2 * time.Hour)
		p.reconcile(true)
		p.available(0)
		p.clock.Add(40 * day)
		p.available(0)
	})
}

// What we have never seen is found by the lists.
func TestC100NothingWasDelivered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	w.customer("cus_other", object{"metadata": object{}})
	w.subscription("sub_other", object{"customer": "cus_other"})
	if done := w.reconcile(true); done.Failed != 0 {
		t.Errorf("%+v", done)
	}
	w.want("10", `SELECT balance FROM credit_accounts`)
	w.want("sub_1", `SELECT string_agg(id, ' ') FROM subscriptions`)
	w.want("1", `SELECT count(*) FROM transactions`)
}

func TestC101SweepInterrupted(t *testing.T) {
	t.Parallel()
	pages, stop := 0, errors.New("killed")
	w := newWorld(t, with(func(c *stripehook.Config) {
		c.Failpoints.AfterPage = func(string) error {
			if pages++; pages == 3 {
				return stop
			}
			return nil
		}
	}))
	w.subscribed()
	w.sweep()
	watermark := w.text(`SELECT watermark FROM stripe_sweeps`)
	pages = 0
	w.missed(650)
	if _, err := w.service.Sweep(t.Context(), false); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	w.want(watermark, `SELECT watermark FROM stripe_sweeps`)
	w.want("300", `SELECT count(*) FROM stripe_events WHERE source = 'sweep'`)
	if swept := w.sweep(); swept.Found != 350 {
		t.Errorf("%+v", swept)
	}
	w.want("650", `SELECT count(*) FROM stripe_events WHERE source = 'sweep'`)
	w.want("0", `SELECT count(*) FROM stripe_events WHERE delivery_count > 1`)
	if w.text(`SELECT watermark FROM stripe_sweeps`) == watermark {
		t.Error("the watermark did not move")
	}
}

// A year of a test clock: objects and events are dated in the future.
func TestC102TestClock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	clock, err := w.api.TestHelpersTestClocks.New(&stripe.TestHelpersTestClockParams{FrozenTime: stripe.Int64(w.clock.Now().Unix())})
	if err != nil {
		t.Fatal(err)
	}
	cus, err := w.api.Customers.New(&stripe.CustomerParams{Email: stripe.String("clock@example.com"), TestClock: stripe.String(clock.ID)})
	if err != nil {
		t.Fatal(err)
	}
	w.exec(`UPDATE stripe_customers SET stripe_id = $1 WHERE account_id = $2`, cus.ID, w.t1)
	pm, err := w.api.PaymentMethods.Attach("pm_card_visa", &stripe.PaymentMethodAttachParams{Customer: stripe.String(cus.ID)})
	if err != nil {
		t.Fatal(err)
	}
	w.put("product", object{"id": "prod_price_basic", "active": true, "name": "Basic", "metadata": object{}})
	w.basic()
	sub, err := w.api.Subscriptions.New(&stripe.SubscriptionParams{Customer: stripe.String(cus.ID), DefaultPaymentMethod: stripe.String(pm.ID),
		Items: []*stripe.SubscriptionItemsParams{{Price: stripe.String("price_basic")}}})
	if err != nil {
		t.Fatal(err)
	}
	events := w.sent()
	for month := 1; month <= 12; month++ {
		to := w.clock.Now().AddDate(0, month, 0).Add(2 * time.Hour)
		if _, err := w.api.TestHelpersTestClocks.Advance(clock.ID, &stripe.TestHelpersTestClockAdvanceParams{FrozenTime: stripe.Int64(to.Unix())}); err != nil {
			t.Fatal(err)
		}
		events = append(events, w.sent()...) // Stripe keeps them for thirty days
	}
	w.shuffled(events...)
	w.want("13", `SELECT count(*) FROM credit_lots WHERE source = 'allowance'`) // the first, and twelve cycles
	w.want("130", `SELECT balance FROM credit_accounts`)                        // none is over by our own clock
	w.want("0", `SELECT count(*) FROM credit_entries WHERE kind = 'expire'`)
	at, err := w.api.Subscriptions.Get(sub.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.want("true", `SELECT current_period_end = to_timestamp($1) FROM subscriptions`, at.CurrentPeriodEnd)
	w.want("active", `SELECT status FROM subscriptions`)
	late := w.about(updated, sub.ID)
	if _, err := w.api.TestHelpersTestClocks.Del(clock.ID, nil); err != nil {
		t.Fatal(err)
	}
	w.settled(append(w.sent(), late)...)
	w.want("0", `SELECT count(*) FROM stripe_events WHERE status IN ('dead', 'pending', 'quarantined')`)
	w.proven()
}

func TestC105Retention(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	event := w.about("invoice.paid", "in_1")
	w.settled(event)
	w.clock.Add(91 * day)
	if n, err := w.service.EndPayloads(t.Context()); err != nil || n != 1 {
		t.Fatalf("%d, %v", n, err)
	}
	before := w.text(`SELECT count(*) FROM credit_entries`)
	w.settled(event)
	w.want("invoice.paid done 2", `SELECT concat_ws(' ', type, status, delivery_count) FROM stripe_events WHERE payload IS NULL`)
	w.want(before, `SELECT count(*) FROM credit_entries`)
}

// C85, our half: whoever comes back from a checkout, and the events of it, look at one session at the same time. Whose session it is
// is asked by package billing, before it comes here.
func TestC85SyncRacesTheEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	w.attempt("cs_1", "subscription")
	w.post(w.about("checkout.session.completed", "cs_1"), w.about("invoice.paid", "in_1"))
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if err := w.service.Sync(t.Context(), stripehook.KindSession, "cs_1"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Go(w.drain)
	all.Wait()
	w.want("10 1", `SELECT balance || ' ' || (SELECT count(*) FROM credit_entries) FROM credit_accounts`)
	w.wantAccess("basic")
	w.wantAllDone(2)
}
