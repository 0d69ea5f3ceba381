package stripeemu

// A session says whether the holder of a card is there to authenticate.
type session int

const (
	onSession  session = iota
	offSession         // the merchant charges a saved card
	collecting         // an invoice is collected by itself
	byHand             // an invoice is collected because somebody asked for it
)

func sessionOf(off bool) session {
	if off {
		return offSession
	}
	return onSession
}

// charge tries to take the whole amount of an intent from a card. Both
// outcomes leave a charge behind, but not a wait for authentication.
func (a *action) charge(intent, method object, how session) *decline {
	own, cardNumber := a.store.lookUp(text(method, "id")), a.cardOf(method)
	intent["payment_method"] = method["id"]
	asks := wantsAuthentication(cardNumber, flag(own.Private, "set_up"), how != onSession)
	if asks && !a.authenticated(intent) {
		if how == offSession {
			return a.refuse(intent, method, declines()["authentication_required"])
		}
		return a.awaitAuthentication(intent)
	}
	refused := declineOf(cardNumber)
	if reason := text(own.Private, "decline"); reason != "" {
		refused = declines()[reason]
	}
	if refused != nil {
		return a.refuse(intent, method, refused)
	}
	if intent["capture_method"] == "manual" {
		a.authorize(intent, method)
	} else {
		a.take(intent, method)
	}
	if asks {
		own.Private["set_up"] = true
	}
	a.disputeByCard(intent, cardNumber)
	return nil
}

// take charges the card with success.
func (a *action) take(intent, method object) {
	c := a.newCharge(intent, method)
	amount := number(intent, "amount")
	c["balance_transaction"] = a.newBalanceTransaction(c)["id"]
	c["amount_captured"], c["captured"], c["paid"], c["status"] = amount, true, true, "succeeded"
	c["outcome"] = approved()
	a.emit("charge.succeeded", c)
	intent["status"], intent["amount_received"] = "succeeded", amount
	intent["latest_charge"], intent["next_action"] = c["id"], nil
	intent["last_payment_error"] = nil
	a.emit("payment_intent.succeeded", intent)
}

func approved() object {
	return object{
		"network_status": "approved_by_network", "reason": nil, "risk_level": "normal", "risk_score": int64(32),
		"seller_message": "Payment complete.", "type": "authorized",
	}
}

// refuse leaves a failed charge behind and the intent open for another card.
func (a *action) refuse(intent, method object, refused *decline) *decline {
	a.failCharge(a.newCharge(intent, method), intent, method, refused)
	return refused
}

func (a *action) newCharge(intent, method object) object {
	c := a.create("charge", newID("ch"))
	amount := number(intent, "amount")
	for _, field := range []string{"currency", "customer", "description", "invoice", "receipt_email", "shipping"} {
		c[field] = intent[field]
	}
	c["metadata"] = clone(intent["metadata"])
	c["amount"], c["amount_captured"] = amount, int64(0)
	c["balance_transaction"], c["outcome"] = nil, nil
	c["payment_intent"], c["payment_method"] = intent["id"], method["id"]
	c["billing_details"] = clone(method["billing_details"])
	c["calculated_statement_descriptor"] = "EMULATED"
	c["receipt_url"] = a.base + "/receipts/" + text(c, "id")
	a.describeCard(c, method, amount)
	refunds := listOf("/v1/charges/"+text(c, "id")+"/refunds", []any{})
	delete(c, "refunds") // shown only when expanded, since version 2022-11-15
	a.store.save(c).Hidden["refunds"] = refunds
	return c
}

func (a *action) describeCard(c, method object, amount int64) {
	if method["type"] != "card" {
		return
	}
	details := child(child(c, "payment_method_details"), "card")
	for _, field := range []string{"brand", "last4", "fingerprint", "exp_month", "exp_year", "country", "funding"} {
		details[field] = child(method, "card")[field]
	}
	details["network"], details["amount_authorized"] = details["brand"], amount
	child(details, "overcapture")["maximum_amount_capturable"] = amount
}

func (a *action) failCharge(c, intent, method object, refused *decline) {
	c["paid"], c["captured"], c["status"] = false, false, "failed"
	c["failure_code"], c["failure_message"] = refused.code, refused.message
	c["receipt_url"] = nil
	child(child(c, "payment_method_details"), "card")["amount_authorized"] = nil
	c["outcome"] = object{
		"network_status": "declined_by_network", "reason": orNil(refused.reason), "risk_level": "normal", "risk_score": int64(32),
		"seller_message": "The bank did not return any further details with this decline.", "type": "issuer_declined",
	}
	a.emit("charge.failed", c)
	intent["latest_charge"] = c["id"]
	a.failIntent(intent, method, refused, text(c, "id"))
}

// failIntent says in the intent why it was not paid.
func (a *action) failIntent(intent, method object, refused *decline, chargeID string) {
	failure := object{
		"code": refused.code, "doc_url": "https://stripe.com/docs/error-codes/" + refused.code,
		"message": refused.message, "payment_method": clone(method), "type": "card_error",
	}
	if refused.reason != "" {
		failure["decline_code"] = refused.reason
	}
	if chargeID != "" {
		failure["charge"] = chargeID
	}
	intent["status"], intent["last_payment_error"], intent["next_action"] = "requires_payment_method", failure, nil
	intent["payment_method"] = nil
	a.emit("payment_intent.payment_failed", intent)
}

// newBalanceTransaction books a charge less Stripe's usual fee.
func (a *action) newBalanceTransaction(c object) object {
	amount := number(c, "amount_captured")
	if amount == 0 {
		amount = number(c, "amount")
	}
	return a.book(booking{
		kind: "charge", category: "charge", amount: amount, fee: (amount*29+500)/1000 + 30, feeName: "Stripe processing fees",
		currency: c["currency"], source: c["id"], description: c["description"],
	})
}

// A booking is one movement of the account's balance.
type booking struct {
	kind, category, feeName string
	amount, fee             int64
	currency, source        any
	description             any
}

func (a *action) book(b booking) object {
	const secondsToSettle = 2 * 24 * 60 * 60
	t := a.create("balance_transaction", newID("txn"))
	t["amount"], t["fee"], t["net"] = b.amount, b.fee, b.amount-b.fee
	t["currency"], t["description"], t["source"] = b.currency, b.description, b.source
	t["type"], t["reporting_category"], t["status"] = b.kind, b.category, "pending"
	t["available_on"] = a.at + secondsToSettle
	if b.fee != 0 {
		t["fee_details"] = []any{object{
			"amount": b.fee, "application": nil, "currency": b.currency, "description": b.feeName, "type": "stripe_fee",
		}}
	}
	a.store.save(t)
	return t
}
