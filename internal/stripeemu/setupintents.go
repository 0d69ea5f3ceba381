package stripeemu

import "example.com/saaskit/internal/stripecontract"

func setupIntentOperations() map[string]operation {
	writable := []string{"customer", "payment_method", "description", "metadata.*", "payment_method_types"}
	return map[string]operation{
		"POST /v1/setup_intents": {handle: (*action).createSetupIntent, params: joined(writable, []string{
			"confirm", "usage", "return_url", "automatic_payment_methods.*",
		})},
		"GET /v1/setup_intents": list("setup_intent",
			map[string]filter{"customer": field("customer"), "payment_method": field("payment_method")}),
		"GET /v1/setup_intents/{intent}":          retrieve("setup_intent", "intent"),
		"POST /v1/setup_intents/{intent}":         {handle: (*action).updateSetupIntent, params: writable},
		"POST /v1/setup_intents/{intent}/confirm": {handle: (*action).confirmSetupIntent, params: []string{"payment_method", "return_url"}},
		"POST /v1/setup_intents/{intent}/cancel":  {handle: (*action).cancelSetupIntent, params: []string{"cancellation_reason"}},
	}
}

func (a *action) newSetupIntent(customer object) object {
	intent := a.create("setup_intent", newID("seti"))
	intent["client_secret"] = text(intent, "id") + "_secret_" + randomText(25)
	if customer != nil {
		intent["customer"] = customer["id"]
	}
	a.store.save(intent)
	return intent
}

func (a *action) createSetupIntent(r *request) (object, error) {
	if !onlyCards(r.Params) {
		return nil, notEmulated("payment methods other than card")
	}
	customer, method, err := a.intentParties(r.Params)
	if err != nil {
		return nil, err
	}
	intent := a.newSetupIntent(customer)
	assign(intent, r.Params, "usage")
	intent["automatic_payment_methods"] = automaticMethods(r.Params)
	a.keepReturn(intent, r.Params)
	setSetupIntent(intent, r.Params, method)
	a.emit("setup_intent.created", intent)
	if flag(r.Params, "confirm") {
		return a.confirmedSetup(intent)
	}
	return intent, nil
}

func setSetupIntent(intent, params, method object) {
	assign(intent, params, "description")
	mergeMetadata(intent, params)
	if method != nil {
		intent["payment_method"], intent["status"] = method["id"], "requires_confirmation"
	}
}

func (a *action) openSetupIntent(id string) (object, error) {
	intent, err := a.lookUp("setup_intent", "intent", id)
	if err != nil {
		return nil, err
	}
	if intent["status"] == "succeeded" || intent["status"] == "canceled" {
		return nil, stripecontract.Invalid("setup_intent_unexpected_state", "",
			"This SetupIntent's status is %s, so it cannot be changed.", text(intent, "status"))
	}
	return intent, nil
}

func (a *action) updateSetupIntent(r *request) (object, error) {
	intent, err := a.openSetupIntent(r.id())
	if err != nil {
		return nil, err
	}
	if !onlyCards(r.Params) {
		return nil, notEmulated("payment methods other than card")
	}
	customer, method, err := a.intentParties(r.Params)
	if err != nil {
		return nil, err
	}
	if customer != nil {
		intent["customer"] = customer["id"]
	}
	setSetupIntent(intent, r.Params, method)
	return intent, nil
}

func (a *action) confirmSetupIntent(r *request) (object, error) {
	intent, err := a.openSetupIntent(r.id())
	if err != nil {
		return nil, err
	}
	params := clone(r.Params)
	params["customer"] = intent["customer"]
	_, method, err := a.intentParties(params)
	if err != nil {
		return nil, err
	}
	setSetupIntent(intent, object{}, method)
	a.keepReturn(intent, r.Params)
	return a.confirmedSetup(intent)
}

func (a *action) confirmedSetup(intent object) (object, error) {
	id := text(intent, "payment_method")
	if id == "" {
		return nil, stripecontract.Invalid("setup_intent_unexpected_state", "payment_method",
			"You cannot confirm this SetupIntent because it's missing a payment method.")
	}
	refused := a.setUp(intent, a.store.get("payment_method", id))
	if refused != nil && !refused.action {
		return nil, refused.asError(intent)
	}
	return intent, nil
}

// setUp keeps a card for charges without its holder.
func (a *action) setUp(intent, method object) *decline {
	cardNumber := a.cardOf(method)
	intent["payment_method"] = method["id"]
	if refused := refusedAtAttach(cardNumber); refused != nil {
		a.failSetup(intent, method, refused)
		return refused
	}
	if wantsAuthentication(cardNumber, false, false) && !a.authenticated(intent) {
		return a.awaitAuthentication(intent)
	}
	intent["status"], intent["next_action"], intent["last_setup_error"] = "succeeded", nil, nil
	if id := text(intent, "customer"); id != "" {
		a.attach(method, a.store.get("customer", id))
	}
	a.store.lookUp(text(method, "id")).Private["set_up"] = true
	a.emit("setup_intent.succeeded", intent)
	return nil
}

func (a *action) failSetup(intent, method object, refused *decline) {
	failure := object{
		"code": refused.code, "doc_url": "https://stripe.com/docs/error-codes/" + refused.code,
		"message": refused.message, "payment_method": clone(method), "type": "card_error",
	}
	if refused.reason != "" {
		failure["decline_code"] = refused.reason
	}
	intent["status"], intent["last_setup_error"], intent["payment_method"] = "requires_payment_method", failure, nil
	intent["next_action"] = nil
	a.emit("setup_intent.setup_failed", intent)
}

func (a *action) cancelSetupIntent(r *request) (object, error) {
	intent, err := a.openSetupIntent(r.id())
	if err != nil {
		return nil, err
	}
	intent["status"], intent["cancellation_reason"] = "canceled", orNil(text(r.Params, "cancellation_reason"))
	a.emit("setup_intent.canceled", intent)
	return intent, nil
}
