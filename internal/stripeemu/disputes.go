package stripeemu

import (
	"fmt"
	"slices"
	"strings"
)

const (
	disputeFee      = 1500
	evidenceTime    = 14 * day // for an answer to a dispute
	inquiryTime     = 90 * day // until an inquiry that nobody follows up is closed
	winningEvidence = "winning_evidence"
	losingEvidence  = "losing_evidence"
	escalate        = "escalate_inquiry_evidence"
)

func disputeOperations() map[string]operation {
	return map[string]operation{
		"GET /v1/disputes":                  list("dispute", map[string]filter{"charge": field("charge"), "payment_intent": field("payment_intent")}),
		"GET /v1/disputes/{dispute}":        retrieve("dispute", "dispute"),
		"POST /v1/disputes/{dispute}":       {handle: (*action).updateDispute, params: []string{"evidence.*", "metadata.*", "submit"}},
		"POST /v1/disputes/{dispute}/close": {handle: (*action).closeDispute},
	}
}

// disputeRules close what nobody answers in time.
func disputeRules() []rule {
	return []rule{
		{
			objectType: "dispute",
			due: func(_ *action, r *record) int64 {
				if r.Object["status"] != "needs_response" {
					return 0
				}
				return number(child(r.Object, "evidence_details"), "due_by")
			},
			happen: func(a *action, r *record) { a.decide(r.Object, "lost") },
		},
		{
			objectType: "dispute",
			due: func(_ *action, r *record) int64 {
				if !isInquiry(r.Object) {
					return 0
				}
				return number(r.Object, "created") + inquiryTime
			},
			happen: func(a *action, r *record) { a.decide(r.Object, "warning_closed") },
		},
	}
}

func isInquiry(d object) bool {
	return strings.HasPrefix(text(d, "status"), "warning_") && d["status"] != "warning_closed"
}

// disputeByCard opens the dispute that some test cards bring about.
func (a *action) disputeByCard(intent object, cardNumber string) {
	charge := a.store.get("charge", text(intent, "latest_charge"))
	switch cardNumber {
	case cardDisputeFraud:
		a.openDispute(charge, DisputeOptions{Reason: "fraudulent"})
	case cardDisputeProduct:
		a.openDispute(charge, DisputeOptions{Reason: "product_not_received"})
	case cardDisputeInquiry:
		a.openDispute(charge, DisputeOptions{Reason: "fraudulent", Inquiry: true})
	}
}

// DisputeOptions say what the holder of a card complains about.
type DisputeOptions struct {
	Amount  int64  // the whole charge where 0
	Reason  string // fraudulent where empty
	Inquiry bool   // the bank only asks, no money moves
}

// disputeReasons are those of Stripe's document.
func disputeReasons() []string {
	return []string{
		"", "bank_cannot_process", "check_returned", "credit_not_processed", "customer_initiated", "debit_not_authorized", "duplicate",
		"fraudulent", "general", "incorrect_account_details", "insufficient_funds", "product_not_received", "product_unacceptable",
		"subscription_canceled", "unrecognized",
	}
}

// mayDispute refuses what no bank would send.
func (a *action) mayDispute(c object, options DisputeOptions) error {
	switch {
	case options.Amount < 0 || options.Amount > number(c, "amount_captured"):
		return fmt.Errorf("dispute: the amount must be between 0 and the %d of the charge", number(c, "amount_captured"))
	case !slices.Contains(disputeReasons(), options.Reason):
		return fmt.Errorf("dispute: no reason %q", options.Reason)
	}
	for _, r := range a.store.all("dispute") {
		if r.Object["charge"] == c["id"] && !isClosed(r.Object) {
			return fmt.Errorf("dispute: charge %q has the open dispute %q", text(c, "id"), text(r.Object, "id"))
		}
	}
	return nil
}

func (a *action) openDispute(c object, options DisputeOptions) object {
	d := a.create("dispute", newID("dp"))
	d["charge"], d["payment_intent"], d["currency"] = c["id"], c["payment_intent"], c["currency"]
	if d["amount"] = options.Amount; options.Amount == 0 {
		d["amount"] = c["amount"]
	}
	if d["reason"] = options.Reason; options.Reason == "" {
		d["reason"] = "fraudulent"
	}
	d["evidence_details"] = object{"due_by": a.at + evidenceTime, "has_evidence": false, "past_due": false, "submission_count": int64(0)}
	child(child(d, "payment_method_details"), "card")["brand"] = child(child(c, "payment_method_details"), "card")["brand"]
	d["status"], d["is_charge_refundable"] = "needs_response", false
	if options.Inquiry {
		d["status"], d["is_charge_refundable"] = "warning_needs_response", true
	}
	a.store.save(d)
	c["disputed"] = true
	a.emit("charge.dispute.created", d)
	if !options.Inquiry {
		a.withdraw(d)
	}
	return d
}

func (a *action) withdraw(d object) {
	a.bookDispute(d, -number(d, "amount"), disputeFee, "Chargeback withdrawal for ")
	a.emit("charge.dispute.funds_withdrawn", d)
}

func (a *action) bookDispute(d object, amount, fee int64, description string) {
	kind := "dispute"
	if amount > 0 {
		kind = "dispute_reversal"
	}
	t := a.book(booking{
		kind: "adjustment", category: kind, amount: amount, fee: fee, feeName: "Dispute fee", currency: d["currency"],
		source: d["id"], description: description + text(d, "charge"),
	})
	moved, _ := d["balance_transactions"].([]any)
	d["balance_transactions"] = append(moved, clone(t))
}

// updateDispute takes evidence. In test mode its text decides.
func (a *action) updateDispute(r *request) (object, error) {
	d, err := a.lookUp("dispute", "dispute", r.id())
	if err != nil {
		return nil, err
	}
	if isClosed(d) {
		return nil, invalid("", "This dispute is already closed.")
	}
	given := child(r.Params, "evidence")
	submit, said := r.Params["submit"].(bool)
	submitted := given != nil && (submit || !said)
	a.change(d, "charge.dispute.updated", func(o object) {
		for name := range given {
			assign(child(o, "evidence"), given, name)
		}
		mergeMetadata(o, r.Params)
		details := child(o, "evidence_details")
		details["has_evidence"] = given != nil || flag(details, "has_evidence")
		if submitted {
			details["submission_count"] = number(details, "submission_count") + 1
			o["status"] = strings.Replace(text(o, "status"), "needs_response", "under_review", 1)
		}
	})
	if submitted {
		a.decideByEvidence(d)
	}
	return d, nil
}

func (a *action) decideByEvidence(d object) {
	switch said := text(child(d, "evidence"), "uncategorized_text"); {
	case said == winningEvidence && isInquiry(d):
		a.decide(d, "warning_closed")
	case said == winningEvidence:
		a.decide(d, "won")
	case said == losingEvidence:
		a.decide(d, "lost")
	case said == escalate && isInquiry(d):
		a.escalate(d)
	}
}

func isClosed(d object) bool {
	return d["status"] == "won" || d["status"] == "lost" || d["status"] == "warning_closed"
}

// closeDispute gives up.
func (a *action) closeDispute(r *request) (object, error) {
	d, err := a.lookUp("dispute", "dispute", r.id())
	if err != nil {
		return nil, err
	}
	if isClosed(d) {
		return nil, invalid("", "This dispute is already closed.")
	}
	if isInquiry(d) {
		a.decide(d, "warning_closed")
		return d, nil
	}
	a.decide(d, "lost")
	return d, nil
}

// escalate turns an inquiry into a dispute, with all that one has.
func (a *action) escalate(d object) {
	a.change(d, "charge.dispute.updated", func(o object) {
		o["status"], o["is_charge_refundable"] = "needs_response", false
		child(o, "evidence_details")["due_by"] = a.at + evidenceTime
	})
	a.withdraw(d)
}

// decide closes a dispute. One that is won brings the money and the fee back.
func (a *action) decide(d object, status string) {
	d["status"] = status
	if status == "won" {
		a.bookDispute(d, number(d, "amount"), -disputeFee, "Chargeback reversal for ")
		a.emit("charge.dispute.funds_reinstated", d)
	}
	a.emit("charge.dispute.closed", d)
}

// Dispute lets the holder of a card dispute a charge and returns the dispute's
// id.
func (e *Emulator) Dispute(chargeID string, options DisputeOptions) (string, error) {
	id, err := "", fmt.Errorf("dispute: no charge %q that has succeeded", chargeID)
	e.do(func(a *action) {
		own := a.store.find("charge", chargeID)
		if own == nil || own.Object["status"] != "succeeded" {
			return
		}
		if err = a.mayDispute(own.Object, options); err != nil {
			return
		}
		a.enterTimeOf(chargeID)
		id, err = text(a.openDispute(own.Object, options), "id"), nil
		a.store.changed = true
	})
	return id, err
}

// DecideDispute is the bank's word on a dispute: "won", "lost",
// "warning_closed" for an inquiry, or "escalate" to turn one into a dispute.
func (e *Emulator) DecideDispute(disputeID, outcome string) error {
	err := fmt.Errorf("decide dispute: %q cannot end as %q", disputeID, outcome)
	e.do(func(a *action) {
		own := a.store.find("dispute", disputeID)
		if own == nil || isClosed(own.Object) {
			return
		}
		a.enterTimeOf(disputeID)
		inquiry := isInquiry(own.Object)
		switch {
		case outcome == "escalate" && inquiry:
			a.escalate(own.Object)
		case outcome == "warning_closed" && inquiry, (outcome == "won" || outcome == "lost") && !inquiry:
			a.decide(own.Object, outcome)
		default:
			return
		}
		a.store.changed, err = true, nil
	})
	return err
}
