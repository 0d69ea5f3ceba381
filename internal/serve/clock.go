package serve

import (
	"context"
	"sync"
	"time"

	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/problem"
)

// A Clock is the time of a server whose every part runs in this process: the Stripe emulator's, which the sign-in has too.
type Clock interface {
	Time() time.Time
	AdvanceTo(at time.Time) error
	// Settle returns when all events of Stripe that are due have been delivered.
	Settle(ctx context.Context) error
}

// A worldClock moves Stripe and the server together.
type worldClock struct {
	Clock
	credits *credit.Service
	moving  *sync.Mutex // one move at a time: the way there is measured from now
}

// AdvanceTo moves time on, and does at once what jobs would do within minutes.
func (c worldClock) AdvanceTo(ctx context.Context, at time.Time) error {
	c.moving.Lock()
	defer c.moving.Unlock()
	if !at.After(c.Time()) {
		return problem.InvalidRequest.Errorf("another move has gone further").In("body", "is in the past by now")
	}
	if err := c.Clock.AdvanceTo(at); err != nil {
		return err
	}
	if err := c.Settle(ctx); err != nil {
		return err
	}
	if err := c.credits.Sweep(ctx); err != nil {
		return err
	}
	_, err := c.credits.GrantAllowances(ctx)
	return err
}
