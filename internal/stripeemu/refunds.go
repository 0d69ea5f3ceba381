package stripeemu

import (
	"fmt"

	"example.com/saaskit/internal/stripecontract"
)

// How long the refunds of the special test cards take to turn.
const (
	refundPendingTime = 1 * day
	refundFailTime    = 3 * day
)

func refundOperations() map[string]operation {
	return map[string]operation{
		"POST /v1/refunds": {handle: (*action).createRefund,
			params: []string{"charge", "payment_intent", "amount", "reason", "metadata.*"}},
		"GET /v1/refunds":                  list("refund", map[string]filter{"charge": field("charge"), "payment_intent": field("payment_intent")}),
		"GET /v1/refunds/{refund}":         retrieve("refund", "refund"),
		"POST /v1/refunds/{refund}":        {handle: (*action).updateRefund, params: []string{"metadata.*"}},
		"GET /v1/charges/{charge}/refunds": listEmbedded("charge", "charge", func(r *record) object { return child(r.Hidden, "refunds") }),
	}
}

// refundRules let a refund turn later, as the special test cards want it.
func refundRules() []rule {
	return []rule{{
		objectType: "refund",
		due:        func(_ *action, r *record) int64 { return number(r.Private, "turns_at") },
		happen: func(a *action, r *record) {
			delete(r.Private, "turns_at")
			if r.Object["status"] == "pending" {
				a.change(r.Object, "charge.refund.updated", func(o object) { o["status"] = "succeeded" })
				a.emitRefund("refund.updated", r.Object)
				a.syncRefunds(a.store.get("charge", text(r.Object, "charge")))
				return
			}
			a.failRefund(r.Object, "expired_or_canceled_card")
		},
	}}
}

// refundCall is the request for a refund that another operation makes.
func refundCall(chargeID string, amount int64) *stripecontract.Call {
	return &stripecontract.Call{Params: object{"charge": chargeID, "amount": amount}}
}

// chargeToRefund finds the charge that a refund names, by itself or through
// its payment intent.
func (a *action) chargeToRefund(params object) (object, error) {
	if id := text(params, "payment_intent"); id != "" {
		intent, err := a.named("payment_intent", "payment_intent", id)
		if err != nil {
			return nil, err
		}
		if intent["status"] != "succeeded" {
			return nil, coded("", "payment_intent", "This PaymentIntent (%s) does not have a successful charge to refund.", id)
		}
		return a.store.get("charge", text(intent, "latest_charge")), nil
	}
	id := text(params, "charge")
	if id == "" {
		return nil, coded("parameter_missing", "charge", "One of the following params should be provided for this request: payment_intent or charge.")
	}
	return a.named("charge", "charge", id)
}

func (a *action) createRefund(r *request) (object, error) {
	c, err := a.chargeToRefund(r.Params)
	if err != nil {
		return nil, err
	}
	left := number(c, "amount_captured") - number(c, "amount_refunded")
	amount, given := r.Params["amount"].(int64)
	if !given {
		amount = left
	}
	switch {
	case c["status"] != "succeeded":
		return nil, invalid("charge", "This charge has not been paid, so it cannot be refunded.")
	case left == 0:
		return nil, coded("charge_already_refunded", "", "Charge %s has already been refunded.", text(c, "id"))
	case a.isDisputed(c):
		return nil, coded("charge_disputed", "", "Charge %s has been charged back; cannot issue a refund.", text(c, "id"))
	case amount < 1:
		return nil, coded("parameter_invalid_integer", "amount", "Invalid positive integer")
	case amount > left:
		return nil, invalid("amount", "Refund amount (%s) is greater than unrefunded amount on charge (%s)",
			money(amount, text(c, "currency")), money(left, text(c, "currency")))
	}
	before := clone(c)
	refund := a.refund(c, amount)
	assign(refund, r.Params, "reason")
	mergeMetadata(refund, r.Params)
	a.syncRefunds(c)
	a.emitRefund("refund.created", refund)
	a.emitChange("charge.refunded", c, difference(before, c))
	return refund, nil
}

// isDisputed says whether the bank has taken the money already.
func (a *action) isDisputed(c object) bool {
	for _, r := range a.store.all("dispute") {
		if r.Object["charge"] == c["id"] && len(elements(r.Object, "balance_transactions")) > 0 && r.Object["status"] != "won" {
			return true
		}
	}
	return false
}

func (a *action) refund(c object, amount int64) object {
	refund := a.create("refund", newID("re"))
	refund["amount"], refund["currency"], refund["charge"] = amount, c["currency"], c["id"]
	refund["payment_intent"], refund["status"] = c["payment_intent"], "succeeded"
	refund["destination_details"] = object{"card": object{
		"reference": "000000000000", "reference_status": "available", "reference_type": "acquirer_reference_number", "type": "refund",
	}, "type": "card"}
	own := a.store.save(refund)
	refund["balance_transaction"] = a.book(booking{
		kind: "refund", category: "refund", amount: -amount, currency: c["currency"], source: refund["id"], description: "REFUND FOR CHARGE",
	})["id"]
	switch a.cardOfCharge(c) {
	case cardRefundPending:
		refund["status"], own.Private["turns_at"] = "pending", a.at+refundPendingTime
	case cardRefundFails:
		own.Private["turns_at"] = a.at + refundFailTime
	}
	c["amount_refunded"] = number(c, "amount_refunded") + amount
	c["refunded"] = c["amount_refunded"] == c["amount_captured"]
	return refund
}

func (a *action) cardOfCharge(c object) string {
	if method := a.store.find("payment_method", text(c, "payment_method")); method != nil {
		return a.cardOf(method.Object)
	}
	return ""
}

// failRefund returns the money of a refund that its bank could not take.
func (a *action) failRefund(refund object, reason string) {
	c := a.store.get("charge", text(refund, "charge"))
	booked := a.book(booking{
		kind: "refund_failure", category: "refund_failure", amount: number(refund, "amount"), currency: refund["currency"],
		source: refund["id"], description: "REFUND FAILURE",
	})
	a.change(refund, "charge.refund.updated", func(o object) {
		o["status"], o["failure_reason"], o["failure_balance_transaction"] = "failed", reason, booked["id"]
	})
	a.emitRefund("refund.updated", refund)
	a.emitRefund("refund.failed", refund)
	a.change(c, "charge.updated", func(o object) {
		o["amount_refunded"] = number(o, "amount_refunded") - number(refund, "amount")
		o["refunded"] = false
	})
	a.syncRefunds(c)
}

// emitRefund tells of a refund by itself, as Stripe does in accounts whose
// version is of 2024-10-28 or later; in older ones only refunds without a charge
// have such events.
func (a *action) emitRefund(eventType string, refund object) {
	if a.accountVersion >= versionRefunds {
		a.emit(eventType, refund)
	}
}

// syncRefunds rebuilds the list that a charge shows when it is expanded.
func (a *action) syncRefunds(c object) {
	data := []any{}
	for _, r := range a.store.all("refund") {
		if r.Object["charge"] == c["id"] {
			data = append(data, clone(r.Object))
		}
	}
	a.store.lookUp(text(c, "id")).Hidden["refunds"] = listOf("/v1/charges/"+text(c, "id")+"/refunds", data)
}

func (a *action) updateRefund(r *request) (object, error) {
	refund, err := a.lookUp("refund", "refund", r.id())
	if err != nil {
		return nil, err
	}
	a.change(refund, "charge.refund.updated", func(o object) { mergeMetadata(o, r.Params) })
	return refund, nil
}

// FailRefund lets a refund that has succeeded, or is pending, fail now.
func (e *Emulator) FailRefund(refundID string) error {
	err := fmt.Errorf("fail refund: no refund %q that could fail", refundID)
	e.do(func(a *action) {
		own := a.store.find("refund", refundID)
		if own == nil || own.Object["status"] == "failed" || own.Object["status"] == "canceled" {
			return
		}
		a.enterTimeOf(refundID)
		delete(own.Private, "turns_at")
		a.failRefund(own.Object, "expired_or_canceled_card")
		a.store.changed, err = true, nil
	})
	return err
}
