package stripeemu

import "slices"

// portalTime is how long the link to a portal session works.
const portalTime = 60 * 60

func portalOperations() map[string]operation {
	editable := []string{
		"business_profile.*", "default_return_url", "metadata.*", "features.customer_update.*", "features.invoice_history.*",
		"features.payment_method_update.*", "features.subscription_cancel.*", "features.subscription_update.*",
	}
	return map[string]operation{
		"POST /v1/billing_portal/configurations": {handle: (*action).createPortalConfiguration, params: editable},
		"GET /v1/billing_portal/configurations": list("billing_portal.configuration",
			map[string]filter{"active": field("active"), "is_default": field("is_default")}),
		"GET /v1/billing_portal/configurations/{configuration}":  retrieve("billing_portal.configuration", "configuration"),
		"POST /v1/billing_portal/configurations/{configuration}": {handle: (*action).updatePortalConfiguration, params: append(editable, "active")},
		"POST /v1/billing_portal/sessions": {handle: (*action).createPortalSession,
			params: []string{"customer", "configuration", "return_url", "locale", "flow_data.type", "flow_data.after_completion.*",
				"flow_data.subscription_cancel.subscription", "flow_data.subscription_update.subscription",
			}},
	}
}

// newPortalConfiguration has what a new account's portal offers.
func (a *action) newPortalConfiguration() object {
	c := a.create("billing_portal.configuration", newID("bpc"))
	c["livemode"], c["metadata"], c["is_default"] = false, object{}, false
	c["business_profile"] = object{"headline": nil, "privacy_policy_url": nil, "terms_of_service_url": nil}
	features := child(c, "features")
	child(features, "payment_method_update")["enabled"] = true
	child(features, "subscription_cancel")["enabled"] = true
	child(features, "customer_update")["allowed_updates"] = []any{"email"}
	return c
}

func setPortalConfiguration(c, params object) {
	assign(c, params, "default_return_url", "active")
	assign(child(c, "business_profile"), child(params, "business_profile"), "headline", "privacy_policy_url", "terms_of_service_url")
	mergeMetadata(c, params)
	for feature, value := range child(params, "features") {
		given, _ := value.(object)
		for name := range given {
			assign(child(child(c, "features"), feature), given, name)
		}
	}
}

func (a *action) createPortalConfiguration(r *request) (object, error) {
	c := a.newPortalConfiguration()
	setPortalConfiguration(c, r.Params)
	a.store.save(c)
	a.emit("billing_portal.configuration.created", c)
	return c, nil
}

func (a *action) updatePortalConfiguration(r *request) (object, error) {
	c, err := a.lookUp("billing_portal.configuration", "configuration", r.id())
	if err != nil {
		return nil, err
	}
	a.change(c, "billing_portal.configuration.updated", func(o object) {
		setPortalConfiguration(o, r.Params)
		o["updated"] = a.at
	})
	return c, nil
}

// defaultPortal is the configuration that the dashboard would have. It begins
// to exist with its first use.
func (a *action) defaultPortal() object {
	for _, r := range a.store.all("billing_portal.configuration") {
		if flag(r.Object, "is_default") {
			return r.Object
		}
	}
	c := a.newPortalConfiguration()
	c["is_default"] = true
	a.store.save(c)
	return c
}

func (a *action) createPortalSession(r *request) (object, error) {
	customer, err := a.named("customer", "customer", text(r.Params, "customer"))
	if err != nil {
		return nil, err
	}
	configuration := a.defaultPortal()
	if id := text(r.Params, "configuration"); id != "" {
		if configuration, err = a.named("billing_portal.configuration", "configuration", id); err != nil {
			return nil, err
		}
	}
	session := a.create("billing_portal.session", newID("bps"))
	session["customer"], session["configuration"], session["livemode"] = customer["id"], configuration["id"], false
	session["return_url"] = configuration["default_return_url"]
	assign(session, r.Params, "return_url", "locale")
	if err := a.setFlow(session, r.Params); err != nil {
		return nil, err
	}
	session["url"] = a.base + "/p/session/" + text(session, "id")
	a.store.save(session)
	a.emit("billing_portal.session.created", session)
	return session, nil
}

// offers says whether a feature of the portal is on.
func offers(configuration object, feature string) bool {
	return flag(child(child(configuration, "features"), feature), "enabled")
}

// portalPrices are the prices that a customer may change to.
func (a *action) portalPrices(configuration object, currency string) []object {
	update := child(child(configuration, "features"), "subscription_update")
	allowed, _ := update["default_allowed_updates"].([]any)
	if !flag(update, "enabled") || !slices.Contains(allowed, any("price")) {
		return nil
	}
	var prices []object
	for _, product := range elements(update, "products") {
		ids, _ := product["prices"].([]any)
		for _, id := range ids {
			price := a.store.find("price", id.(string))
			if price == nil || !flag(price.Object, "active") {
				continue
			}
			if _, offered := a.amountIn(price.Object, currency); offered {
				prices = append(prices, price.Object)
			}
		}
	}
	return prices
}
