package stripehook_test

import (
	"testing"
	"time"
)

// A grace counts from the invoice that is not paid, whenever we hear of it.
func TestGraceCountsFromTheUnpaidInvoice(t *testing.T) {
	t.Parallel()
	for name, prompt := range map[string]bool{"event": false, "no event": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.subscribed()
			w.clock.Add(time.Hour)
			fields := object{"status": "past_due"}
			if prompt { // only a look at Stripe tells, and the invoice says since when
				w.invoice("in_2", "sub_1", object{"status": "open", "paid": false, "amount_paid": 0, "amount_remaining": 1000, "billing_reason": "subscription_cycle"})
				fields["latest_invoice"] = "in_2"
			}
			w.patch("sub_1", fields)
			event, since := w.about(updated, "sub_1"), w.clock.Now()
			w.clock.Add(3 * day)
			if prompt {
				w.reconcile(false)
			} else {
				w.settled(event)
			}
			w.want("true", `SELECT past_due_since = $1 FROM subscriptions`, since)
			w.wantAccess("basic")
			w.clock.Add(4*day - time.Second)
			w.wantAccess("basic")
			w.clock.Add(time.Second)
			w.wantAccess("none")
			// A later invoice that is open, too, gives no second grace.
			w.invoice("in_3", "sub_1", object{"status": "open", "paid": false, "amount_paid": 0, "amount_remaining": 1000, "billing_reason": "subscription_cycle"})
			w.changed(object{"latest_invoice": "in_3"}, updated)
			w.wantAccess("none")
			w.changed(object{"status": "active"}, updated)
			w.want("", `SELECT past_due_since FROM subscriptions`)
		})
	}
}

// An event that was made before the payment failed says nothing of when it did.
func TestGraceIsNotCountedFromAnOlderEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed()
	old := w.about(updated, "sub_1")
	w.clock.Add(20 * day)
	w.patch("sub_1", object{"status": "past_due"})
	w.settled(old)
	w.want("true", `SELECT past_due_since = $1 FROM subscriptions`, w.clock.Now())
	w.wantAccess("basic")
}

// A pause began when its event was made: a period that was renewed since is not paid.
func TestPauseCountsFromItsEvent(t *testing.T) {
	t.Parallel()
	for _, told := range []bool{true, false} {
		w := newWorld(t)
		w.subscribed()
		w.clock.Add(25 * day)
		paused := object{"pause_collection": object{"behavior": "void", "resumes_at": nil}}
		w.patch("sub_1", paused)
		event := w.about(updated, "sub_1")
		w.clock.Add(6 * day)
		start, end := w.clock.Now().Add(-time.Hour), w.clock.Now().Add(30*day)
		w.invoice("in_2", "sub_1", object{"status": "void", "paid": false, "amount_paid": 0, "billing_reason": "subscription_cycle", "created": start.Unix()})
		items := list("/v1/subscription_items?subscription=sub_1", w.item("si_sub_1b", "sub_1", w.basic(), 1))
		w.patch("sub_1", object{"current_period_start": start.Unix(), "current_period_end": end.Unix(), "items": items})
		if told { // late, and the invoice is not shown
			w.settled(event)
		} else { // never: the invoice of the period shows that it is not paid
			w.patch("sub_1", object{"latest_invoice": "in_2"})
			w.reconcile(false)
		}
		w.want("void", `SELECT pause_behavior FROM subscriptions`)
		w.wantAccess("none")
	}
	// In a period that is paid it ends with the period.
	w := newWorld(t)
	w.invoice("in_1", "sub_1")
	w.subscribed(object{"latest_invoice": "in_1"})
	w.clock.Add(25 * day)
	w.changed(object{"pause_collection": object{"behavior": "void", "resumes_at": nil}}, updated)
	w.wantAccess("basic")
	w.clock.Add(6 * day)
	w.wantAccess("none")
}

// A receipt confirms what we have received, and nothing where that is nothing.
func TestReceiptIsOfWhatWasReceived(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	w.subscription("sub_1")
	for id, over := range map[string]object{
		"in_credit":  {"subtotal": -1000, "total": -1000, "amount_due": 0, "amount_paid": 0, "starting_balance": 0, "ending_balance": -1000},
		"in_balance": {"amount_due": 0, "amount_paid": 0, "starting_balance": -1500, "ending_balance": -500},
		"in_some":    {"amount_due": 600, "amount_paid": 600, "starting_balance": -400, "ending_balance": 0},
		"in_all":     {},
		"in_debt":    {"amount_due": 1300, "amount_paid": 1300, "starting_balance": 300, "ending_balance": 0},
	} {
		w.invoice(id, "sub_1", over)
		w.settled(w.about("invoice.paid", id))
	}
	w.want("in_all 1000 0, in_debt 1300 0, in_some 600 400",
		`SELECT string_agg(concat_ws(' ', payload->>'invoice', payload->>'amount', payload->>'from_balance'), ', ' ORDER BY natural_key) FROM outbox WHERE kind = 'receipt'`)
}

// Who is asked for a failed payment is told whether we try again.
func TestDunningSaysWhetherWeTryAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed()
	next := w.clock.Now().Add(3 * day)
	w.invoice("in_2", "sub_1", object{"status": "open", "paid": false, "amount_paid": 0, "amount_remaining": 1000, "next_payment_attempt": next.Unix()})
	w.settled(w.about("invoice.payment_failed", "in_2"))
	w.patch("in_2", object{"attempt_count": 4, "next_payment_attempt": nil})
	w.settled(w.about("invoice.payment_failed", "in_2"))
	w.want("false "+next.Format("2006-01-02T15:04:05Z")+", true ",
		`SELECT string_agg(payload->>'last_attempt' || ' ' || coalesce(payload->>'next_payment_attempt', ''), ', ' ORDER BY natural_key) FROM outbox WHERE kind = 'payment_failed'`)
}
