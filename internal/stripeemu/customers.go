package stripeemu

import "slices"

func customerOperations() map[string]operation {
	writable := []string{
		"name", "email", "description", "phone", "metadata.*", "address.*", "shipping.*", "preferred_locales", "tax_exempt",
	}
	return map[string]operation{
		"POST /v1/customers": {handle: (*action).createCustomer, params: append(writable, "test_clock",
			"payment_method", "invoice_settings.default_payment_method", "balance", "coupon", "promotion_code")},
		"GET /v1/customers":            offClock(list("customer", map[string]filter{"email": field("email"), "test_clock": field("test_clock")})),
		"GET /v1/customers/{customer}": retrieve("customer", "id"),
		"POST /v1/customers/{customer}": {handle: (*action).updateCustomer,
			params: append(writable, "invoice_settings.default_payment_method", "balance", "coupon", "promotion_code")},
		"DELETE /v1/customers/{customer}": {handle: (*action).deleteCustomer},
		"GET /v1/customers/{customer}/balance_transactions": {
			params: []string{"limit", "starting_after", "ending_before"},
			handle: func(a *action, r *request) (object, error) {
				if _, err := a.lookUp("customer", "customer", r.id()); err != nil {
					return nil, err
				}
				return page(r, a.balanceOf(r.id()))
			},
		},
		"POST /v1/customers/{customer}/balance_transactions": {handle: (*action).adjustBalance,
			params: []string{"amount", "currency", "description", "metadata.*"}},
	}
}

func (a *action) createCustomer(r *request) (object, error) {
	customer := a.newCustomer()
	if id := text(r.Params, "test_clock"); id != "" {
		if _, err := a.named("test_helpers.test_clock", "test_clock", id); err != nil {
			return nil, err
		}
		customer["test_clock"] = id
	}
	setCustomer(customer, r.Params)
	method, err := a.methodOfNewCustomer(r.Params)
	if err != nil {
		return nil, err
	}
	by, err := a.redemptionOf(r.Params, customer)
	if err != nil {
		return nil, err
	}
	a.store.save(customer)
	if method != nil {
		method["customer"] = customer["id"]
		if text(child(r.Params, "invoice_settings"), "default_payment_method") != "" {
			child(customer, "invoice_settings")["default_payment_method"] = method["id"]
		}
	}
	a.emit("customer.created", customer)
	if method != nil {
		a.emit("payment_method.attached", method)
	}
	a.discountCustomer(customer, by)
	return customer, nil
}

// methodOfNewCustomer is the card that a new customer brings along.
func (a *action) methodOfNewCustomer(params object) (object, error) {
	id := text(params, "payment_method")
	byDefault := text(child(params, "invoice_settings"), "default_payment_method")
	if id == "" {
		if byDefault != "" {
			return nil, invalid("invoice_settings[default_payment_method]", "The payment method must be attached to the customer.")
		}
		return nil, nil
	}
	if byDefault != "" && byDefault != id {
		return nil, invalid("invoice_settings[default_payment_method]", "The payment method must be attached to the customer.")
	}
	method, err := a.methodFor("payment_method", id)
	if err != nil {
		return nil, err
	}
	if flag(a.store.lookUp(text(method, "id")).Private, "detached") || method["customer"] != nil {
		return nil, usedUp("payment_method")
	}
	if refused := refusedAtAttach(a.cardOf(method)); refused != nil {
		return nil, refused.asError(nil)
	}
	return method, nil
}

func (a *action) discountCustomer(customer object, by *redemption) {
	if by == nil {
		return
	}
	a.change(customer, "customer.updated", func(o object) {
		a.dropDiscount(o)
		d := a.newDiscount(*by, o["id"])
		o["discount"] = clone(d)
		a.emit("customer.discount.created", d)
	})
}

func (a *action) balanceOf(customerID string) []*record {
	return slices.DeleteFunc(a.store.all("customer_balance_transaction"), func(r *record) bool { return r.Object["customer"] != customerID })
}

func (a *action) adjustBalance(r *request) (object, error) {
	customer, err := a.named("customer", "customer", r.id())
	if err != nil {
		return nil, err
	}
	by := number(r.Params, "amount")
	a.change(customer, "customer.updated", func(o object) { o["balance"] = number(o, "balance") + by })
	t := a.newBalanceEntry(customer, by, text(r.Params, "currency"))
	assign(t, r.Params, "description")
	mergeMetadata(t, r.Params)
	return t, nil
}

// newCustomer makes one that nobody has named yet and no currency binds.
func (a *action) newCustomer() object {
	customer := a.create("customer", newID("cus"))
	customer["currency"], customer["discount"] = nil, nil
	customer["invoice_prefix"] = randomPrefix()
	return customer
}

func setCustomer(customer, params object) {
	assign(customer, params, "name", "email", "description", "phone", "address", "shipping",
		"preferred_locales", "tax_exempt", "balance")
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
		if _, err := a.ownPaymentMethod(text(customer, "id"), "invoice_settings[default_payment_method]", id); err != nil {
			return nil, err
		}
	}
	by, err := a.redemptionOf(r.Params, customer)
	if err != nil {
		return nil, err
	}
	a.discountCustomer(customer, by)
	if r.Params["coupon"] == "" {
		a.change(customer, "customer.updated", a.dropDiscount)
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
	for _, r := range a.store.all("subscription_schedule") {
		if r.Object["customer"] == customer["id"] && r.Object["status"] == "not_started" {
			a.closeSchedule(r.Object, "canceled")
		}
	}
	for _, r := range a.store.all("invoice") {
		if r.Object["customer"] == customer["id"] && flag(r.Object, "auto_advance") {
			r.Object["auto_advance"], r.Object["next_payment_attempt"] = false, nil
		}
	}
	for _, method := range a.paymentMethodsOf(text(customer, "id"), "") {
		method.Object["customer"], method.Private["detached"] = nil, true
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
