package stripeemu

import (
	"errors"
	"fmt"
	"time"
)

// maxSteps bounds what happens in one second. It is far above what a real
// account has and stops a rule that does not move on.
const maxSteps = 10_000

// maxStep is how far the clock goes at once.
const maxStep = 5 * 366 * 24 * time.Hour

// The times that an account lives in: what lies outside is a mistake, and
// would run over where intervals are added to it.
const (
	earliestTime = 0
	latestTime   = 7_258_118_400 // the year 2200
)

// now is the account's time. The caller holds the lock.
func (e *Emulator) now() time.Time {
	return e.clock().Add(e.offset)
}

// Time returns the account's time: Config.Now and what Advance has added.
func (e *Emulator) Time() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now()
}

// Advance moves the account's time on and does all that falls due on the way,
// each thing at its own time: renewals, retries, ends. It returns the new time.
// What is on a test clock of the API stays where it is. A step may be of five
// years; a longer one panics, as does one out of the times that an account knows.
func (e *Emulator) Advance(by time.Duration) time.Time {
	if err := e.advance(by); err != nil {
		panic(err) // of the test that asks for it
	}
	return e.Time()
}

func (e *Emulator) advance(by time.Duration) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	by = max(by, 0)
	if by > maxStep {
		return fmt.Errorf("advance: the clock goes at most %d days at once", maxStep/(24*time.Hour))
	}
	if e.now().Add(by).Unix() > latestTime {
		return errors.New("advance: the clock ends with the year 2199")
	}
	e.offset += by
	e.store.changed = true
	e.doLocked(func(*action) {})
	return nil
}

// AdvanceTo is Advance to a time. Time never runs back.
func (e *Emulator) AdvanceTo(at time.Time) error {
	by := at.Sub(e.Time())
	if by < 0 {
		return fmt.Errorf("advance: %s is in the past of the account", at.UTC().Format(time.RFC3339))
	}
	return e.advance(by)
}

// A rule says when time alone changes an object, and how. due returns 0 where
// it does not.
type rule struct {
	objectType string
	due        func(*action, *record) int64
	happen     func(*action, *record)
}

// rules are in the order in which things happen that are due at one second.
func rules() []rule {
	return merge(sessionRules(), scheduleRules(), subscriptionRules(), invoiceRules(), captureRules(), debitRules(),
		refundRules(), disputeRules(), testClockRules())
}

func merge(groups ...[]rule) []rule {
	var all []rule
	for _, group := range groups {
		all = append(all, group...)
	}
	return all
}

// settleDue does what time has brought about, one step after the other, so
// that every event carries the second in which it happened.
func (a *action) settleDue() {
	var last int64
	for steps := 0; steps < maxSteps; steps++ {
		step, own, at := a.nextDue()
		if own == nil {
			return
		}
		if at != last {
			last, steps = at, 0
		}
		then := &action{Emulator: a.Emulator, store: a.store, at: at, base: a.base, rehearsing: a.rehearsing}
		step.happen(then, own)
		a.store.changed = true
	}
	panic("stripeemu: time brings about the same again and again")
}

// nextDue finds what is due first. What has ended is looked at once and never
// again, so that a step costs what is going on and not what has ever been.
func (a *action) nextDue() (first rule, own *record, at int64) {
	for _, candidate := range a.dueRules {
		for _, r := range a.store.running(candidate.objectType) {
			if r.scripted() || flag(r.Object, "deleted") {
				continue
			}
			due := candidate.due(a, r)
			if due > 0 && (own == nil || due < at) && due <= a.timeOf(r.Object) {
				first, own, at = candidate, r, due
			}
		}
	}
	return first, own, at
}

// timeOf is what an object takes for now: the time of its test clock, or the
// account's.
func (a *action) timeOf(o object) int64 {
	if id := a.clockOf(o); id != "" {
		if clock := a.store.find("test_helpers.test_clock", id); clock != nil {
			return number(clock.Object, "frozen_time")
		}
	}
	return a.Emulator.now().Unix()
}

// clockOf returns the test clock that an object lives on, "" for none. It is
// the clock of its customer.
func (a *action) clockOf(o object) string {
	if o["object"] == "test_helpers.test_clock" {
		return text(o, "id")
	}
	if id := text(o, "test_clock"); id != "" {
		return id
	}
	for _, field := range []string{"customer", "charge", "source"} {
		if owner := a.store.lookUp(text(o, field)); owner != nil && text(o, field) != "" {
			return a.clockOf(owner.Object)
		}
	}
	return ""
}

// enterTime makes the action happen in the time of the objects that a request
// names.
func (a *action) enterTime(r *request) {
	for _, id := range r.Path {
		a.enterTimeOf(id)
	}
	for _, param := range []string{"customer", "subscription", "invoice", "payment_intent", "charge", "from_subscription", "test_clock"} {
		a.enterTimeOf(text(r.Params, param))
	}
}

func (a *action) enterTimeOf(id string) {
	if own := a.store.lookUp(id); id != "" && own != nil && a.clockOf(own.Object) != "" {
		a.at = a.timeOf(own.Object)
	}
}

// wall is the action's time as a time.Time.
func (a *action) wall() time.Time {
	return time.Unix(a.at, 0)
}
