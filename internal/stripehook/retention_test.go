package stripehook_test

import (
	"testing"
	"time"

	"example.com/saaskit/internal/problem"
)

// payloads are the events that still have their bytes.
func (w *world) payloads() string {
	w.t.Helper()
	return w.text(`SELECT string_agg(id, ' ' ORDER BY id) FROM stripe_events WHERE payload IS NOT NULL`)
}

// keptEvent stores an event of a customer as it is after its end.
func (w *world) keptEvent(id, status, customer string, ended time.Duration) {
	w.t.Helper()
	w.exec(`INSERT INTO stripe_events (id, livemode, type, customer_id, payload, sha256, source, secret_index, status, received_at, done_at)
		VALUES ($1, false, 'customer.updated', $2, '\x7b7d', '\x01', 'webhook', 0, $3, $4, CASE WHEN $3 <> 'pending' THEN $4::timestamptz END)`,
		id, customer, status, w.clock.Now().Add(-ended))
}

const day = 24 * time.Hour

func TestPayloadsEndAfterTheirRetention(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.keptEvent("evt_young", "done", "cus_1", 90*day-time.Second)
	for _, status := range []string{"done", "ignored", "pending", "dead", "quarantined"} {
		w.keptEvent("evt_"+status, status, "cus_1", 90*day)
	}
	if ended, err := w.service.EndPayloads(t.Context()); err != nil || ended != 2 {
		t.Errorf("ended %d, %v", ended, err)
	}
	if got := w.payloads(); got != "evt_dead evt_pending evt_quarantined evt_young" {
		t.Errorf("with payload: %s", got)
	}
	w.want("6", `SELECT count(*) FROM stripe_events WHERE sha256 = '\x01'`)
	// Somebody has handled what was dead: its time begins then.
	w.exec(`UPDATE stripe_events SET status = 'done', done_at = $1 WHERE id = 'evt_dead'`, w.clock.Now())
	w.clock.Add(time.Second)
	if _, err := w.service.EndPayloads(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.payloads(); got != "evt_dead evt_pending evt_quarantined" {
		t.Errorf("a second later, with payload: %s", got)
	}
}

// More than a job does in one transaction.
func TestPayloadsEndInBatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`INSERT INTO stripe_events (id, livemode, type, payload, sha256, source, secret_index, status, received_at, done_at)
		SELECT 'evt_' || n, false, 'x', '\x7b7d', '\x01', 'webhook', 0, 'done', $1, $1 FROM generate_series(1, 2100) n`, w.clock.Now().Add(-91*day))
	if ended, err := w.service.EndPayloads(t.Context()); err != nil || ended != 2100 {
		t.Errorf("ended %d, %v", ended, err)
	}
}

// An event without its bytes is still known: the same one again is counted, and does nothing.
func TestEventWithoutPayloadIsKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	event := w.about("invoice.paid", "in_1")
	w.settled(event)
	w.clock.Add(91 * day)
	if _, err := w.service.EndPayloads(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.want("true", `SELECT payload IS NULL FROM stripe_events`)
	w.settled(event)
	w.want("2 done", `SELECT delivery_count || ' ' || status FROM stripe_events`)
	w.want("10", `SELECT balance FROM credit_accounts`)
}

// Stripe goes on telling of the customer of somebody who is gone. The address stays out.
func TestDeletedAccountKeepsNoAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1", object{"email": "one@example.com", "balance": 5})
	w.exec(`UPDATE accounts SET status = 'deleted' WHERE id = $1`, w.t1)
	w.exec(`INSERT INTO stripe_customers (id, account_id, stripe_id, created_at, updated_at) VALUES (gen_random_uuid(), $1, 'cus_2', now(), now())`, w.t2)
	w.keptEvent("evt_dead", "dead", "cus_1", 0)
	w.keptEvent("evt_other", "done", "cus_2", 0)
	w.settled(w.about("customer.updated", "cus_1"))
	w.want(" 5 pm_1", `SELECT email || ' ' || balance || ' ' || default_payment_method FROM stripe_customers WHERE stripe_id = 'cus_1'`)
	if _, err := w.service.EndPayloads(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.payloads(); got != "evt_dead evt_other" {
		t.Errorf("with payload: %s", got)
	}
	// What is dead has its time, and no more.
	w.keptEvent("evt_alive", "dead", "cus_2", 0)
	w.clock.Add(90*day - time.Second)
	w.exec(`UPDATE stripe_events SET done_at = $1 WHERE id = 'evt_other'`, w.clock.Now())
	for _, want := range []string{"evt_alive evt_dead evt_other", "evt_alive evt_other"} {
		if _, err := w.service.EndPayloads(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := w.payloads(); got != want {
			t.Errorf("with payload: %s, want %s", got, want)
		}
		w.clock.Add(time.Second)
	}
}

// The card of somebody who is gone stays out, too, and that it is looked at again is no news.
func TestDeletedAccountKeepsNoCard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	w.card("pm_1", "4242")
	w.exec(`UPDATE accounts SET status = 'deleted' WHERE id = $1`, w.t1)
	for range 2 {
		w.settled(w.about("payment_method.updated", "pm_1"))
	}
	w.want("card  0", `SELECT concat_ws(' ', type, brand || last4, exp_month + exp_year) FROM payment_methods`)
	w.want("1", `SELECT count(*) FROM audit_log WHERE target_kind = 'payment_method'`)
}

// So do the links to Stripe's pages, which show name and address: of the mirror, and of the messages.
func TestDeletedAccountKeepsNoInvoicePage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	w.exec(`UPDATE accounts SET status = 'deleted' WHERE id = $1`, w.t1)
	w.settled(w.about("invoice.paid", "in_1"))
	w.want("paid t t", `SELECT concat_ws(' ', status, hosted_invoice_url IS NULL, invoice_pdf IS NULL) FROM invoices`)
	w.want("receipt ", `SELECT kind || ' ' || (payload->>'hosted_invoice_url') FROM outbox`)
}

// What was signed and no event has its end, too.
func TestQuarantinedBytesEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := []byte("hello")
	if err := w.service.Receive(t.Context(), sign(body, secret, time.Now()), body); !is(err, problem.InvalidEvent) {
		t.Fatal(err)
	}
	w.clock.Add(90*day - time.Second)
	for _, want := range []string{"hello", "gone"} {
		if _, err := w.service.EndPayloads(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.want(want, `SELECT coalesce(encode(payload, 'escape'), 'gone') FROM stripe_quarantine`)
		w.clock.Add(time.Second)
	}
	// The same bytes again are still known.
	if err := w.service.Receive(t.Context(), sign(body, secret, time.Now()), body); err == nil {
		t.Error("bytes that are no event were taken")
	}
	w.want("1", `SELECT count(*) FROM stripe_quarantine`)
}

// Who is only shut out keeps what Stripe tells.
func TestDisabledAccountIsMirrored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1", object{"email": "new@example.com"})
	w.exec(`UPDATE accounts SET status = 'disabled' WHERE id = $1`, w.t1)
	w.settled(w.about("customer.updated", "cus_1"))
	w.want("new@example.com", `SELECT email FROM stripe_customers WHERE stripe_id = 'cus_1'`)
}
