package idempotency

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
)

// CleanArgs is the job that deletes keys whose retention is over.
type CleanArgs struct{}

// Kind names the job.
func (CleanArgs) Kind() string { return "idempotency_clean" }

// InsertOpts keeps one such job at a time.
func (CleanArgs) InsertOpts() river.InsertOpts { return postgres.PeriodicJob() }

// AddWorkers registers what the package's jobs do.
func AddWorkers(w *river.Workers, pool *pgxpool.Pool, now func() time.Time) {
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, _ *river.Job[CleanArgs]) error {
		_, err := Clean(ctx, pool, now())
		return err
	}))
}

// PeriodicJobs are the package's regular jobs.
func PeriodicJobs() []*river.PeriodicJob {
	return []*river.PeriodicJob{river.NewPeriodicJob(
		river.PeriodicInterval(10*time.Minute),
		func() (river.JobArgs, *river.InsertOpts) { return CleanArgs{}, nil },
		nil,
	)}
}

// Of one job: short transactions, and an end to them. What is left then is left to the next job.
const (
	cleanBatch   = 1000
	cleanBatches = 200
)

// Clean deletes keys whose retention is over and returns how many.
func Clean(ctx context.Context, pool *pgxpool.Pool, now time.Time) (int64, error) {
	q, total := db.New(pool), int64(0)
	for range cleanBatches {
		deleted, err := q.DeleteExpiredIdempotencyKeys(ctx, now, cleanBatch)
		if err != nil {
			return total, fmt.Errorf("delete expired idempotency keys: %w", err)
		}
		if total += deleted; deleted < cleanBatch {
			break
		}
	}
	return total, nil
}
