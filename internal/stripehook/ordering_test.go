package stripehook_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/saaskit/internal/stripehook"
)

func TestC47UpdatedBeforeCreated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	created := w.about("customer.subscription.created", "sub_1")
	created["data"].(object)["object"].(object)["status"] = "incomplete"
	w.settled(w.about("customer.subscription.updated", "sub_1"))
	w.settled(created)
	w.want("active", `SELECT status FROM subscriptions`)
	w.wantAllDone(2)
}

func TestC48PaymentFailedAfterPaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	failed := w.about("invoice.payment_failed", "in_1")
	laid(failed["data"].(object)["object"].(object), object{"status": "open", "paid": false, "attempt_count": 1})
	w.settled(w.about("invoice.paid", "in_1"))
	w.settled(failed)
	w.want("paid active", `SELECT i.status || ' ' || s.status FROM invoices i, subscriptions s`)
	w.want("0", `SELECT count(*) FROM outbox WHERE kind = 'payment_failed'`)
	w.wantAllDone(2)
}

// The message is judged by what is stored, even where the event's own look was overtaken.
func TestC48DunningOncePerAttempt(t *testing.T) {
	t.Parallel()
	h := newHold("fetched in_1 1")
	w := newWorld(t, with(func(c *stripehook.Config) { c.Failpoints.AfterFetch = h.point("fetched") }))
	w.signup()
	open := object{"status": "open", "paid": false, "amount_paid": 0, "amount_remaining": 1000, "attempt_count": 1, "billing_reason": "subscription_cycle"}
	w.patch("in_1", open)
	w.patch("sub_1", object{"status": "past_due"})
	failed := w.about("invoice.payment_failed", "in_1")
	w.post(failed)
	stalled := make(chan error, 1)
	go func() { stalled <- w.try(failed["id"].(string), false) }()
	h.await(t, "fetched in_1 1")
	updated := w.about("invoice.updated", "in_1")
	w.post(updated)
	if err := w.try(updated["id"].(string), false); err != nil {
		t.Fatal(err)
	}
	w.want("0", `SELECT count(*) FROM outbox`)
	w.wantEvent(failed["id"].(string), "pending") // a message is nothing that another look covers
	h.release("fetched in_1 1")
	if err := <-stalled; err != nil {
		t.Fatal(err)
	}
	w.want("payment_failed:in_1:1", `SELECT string_agg(natural_key, ' ') FROM outbox`)
	w.settled(w.about("invoice.payment_failed", "in_1"))
	w.want("payment_failed:in_1:1", `SELECT string_agg(natural_key, ' ') FROM outbox`)
	w.patch("in_1", object{"attempt_count": 2})
	w.settled(w.about("invoice.payment_failed", "in_1"))
	w.want("payment_failed:in_1:1 payment_failed:in_1:2", `SELECT string_agg(natural_key, ' ' ORDER BY natural_key) FROM outbox`)
}

func TestC48NoDunningDuringTheCheckout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	w.settled(w.about("customer.subscription.created", "sub_1")) // active, as far as we know
	w.patch("sub_1", object{"status": "incomplete"})
	w.patch("in_1", object{"status": "open", "paid": false, "amount_paid": 0, "amount_remaining": 1000})
	w.settled(w.about("invoice.payment_failed", "in_1"), w.about("invoice.payment_action_required", "in_1"))
	w.want("0", `SELECT count(*) FROM outbox`)
	w.want("0", `SELECT count(*) FROM credit_lots`)
	w.wantAllDone(3)
}

func TestC49CheckoutBeforeSubscription(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	attempt := w.attempt("cs_1", "subscription")
	w.settled(w.about("checkout.session.completed", "cs_1"))
	w.wantAllDone(1)
	w.want(w.t1.String()+" active", `SELECT account_id || ' ' || status FROM subscriptions WHERE id = 'sub_1'`)
	w.want("complete", `SELECT status FROM checkout_attempts WHERE id = $1`, attempt)
	before := w.state()
	w.clock.Add(10 * time.Second)
	w.settled(w.about("customer.subscription.created", "sub_1"), w.about("customer.subscription.updated", "sub_1"), w.about("invoice.paid", "in_1"))
	w.wantAllDone(4)
	if diff := cmp.Diff(before, w.state()); diff != "" {
		t.Errorf("the later events changed something:\n%s", diff)
	}
}

func TestC50InvoiceBeforeSubscription(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	w.settled(w.about("invoice.paid", "in_1"))
	w.wantAllDone(1)
	w.want("active basic "+w.t1.String(), `SELECT status || ' ' || tier_id || ' ' || account_id FROM subscriptions WHERE id = 'sub_1'`)
	w.want("10", `SELECT sum(granted) FROM credit_lots WHERE account_id = $1`, w.t1)
	w.want("1", `SELECT count(*) FROM credit_lots`)
	if n := w.gets("/v1/subscriptions/sub_1"); n != 1 {
		t.Errorf("%d reads of the subscription", n)
	}
}

func TestC51AllPermutations(t *testing.T) {
	t.Parallel()
	const orders = 200
	w := newWorld(t)
	random := w.random()
	w.signup()
	w.attempt("cs_1", "subscription")
	types := [][2]string{
		{"customer.created", "cus_1"}, {"checkout.session.completed", "cs_1"}, {"customer.subscription.created", "sub_1"},
		{"customer.subscription.updated", "sub_1"}, {"invoice.finalized", "in_1"}, {"invoice.paid", "in_1"},
		{"invoice.payment_succeeded", "in_1"}, {"charge.succeeded", "ch_in_1"},
	}
	var want []string
	for range orders {
		w.forget()
		var events []object
		for _, t := range types {
			event := w.about(t[0], t[1])
			for range 1 + random.IntN(3) {
				events = append(events, event)
			}
		}
		random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		order := make([]string, 0, len(events))
		for _, event := range events {
			order = append(order, event["type"].(string))
			w.post(event)
			if random.IntN(3) == 0 { // sometimes it is worked on before the next one comes
				w.drain()
			}
		}
		w.drain()
		w.wantAllDone(len(types))
		got := w.state()
		if want == nil {
			want = got
			w.want("10 1 1 complete", `SELECT concat_ws(' ', (SELECT balance FROM credit_accounts), (SELECT count(*) FROM transactions),
				(SELECT count(*) FROM outbox), (SELECT status FROM checkout_attempts))`)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("another order, another state:\n%s\n%s", strings.Join(order, "\n"), diff)
		}
	}
}

// forget empties our side, but for accounts, catalogue and the customer's mapping.
func (w *world) forget() {
	w.t.Helper()
	tx, err := w.pool.Begin(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, statement := range []string{
		`SET LOCAL session_replication_role = replica`, // the ledger does not let itself be emptied
		`TRUNCATE credit_entry_lots, credit_entries, credit_lots, credit_accounts, subscription_items, subscriptions, invoice_lines,
			invoices, payment_intents, charges, checkout_sessions, payment_methods, transactions, stripe_events, stripe_objects, outbox, audit_log, river_job CASCADE`,
	} {
		if _, err := tx.Exec(w.t.Context(), statement); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := tx.Commit(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.exec(`UPDATE checkout_attempts SET status = 'open'`)
	w.exec(`UPDATE stripe_customers SET email = '', default_payment_method = NULL, currency = NULL`)
}

// state is everything that events bring about, without ids and times of ours.
func (w *world) state() []string {
	w.t.Helper()
	var state []string
	for _, table := range []string{
		"stripe_customers", "checkout_attempts", "subscriptions", "subscription_items", "invoices", "invoice_lines", "payment_intents",
		"charges", "checkout_sessions", "payment_methods", "transactions", "credit_accounts", "credit_lots", "outbox", "audit_log",
	} {
		state = append(state, w.texts(fmt.Sprintf(`SELECT '%s ' || (to_jsonb(r) - $1::text[])::text AS row FROM %s r ORDER BY row`, table, table),
			[]string{"updated_at", "lease_until", "actor_id"})...)
	}
	for i, row := range state {
		state[i] = w.blur(row)
	}
	slices.Sort(state) // by what is left: ids are random
	return state
}

// blur leaves out ids of ours and times at which we wrote.
func (w *world) blur(row string) string {
	for _, table := range []string{"transactions ", "credit_lots ", "outbox ", "audit_log "} {
		if strings.HasPrefix(row, table) {
			row = idField.ReplaceAllString(row, "")
			if table != "transactions " {
				row = createdField.ReplaceAllString(row, "")
			}
		}
	}
	return row
}

func TestC52ThreeDayLateEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	late := w.about("customer.subscription.updated", "sub_1")
	laid(late["data"].(object)["object"].(object), object{"status": "trialing"})
	late["created"] = w.clock.Now().Add(-70 * time.Hour).Unix()
	w.patch("sub_1", object{"status": "canceled", "ended_at": w.clock.Now().Unix(), "canceled_at": w.clock.Now().Unix()})
	w.settled(w.about("customer.subscription.deleted", "sub_1"))
	w.want("canceled", `SELECT status FROM subscriptions`)
	w.settled(late)
	w.want("canceled", `SELECT status FROM subscriptions`)
	w.wantAllDone(2)
}
