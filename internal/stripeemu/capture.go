package stripeemu

import "example.com/saaskit/internal/stripecontract"

// captureTime is how long a bank holds money for a charge that is captured
// later.
const captureTime = 7 * day

// captureRules let go what nobody has captured in time.
func captureRules() []rule {
	return []rule{{
		objectType: "payment_intent",
		due: func(_ *action, r *record) int64 {
			if r.Object["status"] != "requires_capture" {
				return 0
			}
			return number(r.Private, "authorized_at") + captureTime
		},
		happen: func(a *action, r *record) {
			a.letGo(r.Object)
			a.endIntent(r.Object, "automatic")
		},
	}}
}

// authorize holds the money of a charge without taking it.
func (a *action) authorize(intent, method object) {
	c := a.newCharge(intent, method)
	c["paid"], c["status"], c["captured"] = true, "succeeded", false
	c["outcome"] = approved()
	a.emit("charge.succeeded", c)
	intent["status"], intent["amount_capturable"] = "requires_capture", intent["amount"]
	intent["latest_charge"], intent["next_action"], intent["last_payment_error"] = c["id"], nil, nil
	a.store.lookUp(text(intent, "id")).Private["authorized_at"] = a.at
	a.emit("payment_intent.amount_capturable_updated", intent)
}

// captureIntent takes the money that is held, or a part of it; the rest goes
// back.
func (a *action) captureIntent(r *request) (object, error) {
	intent, err := a.openIntent(r.id())
	if err != nil {
		return nil, err
	}
	if intent["status"] != "requires_capture" {
		return nil, stripecontract.Invalid("payment_intent_unexpected_state", "",
			"This PaymentIntent could not be captured because it has a status of %s.", text(intent, "status"))
	}
	amount, given := r.Params["amount_to_capture"].(int64)
	if !given {
		amount = number(intent, "amount_capturable")
	}
	if amount < 1 || amount > number(intent, "amount_capturable") {
		return nil, coded("amount_too_large", "amount_to_capture", "The amount to capture is greater than what can be captured.")
	}
	c := a.store.get("charge", text(intent, "latest_charge"))
	c["amount_captured"], c["captured"] = amount, true
	c["balance_transaction"] = a.newBalanceTransaction(c)["id"]
	a.emit("charge.captured", c)
	intent["status"], intent["amount_received"], intent["amount_capturable"] = "succeeded", amount, int64(0)
	a.emit("payment_intent.succeeded", intent)
	return intent, nil
}

// letGo returns held money to the card.
func (a *action) letGo(intent object) {
	c := a.store.get("charge", text(intent, "latest_charge"))
	intent["amount_capturable"] = int64(0)
	a.change(c, "charge.refunded", func(o object) { o["refunded"], o["amount_refunded"] = true, o["amount"] })
}
