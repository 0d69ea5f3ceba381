package apikey

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	// maxUses bounds how many keys wait for their last_used_at to be written.
	maxUses = 20_000
	// flushPatience bounds one write.
	flushPatience = 10 * time.Second
)

// uses remembers when keys were used last, until that is written down.
type uses struct {
	mu   sync.Mutex
	last map[uuid.UUID]time.Time
}

// note remembers a use. Beyond the bound it is forgotten: it is for people to look at.
func (u *uses) note(id uuid.UUID, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		u.last = map[uuid.UUID]time.Time{}
	}
	before, known := u.last[id]
	if (known || len(u.last) < maxUses) && at.After(before) {
		u.last[id] = at
	}
}

// take returns what was remembered and forgets it.
func (u *uses) take() map[uuid.UUID]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	taken := u.last
	u.last = nil
	return taken
}

// flushUses writes down uses from time to time and at the end.
func (s *Service) flushUses() {
	ticker := time.NewTicker(s.cfg.FlushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.flush()
		case <-s.stop:
			s.flush()
			return
		}
	}
}

// flush writes all uses in one statement. What cannot be written is tried again the next time.
func (s *Service) flush() {
	taken := s.uses.take()
	if len(taken) == 0 {
		return
	}
	ids, times := make([]uuid.UUID, 0, len(taken)), make([]time.Time, 0, len(taken))
	for id, at := range taken {
		ids, times = append(ids, id), append(times, at)
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushPatience)
	defer cancel()
	if _, err := s.queries().TouchAPIKeys(ctx, ids, times); err != nil {
		s.cfg.Log.Warn("last use of API keys not written", "keys", len(taken), "error", err)
		for id, at := range taken {
			s.uses.note(id, at)
		}
	}
}
