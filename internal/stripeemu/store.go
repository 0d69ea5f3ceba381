package stripeemu

import (
	"fmt"
	"slices"
)

// A record is one object with what its answers do not show.
type record struct {
	Object object `json:"object"`
	// Hidden fields appear in an answer only when they are expanded.
	Hidden object `json:"hidden,omitempty"`
	// Private is what the emulator remembers about the object for itself.
	Private object `json:"private,omitempty"`
	// Seq orders the objects of a list, as several share a second.
	Seq int64 `json:"seq"`
}

// A store holds all objects of the account by id.
type store struct {
	records map[string]*record
	byType  map[string][]*record // in the order of their making
	live    map[string][]*record // those of them that time may still change
	seq     int64
	changed bool // since the state file was written
	// parent is what a rehearsal reads and never writes: each record is copied
	// from it at the first look.
	parent  *store
	journal *journal // while a request is at work
}

func newStore() *store {
	return &store{records: map[string]*record{}, byType: map[string][]*record{}, live: map[string][]*record{}}
}

// rehearsal is a store that starts with what s has and leaves s alone.
func (s *store) rehearsal() *store {
	copied := newStore()
	copied.parent, copied.seq = s, s.seq
	return copied
}

// create makes an object of a type from the sample in Stripe's document, with
// the given id. It is not in the store before save: until its foreign ids are
// overwritten nobody may see it.
func (a *action) create(objectType, id string) object {
	o, err := a.contract.Fixture(objectType)
	if err != nil {
		panic(err) // a type that the document lacks is a fault of this package
	}
	normalize(o)
	o["id"] = id
	a.date(o)
	if _, labelled := o["metadata"]; labelled {
		o["metadata"] = object{}
	}
	return o
}

// date replaces the time that all samples carry. A time of something that has
// not happened is null, any other one is now.
func (a *action) date(o object) {
	const sampleTime = 1234567890
	notYet := []string{
		"cancel_at", "canceled_at", "ended_at", "trial_start", "trial_end", "next_pending_invoice_item_invoice",
		"due_date", "effective_at", "next_payment_attempt", "webhooks_delivered_at",
	}
	for name, value := range o {
		switch {
		case value != int64(sampleTime):
		case slices.Contains(notYet, name):
			o[name] = nil
		default:
			o[name] = a.at
		}
	}
}

// save puts an object into the store, a new one at the end of its list.
func (s *store) save(o object) *record {
	s.changed = true
	id := key(o)
	if existing := s.at(id); existing != nil && existing.Object["object"] == o["object"] {
		existing.Object = o
		return existing
	}
	s.removeKey(id)
	s.seq++
	own := &record{Object: o, Hidden: object{}, Private: object{}, Seq: s.seq}
	s.insert(id, own)
	return own
}

func (s *store) insert(id string, own *record) {
	s.records[id] = own
	kind := text(own.Object, "object")
	s.byType[kind] = append(s.byType[kind], own)
	s.live[kind] = append(s.live[kind], own)
	if s.journal != nil {
		s.journal.undo = append(s.journal.undo, func() {
			delete(s.records, id)
			s.drop(kind, own)
		})
	}
}

// key is where the store has an object. Coupons and products have ids of their
// makers' choice, which may be the same.
func key(o object) string {
	return keyOf(text(o, "object"), text(o, "id"))
}

func keyOf(objectType, id string) string {
	if objectType == "coupon" || objectType == "product" {
		return objectType + "/" + id
	}
	return id
}

// remove forgets the object that has an id.
func (s *store) remove(id string) {
	if own := s.lookUp(id); own != nil {
		s.removeKey(key(own.Object))
	}
}

func (s *store) removeKey(id string) {
	own := s.at(id)
	if own == nil {
		return
	}
	s.changed = true
	kind := text(own.Object, "object")
	s.drop(kind, own)
	if s.records[id] = nil; s.parent == nil {
		delete(s.records, id)
	}
	if s.journal != nil {
		s.journal.undo = append(s.journal.undo, func() {
			s.records[id] = own
			s.byType[kind], s.live[kind] = append(s.byType[kind], own), append(s.live[kind], own)
			slices.SortFunc(s.byType[kind], func(a, b *record) int { return int(a.Seq - b.Seq) })
		})
	}
}

func (s *store) drop(kind string, own *record) {
	is := func(r *record) bool { return r == own }
	s.byType[kind], s.live[kind] = slices.DeleteFunc(s.byType[kind], is), slices.DeleteFunc(s.live[kind], is)
}

// running returns the records of a type that time may still change, oldest
// first, and forgets those that have ended.
func (s *store) running(objectType string) []*record {
	s.live[objectType] = slices.DeleteFunc(s.live[objectType], (*record).hasEnded)
	return s.live[objectType]
}

// hasEnded says of what nothing can happen to any more, neither by time nor by
// a request that would let time go on with it.
func (r *record) hasEnded() bool {
	if r.scripted() {
		return false // a test may set it to anything
	}
	switch r.Object["object"] {
	case "invoice":
		return r.Object["status"] == "paid" || r.Object["status"] == "void"
	case "payment_intent":
		return r.Object["status"] == "succeeded" || r.Object["status"] == "canceled"
	case "subscription":
		return isEnded(r.Object)
	case "checkout.session":
		return r.Object["status"] == "complete" || r.Object["status"] == "expired"
	case "dispute":
		return isClosed(r.Object)
	case "subscription_schedule":
		return r.Object["status"] != "active" && r.Object["status"] != "not_started"
	}
	return false
}

// lookUp returns the record of an id, or nil.
func (s *store) lookUp(id string) *record {
	for _, at := range []string{id, keyOf("product", id), keyOf("coupon", id)} {
		if own := s.at(at); own != nil {
			return own
		}
	}
	return nil
}

// at returns the record of a key, or nil.
func (s *store) at(id string) *record {
	own, known := s.records[id]
	if known || s.parent == nil {
		s.touched(own)
		return own
	}
	if original := s.parent.peek(id); original != nil {
		copied := original.copied()
		own = &copied
		s.insert(id, own)
	}
	return own
}

// peek is at for a reader that changes nothing.
func (s *store) peek(id string) *record {
	own, known := s.records[id]
	if known || s.parent == nil {
		return own
	}
	return s.parent.peek(id)
}

// pull copies all records of a type into a rehearsal.
func (s *store) pull(objectType string) {
	if s.parent == nil {
		return
	}
	s.parent.pull(objectType)
	for _, original := range s.parent.byType[objectType] {
		s.at(key(original.Object))
	}
}

// find returns the record of a type, or nil. The object in it is the state
// itself, not a copy.
func (s *store) find(objectType, id string) *record {
	found := s.at(keyOf(objectType, id))
	if found == nil || text(found.Object, "object") != objectType {
		return nil
	}
	return found
}

// get returns an object that must exist because another one names it.
func (s *store) get(objectType, id string) object {
	found := s.find(objectType, id)
	if found == nil {
		panic(fmt.Sprintf("stripeemu: no %s %q", objectType, id))
	}
	return found.Object
}

// customer returns the customer of an id; nil for "" and for one that is deleted.
func (s *store) customer(id string) object {
	if own := s.find("customer", id); id != "" && own != nil && !flag(own.Object, "deleted") {
		return own.Object
	}
	return nil
}

// all returns the records of a type, newest first, without the deleted ones.
func (s *store) all(objectType string) []*record {
	s.pull(objectType)
	var found []*record
	for _, r := range s.byType[objectType] {
		if !flag(r.Object, "deleted") {
			s.touched(r)
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b *record) int { return int(b.Seq - a.Seq) })
	return found
}

// change lets f alter an object and emits the event if anything changed.
func (a *action) change(o object, eventType string, f func(o object)) {
	before := clone(o)
	f(o)
	if previous := difference(before, o); len(previous) > 0 && eventType != "" {
		a.emitChange(eventType, o, previous)
	}
}
