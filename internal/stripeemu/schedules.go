package stripeemu

import (
	"slices"
)

// expiringNotice is how long before its end a schedule is told of.
const expiringNotice = 7 * day

func scheduleOperations() map[string]operation {
	phases := []string{
		"phases.items.price", "phases.items.quantity", "phases.items.metadata.*", "phases.start_date", "phases.end_date", "phases.iterations",
		"phases.proration_behavior", "phases.metadata.*", "phases.coupon", "phases.description", "phases.currency", "phases.collection_method",
		"phases.default_payment_method", "end_behavior", "metadata.*", "default_settings.default_payment_method",
		"default_settings.collection_method",
	}
	return map[string]operation{
		"POST /v1/subscription_schedules": {handle: (*action).createSchedule,
			params: joined(phases, []string{"customer", "from_subscription", "start_date"})},
		"GET /v1/subscription_schedules": list("subscription_schedule", map[string]filter{
			"customer": field("customer"), "canceled_at": within("canceled_at"), "completed_at": within("completed_at"),
			"released_at": within("released_at"),
			"scheduled":   func(r *record, value any) bool { return (r.Object["status"] == "not_started") == (value == true) },
		}),
		"GET /v1/subscription_schedules/{schedule}":          retrieve("subscription_schedule", "schedule"),
		"POST /v1/subscription_schedules/{schedule}":         {handle: (*action).updateSchedule, params: append(phases, "proration_behavior")},
		"POST /v1/subscription_schedules/{schedule}/cancel":  {handle: (*action).cancelSchedule},
		"POST /v1/subscription_schedules/{schedule}/release": {handle: (*action).releaseSchedule},
	}
}

// scheduleRules come before those of the subscription: a phase that begins with
// a period is billed by the renewal.
func scheduleRules() []rule {
	return []rule{
		{objectType: "subscription_schedule", due: startDue, happen: func(a *action, r *record) {
			if a.startSchedule(r.Object) != nil {
				a.closeSchedule(r.Object, "canceled") // its price or its card is gone
			}
		}},
		{objectType: "subscription_schedule", due: expiringDue, happen: func(a *action, r *record) {
			r.Private["notice"] = true
			a.emit("subscription_schedule.expiring", r.Object)
		}},
		{objectType: "subscription_schedule", due: phaseDue, happen: func(a *action, r *record) { a.nextPhase(r.Object) }},
	}
}

func startDue(_ *action, r *record) int64 {
	if r.Object["status"] != "not_started" {
		return 0
	}
	return number(elements(r.Object, "phases")[0], "start_date")
}

func phaseDue(_ *action, r *record) int64 {
	if r.Object["status"] != "active" {
		return 0
	}
	return number(child(r.Object, "current_phase"), "end_date")
}

func expiringDue(_ *action, r *record) int64 {
	if r.Object["status"] != "active" || flag(r.Private, "notice") {
		return 0
	}
	phases := elements(r.Object, "phases")
	at := number(phases[len(phases)-1], "end_date") - expiringNotice
	if at <= number(r.Object, "created") {
		return 0
	}
	return at
}

func (a *action) newSchedule(customer object) object {
	schedule := a.create("subscription_schedule", newID("sub_sched"))
	for _, field := range []string{"canceled_at", "completed_at", "released_at"} {
		schedule[field] = nil
	}
	schedule["customer"], schedule["test_clock"] = customer["id"], customer["test_clock"]
	return schedule
}

func (a *action) createSchedule(r *request) (object, error) {
	if id := text(r.Params, "from_subscription"); id != "" {
		return a.scheduleFrom(id, r.Params)
	}
	customer, err := a.named("customer", "customer", text(r.Params, "customer"))
	if err != nil {
		return nil, err
	}
	if len(elements(r.Params, "phases")) == 0 {
		return nil, coded("parameter_missing", "phases", "Missing required param: phases.")
	}
	start, given := r.Params["start_date"].(int64)
	if !given {
		start = a.at
	}
	schedule := a.newSchedule(customer)
	if err := a.setSchedule(schedule, r.Params, start); err != nil {
		return nil, err
	}
	a.store.save(schedule)
	a.emit("subscription_schedule.created", schedule)
	if start <= a.at {
		return schedule, a.startSchedule(schedule)
	}
	return schedule, nil
}

// scheduleFrom takes a running subscription over: its period is the first
// phase.
func (a *action) scheduleFrom(id string, params object) (object, error) {
	s, err := a.named("subscription", "from_subscription", id)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"customer", "phases", "start_date", "end_behavior"} {
		if params[name] != nil {
			return nil, coded("parameters_exclusive", name, "You cannot set `%s` if `from_subscription` is set.", name)
		}
	}
	if isEnded(s) {
		return nil, invalid("from_subscription", "You cannot migrate a subscription that is already canceled.")
	}
	if s["schedule"] != nil {
		return nil, invalid("from_subscription", "You cannot migrate a subscription that is already attached to a schedule: %s.", text(s, "schedule"))
	}
	schedule := a.newSchedule(a.store.get("customer", text(s, "customer")))
	of := periodOf(s)
	phase := a.newPhase(of, s["currency"])
	var items []any
	for _, item := range itemsOf(s) {
		items = append(items, phaseItem(child(item, "price")["id"], item["quantity"], item["metadata"]))
	}
	phase["items"], phase["metadata"] = items, clone(s["metadata"])
	if coupon := child(child(s, "discount"), "coupon"); coupon != nil {
		phase["coupon"] = coupon["id"]
	}
	schedule["phases"] = []any{phase}
	schedule["current_phase"] = object{"start_date": of.start, "end_date": of.end}
	schedule["status"], schedule["subscription"] = "active", s["id"]
	mergeMetadata(schedule, params)
	a.store.save(schedule)
	a.emit("subscription_schedule.created", schedule)
	a.change(s, "customer.subscription.updated", func(o object) { o["schedule"] = schedule["id"] })
	return schedule, nil
}

func (a *action) newPhase(of period, currency any) object {
	fixture, _ := a.contract.Fixture("subscription_schedule")
	normalize(fixture)
	phase := elements(fixture, "phases")[0]
	phase["start_date"], phase["end_date"], phase["currency"] = of.start, of.end, currency
	phase["metadata"], phase["trial_end"] = object{}, nil
	return phase
}

func phaseItem(price, quantity, metadata any) object {
	if metadata == nil {
		metadata = object{}
	}
	return object{"billing_thresholds": nil, "metadata": clone(metadata), "price": price, "quantity": quantity, "tax_rates": []any{}}
}

// setSchedule reads phases, end_behavior and metadata. Each phase begins where
// the one before it ends.
func (a *action) setSchedule(schedule, params object, start int64) error {
	assign(schedule, params, "end_behavior")
	mergeMetadata(schedule, params)
	if err := a.setDefaults(schedule, child(params, "default_settings")); err != nil {
		return err
	}
	given := elements(params, "phases")
	if len(given) == 0 {
		return nil
	}
	var phases []any
	for index, wanted := range given {
		if err := a.phaseFits(schedule, wanted, index); err != nil {
			return err
		}
		phase, err := a.readPhase(wanted, index, start)
		if err != nil {
			return err
		}
		phases = append(phases, phase)
		start = number(phase, "end_date")
	}
	schedule["phases"] = phases
	return nil
}

func (a *action) setDefaults(schedule, given object) error {
	if given["collection_method"] == "send_invoice" {
		return notEmulated("collection_method=send_invoice")
	}
	if id := text(given, "default_payment_method"); id != "" {
		if _, err := a.ownPaymentMethod(text(schedule, "customer"), "default_settings[default_payment_method]", id); err != nil {
			return err
		}
	}
	assign(child(schedule, "default_settings"), given, "default_payment_method", "collection_method")
	return nil
}

// phaseFits refuses what a phase cannot do to its subscription.
func (a *action) phaseFits(schedule, wanted object, index int) error {
	if wanted["collection_method"] == "send_invoice" {
		return notEmulated("collection_method=send_invoice")
	}
	if id := text(wanted, "default_payment_method"); id != "" {
		_, err := a.ownPaymentMethod(text(schedule, "customer"), indexed("phases", index, "default_payment_method"), id)
		return err
	}
	return nil
}

// methodOfPhase is the card of a phase, or of its schedule; nil for none.
func methodOfPhase(schedule, phase object) any {
	if method := phase["default_payment_method"]; method != nil {
		return method
	}
	return child(schedule, "default_settings")["default_payment_method"]
}

func (a *action) readPhase(wanted object, index int, start int64) (object, error) {
	if at, given := wanted["start_date"].(int64); given && at != start {
		return nil, invalid(indexed("phases", index, "start_date"), "A phase must begin where the one before it ends, at %d.", start)
	}
	currency := text(wanted, "currency")
	var items []any
	var recurring object
	for _, item := range elements(wanted, "items") {
		price, err := a.recurringPrice(indexed("phases", index, "items"), text(item, "price"), &currency)
		if err != nil {
			return nil, err
		}
		quantity := item["quantity"]
		if quantity == nil {
			quantity = int64(1)
		}
		recurring = child(price, "recurring")
		items = append(items, phaseItem(price["id"], quantity, item["metadata"]))
	}
	end, given := wanted["end_date"].(int64)
	switch {
	case wanted["end_date"] == "now":
		end = a.at
	case !given:
		end = intervalsAfter(start, recurring, int(max(number(wanted, "iterations"), 1)))
	}
	if end <= start {
		return nil, invalid(indexed("phases", index, "end_date"), "A phase must end after it begins.")
	}
	phase := a.newPhase(period{start, end}, currency)
	phase["items"] = items
	assign(phase, wanted, "proration_behavior", "description", "coupon", "default_payment_method", "collection_method")
	mergeMetadata(phase, wanted)
	return phase, nil
}

// startSchedule makes the subscription of the first phase.
func (a *action) startSchedule(schedule object) error {
	phase := elements(schedule, "phases")[0]
	params := object{
		"customer": schedule["customer"], "items": clone(phase["items"]), "metadata": clone(phase["metadata"]),
		"currency": phase["currency"], "payment_behavior": "default_incomplete",
	}
	if method := methodOfPhase(schedule, phase); method != nil {
		params["default_payment_method"] = method
	}
	assign(params, phase, "description")
	if coupon := text(phase, "coupon"); coupon != "" {
		params["coupon"] = coupon
	}
	s, err := a.startSubscription(params)
	if err != nil {
		return err
	}
	a.change(s, "customer.subscription.updated", func(o object) { o["schedule"] = schedule["id"] })
	a.change(schedule, "subscription_schedule.updated", func(o object) {
		o["status"], o["subscription"] = "active", s["id"]
		o["current_phase"] = object{"start_date": phase["start_date"], "end_date": phase["end_date"]}
	})
	if invoice := a.store.get("invoice", text(s, "latest_invoice")); invoice["status"] == "open" && a.methodToCharge(invoice) != nil {
		a.payInvoice(invoice, payment{method: a.methodToCharge(invoice), how: byHand})
	}
	return nil
}

// nextPhase ends the current phase: the next one begins, or the schedule is
// over.
func (a *action) nextPhase(schedule object) {
	phases := elements(schedule, "phases")
	current := number(child(schedule, "current_phase"), "start_date")
	index := slices.IndexFunc(phases, func(p object) bool { return number(p, "start_date") == current })
	s := a.store.get("subscription", text(schedule, "subscription"))
	if index+1 < len(phases) {
		phase := phases[index+1]
		a.change(schedule, "subscription_schedule.updated", func(o object) {
			o["current_phase"] = object{"start_date": phase["start_date"], "end_date": phase["end_date"]}
		})
		a.applyPhase(s, schedule, phase, text(phase, "proration_behavior"))
		return
	}
	if schedule["end_behavior"] == "cancel" {
		schedule["status"], schedule["completed_at"], schedule["current_phase"] = "completed", a.at, nil
		a.endSubscription(s, "")
		a.emit("subscription_schedule.completed", schedule)
		return
	}
	a.release(schedule)
}

// applyPhase gives the subscription the items of a phase.
func (a *action) applyPhase(s, schedule, phase object, proration string) {
	params := phaseParams(s, phase, proration)
	if method := methodOfPhase(schedule, phase); method != nil {
		params["default_payment_method"] = method
	}
	p, err := a.planUpdate(s, params)
	if err != nil {
		return // the price is gone: the subscription goes on as it is
	}
	a.carryOut(s, p, "")
}

// phaseParams writes a phase as an update of the subscription: items that have
// the phase's price stay, one that has not takes it over, the rest goes. So does
// a discount that the phase does not name.
func phaseParams(s, phase object, proration string) object {
	var items []any
	left := slices.Clone(itemsOf(s))
	wanted := elements(phase, "items")
	keep := func(match func(item, want object) bool) {
		for index := 0; index < len(wanted); index++ {
			at := slices.IndexFunc(left, func(item object) bool { return match(item, wanted[index]) })
			if at < 0 {
				continue
			}
			items = append(items, object{"id": left[at]["id"], "price": wanted[index]["price"], "quantity": wanted[index]["quantity"],
				"metadata": wanted[index]["metadata"]})
			left = slices.Delete(left, at, at+1)
			wanted = slices.Delete(slices.Clone(wanted), index, index+1)
			index--
		}
	}
	keep(func(item, want object) bool { return child(item, "price")["id"] == want["price"] })
	keep(func(object, object) bool { return true })
	for _, want := range wanted {
		items = append(items, object{"price": want["price"], "quantity": want["quantity"], "metadata": want["metadata"]})
	}
	for _, item := range left {
		items = append(items, object{"id": item["id"], "deleted": true})
	}
	params := object{"items": items, "metadata": clone(phase["metadata"])}
	if phase["description"] != nil {
		params["description"] = phase["description"]
	}
	if proration != "" {
		params["proration_behavior"] = proration
	}
	has := text(child(child(s, "discount"), "coupon"), "id")
	if coupon := text(phase, "coupon"); coupon != has {
		params["coupon"] = coupon
	}
	return params
}

func (a *action) runningSchedule(id string) (object, error) {
	schedule, err := a.lookUp("subscription_schedule", "schedule", id)
	if err != nil {
		return nil, err
	}
	if status := schedule["status"]; status != "active" && status != "not_started" {
		return nil, invalid("", "You cannot change a subscription schedule that is in the `%s` status.", text(schedule, "status"))
	}
	return schedule, nil
}

func (a *action) updateSchedule(r *request) (object, error) {
	schedule, err := a.runningSchedule(r.id())
	if err != nil {
		return nil, err
	}
	before := clone(schedule)
	start := number(elements(schedule, "phases")[0], "start_date")
	if first := elements(r.Params, "phases"); len(first) > 0 {
		if at := number(first[0], "start_date"); schedule["status"] == "active" && at == number(child(schedule, "current_phase"), "start_date") {
			start = at // phases that are over may be left out
		}
	}
	if err := a.setSchedule(schedule, r.Params, start); err != nil {
		return nil, err
	}
	if schedule["status"] == "active" && r.Params["phases"] != nil {
		if err := a.reapplyPhase(schedule, text(r.Params, "proration_behavior")); err != nil {
			clear(schedule)
			for key, value := range before {
				schedule[key] = value
			}
			return nil, err
		}
	}
	if previous := difference(before, schedule); len(previous) > 0 {
		a.emitChange("subscription_schedule.updated", schedule, previous)
	}
	return schedule, nil
}

// reapplyPhase lets the subscription follow where its current phase has
// changed.
func (a *action) reapplyPhase(schedule object, proration string) error {
	for _, phase := range elements(schedule, "phases") {
		if number(phase, "start_date") > a.at || number(phase, "end_date") <= a.at {
			continue
		}
		schedule["current_phase"] = object{"start_date": phase["start_date"], "end_date": phase["end_date"]}
		a.applyPhase(a.store.get("subscription", text(schedule, "subscription")), schedule, phase, proration)
		return nil
	}
	return invalid("phases", "One of the phases must be the current one.")
}

func (a *action) cancelSchedule(r *request) (object, error) {
	schedule, err := a.runningSchedule(r.id())
	if err != nil {
		return nil, err
	}
	if s := a.store.find("subscription", text(schedule, "subscription")); s != nil && !isEnded(s.Object) {
		a.endSubscription(s.Object, "cancellation_requested")
		return schedule, nil
	}
	a.closeSchedule(schedule, "canceled")
	return schedule, nil
}

// endSchedule ends the schedule of a subscription that has ended.
func (a *action) endSchedule(s object, status string) {
	schedule := a.store.find("subscription_schedule", text(s, "schedule"))
	if schedule != nil && schedule.Object["status"] == "active" {
		a.closeSchedule(schedule.Object, status)
	}
}

func (a *action) closeSchedule(schedule object, status string) {
	schedule["status"], schedule[status+"_at"], schedule["current_phase"] = status, a.at, nil
	a.emit("subscription_schedule."+status, schedule)
}

func (a *action) releaseSchedule(r *request) (object, error) {
	schedule, err := a.runningSchedule(r.id())
	if err != nil {
		return nil, err
	}
	a.release(schedule)
	return schedule, nil
}

// release lets the subscription go on without its schedule.
func (a *action) release(schedule object) {
	s := a.store.find("subscription", text(schedule, "subscription"))
	schedule["released_subscription"], schedule["subscription"] = schedule["subscription"], nil
	a.closeSchedule(schedule, "released")
	if s != nil {
		a.change(s.Object, "customer.subscription.updated", func(o object) { o["schedule"] = nil })
	}
}
