package ratelimit

import (
	"context"
	"time"
)

type Limit struct{ PerMinute, Burst int }
type Decision struct {
	Allowed           bool
	Limit, Remaining  int
	Reset, RetryAfter time.Duration
}
type Limiter struct{}

func (l *Limiter) Take(ctx context.Context, key string, limit Limit) Decision {
	return Decision{Allowed: true}
}

func New(c any, now func() time.Time) *Limiter { return &Limiter{} }
