package stripehook

import (
	"context"
	"time"
)

// Work makes one attempt at an event, as the job does.
func (s *Service) Work(ctx context.Context, eventID string, last bool) error {
	return s.work(ctx, eventID, last)
}

// Requeue does the periodic work.
func (s *Service) Requeue(ctx context.Context) error { return s.requeue(ctx) }

// Backoff are the pauses after failed attempts.
func Backoff() []time.Duration { return backoff[:] }
