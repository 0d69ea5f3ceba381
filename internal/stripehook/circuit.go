package stripehook

import (
	"context"
	"sync"
	"time"
)

// circuitPause is how long nobody asks after Stripe has refused our key, but one who tries.
const circuitPause = 30 * time.Second

// A circuit keeps all jobs from asking with a key that Stripe refuses. Its zero value is closed.
type circuit struct {
	mu    sync.Mutex
	open  bool
	until time.Time
}

// pause is how long to wait before asking Stripe. After the pause one asker goes first.
func (c *circuit) pause(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		return 0
	}
	if wait := c.until.Sub(now); wait > 0 {
		return wait
	}
	c.until = now.Add(circuitPause)
	return 0
}

// set opens or closes the circuit and tells whether that is a change.
func (c *circuit) set(open bool, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := c.open != open
	c.open = open
	if open {
		c.until = now.Add(circuitPause)
	}
	return changed
}

func (s *Service) openCircuit(ctx context.Context, status int) {
	if s.circuit.set(true, s.now()) {
		s.metrics.circuitOpen.Set(1)
		s.alarm(ctx, "key_refused", "status", status)
	}
}

func (s *Service) closeCircuit() {
	if s.circuit.set(false, s.now()) {
		s.metrics.circuitOpen.Set(0)
	}
}
