package stripeemu

import "example.com/saaskit/internal/stripecontract"

func paymentOperations() map[string]operation {
	writable := []string{"customer", "payment_method", "description", "receipt_email", "setup_future_usage", "metadata.*",
		"payment_method_types", "shipping.*"}
	confirmable := []string{"off_session", "return_url"}
	return map[string]operation{
		"POST /v1/payment_intents": {handle: (*action).createIntent, params: joined(writable, confirmable, []string{
			"amount", "currency", "confirm", "capture_method", "confirmation_method", "automatic_payment_methods.*",
		})},
		"GET /v1/payment_intents":           list("payment_intent", map[string]filter{"customer": field("customer")}),
		"GET /v1/payment_intents/{intent}":  retrieve("payment_intent", "intent"),
		"POST /v1/payment_intents/{intent}": {handle: (*action).updateIntent, params: joined(writable, []string{"amount", "currency"})},
		"POST /v1/payment_intents/{intent}/confirm": {handle: (*action).confirmIntent,
			params: joined(confirmable, []string{"payment_method", "receipt_email", "setup_future_usage"})},
		"POST /v1/payment_intents/{intent}/capture": {handle: (*action).captureIntent, params: []string{"amount_to_capture"}},
		"POST /v1/payment_intents/{intent}/cancel":  {handle: (*action).cancelIntent, params: []string{"cancellation_reason"}},
		"GET /v1/charges": list("charge",
			map[string]filter{"customer": field("customer"), "payment_intent": field("payment_intent")}),
		"GET /v1/charges/{charge}":  retrieve("charge", "id"),
		"POST /v1/charges/{charge}": {handle: (*action).updateCharge, params: []string{"description", "metadata.*", "receipt_email"}},
		"GET /v1/balance_transactions": list("balance_transaction",
			map[string]filter{"currency": field("currency"), "source": field("source"), "type": field("type")}),
		"GET /v1/balance_transactions/{id}": retrieve("balance_transaction", "id"),
	}
}

func joined(lists ...[]string) []string {
	var all []string
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

// newIntent makes a payment intent that waits for a card. Its creator emits
// payment_intent.created once it is complete.
func (a *action) newIntent(amount int64, currency string, customer object) object {
	intent := a.create("payment_intent", newID("pi"))
	intent["client_secret"] = text(intent, "id") + "_secret_" + randomText(25)
	intent["amount"], intent["currency"], intent["canceled_at"] = amount, currency, nil
	if customer != nil {
		intent["customer"] = customer["id"]
	}
	a.store.save(intent)
	return intent
}

func (a *action) createIntent(r *request) (object, error) {
	params := r.Params
	switch {
	case params["confirmation_method"] == "manual":
		return nil, notEmulated("confirmation_method=manual")
	case !onlyCards(params):
		return nil, notEmulated("payment methods other than card")
	}
	if err := chargeable(number(params, "amount"), text(params, "currency")); err != nil {
		return nil, err
	}
	customer, method, err := a.intentParties(params)
	if err != nil {
		return nil, err
	}
	intent := a.newIntent(number(params, "amount"), text(params, "currency"), customer)
	setIntent(intent, params, method)
	intent["automatic_payment_methods"] = automaticMethods(params)
	a.keepReturn(intent, params)
	a.emit("payment_intent.created", intent)
	if flag(params, "confirm") {
		return a.confirmed(intent, flag(params, "off_session") || params["off_session"] == "true")
	}
	return intent, nil
}

func onlyCards(params object) bool {
	types, given := params["payment_method_types"].([]any)
	for _, kind := range types {
		if kind != "card" {
			return false
		}
	}
	return !given || len(types) > 0
}

// intentParties finds the customer and the payment method of an intent. A
// customer may pay only with a method of theirs, or one that is nobody's yet.
func (a *action) intentParties(params object) (customer, method object, err error) {
	if id := text(params, "customer"); id != "" {
		if customer, err = a.named("customer", "customer", id); err != nil {
			return nil, nil, err
		}
	}
	id := text(params, "payment_method")
	if id == "" {
		return customer, nil, nil
	}
	if method, err = a.methodFor("payment_method", id); err != nil {
		return nil, nil, err
	}
	if owner := text(method, "customer"); owner != "" && (customer == nil || customer["id"] != owner) {
		return nil, nil, invalid("payment_method", "The PaymentMethod provided belongs to a customer that is not the one of this request.")
	}
	if flag(a.store.lookUp(text(method, "id")).Private, "detached") {
		return nil, nil, usedUp("payment_method")
	}
	return customer, method, nil
}

func setIntent(intent, params, method object) {
	assign(intent, params, "description", "receipt_email", "setup_future_usage", "capture_method", "shipping")
	mergeMetadata(intent, params)
	fillShipping(child(intent, "shipping"))
	if method != nil {
		intent["payment_method"], intent["status"] = method["id"], "requires_confirmation"
	}
}

// fillShipping adds the fields that Stripe shows although nobody gave them.
func fillShipping(shipping object) {
	if shipping == nil {
		return
	}
	fill(shipping, "carrier", "phone", "tracking_number")
	fill(child(shipping, "address"), "city", "country", "line1", "line2", "postal_code", "state")
}

func fill(o object, fields ...string) {
	for _, field := range fields {
		if _, given := o[field]; o != nil && !given {
			o[field] = nil
		}
	}
}

func (a *action) updateIntent(r *request) (object, error) {
	intent, err := a.openIntent(r.id())
	if err != nil {
		return nil, err
	}
	customer, method, err := a.intentParties(r.Params)
	if err != nil {
		return nil, err
	}
	if customer != nil {
		intent["customer"] = customer["id"]
	}
	if !onlyCards(r.Params) {
		return nil, notEmulated("payment methods other than card")
	}
	assign(intent, r.Params, "amount", "currency")
	if err := chargeable(number(intent, "amount"), text(intent, "currency")); err != nil {
		return nil, err
	}
	setIntent(intent, r.Params, method)
	return intent, nil
}

// openIntent finds an intent that can still be paid.
func (a *action) openIntent(id string) (object, error) {
	intent, err := a.lookUp("payment_intent", "intent", id)
	if err != nil {
		return nil, err
	}
	if intent["status"] == "succeeded" || intent["status"] == "canceled" {
		return nil, unexpectedState(intent, "This PaymentIntent's status is %s, so it cannot be changed.")
	}
	return intent, nil
}

// confirmable refuses an intent whose money is held or on its way already.
func confirmable(intent object) error {
	switch intent["status"] {
	case "requires_payment_method", "requires_confirmation", "requires_action":
		return nil
	}
	return unexpectedState(intent, "This PaymentIntent's status is %s, so it cannot be confirmed.")
}

func unexpectedState(intent object, format string) error {
	refusal := stripecontract.Invalid("payment_intent_unexpected_state", "", format, text(intent, "status"))
	refusal.Extra = map[string]any{"payment_intent": clone(intent)}
	return refusal
}

func (a *action) confirmIntent(r *request) (object, error) {
	intent, err := a.openIntent(r.id())
	if err != nil {
		return nil, err
	}
	if err := confirmable(intent); err != nil {
		return nil, err
	}
	params := clone(r.Params)
	params["customer"] = intent["customer"]
	_, method, err := a.intentParties(params)
	if err != nil {
		return nil, err
	}
	setIntent(intent, r.Params, method)
	a.keepReturn(intent, r.Params)
	return a.confirmed(intent, flag(r.Params, "off_session") || r.Params["off_session"] == "true")
}

// automaticMethods is the parameter automatic_payment_methods as an intent shows it.
func automaticMethods(params object) any {
	given := child(params, "automatic_payment_methods")
	if given == nil {
		return nil
	}
	shown := object{"enabled": flag(given, "enabled"), "allow_redirects": "always"}
	assign(shown, given, "allow_redirects")
	return shown
}

// confirmed charges an intent's payment method, through its invoice where it
// has one.
func (a *action) confirmed(intent object, offSession bool) (object, error) {
	id := text(intent, "payment_method")
	if id == "" {
		return nil, stripecontract.Invalid("payment_intent_unexpected_state", "payment_method",
			"You cannot confirm this PaymentIntent because it's missing a payment method.")
	}
	method := a.store.get("payment_method", id)
	var refused *decline
	if invoice := text(intent, "invoice"); invoice != "" {
		refused = a.payInvoice(a.store.get("invoice", invoice), payment{method: method, how: onSession})
	} else if refused = a.charge(intent, method, sessionOf(offSession)); refused == nil {
		a.keepForLater(intent, method)
	}
	if refused != nil && !refused.action {
		return nil, refused.asError(intent)
	}
	return intent, nil
}

// keepForLater attaches a card that was paid with to the customer it is to be
// used for again.
func (a *action) keepForLater(intent, method object) {
	if intent["setup_future_usage"] == nil || intent["customer"] == nil {
		return
	}
	a.attach(method, a.store.get("customer", text(intent, "customer")))
	a.store.lookUp(text(method, "id")).Private["set_up"] = true
}

func (a *action) cancelIntent(r *request) (object, error) {
	intent, err := a.openIntent(r.id())
	if err != nil {
		return nil, err
	}
	if intent["invoice"] != nil {
		return nil, invalid("", "You cannot cancel this PaymentIntent because it belongs to an invoice. Void the invoice instead.")
	}
	if intent["status"] == "requires_capture" {
		a.letGo(intent)
	}
	a.endIntent(intent, text(r.Params, "cancellation_reason"))
	return intent, nil
}

func (a *action) endIntent(intent object, reason string) {
	intent["status"], intent["canceled_at"], intent["cancellation_reason"] = "canceled", a.at, orNil(reason)
	intent["next_action"] = nil
	a.emit("payment_intent.canceled", intent)
}

func (a *action) updateCharge(r *request) (object, error) {
	charge, err := a.lookUp("charge", "charge", r.id())
	if err != nil {
		return nil, err
	}
	a.change(charge, "charge.updated", func(o object) {
		assign(o, r.Params, "description", "receipt_email")
		mergeMetadata(o, r.Params)
	})
	return charge, nil
}
