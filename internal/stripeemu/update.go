package stripeemu

import (
	"maps"
	"slices"
)

// A plan is what an update of a subscription comes to, before anything of it
// has happened.
type plan struct {
	next     object // the subscription as it is to be
	at       int64  // the second from which a change counts
	behavior string // proration_behavior
	items    bool   // some item changes its price or its quantity
	newCycle bool   // a new period begins at once
	trial    bool   // and is a trial

	discount     *redemption // to use
	dropDiscount bool
}

// invoices says whether the change is billed at once.
func (p plan) invoices() bool {
	return p.newCycle || p.items && p.behavior == "always_invoice"
}

func (a *action) updateSubscription(r *request) (object, error) {
	s, err := a.lookUp("subscription", "id", r.id())
	if err != nil {
		return nil, err
	}
	if isEnded(s) {
		return a.updateEnded(s, r.Params)
	}
	if err := a.mayUpdate(s, r.Params); err != nil {
		return nil, err
	}
	p, err := a.planUpdate(s, r.Params)
	if err != nil {
		return nil, err
	}
	return s, a.update(s, p, r.Params)
}

// updateEnded takes what says why a subscription has ended, and labels.
func (a *action) updateEnded(s, params object) (object, error) {
	for name := range params {
		if name != "cancellation_details" && name != "metadata" {
			return nil, invalid(name, "A canceled subscription can only update its cancellation_details and metadata.")
		}
	}
	a.change(s, "customer.subscription.updated", func(o object) {
		mergeMetadata(o, params)
		assign(child(o, "cancellation_details"), child(params, "cancellation_details"), "comment", "feedback")
	})
	return s, nil
}

func (a *action) mayUpdate(s, params object) error {
	if method := params["collection_method"]; method != nil && method != "charge_automatically" {
		return notEmulated("collection_method=send_invoice")
	}
	if s["status"] == "incomplete" && (params["items"] != nil || params["trial_end"] != nil || params["billing_cycle_anchor"] != nil) {
		return invalid("", "This subscription cannot be updated while its first invoice is unpaid.")
	}
	if s["schedule"] != nil && (params["cancel_at_period_end"] != nil || params["cancel_at"] != nil) {
		return invalid("", "The subscription is managed by the subscription schedule `%s`, "+
			"and updating any cancelation behavior directly is not allowed. Please update the schedule instead.", text(s, "schedule"))
	}
	if id := text(params, "default_payment_method"); id != "" {
		if _, err := a.ownPaymentMethod(text(s, "customer"), "default_payment_method", id); err != nil {
			return err
		}
	}
	return nil
}

// planUpdate works the parameters out on a copy of the subscription.
func (a *action) planUpdate(s, params object) (plan, error) {
	p := plan{next: clone(s), at: a.at, behavior: "create_prorations"}
	if behavior := text(params, "proration_behavior"); behavior != "" {
		p.behavior = behavior
	}
	if at := number(params, "proration_date"); at != 0 {
		if at < number(s, "current_period_start") || at > number(s, "current_period_end") {
			return p, invalid("proration_date", "Cannot specify a proration date outside of the current period.")
		}
		p.at = at
	}
	if err := a.setItems(&p, params); err != nil {
		return p, err
	}
	if err := a.setCycle(&p, s, params); err != nil {
		return p, err
	}
	assign(p.next, params, "description", "default_payment_method", "pause_collection", "trial_settings")
	if pause := child(p.next, "pause_collection"); pause != nil && pause["resumes_at"] == nil {
		pause["resumes_at"] = nil
	}
	if given := child(params, "payment_settings"); given != nil {
		p.next["payment_settings"] = paymentSettings(given)
	}
	if tax := child(params, "automatic_tax"); tax != nil {
		p.next["automatic_tax"] = automaticTax(flag(tax, "enabled"))
	}
	mergeMetadata(p.next, params)
	if err := a.cancelAtFits(p.next, params, p.behavior); err != nil {
		return p, err
	}
	assign(child(p.next, "cancellation_details"), child(params, "cancellation_details"), "comment", "feedback")
	a.scheduleCancel(p.next, params)
	return p, a.planDiscount(&p, params)
}

// setItems changes, adds and deletes items as the parameter says.
func (a *action) setItems(p *plan, params object) error {
	if params["items"] == nil {
		return nil
	}
	currency := text(p.next, "currency")
	items := itemsOf(p.next)
	for index, given := range elements(params, "items") {
		item, err := itemToChange(&items, given, index)
		if err != nil {
			return err
		}
		if flag(given, "deleted") {
			items = slices.DeleteFunc(items, func(o object) bool { return o["id"] == item["id"] })
			p.items = true
			continue
		}
		if id := text(given, "price"); id != "" {
			price, err := a.recurringPrice(indexed("items", index, "price"), id, &currency)
			if err != nil {
				return err
			}
			p.items = p.items || item == nil || child(item, "price")["id"] != id
			if item == nil {
				item = a.newSubscriptionItem(p.next, orderLine{price: price, quantity: 1})
				items = append(items, item)
			}
			item["price"] = clone(price)
		}
		if quantity, ok := given["quantity"].(int64); ok && quantity != item["quantity"] {
			item["quantity"], p.items = quantity, true
		}
		if unit, _ := a.amountIn(a.store.get("price", text(child(item, "price"), "id")), currency); unit*number(item, "quantity") > maxAmount {
			return coded("amount_too_large", indexed("items", index, "quantity"), "Amount must be no more than %s", money(maxAmount, currency))
		}
		mergeMetadata(item, given)
	}
	if len(items) == 0 {
		return invalid("items", "A subscription must have at least one active item.")
	}
	for index, item := range items[1:] {
		if intervalOf(child(item, "price")) != intervalOf(child(items[0], "price")) {
			return mixedIntervals(indexed("items", index+1, "price"))
		}
	}
	data := make([]any, 0, len(items))
	for _, item := range items {
		data = append(data, item)
	}
	child(p.next, "items")["data"] = data
	return nil
}

// itemToChange finds the item that an entry names; nil for a new one.
func itemToChange(items *[]object, given object, index int) (object, error) {
	id := text(given, "id")
	if id == "" {
		if text(given, "price") == "" {
			return nil, coded("parameter_missing", indexed("items", index, "price"), "Missing required param: items[%d][price].", index)
		}
		if slices.ContainsFunc(*items, func(o object) bool { return child(o, "price")["id"] == given["price"] }) {
			return nil, invalid(indexed("items", index, "price"), "A subscription item already exists with this price. To update it, pass its `id`.")
		}
		return nil, nil
	}
	for _, item := range *items {
		if item["id"] == id {
			return item, nil
		}
	}
	return nil, missingParam("subscription item", indexed("items", index, "id"), id)
}

// setCycle begins a new period where the change asks for one: another interval,
// the first price that costs something, the end or the start of a trial, or an
// anchor at now.
func (a *action) setCycle(p *plan, s, params object) error {
	trialEnd, err := a.newTrialEnd(s, params)
	if err != nil {
		return err
	}
	var wasFree, otherInterval bool
	if p.items {
		wasFree = a.isFree(s) && !a.isFree(p.next)
		otherInterval = intervalOf(child(itemsOf(s)[0], "price")) != intervalOf(child(itemsOf(p.next)[0], "price"))
	}
	trialing := s["status"] == "trialing"
	switch {
	case trialEnd > 0:
		p.trial = true
		p.next["status"], p.next["trial_end"] = "trialing", trialEnd
		if !trialing {
			p.next["trial_start"] = a.at
		}
	case trialEnd < 0:
		p.next["trial_end"], p.next["status"] = a.at, "active"
	case trialing, !otherInterval && !wasFree && params["billing_cycle_anchor"] != "now":
		return nil
	}
	p.newCycle = true
	p.next["current_period_start"], p.next["billing_cycle_anchor"] = a.at, a.at
	if p.trial {
		p.next["billing_cycle_anchor"] = trialEnd
	}
	p.next["current_period_end"] = nextEnd(p.next, a.at)
	if p.next["cancel_at_period_end"] == true {
		p.next["cancel_at"] = p.next["current_period_end"]
	}
	return nil
}

// newTrialEnd is the end of a trial that the update gives, -1 for now, 0 where
// it says nothing of one.
func (a *action) newTrialEnd(s, params object) (int64, error) {
	switch end := params["trial_end"].(type) {
	case string:
		if end == "now" && s["status"] == "trialing" {
			return -1, nil
		}
	case int64:
		return end, a.trialFits(end)
	}
	return 0, nil
}

func (a *action) isFree(s object) bool {
	for _, item := range itemsOf(s) {
		price := a.store.get("price", text(child(item, "price"), "id"))
		if unit, _ := a.amountIn(price, text(s, "currency")); unit != 0 {
			return false
		}
	}
	return true
}

// update carries a plan out as payment_behavior says. What a rehearsal shows
// not to be paid does not happen (error_if_incomplete), or waits for its
// invoice (pending_if_incomplete).
func (a *action) update(s object, p plan, params object) error {
	behavior := text(params, "payment_behavior")
	if p.invoices() && (behavior == "error_if_incomplete" || behavior == "pending_if_incomplete") {
		var refused *decline
		a.rehearse(func(b *action) {
			refused = b.carryOut(b.store.get("subscription", text(s, "id")), clonePlan(p), "")
		})
		if refused != nil && behavior == "error_if_incomplete" {
			if refused.action {
				refused.code = "subscription_payment_intent_requires_action"
			}
			return refused.asError(nil)
		}
		if refused != nil {
			a.suspend(s, p)
			return nil
		}
	}
	a.carryOut(s, p, behavior)
	return nil
}

func clonePlan(p plan) plan {
	p.next = clone(p.next)
	return p
}

// carryOut changes the subscription and bills the change. It returns why the
// invoice is not paid.
func (a *action) carryOut(s object, p plan, behavior string) *decline {
	a.dropPendingUpdate(s)
	before := clone(s)
	a.createProrations(s, p)
	a.replace(s, p.next)
	a.changeDiscount(s, p)
	invoice := a.updateDraft(s, p)
	if invoice != nil {
		a.emit("invoice.created", invoice)
		a.finalizeUnlessKept(invoice, s)
	}
	waits := invoice != nil && invoice["status"] == "open" && behavior == "default_incomplete"
	if waits {
		s["status"] = "past_due"
	}
	if previous := difference(before, s); len(previous) > 0 {
		a.emitChange("customer.subscription.updated", s, previous)
	}
	switch {
	case invoice == nil || waits:
		return nil
	case invoice["status"] == "paid":
		a.tellPaid(invoice)
		return nil
	case invoice["status"] == "draft", a.setAsidePaused(invoice):
		return nil
	}
	return a.collect(invoice)
}

// replace gives the subscription the fields of the planned one.
func (a *action) replace(s, next object) {
	clear(s)
	maps.Copy(s, next)
}

// updateDraft bills a change at once; nil where it is billed later, or where
// there is nothing to bill.
func (a *action) updateDraft(s object, p plan) object {
	if !p.invoices() {
		return nil
	}
	if !p.newCycle && len(a.pendingItems(text(s, "customer"), s)) == 0 {
		return nil
	}
	last := s["latest_invoice"]
	invoice := a.newInvoice(a.store.get("customer", text(s, "customer")), text(s, "currency"), "subscription_update")
	a.belongTo(invoice, s)
	a.takePending(invoice, s)
	if p.newCycle {
		a.billItems(invoice, s)
	}
	if len(elements(child(invoice, "lines"), "data")) == 0 {
		a.store.remove(text(invoice, "id"))
		s["latest_invoice"] = last
		return nil
	}
	return invoice
}
