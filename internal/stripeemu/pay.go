package stripeemu

// A payer is what a person enters on the hosted page.
type payer struct {
	email string
	name  string
	card  *card // nil where nothing is to be paid and no card was asked for
}

// complete takes the payment of a session. A refusal by the card leaves the
// session open for another try; the payment intent, and in subscription mode
// the incomplete subscription with its invoice, are used again then.
func (a *action) complete(session *record, by payer) *decline {
	session.Private["payer"] = object{"email": by.email, "name": by.name}
	var method object
	if by.card != nil {
		method = a.newPaymentMethod(*by.card, by)
	}
	var refused *decline
	switch session.Object["mode"] {
	case "subscription":
		refused = a.paySubscription(session, by, method)
	case "setup":
		refused = a.setUp(a.store.get("setup_intent", text(session.Object, "setup_intent")), method)
	default:
		refused = a.payOnce(session, by, method)
	}
	if refused == nil {
		a.conclude(session)
	}
	return refused
}

// waitsFor is the intent of a session, whose holder may have to authenticate.
func (a *action) waitsFor(session *record) string {
	if id := text(session.Private, "setup_intent"); id != "" {
		return id
	}
	if id := text(session.Object, "setup_intent"); id != "" {
		return id
	}
	if s := a.store.find("subscription", text(session.Private, "subscription")); s != nil {
		return text(a.store.get("invoice", text(s.Object, "latest_invoice")), "payment_intent")
	}
	return text(session.Private, "payment_intent")
}

func (a *action) paySubscription(session *record, by payer, method object) *decline {
	customer := a.payingCustomer(session, by)
	subscription := a.sessionSubscription(session, customer)
	invoice := a.store.get("invoice", text(subscription, "latest_invoice"))
	if method == nil {
		return nil
	}
	if invoice["status"] == "open" {
		return a.payInvoice(invoice, payment{method: method, how: onSession})
	}
	intent := a.newSetupIntent(customer)
	session.Private["setup_intent"] = intent["id"]
	a.emit("setup_intent.created", intent)
	return a.setUp(intent, method)
}

// sessionSubscription is the subscription of the session's first attempt to
// pay, or a new one.
func (a *action) sessionSubscription(session *record, customer object) object {
	if s := a.store.find("subscription", text(session.Private, "subscription")); s != nil && !isEnded(s.Object) {
		return s.Object
	}
	data := clone(child(session.Private, "subscription_data"))
	if data == nil {
		data = object{}
	}
	end, _ := a.trialEnd(data) // was checked when the session was made
	subscription := a.newSubscription(subscriptionOrder{
		customer: customer, currency: text(session.Object, "currency"), lines: a.linesOf(session), settings: data, trialEnd: end,
		discount: a.redemptionIn(session), tax: flag(child(session.Object, "automatic_tax"), "enabled"),
	})
	session.Private["subscription"] = subscription["id"]
	a.store.lookUp(text(subscription, "id")).Private["keeps_card"] = true
	return subscription
}

func (a *action) payOnce(session *record, by payer, method object) *decline {
	o := session.Object
	if number(o, "amount_total") == 0 {
		return nil
	}
	var customer object
	if text(o, "customer") != "" || o["customer_creation"] == "always" {
		customer = a.payingCustomer(session, by)
	}
	intent := a.sessionIntent(session, customer)
	refused := a.charge(intent, method, onSession)
	if refused == nil {
		a.keepForLater(intent, method)
	}
	return refused
}

func (a *action) sessionIntent(session *record, customer object) object {
	amount := number(session.Object, "amount_total")
	if id := text(session.Private, "payment_intent"); id != "" {
		intent := a.store.get("payment_intent", id)
		intent["amount"] = amount // a code may have been entered since
		return intent
	}
	data := child(session.Private, "payment_intent_data")
	intent := a.newIntent(amount, text(session.Object, "currency"), customer)
	assign(intent, data, "description", "receipt_email", "setup_future_usage", "shipping")
	fillShipping(child(intent, "shipping"))
	mergeMetadata(intent, data)
	a.emit("payment_intent.created", intent)
	session.Private["payment_intent"] = intent["id"]
	return intent
}

// payingCustomer is the session's customer; a new one where it came without.
func (a *action) payingCustomer(session *record, by payer) object {
	if customer := a.store.customer(text(session.Object, "customer")); customer != nil {
		return customer
	}
	if customer := a.store.customer(text(session.Private, "customer")); customer != nil {
		return customer
	}
	customer := a.newCustomer()
	customer["email"], customer["name"] = by.email, orNil(by.name)
	a.store.save(customer)
	session.Private["customer"] = customer["id"]
	a.emit("customer.created", customer)
	return customer
}

// conclude completes a session whose payment has succeeded, or that needed none.
func (a *action) conclude(session *record) {
	o, kept := session.Object, child(session.Private, "payer")
	by := payer{email: text(kept, "email"), name: text(kept, "name")}
	paid := int64(0)
	switch o["mode"] {
	case "subscription":
		paid = a.concludeSubscription(session)
	case "payment":
		paid = number(o, "amount_total")
		if o["customer"] != nil || o["customer_creation"] == "always" {
			a.payingCustomer(session, by)
		}
		o["payment_intent"] = session.Private["payment_intent"]
		if flag(child(o, "invoice_creation"), "enabled") {
			o["invoice"] = a.invoiceOfPayment(session, a.payingCustomer(session, by))["id"]
		} else if use := a.redemptionIn(session); use != nil {
			a.newDiscount(*use, o["customer"])
		}
	}
	status := "paid"
	if paid == 0 {
		status = "no_payment_required"
	}
	a.finish(session, by, status)
}

func (a *action) concludeSubscription(session *record) int64 {
	s := a.store.get("subscription", text(session.Private, "subscription"))
	invoice := a.store.get("invoice", text(s, "latest_invoice"))
	if intent := a.store.find("setup_intent", text(session.Private, "setup_intent")); intent != nil {
		s["default_payment_method"] = intent.Object["payment_method"]
	}
	session.Object["subscription"], session.Object["invoice"] = s["id"], invoice["id"]
	return number(invoice, "amount_paid")
}

func (a *action) finish(session *record, by payer, status string) {
	o := session.Object
	if id := text(session.Private, "customer"); id != "" {
		o["customer"] = id
	}
	o["status"], o["url"] = "complete", nil
	o["payment_status"] = status
	o["customer_details"] = customerDetails(by.email, orNil(by.name))
	child(o, "customer_details")["tax_ids"] = []any{}
	if flag(child(o, "automatic_tax"), "enabled") {
		a.fillAddress(session)
	}
	a.emit("checkout.session.completed", o)
}

// fillAddress keeps the address that a page with taxes asks for.
func (a *action) fillAddress(session *record) {
	o := session.Object
	address := object{"city": nil, "country": "US", "line1": nil, "line2": nil, "postal_code": "94103", "state": nil}
	child(o, "automatic_tax")["status"] = "complete"
	child(o, "customer_details")["address"] = address
	customer := a.store.customer(text(o, "customer"))
	if customer != nil && (session.Private["customer"] != nil || child(session.Private, "update")["address"] == "auto") {
		a.change(customer, "customer.updated", func(c object) { c["address"] = clone(address) })
	}
}

// invoiceOfPayment writes the invoice of a one-time payment after the fact, as
// Checkout does where invoice_creation is on.
func (a *action) invoiceOfPayment(session *record, customer object) object {
	i := a.newInvoice(customer, text(session.Object, "currency"), "manual")
	data := child(child(session.Object, "invoice_creation"), "invoice_data")
	i["description"] = data["description"]
	mergeMetadata(i, data)
	if use := a.redemptionIn(session); use != nil {
		setDiscounts(i, []object{a.newDiscount(*use, customer["id"])})
	}
	for _, line := range a.linesOf(session) {
		a.addItemLine(i, line)
	}
	i["starting_balance"], i["amount_due"], i["amount_remaining"] = int64(0), i["total"], i["total"]
	a.emit("invoice.created", i)
	i["payment_intent"] = session.Object["payment_intent"]
	a.numberInvoice(i)
	a.emit("invoice.finalized", i)
	a.settleInvoice(i)
	if id := text(i, "payment_intent"); id != "" {
		intent := a.store.get("payment_intent", id)
		intent["invoice"], i["charge"] = i["id"], intent["latest_charge"]
		a.store.get("charge", text(intent, "latest_charge"))["invoice"] = i["id"]
	}
	a.emit("invoice.paid", i)
	a.emit("invoice.payment_succeeded", i)
	return i
}
