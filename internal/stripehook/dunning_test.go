package stripehook_test

import (
	"testing"
	"time"
)

const (
	paymentFailed  = "invoice.payment_failed"
	actionRequired = "invoice.payment_action_required"
)

// told are the messages to the customer, by kind.
const told = `SELECT coalesce(string_agg(kind, ' ' ORDER BY created_at, natural_key), '') FROM outbox`

// unpaid is what an invoice has that is still to be paid.
func unpaid(over ...object) object {
	return laid(object{"status": "open", "paid": false, "amount_paid": 0, "amount_remaining": 1000, "billing_reason": "subscription_cycle"}, over...)
}

// Stripe tells of a confirmation that the bank wants as of a failed payment, too, in either order, and mostly before anything about the
// payment intent. The customer is asked once.
func TestOneConfirmationBringsOneMail(t *testing.T) {
	t.Parallel()
	for _, order := range [][]string{{paymentFailed, actionRequired}, {actionRequired, paymentFailed}, {"payment_intent.requires_action", paymentFailed, actionRequired}} {
		w := newWorld(t)
		w.subscribed(object{"status": "past_due"})
		w.invoice("in_1", "sub_1", unpaid())
		w.patch("pi_in_1", object{"status": "requires_action"})
		for _, eventType := range order {
			if eventType == "payment_intent.requires_action" {
				w.settled(w.about(eventType, "pi_in_1"))
				continue
			}
			w.settled(w.about(eventType, "in_1"))
		}
		w.want("payment_action_required", told)
	}
}

// Each attempt that the bank wants confirmed is asked for, and a confirmation that it wants no more is not.
func TestConfirmationOfEachAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed(object{"status": "past_due"})
	w.invoice("in_1", "sub_1", unpaid())
	w.settled(w.about(actionRequired, "in_1"), w.about(paymentFailed, "in_1"))
	w.want("payment_failed", told)

	w.clock.Add(day)
	w.patch("pi_in_1", object{"status": "requires_action"})
	w.settled(w.about(actionRequired, "in_1"), w.about(actionRequired, "in_1"))
	w.want("payment_failed payment_action_required", told)

	w.clock.Add(3 * day)
	w.patch("in_1", object{"attempt_count": 2})
	w.settled(w.about(paymentFailed, "in_1"), w.about(actionRequired, "in_1"))
	w.want("payment_failed payment_action_required payment_action_required", told)
}

// A change that waits for its payment ends nothing: who is told that it failed is told that, and not of a last attempt.
func TestFailedPaymentOfAChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	expires := w.clock.Now().Add(23 * time.Hour)
	w.subscribed(object{"pending_update": object{"expires_at": expires.Unix(), "billing_cycle_anchor": nil, "trial_end": nil, "trial_from_plan": nil,
		"subscription_items": []any{w.item("si_1", "sub_1", w.basic(), 2)}}})
	w.invoice("in_2", "sub_1", unpaid(object{"billing_reason": "subscription_update", "next_payment_attempt": nil}))
	w.settled(w.about(paymentFailed, "in_2"), w.about(paymentFailed, "in_2"))
	w.want("change_payment_failed", told)
	w.want(expires.Format(time.RFC3339)+" 1000", `SELECT concat_ws(' ', payload->>'expires_at', payload->>'amount') FROM outbox`)

	// One that waits for the bank is no failure.
	w.exec(`DELETE FROM outbox`)
	w.patch("pi_in_2", object{"status": "requires_action"})
	w.settled(w.about(paymentFailed, "in_2"), w.about(actionRequired, "in_2"))
	w.want("payment_action_required", told)

	// A change that took place before it was paid puts the subscription in arrears, and that may end it.
	w.exec(`DELETE FROM outbox`)
	w.changed(object{"status": "past_due", "pending_update": nil}, updated)
	w.patch("pi_in_2", object{"status": "requires_payment_method"})
	w.settled(w.about(paymentFailed, "in_2"))
	w.want("payment_failed", told)
}

// An invoice without a subscription is asked for as well.
func TestConfirmationOfASingleInvoice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	w.invoice("in_1", "", unpaid(object{"billing_reason": "manual"}))
	w.patch("pi_in_1", object{"status": "requires_action"})
	w.settled(w.about(paymentFailed, "in_1"), w.about(actionRequired, "in_1"))
	w.want("payment_action_required", told)
}
