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
	o := session.Object
	if o["mode"] == "subscription" {
		return a.completeSubscription(session, by)
	}
	return a.completePayment(session, by)
}

func (a *action) completeSubscription(session *record, by payer) *decline {
	customer := a.payingCustomer(session, by)
	subscription := a.sessionSubscription(session, customer)
	invoice := a.store.get("invoice", text(subscription, "latest_invoice"))
	if by.card != nil {
		method := a.newPaymentMethod(*by.card, by)
		if refused := a.payInvoice(invoice, method); refused != nil {
			return refused
		}
		a.attach(method, customer)
		a.change(subscription, "", func(o object) { o["default_payment_method"] = method["id"] })
	}
	a.activate(subscription)
	o := session.Object
	o["subscription"], o["invoice"] = subscription["id"], invoice["id"]
	a.finish(session, by, number(invoice, "amount_paid"))
	return nil
}

// sessionSubscription is the subscription of the session's first attempt to
// pay, or a new one.
func (a *action) sessionSubscription(session *record, customer object) object {
	if id := text(session.Private, "subscription"); id != "" {
		return a.store.get("subscription", id)
	}
	data := child(session.Private, "subscription_data")
	subscription := a.newSubscription(subscriptionOrder{
		customer: customer, currency: text(session.Object, "currency"), lines: a.linesOf(session),
		metadata: child(data, "metadata"), description: data["description"], trialDays: number(data, "trial_period_days"),
	})
	session.Private["subscription"] = subscription["id"]
	return subscription
}

func (a *action) completePayment(session *record, by payer) *decline {
	o := session.Object
	amount := number(o, "amount_total")
	var customer object
	if text(o, "customer") != "" || o["customer_creation"] == "always" {
		customer = a.payingCustomer(session, by)
	}
	if amount > 0 {
		intent := a.sessionIntent(session, customer)
		method := a.newPaymentMethod(*by.card, by)
		if refused := a.charge(intent, method); refused != nil {
			return refused
		}
		o["payment_intent"] = intent["id"]
		if customer != nil && text(child(session.Private, "payment_intent_data"), "setup_future_usage") != "" {
			a.attach(method, customer)
		}
	}
	if flag(child(o, "invoice_creation"), "enabled") {
		o["invoice"] = a.invoiceOfPayment(session, customer, by)["id"]
	}
	a.finish(session, by, amount)
	return nil
}

func (a *action) sessionIntent(session *record, customer object) object {
	if id := text(session.Private, "payment_intent"); id != "" {
		return a.store.get("payment_intent", id)
	}
	data := child(session.Private, "payment_intent_data")
	intent := a.newIntent(number(session.Object, "amount_total"), text(session.Object, "currency"), customer)
	assign(intent, data, "description", "receipt_email", "setup_future_usage")
	mergeMetadata(intent, data)
	a.emit("payment_intent.created", intent)
	session.Private["payment_intent"] = intent["id"]
	return intent
}

// payingCustomer is the session's customer; a new one where it came without.
func (a *action) payingCustomer(session *record, by payer) object {
	if id := text(session.Object, "customer"); id != "" {
		return a.store.get("customer", id)
	}
	if id := text(session.Private, "customer"); id != "" {
		return a.store.get("customer", id)
	}
	customer := a.newCustomer()
	customer["email"], customer["name"] = by.email, orNil(by.name)
	a.store.save(customer)
	session.Private["customer"] = customer["id"]
	a.emit("customer.created", customer)
	return customer
}

func (a *action) finish(session *record, by payer, paid int64) {
	o := session.Object
	if id := text(session.Private, "customer"); id != "" {
		o["customer"] = id
	}
	o["status"], o["url"] = "complete", nil
	o["payment_status"] = "paid"
	if paid == 0 {
		o["payment_status"] = "no_payment_required"
	}
	o["customer_details"] = customerDetails(by.email, orNil(by.name))
	child(o, "customer_details")["tax_ids"] = []any{}
	a.emit("checkout.session.completed", o)
}
