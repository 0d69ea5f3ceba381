package stripeemu

// pendingTime is how long a change waits for its invoice to be paid.
const pendingTime = 23 * 60 * 60

// suspend bills a change without making it: the subscription goes on as it is
// until the invoice is paid.
func (a *action) suspend(s object, p plan) {
	a.dropPendingUpdate(s)
	before := clone(s)
	a.createProrations(s, p)
	invoice := a.updateDraft(p.next, p)
	s["latest_invoice"] = invoice["id"]
	update := object{
		"billing_cycle_anchor": nil, "trial_end": nil, "trial_from_plan": nil, "subscription_items": nil,
		"expires_at": min(a.at+pendingTime, number(s, "current_period_end")),
	}
	if p.items {
		update["subscription_items"] = clone(child(p.next, "items")["data"])
	}
	if p.newCycle {
		update["billing_cycle_anchor"] = p.next["billing_cycle_anchor"]
	}
	if p.trial {
		update["trial_end"] = p.next["trial_end"]
	}
	s["pending_update"] = update
	own := a.store.lookUp(text(s, "id"))
	own.Private["pending"] = clone(p.next)
	a.emit("invoice.created", invoice)
	a.finalize(invoice, "Subscription update")
	invoice["auto_advance"] = false
	a.collect(invoice)
	a.emitChange("customer.subscription.updated", s, difference(before, s))
}

// applyPendingUpdate makes the change whose invoice is paid.
func (a *action) applyPendingUpdate(s object) {
	next := child(a.store.lookUp(text(s, "id")).Private, "pending")
	before := clone(s)
	for _, field := range []string{
		"items", "current_period_start", "current_period_end", "billing_cycle_anchor", "trial_start", "trial_end", "status",
	} {
		s[field] = clone(next[field])
	}
	a.clearPendingUpdate(s)
	a.emitChange("customer.subscription.updated", s, difference(before, s))
	a.emit("customer.subscription.pending_update_applied", s)
}

func (a *action) clearPendingUpdate(s object) {
	s["pending_update"] = nil
	delete(a.store.lookUp(text(s, "id")).Private, "pending")
}

// expirePendingUpdate forgets a change that was not paid in time.
func (a *action) expirePendingUpdate(s object) {
	invoice := a.store.get("invoice", text(s, "latest_invoice"))
	before := clone(s)
	a.clearPendingUpdate(s)
	a.voidInvoice(invoice)
	a.emitChange("customer.subscription.updated", s, difference(before, s))
	a.emit("customer.subscription.pending_update_expired", s)
}

// dropPendingUpdate makes room for another change.
func (a *action) dropPendingUpdate(s object) {
	if s["pending_update"] == nil {
		return
	}
	a.clearPendingUpdate(s)
	a.voidInvoice(a.store.get("invoice", text(s, "latest_invoice")))
}
