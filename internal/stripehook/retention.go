package stripehook

import (
	"context"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"example.com/saaskit/internal/postgres"
)

const (
	// payloadLife is how long the bytes of an event are kept after its end. They name people; the rest of the row does not.
	payloadLife    = 90 * 24 * time.Hour
	retentionEvery = 10 * time.Minute
	// Of one job: short transactions, and an end to them. What is left then is left to the next job.
	retentionBatch   = 1000
	retentionBatches = 100
)

// retentionArgs are the arguments of the periodic job that ends the retention of payloads.
type retentionArgs struct{}

// Kind names the job.
func (retentionArgs) Kind() string { return "stripe_retention" }

// InsertOpts keeps one such job at a time.
func (retentionArgs) InsertOpts() river.InsertOpts { return postgres.PeriodicJob() }

// EndPayloads removes the bytes of events that were done or ignored long enough ago, or that are of a deleted account, and those of
// deliveries that were no event, and returns of how many. An event that waits keeps them, and so does one that is dead or quarantined
// while its account is there.
func (s *Service) EndPayloads(ctx context.Context) (int64, error) {
	var total int64
	before := s.now().Add(-payloadLife)
	for _, end := range []func(context.Context, time.Time, int32) (int64, error){
		s.queries().EndStripePayloads, s.queries().EndAbandonedPayloads, s.queries().EndQuarantinedPayloads,
	} {
		for range retentionBatches {
			ended, err := end(ctx, before, retentionBatch)
			if err != nil {
				return total, fmt.Errorf("end payloads: %w", err)
			}
			if total += ended; ended < retentionBatch {
				break
			}
		}
	}
	return total, nil
}
