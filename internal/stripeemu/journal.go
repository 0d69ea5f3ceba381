package stripeemu

import "slices"

// A journal remembers what a request has touched, so that a refused one leaves
// nothing behind, whatever its handler had done by then.
type journal struct {
	before map[*record]record // records as they were at the first look
	undo   []func()           // what was added to the store or taken from it
	seq    int64
	events []*record // told once the request has succeeded
}

// begin starts a journal. Everything read from then on is copied first, as
// handlers change objects in place.
func (s *store) begin() {
	s.journal = &journal{before: map[*record]record{}, seq: s.seq}
}

// commit keeps what has happened and returns the events that tell of it.
func (s *store) commit() []*record {
	events := s.journal.events
	s.journal = nil
	return events
}

// rollBack puts everything back as it was at begin.
func (s *store) rollBack() {
	j := s.journal
	s.journal = nil
	for _, undo := range slices.Backward(j.undo) {
		undo()
	}
	for own, before := range j.before {
		*own = before
	}
	s.seq = j.seq
}

// touched notes how a record is before its reader can change it.
func (s *store) touched(own *record) {
	if s.journal == nil || own == nil {
		return
	}
	if _, known := s.journal.before[own]; !known {
		s.journal.before[own] = own.copied()
	}
}

func (r *record) copied() record {
	return record{Object: clone(r.Object), Hidden: clone(r.Hidden), Private: clone(r.Private), Seq: r.Seq}
}
