package stripeemu

import (
	"encoding/json"
	"fmt"
)

// A snapshot is the whole state of an emulator.
type snapshot struct {
	Version string                 `json:"version"`
	Seq     int64                  `json:"seq"`
	Records map[string]*record     `json:"records"`
	Answers map[string]savedAnswer `json:"answers"`
}

// Snapshot returns the whole state, for [Config.State] of a later emulator.
// Events that are not delivered yet go out from there. Test cards are in it, so
// it holds no secrets of people, but the signing secrets of the endpoints.
func (e *Emulator) Snapshot() ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	state, err := json.Marshal(snapshot{Version: e.contract.Version(), Seq: e.store.seq, Records: e.store.records, Answers: e.answers})
	if err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	return state, nil
}

func (e *Emulator) restore(state []byte) error {
	var s snapshot
	if err := json.Unmarshal(state, &s); err != nil {
		return fmt.Errorf("decode state: %w", err)
	}
	if s.Version != e.contract.Version() {
		return fmt.Errorf("state is of API version %q, not %q", s.Version, e.contract.Version())
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.store.seq = s.Seq
	for id, r := range s.Records {
		normalize(r.Object)
		for _, part := range []*object{&r.Hidden, &r.Private} {
			if *part == nil {
				*part = object{}
			}
			normalize(*part)
		}
		e.store.records[id] = r
	}
	for key, saved := range s.Answers {
		normalize(saved.Body)
		e.answers[key] = saved
	}
	for _, event := range e.store.all("event") {
		e.dispatch(event)
	}
	return nil
}
