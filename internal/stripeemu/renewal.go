package stripeemu

const (
	day            = 24 * 60 * 60
	trialNotice    = 3 * day // before a trial ends
	upcomingNotice = 7 * day // before a renewal
)

// subscriptionRules are what time does to a subscription. What ends it comes
// before what would renew it in the same second.
func subscriptionRules() []rule {
	return []rule{
		{objectType: "subscription", due: incompleteDue, happen: func(a *action, r *record) { a.abandonSubscription(r.Object) }},
		{objectType: "subscription", due: pendingUpdateDue, happen: func(a *action, r *record) { a.expirePendingUpdate(r.Object) }},
		{objectType: "subscription", due: cancelDue, happen: func(a *action, r *record) {
			a.endSubscription(r.Object, text(child(r.Object, "cancellation_details"), "reason"))
		}},
		{objectType: "subscription", due: trialNoticeDue, happen: (*action).noticeTrialEnd},
		{objectType: "subscription", due: upcomingDue, happen: (*action).noticeUpcoming},
		{objectType: "subscription", due: pauseDue, happen: func(a *action, r *record) {
			a.change(r.Object, "customer.subscription.updated", func(o object) { o["pause_collection"] = nil })
		}},
		{objectType: "subscription", due: renewalDue, happen: func(a *action, r *record) { a.renew(r.Object) }},
	}
}

func incompleteDue(_ *action, r *record) int64 {
	if r.Object["status"] != "incomplete" {
		return 0
	}
	return number(r.Object, "created") + incompleteTime
}

func pendingUpdateDue(_ *action, r *record) int64 {
	if isEnded(r.Object) {
		return 0
	}
	return number(child(r.Object, "pending_update"), "expires_at")
}

func cancelDue(_ *action, r *record) int64 {
	if isEnded(r.Object) {
		return 0
	}
	return number(r.Object, "cancel_at")
}

func trialNoticeDue(_ *action, r *record) int64 {
	end := number(r.Object, "trial_end")
	if r.Object["status"] != "trialing" || r.Private["trial_notice"] == end {
		return 0
	}
	return max(end-trialNotice, number(r.Object, "trial_start"))
}

func (a *action) noticeTrialEnd(r *record) {
	r.Private["trial_notice"] = r.Object["trial_end"]
	a.emit("customer.subscription.trial_will_end", r.Object)
}

func upcomingDue(_ *action, r *record) int64 {
	s := r.Object
	end := number(s, "current_period_end")
	if s["status"] != "active" && s["status"] != "trialing" || s["cancel_at"] != nil || r.Private["upcoming_notice"] == end {
		return 0
	}
	if at := end - upcomingNotice; at > number(s, "current_period_start") {
		return at
	}
	return 0
}

func (a *action) noticeUpcoming(r *record) {
	r.Private["upcoming_notice"] = r.Object["current_period_end"]
	if invoice, err := a.preview(r.Object, nil); err == nil && invoice != nil {
		a.emit("invoice.upcoming", invoice)
	}
}

func pauseDue(_ *action, r *record) int64 {
	return number(child(r.Object, "pause_collection"), "resumes_at")
}

func renewalDue(_ *action, r *record) int64 {
	switch r.Object["status"] {
	case "trialing", "active", "past_due", "unpaid":
		return number(r.Object, "current_period_end")
	}
	return 0
}

// renew begins the next period. The subscription tells of it first, then its
// invoice, which stays a draft for an hour.
func (a *action) renew(s object) {
	if s["status"] == "trialing" && a.endTrialWithoutCard(s) {
		return
	}
	before := clone(s)
	invoice := a.renewalDraft(s)
	a.emitChange("customer.subscription.updated", s, difference(before, s))
	paused := child(s, "pause_collection")["behavior"] == "keep_as_draft"
	if s["status"] == "unpaid" || paused {
		invoice["auto_advance"], invoice["next_payment_attempt"] = false, nil
	} else {
		a.finalizeLater(invoice)
	}
	a.emit("invoice.created", invoice)
}

// renewalDraft moves the subscription into its next period and bills that, and
// with it what has waited for this invoice.
func (a *action) renewalDraft(s object) object {
	a.endDiscounts(s)
	customer := a.store.get("customer", text(s, "customer"))
	invoice := a.newInvoice(customer, text(s, "currency"), "subscription_cycle")
	invoice["period_start"], invoice["period_end"] = s["current_period_start"], s["current_period_end"]
	start := number(s, "current_period_end")
	if s["status"] == "trialing" {
		s["status"] = "active"
	}
	s["current_period_start"], s["current_period_end"] = start, nextEnd(s, start)
	a.belongTo(invoice, s)
	a.takePending(invoice, s)
	a.billItems(invoice, s)
	return invoice
}

// billItems bills every item for the subscription's current period.
func (a *action) billItems(invoice, s object) {
	for _, item := range itemsOf(s) {
		price := a.store.get("price", text(child(item, "price"), "id"))
		unit, _ := a.amountIn(price, text(s, "currency"))
		line := orderLine{price: price, quantity: number(item, "quantity"), unit: unit}
		a.addSubscriptionLine(invoice, s, item, line, periodOf(s), s["status"] == "trialing")
	}
}

// endTrialWithoutCard does what trial_settings say where nobody has left a
// card by the end of the trial.
func (a *action) endTrialWithoutCard(s object) bool {
	if a.hasMethod(s) {
		return false
	}
	switch child(child(s, "trial_settings"), "end_behavior")["missing_payment_method"] {
	case "cancel":
		a.endSubscription(s, "")
	case "pause":
		before := clone(s)
		s["status"] = "paused"
		a.emitChange("customer.subscription.updated", s, difference(before, s))
		a.emit("customer.subscription.paused", s)
	default:
		return false
	}
	return true
}

func (a *action) hasMethod(s object) bool {
	customer := a.store.get("customer", text(s, "customer"))
	return s["default_payment_method"] != nil || child(customer, "invoice_settings")["default_payment_method"] != nil
}

// resumeSubscription ends the pause of a subscription whose trial has ended
// without a card: it begins a new period and is active once that is paid.
func (a *action) resumeSubscription(r *request) (object, error) {
	s, err := a.lookUp("subscription", "subscription", r.id())
	if err != nil {
		return nil, err
	}
	if s["status"] != "paused" {
		return nil, invalid("", "You can only resume a subscription that is paused; this one is %s.", text(s, "status"))
	}
	if r.Params["billing_cycle_anchor"] == "unchanged" {
		return nil, notEmulated("billing_cycle_anchor=unchanged")
	}
	invoice := a.newInvoice(a.store.get("customer", text(s, "customer")), text(s, "currency"), "subscription_update")
	s["billing_cycle_anchor"], s["current_period_start"] = a.at, a.at
	s["current_period_end"] = nextEnd(s, a.at)
	a.belongTo(invoice, s)
	a.billItems(invoice, s)
	a.emit("invoice.created", invoice)
	a.finalizeLate(invoice, "Subscription update")
	if invoice["status"] == "paid" {
		a.tellPaid(invoice)
		return s, nil
	}
	if method := a.methodToCharge(invoice); method != nil {
		a.payInvoice(invoice, payment{method: method, how: byHand})
	}
	return s, nil
}

func (a *action) resume(s object) {
	a.setStatus(s, "active")
	a.emit("customer.subscription.resumed", s)
}
