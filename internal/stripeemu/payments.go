package stripeemu

import "slices"

func paymentOperations() map[string]operation {
	return map[string]operation{
		"GET /v1/payment_intents":                  list("payment_intent", map[string]filter{"customer": field("customer")}),
		"GET /v1/payment_intents/{intent}":         retrieve("payment_intent", "intent"),
		"GET /v1/charges":                          list("charge", map[string]filter{"customer": field("customer"), "payment_intent": field("payment_intent")}),
		"GET /v1/charges/{charge}":                 retrieve("charge", "id"),
		"GET /v1/balance_transactions":             list("balance_transaction", map[string]filter{"currency": field("currency"), "source": field("source"), "type": field("type")}),
		"GET /v1/balance_transactions/{id}":        retrieve("balance_transaction", "id"),
		"GET /v1/payment_methods/{payment_method}": retrieve("payment_method", "payment_method"),
		"GET /v1/invoiceitems/{invoiceitem}":       retrieve("invoiceitem", "invoiceitem"),
	}
}

// newIntent makes a payment intent that waits for a card. Its creator emits
// payment_intent.created once it is complete.
func (a *action) newIntent(amount int64, currency string, customer object) object {
	intent := a.create("payment_intent", newID("pi"))
	intent["client_secret"] = text(intent, "id") + "_secret_" + randomText(25)
	intent["amount"], intent["currency"] = amount, currency
	if customer != nil {
		intent["customer"] = customer["id"]
	}
	a.store.save(intent)
	return intent
}

// newPaymentMethod keeps a card. It belongs to nobody before [action.attach].
func (a *action) newPaymentMethod(c card, by payer) object {
	method := a.create("payment_method", newID("pm"))
	method["billing_details"] = billingDetails(by)
	details := child(method, "card")
	details["brand"], details["display_brand"] = brandOf(c.number), brandOf(c.number)
	details["last4"], details["fingerprint"] = lastFour(c.number), fingerprint(c.number)
	details["exp_month"], details["exp_year"] = c.expMonth, c.expYear
	details["networks"] = object{"available": []any{brandOf(c.number)}, "preferred": nil}
	a.store.save(method).Private["number"] = c.number
	return method
}

func billingDetails(by payer) object {
	address := object{"city": nil, "country": "US", "line1": nil, "line2": nil, "postal_code": nil, "state": nil}
	return object{"address": address, "email": orNil(by.email), "name": orNil(by.name), "phone": nil}
}

func (a *action) attach(method, customer object) {
	method["customer"] = customer["id"]
	a.emit("payment_method.attached", method)
}

// paymentMethodsOf lists a customer's payment methods, newest first.
func (a *action) paymentMethodsOf(customerID, kind string) []*record {
	return slices.DeleteFunc(a.store.all("payment_method"), func(r *record) bool {
		return r.Object["customer"] != customerID || kind != "" && r.Object["type"] != kind
	})
}

// charge tries to take the whole amount of an intent from a card. Both
// outcomes leave a charge behind.
func (a *action) charge(intent, method object) *decline {
	c := a.newCharge(intent, method)
	cardNumber := text(a.store.records[text(method, "id")].Private, "number")
	if refused := declineOf(cardNumber); refused != nil {
		a.failCharge(c, intent, method, refused)
		return refused
	}
	amount := number(intent, "amount")
	c["balance_transaction"] = a.newBalanceTransaction(c)["id"]
	c["amount_captured"], c["captured"], c["paid"], c["status"] = amount, true, true, "succeeded"
	c["outcome"] = object{
		"network_status": "approved_by_network", "reason": nil, "risk_level": "normal", "risk_score": int64(32),
		"seller_message": "Payment complete.", "type": "authorized",
	}
	a.emit("charge.succeeded", c)
	intent["status"], intent["amount_received"] = "succeeded", amount
	intent["payment_method"], intent["latest_charge"] = method["id"], c["id"]
	intent["last_payment_error"] = nil
	a.emit("payment_intent.succeeded", intent)
	return nil
}

func (a *action) newCharge(intent, method object) object {
	c := a.create("charge", newID("ch"))
	amount := number(intent, "amount")
	for _, field := range []string{"currency", "customer", "description", "invoice", "receipt_email"} {
		c[field] = intent[field]
	}
	c["metadata"] = clone(intent["metadata"])
	c["amount"], c["amount_captured"] = amount, int64(0)
	c["balance_transaction"], c["outcome"] = nil, nil
	c["payment_intent"], c["payment_method"] = intent["id"], method["id"]
	c["billing_details"] = clone(method["billing_details"])
	c["calculated_statement_descriptor"] = "EMULATED"
	c["receipt_url"] = a.base + "/receipts/" + text(c, "id")
	details := child(child(c, "payment_method_details"), "card")
	for _, field := range []string{"brand", "last4", "fingerprint", "exp_month", "exp_year", "country", "funding"} {
		details[field] = child(method, "card")[field]
	}
	details["network"], details["amount_authorized"] = details["brand"], amount
	child(details, "overcapture")["maximum_amount_capturable"] = amount
	refunds := listOf("/v1/charges/"+text(c, "id")+"/refunds", []any{})
	delete(c, "refunds") // shown only when expanded, since version 2022-11-15
	a.store.save(c).Hidden["refunds"] = refunds
	return c
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
	failure := object{
		"charge": c["id"], "code": refused.code, "doc_url": "https://stripe.com/docs/error-codes/" + refused.code,
		"message": refused.message, "payment_method": clone(method), "type": "card_error",
	}
	if refused.reason != "" {
		failure["decline_code"] = refused.reason
	}
	intent["status"], intent["latest_charge"], intent["last_payment_error"] = "requires_payment_method", c["id"], failure
	a.emit("payment_intent.payment_failed", intent)
}

// newBalanceTransaction books a charge less Stripe's usual fee.
func (a *action) newBalanceTransaction(c object) object {
	const secondsToSettle = 2 * 24 * 60 * 60
	t := a.create("balance_transaction", newID("txn"))
	amount := number(c, "amount")
	fee := (amount*29+500)/1000 + 30
	t["amount"], t["fee"], t["net"] = amount, fee, amount-fee
	t["currency"], t["description"] = c["currency"], c["description"]
	t["source"], t["status"] = c["id"], "pending"
	t["available_on"] = a.at + secondsToSettle
	t["fee_details"] = []any{object{
		"amount": fee, "application": nil, "currency": c["currency"], "description": "Stripe processing fees", "type": "stripe_fee",
	}}
	a.store.save(t)
	return t
}
