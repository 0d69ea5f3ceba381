package supabase

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// errSnapshot marks a failure to write the snapshot: the change is in memory
// but would not survive a restart, so it must not be answered as done.
var errSnapshot = errors.New("write snapshot")

// load reads the snapshot, or begins anew where there is none.
func (s *Server) load() error {
	s.state = newState(s.now())
	if s.cfg.Path != "" {
		if err := readSnapshot(s.cfg.Path, &s.state); err != nil {
			return fmt.Errorf("load supabase snapshot: %w", err)
		}
	}
	s.state.index()
	if len(s.state.Keys) > 0 {
		return nil
	}
	if err := s.state.addKey(); err != nil {
		return err
	}
	return s.save()
}

func readSnapshot(path string, st *state) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, st); err != nil {
		return fmt.Errorf("parse %s: %w", path, err)
	}
	return st.repair(path)
}

// repair refuses what this package did not write, so that a damaged file is
// reported at the start and not by a crash at some later request.
func (st *state) repair(path string) error {
	if st.Users == nil || st.Sessions == nil {
		return fmt.Errorf("parse %s: users or sessions are missing", path)
	}
	for id, u := range st.Users {
		if u == nil || u.ID != id || u.Codes == nil || u.Sent == nil {
			return fmt.Errorf("parse %s: user %q is damaged", path, id)
		}
	}
	for id, sess := range st.Sessions {
		if sess == nil || sess.ID != id || len(sess.Tokens) == 0 || st.Users[sess.UserID] == nil {
			return fmt.Errorf("parse %s: session %q is damaged", path, id)
		}
	}
	for _, k := range st.Keys {
		if k.private == nil {
			return fmt.Errorf("parse %s: a signing key is damaged", path)
		}
	}
	return nil
}

// save writes the snapshot to a file beside it and renames that: a reader, or
// a start after a crash, finds the old state or the new one, never half of one.
func (s *Server) save() error {
	if s.cfg.Path == "" {
		return nil
	}
	data, err := json.Marshal(s.state)
	if err != nil {
		return fmt.Errorf("%w: %w", errSnapshot, err)
	}
	if err := replaceFile(s.cfg.Path, data); err != nil {
		return fmt.Errorf("%w: %w", errSnapshot, err)
	}
	return nil
}

// replaceFile does not sync: the snapshot is to survive a killed process, and
// development data is not worth a disk flush per sign-in.
func replaceFile(path string, data []byte) error {
	temp := path + ".tmp"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Mode 0600: the file holds password hashes and signing keys.
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, path)
}
