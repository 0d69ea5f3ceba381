package stripeemu

// scheduleCancel sets or lifts the end that is to come. A date that was given as
// one is lifted by an empty date only.
func (a *action) scheduleCancel(s, params object) {
	var at any
	switch {
	case params["cancel_at_period_end"] == false && s["cancel_at_period_end"] != true:
		return
	case params["cancel_at_period_end"] != nil:
		s["cancel_at_period_end"] = params["cancel_at_period_end"]
		if flag(s, "cancel_at_period_end") {
			at = s["current_period_end"]
		}
	case params["cancel_at"] != nil:
		s["cancel_at_period_end"] = false
		if given, ok := params["cancel_at"].(int64); ok {
			at = given
		}
	default:
		return
	}
	s["cancel_at"], s["canceled_at"] = at, nil
	child(s, "cancellation_details")["reason"] = nil
	if at != nil {
		s["canceled_at"] = a.at
		child(s, "cancellation_details")["reason"] = "cancellation_requested"
	}
}

func (a *action) cancelSubscription(r *request) (object, error) {
	s, err := a.lookUp("subscription", "id", r.id())
	if err != nil {
		return nil, err
	}
	if isEnded(s) {
		return nil, missing("subscription", "id", r.id())
	}
	assign(child(s, "cancellation_details"), child(r.Params, "cancellation_details"), "comment", "feedback")
	prorate, invoiceNow := flag(r.Params, "prorate"), flag(r.Params, "invoice_now")
	if prorate && s["status"] != "trialing" {
		for _, item := range itemsOf(s) {
			a.prorate(s, item, -1, a.at)
		}
	}
	if !prorate && !invoiceNow {
		a.dropProrations(s)
	}
	a.endSubscription(s, "cancellation_requested")
	if invoiceNow && len(a.pendingItems(text(s, "customer"), s)) > 0 {
		a.lastInvoice(s)
	}
	return s, nil
}

// lastInvoice bills what is left when a subscription ends.
func (a *action) lastInvoice(s object) {
	invoice := a.newInvoice(a.store.get("customer", text(s, "customer")), text(s, "currency"), "subscription_update")
	a.belongTo(invoice, s)
	a.takePending(invoice, s)
	a.emit("invoice.created", invoice)
	a.finalizeUnlessKept(invoice, s)
	if invoice["status"] == "paid" {
		a.tellPaid(invoice)
		return
	}
	if invoice["status"] == "draft" || a.setAsidePaused(invoice) {
		return
	}
	a.collect(invoice)
}

// dropProrations forgets the changes of the running period that no invoice
// has billed yet.
func (a *action) dropProrations(s object) {
	for _, item := range a.pendingItems(text(s, "customer"), s) {
		if flag(item, "proration") && item["subscription"] == s["id"] {
			a.forgetItem(item)
		}
	}
}

// endSubscription cancels at once. What it still owes is no longer collected.
func (a *action) endSubscription(s object, reason string) {
	for _, r := range a.store.all("invoice") {
		if i := r.Object; i["subscription"] == s["id"] && (i["status"] == "open" || i["status"] == "draft") {
			a.change(i, "invoice.updated", func(o object) { o["auto_advance"], o["next_payment_attempt"] = false, nil })
		}
	}
	s["status"], s["ended_at"], s["pending_update"] = "canceled", a.at, nil
	if s["canceled_at"] == nil {
		s["canceled_at"] = a.at
	}
	child(s, "cancellation_details")["reason"] = orNil(reason)
	a.endSchedule(s, "canceled")
	a.emit("customer.subscription.deleted", s)
}
