package serve

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

const (
	workers    = 16
	jobTimeout = 30 * time.Second
	// A job whose worker died runs again after this, and half a minute more until somebody looks. It has to be longer than jobTimeout:
	// what still runs would run twice. River's own default is an hour.
	rescueAfter = 45 * time.Second
	// What a notification missed is found by polling.
	pollEvery = 200 * time.Millisecond
	cooldown  = 20 * time.Millisecond
)

// A worker is a package with background work.
type worker interface {
	AddWorkers(*river.Workers)
	PeriodicJobs() []*river.PeriodicJob
}

// jobErrors writes down why a job failed, which River itself tells on a level that is not logged.
type jobErrors struct{ log *slog.Logger }

// HandleError leaves it to River whether the job is tried again.
func (j jobErrors) HandleError(ctx context.Context, job *rivertype.JobRow, err error) *river.ErrorHandlerResult {
	j.log.WarnContext(ctx, "job failed", "kind", job.Kind, "job", job.ID, "attempt", job.Attempt, "of", job.MaxAttempts, "error", err)
	return nil
}

// HandlePanic is [jobErrors.HandleError] for a job that panicked.
func (j jobErrors) HandlePanic(ctx context.Context, job *rivertype.JobRow, value any, trace string) *river.ErrorHandlerResult {
	j.log.ErrorContext(ctx, "job panicked", "kind", job.Kind, "job", job.ID, "attempt", job.Attempt, "panic", value, "stack", trace)
	return nil
}

func newJobs(pool *pgxpool.Pool, log *slog.Logger, d *domains) (*river.Client[pgx.Tx], error) {
	all := river.NewWorkers()
	var periodic []*river.PeriodicJob
	for _, w := range d.workers() {
		w.AddWorkers(all)
		periodic = append(periodic, w.PeriodicJobs()...)
	}
	c, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Queues:               map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: workers}},
		Workers:              all,
		PeriodicJobs:         periodic,
		JobTimeout:           jobTimeout,
		RescueStuckJobsAfter: rescueAfter,
		FetchPollInterval:    pollEvery,
		FetchCooldown:        cooldown,
		Logger:               slog.New(atLeast{log.Handler(), slog.LevelWarn}),
		ErrorHandler:         jobErrors{log},
		// Finished jobs are of no use: the rows that they settled are the record.
		CompletedJobRetentionPeriod: time.Hour,
	})
	if err != nil {
		return nil, fmt.Errorf("set up jobs: %w", err)
	}
	return c, nil
}
