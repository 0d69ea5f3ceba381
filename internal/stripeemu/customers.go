package stripeemu

func customerOperations() map[string]operation {
	writable := []string{
		"name", "email", "description", "phone", "metadata.*", "address.*", "shipping.*", "preferred_locales", "tax_exempt",
	}
	return map[string]operation{
		"POST /v1/customers":              {handle: (*action).createCustomer, params: writable},
		"GET /v1/customers":               list("customer", map[string]filter{"email": field("email")}),
		"GET /v1/customers/{customer}":    retrieve("customer", "id"),
		"POST /v1/customers/{customer}":   {handle: (*action).updateCustomer, params: append(writable, "invoice_settings.default_payment_method")},
		"DELETE /v1/customers/{customer}": {handle: (*action).deleteCustomer},
		"GET /v1/customers/{customer}/payment_methods": {
			params: []string{"type", "limit", "starting_after", "ending_before"},
			handle: func(a *action, r *request) (object, error) {
				if _, err := a.lookUp("customer", "customer", r.id()); err != nil {
					return nil, err
				}
				return page(r, a.paymentMethodsOf(r.id(), text(r.Params, "type")))
			},
		},
	}
}

func (a *action) createCustomer(r *request) (object, error) {
	customer := a.newCustomer()
	setCustomer(customer, r.Params)
	a.store.save(customer)
	a.emit("customer.created", customer)
	return customer, nil
}

// newCustomer makes one that nobody has named yet and no currency binds.
func (a *action) newCustomer() object {
	customer := a.create("customer", newID("cus"))
	customer["currency"] = nil
	customer["invoice_prefix"] = randomPrefix()
	return customer
}

func setCustomer(customer, params object) {
	assign(customer, params, "name", "email", "description", "phone", "address", "shipping",
		"preferred_locales", "tax_exempt")
	if address := child(customer, "address"); address != nil {
		for _, part := range []string{"city", "country", "line1", "line2", "postal_code", "state"} {
			if _, given := address[part]; !given {
				address[part] = nil
			}
		}
	}
	mergeMetadata(customer, params)
}

func (a *action) updateCustomer(r *request) (object, error) {
	customer, err := a.lookUp("customer", "id", r.id())
	if err != nil {
		return nil, err
	}
	if flag(customer, "deleted") {
		return nil, missing("customer", "id", r.id())
	}
	settings := child(r.Params, "invoice_settings")
	if id := text(settings, "default_payment_method"); id != "" {
		method, err := a.named("payment_method", "invoice_settings[default_payment_method]", id)
		if err != nil {
			return nil, err
		}
		if method["customer"] != customer["id"] {
			return nil, invalid("invoice_settings[default_payment_method]",
				"The customer does not have a payment method with the ID %s. The payment method must be attached to the customer.", id)
		}
	}
	a.change(customer, "customer.updated", func(o object) {
		setCustomer(o, r.Params)
		if settings != nil {
			assign(child(o, "invoice_settings"), settings, "default_payment_method")
		}
	})
	return customer, nil
}

// deleteCustomer ends the customer's subscriptions at once. The id stays
// taken: reading it answers 200 with deleted: true.
func (a *action) deleteCustomer(r *request) (object, error) {
	customer, err := a.lookUp("customer", "id", r.id())
	if err != nil {
		return nil, err
	}
	if flag(customer, "deleted") {
		return nil, missing("customer", "id", r.id())
	}
	for _, subscription := range a.store.all("subscription") {
		if subscription.Object["customer"] == customer["id"] && !isEnded(subscription.Object) {
			a.endSubscription(subscription.Object, "cancellation_requested")
		}
	}
	for _, method := range a.paymentMethodsOf(text(customer, "id"), "") {
		method.Object["customer"] = nil
	}
	a.emit("customer.deleted", customer)
	gone := object{"id": customer["id"], "object": "customer", "deleted": true}
	a.store.save(gone)
	return gone, nil
}

func randomPrefix() string {
	const letters = "0123456789ABCDEF"
	prefix := []byte(randomText(8))
	for i, b := range prefix {
		prefix[i] = letters[int(b)%len(letters)]
	}
	return string(prefix)
}
