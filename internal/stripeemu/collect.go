package stripeemu

import "time"

// Dunning is what happens when a subscription's renewal is not paid.
type Dunning struct {
	// Retries are the pauses before each further attempt; 3, 5 and 7 days
	// where nil.
	Retries []time.Duration
	// Then is what becomes of the subscription after the last one: "cancel",
	// "unpaid" or "past_due", as Stripe's settings have it. Empty: cancel.
	Then string
}

// SetDunning replaces the account's settings for failed payments. Attempts that
// are planned already keep their time.
func (e *Emulator) SetDunning(d Dunning) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dunning = d
}

func (d Dunning) retries() []time.Duration {
	const day = 24 * time.Hour
	if d.Retries == nil {
		return []time.Duration{3 * day, 5 * day, 7 * day}
	}
	return d.Retries
}

// A payment is one attempt to pay an invoice.
type payment struct {
	method object
	how    session
}

// payInvoice charges a card with an open invoice; a paid one is left alone.
func (a *action) payInvoice(i object, p payment) *decline {
	if i["status"] != "open" && i["status"] != "uncollectible" {
		return nil
	}
	intent := a.store.get("payment_intent", text(i, "payment_intent"))
	refused := a.charge(intent, p.method, p.how)
	if intent["latest_charge"] != nil {
		i["charge"] = intent["latest_charge"]
	}
	i["attempted"] = true
	if p.how == collecting || number(i, "attempt_count") == 0 {
		i["attempt_count"] = number(i, "attempt_count") + 1
	}
	if refused != nil {
		a.planRetry(i, p.how)
		a.invoiceFailed(i, refused, p.how)
		return refused
	}
	a.change(i, "invoice.updated", a.settleInvoice)
	a.emit("invoice.paid", i)
	a.emit("invoice.payment_succeeded", i)
	a.subscriptionPaid(i)
	return nil
}

// collect charges an open invoice without its customer.
func (a *action) collect(i object) *decline {
	i["next_payment_attempt"] = nil
	method := a.methodToCharge(i)
	if method != nil {
		return a.payInvoice(i, payment{method: method, how: collecting})
	}
	i["attempted"], i["attempt_count"] = true, number(i, "attempt_count")+1
	refused := &decline{code: "missing_payment_method", message: "The customer has no default payment method."}
	a.planRetry(i, collecting)
	a.invoiceFailed(i, refused, collecting)
	return refused
}

// methodToCharge is the first that is set of the invoice's, the subscription's
// and the customer's default.
func (a *action) methodToCharge(i object) object {
	ids := []string{text(i, "default_payment_method")}
	if s := a.subscriptionOf(i); s != nil {
		ids = append(ids, text(s, "default_payment_method"))
	}
	customer := a.store.get("customer", text(i, "customer"))
	ids = append(ids, text(child(customer, "invoice_settings"), "default_payment_method"))
	for _, id := range ids {
		if method := a.store.find("payment_method", id); method != nil && method.Object["customer"] == customer["id"] {
			return method.Object
		}
	}
	return nil
}

// planRetry sets the next attempt, if there is to be one. Only what is
// collected by itself is tried again by itself.
func (a *action) planRetry(i object, how session) {
	if how != collecting || !flag(i, "auto_advance") {
		return
	}
	i["next_payment_attempt"] = nil
	retries := a.dunning.retries()
	if attempt := int(number(i, "attempt_count")); attempt <= len(retries) {
		i["next_payment_attempt"] = a.at + int64(retries[attempt-1]/time.Second)
	}
}

// invoiceFailed tells of an attempt that did not pay, and what that means for
// the subscription.
func (a *action) invoiceFailed(i object, refused *decline, how session) {
	if !refused.action || i["billing_reason"] != "subscription_create" {
		a.emit("invoice.payment_failed", i)
	}
	if refused.action {
		a.emit("invoice.payment_action_required", i)
	}
	s := a.subscriptionOf(i)
	if how != collecting || s == nil || isEnded(s) || s["status"] == "incomplete" || s["pending_update"] != nil || !flag(i, "auto_advance") {
		return
	}
	a.setDelinquent(i, true)
	if i["next_payment_attempt"] != nil {
		a.setStatus(s, "past_due")
		return
	}
	i["auto_advance"] = false
	switch a.dunning.Then {
	case "unpaid", "past_due":
		a.setStatus(s, a.dunning.Then)
	default:
		a.endSubscription(s, "payment_failed")
	}
}

func (a *action) setStatus(s object, status string) {
	a.change(s, "customer.subscription.updated", func(o object) { o["status"] = status })
}

func (a *action) setDelinquent(i object, delinquent bool) {
	customer := a.store.get("customer", text(i, "customer"))
	a.change(customer, "customer.updated", func(o object) { o["delinquent"] = delinquent })
}

// payNow is POST /v1/invoices/{invoice}/pay.
func (a *action) payNow(r *request) (object, error) {
	i, err := a.lookUp("invoice", "invoice", r.id())
	if err != nil {
		return nil, err
	}
	switch i["status"] {
	case "paid":
		return nil, invalid("", "Invoice is already paid")
	case "void":
		return nil, invalid("", "You cannot pay a voided invoice.")
	case "draft":
		if err := a.hasCustomer(i); err != nil {
			return nil, err
		}
		a.finalizeLate(i, "Invoice")
		if i["status"] == "paid" {
			a.tellPaid(i)
			return i, nil
		}
	}
	if flag(r.Params, "paid_out_of_band") {
		a.payOutOfBand(i)
		return i, nil
	}
	method := a.methodToCharge(i)
	if id := text(r.Params, "payment_method"); id != "" {
		if method, err = a.methodFor("payment_method", id); err != nil {
			return nil, err
		}
	}
	if method == nil {
		return nil, coded("resource_missing", "", "There is no default payment method on this customer or invoice. Please add one.")
	}
	if off, given := r.Params["off_session"].(bool); given && !off {
		return a.payByRequest(i, method, onSession)
	}
	return a.payByRequest(i, method, byHand)
}

// payByRequest charges for somebody who waits for the answer. Where the holder
// would have to authenticate, the answer says so.
func (a *action) payByRequest(i, method object, how session) (object, error) {
	refused := a.payInvoice(i, payment{method: method, how: how})
	if refused == nil {
		return i, nil
	}
	intent := a.store.get("payment_intent", text(i, "payment_intent"))
	if refused.action {
		needed := *refused
		needed.code, needed.message = "invoice_payment_intent_requires_action",
			"Payment for this invoice requires additional user action before it can be completed successfully."
		return nil, needed.asError(intent)
	}
	return nil, refused.asError(intent)
}

func (a *action) payOutOfBand(i object) {
	if id := text(i, "payment_intent"); id != "" {
		a.endIntent(a.store.get("payment_intent", id), "automatic")
	}
	i["paid_out_of_band"] = true
	a.change(i, "invoice.updated", a.settleInvoice)
	a.tellPaid(i)
}
