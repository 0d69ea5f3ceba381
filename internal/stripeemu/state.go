package stripeemu

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// A snapshot is the whole state of an emulator, as its file holds it. It
// contains the signing secrets of the endpoints.
type snapshot struct {
	Version string                 `json:"version"`
	Seq     int64                  `json:"seq"`
	Offset  time.Duration          `json:"offset,omitempty"`
	Account string                 `json:"account_version,omitempty"`
	Records map[string]*record     `json:"records"`
	Answers map[string]savedAnswer `json:"answers"`
}

// keep writes the state to its file if it has changed. The caller holds the
// lock, so nobody has seen the change yet: no answer has left, and a delivery
// needs the lock to learn where to go. A file that cannot be written is logged,
// as the account still works without it.
func (e *Emulator) keep() {
	if e.file == "" || !e.store.changed {
		return
	}
	if err := e.write(); err != nil {
		slog.Error("the Stripe emulator cannot keep its state", "error", err)
		return
	}
	e.store.changed = false
}

// write replaces the file in one step, so that a kill leaves the old or the new
// one.
func (e *Emulator) write() error {
	state, err := json.Marshal(snapshot{Version: e.contract.Version(), Seq: e.store.seq, Offset: e.offset,
		Account: e.accountVersion, Records: e.store.records, Answers: e.answers})
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	temporary, err := os.CreateTemp(filepath.Dir(e.file), ".stripeemu-*") // mode 0600
	if err != nil {
		return fmt.Errorf("create state file: %w", err)
	}
	_, err = temporary.Write(state)
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), e.file)
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
		return fmt.Errorf("write state file: %w", err)
	}
	return nil
}

// load reads the state of an earlier run and sends out what it left undelivered.
func (e *Emulator) load(file string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.file = file
	if file == "" {
		return nil
	}
	state, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read state file: %w", err)
	}
	var s snapshot
	if err := json.Unmarshal(state, &s); err != nil {
		return fmt.Errorf("decode state file %s: %w", file, err)
	}
	if s.Version != e.contract.Version() {
		return fmt.Errorf("state file %s is of API version %q, not %q", file, s.Version, e.contract.Version())
	}
	e.store.seq, e.offset, e.accountVersion = s.Seq, s.Offset, s.Account
	for _, r := range s.Records {
		r.normalize()
		e.store.insert(key(r.Object), r)
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

// normalize gives a record that was read from JSON the types of the store.
func (r *record) normalize() {
	for _, part := range []*object{&r.Object, &r.Hidden, &r.Private} {
		if *part == nil {
			*part = object{} // empty ones are not in the file
		}
		normalize(*part)
	}
}
