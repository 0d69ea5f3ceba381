package stripeemu

const twoYears = 2 * 366 * 24 * 60 * 60

func testClockOperations() map[string]operation {
	return map[string]operation{
		"POST /v1/test_helpers/test_clocks":                      {handle: (*action).createTestClock, params: []string{"frozen_time", "name"}},
		"GET /v1/test_helpers/test_clocks":                       list("test_helpers.test_clock", nil),
		"GET /v1/test_helpers/test_clocks/{test_clock}":          retrieve("test_helpers.test_clock", "test_clock"),
		"DELETE /v1/test_helpers/test_clocks/{test_clock}":       {handle: (*action).deleteTestClock},
		"POST /v1/test_helpers/test_clocks/{test_clock}/advance": {handle: (*action).advanceTestClock, params: []string{"frozen_time"}},
	}
}

// testClockRules end an advance: when all that lives on the clock has caught up.
func testClockRules() []rule {
	return []rule{{
		objectType: "test_helpers.test_clock",
		due: func(_ *action, r *record) int64 {
			if r.Object["status"] != "advancing" {
				return 0
			}
			return number(r.Object, "frozen_time")
		},
		happen: func(a *action, r *record) {
			r.Object["status"] = "ready"
			a.emit("test_helpers.test_clock.ready", r.Object)
		},
	}}
}

func (a *action) createTestClock(r *request) (object, error) {
	const week = 7 * 24 * 60 * 60
	if at := number(r.Params, "frozen_time"); at < earliestTime || at > latestTime {
		return nil, invalid("frozen_time", "A test clock can be frozen between 1970 and 2199.")
	}
	clock := a.create("test_helpers.test_clock", newID("clock"))
	clock["frozen_time"], clock["name"] = r.Params["frozen_time"], orNil(text(r.Params, "name"))
	clock["deletes_after"] = a.at + week
	a.store.save(clock)
	a.emit("test_helpers.test_clock.created", clock)
	return clock, nil
}

// advanceTestClock answers "advancing". What falls due happens after the
// answer, as at Stripe: the caller waits for "ready" or for its event.
func (a *action) advanceTestClock(r *request) (object, error) {
	clock, err := a.lookUp("test_helpers.test_clock", "test_clock", r.id())
	if err != nil {
		return nil, err
	}
	to, from := number(r.Params, "frozen_time"), number(clock, "frozen_time")
	if to <= from {
		return nil, invalid("frozen_time", "Test clocks can only be advanced forward. The clock is at %d.", from)
	}
	if to > latestTime || to > a.furthest(text(clock, "id"), from) {
		return nil, invalid("frozen_time",
			"You cannot advance a test clock more than two intervals of its shortest subscription, or two years without one.")
	}
	clock["status"], clock["frozen_time"] = "advancing", to
	a.emit("test_helpers.test_clock.advancing", clock)
	a.settleLater()
	return clock, nil
}

// furthest is how far a clock may go in one step.
func (a *action) furthest(clockID string, from int64) int64 {
	end := from + twoYears
	for _, r := range a.store.all("subscription") {
		if isEnded(r.Object) || r.Object["test_clock"] != clockID {
			continue
		}
		for _, item := range elements(child(r.Object, "items"), "data") {
			recurring := child(child(item, "price"), "recurring")
			end = min(end, intervalsAfter(from, recurring, 2))
		}
	}
	return end
}

// deleteTestClock takes all that lives on the clock along, as Stripe does.
func (a *action) deleteTestClock(r *request) (object, error) {
	clock, err := a.lookUp("test_helpers.test_clock", "test_clock", r.id())
	if err != nil {
		return nil, err
	}
	id := text(clock, "id")
	var gone []string
	for _, objectType := range clockedTypes() {
		for _, own := range a.store.all(objectType) {
			if a.clockOf(own.Object) == id {
				gone = append(gone, text(own.Object, "id"))
			}
		}
	}
	for _, id := range gone {
		a.store.remove(id)
	}
	a.store.remove(id)
	answer := object{"id": id, "object": "test_helpers.test_clock", "deleted": true}
	a.emit("test_helpers.test_clock.deleted", clock)
	return answer, nil
}

// clockedTypes are the objects that live on a customer's clock.
func clockedTypes() []string {
	return []string{
		"balance_transaction", "refund", "dispute", "credit_note", "checkout.session", "subscription_schedule", "subscription", "invoice", "invoiceitem",
		"charge", "payment_intent", "setup_intent", "payment_method", "customer_balance_transaction", "discount",
		"billing_portal.session", "customer",
	}
}
