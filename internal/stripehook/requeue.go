package stripehook

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
)

const (
	requeueEvery = 30 * time.Second
	// requeueAfter leaves those alone that are being stored or finished right now.
	requeueAfter = time.Minute
	requeueBatch = 500
)

// requeueArgs are the arguments of the periodic job that finds events without one.
type requeueArgs struct{}

// Kind names the job.
func (requeueArgs) Kind() string { return "stripe_requeue" }

// InsertOpts lets no second one wait: the next comes anyway.
func (requeueArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByPeriod: requeueEvery}}
}

// PeriodicJobs are what the package does by the clock. River keeps the clock in the memory of the instance that leads, so each comes with
// every start, too: where instances are replaced more often than a job is due it would never come. What is costly asks first whether it
// is due; see [roundDue].
func (s *Service) PeriodicJobs() []*river.PeriodicJob {
	onStart := &river.PeriodicJobOpts{RunOnStart: true}
	return []*river.PeriodicJob{
		river.NewPeriodicJob(river.PeriodicInterval(requeueEvery),
			func() (river.JobArgs, *river.InsertOpts) { return requeueArgs{}, nil }, onStart),
		river.NewPeriodicJob(river.PeriodicInterval(retentionEvery),
			func() (river.JobArgs, *river.InsertOpts) { return retentionArgs{}, nil }, onStart),
		river.NewPeriodicJob(river.PeriodicInterval(sweepEvery),
			func() (river.JobArgs, *river.InsertOpts) { return sweepArgs{}, nil }, onStart),
		river.NewPeriodicJob(river.PeriodicInterval(reconcileEvery),
			func() (river.JobArgs, *river.InsertOpts) { return reconcileArgs{}, nil }, onStart),
		river.NewPeriodicJob(river.PeriodicInterval(reconcileEvery), // whether a day is over asks the job: one that failed comes again
			func() (river.JobArgs, *river.InsertOpts) { return reconcileArgs{All: true}, nil }, onStart),
	}
}

type requeueWorker struct {
	river.WorkerDefaults[requeueArgs]
	s *Service
}

// Work queues pending events that no job will work on: the row is the record, and jobs can be cancelled or lost.
func (w *requeueWorker) Work(ctx context.Context, _ *river.Job[requeueArgs]) error {
	return w.s.requeue(ctx)
}

// requeue gives a job to each pending event without one. Where the last job was given up although its event waits, the
// process died in the last attempt: such an event is dead, or it would kill the process for ever.
func (s *Service) requeue(ctx context.Context) error {
	var dead []string
	err := postgres.InJobTx(ctx, s.pool, func(tx pgx.Tx, q *db.Queries) error {
		orphans, err := q.ListOrphanedStripeEvents(ctx, s.now().Add(-requeueAfter), requeueBatch)
		if err != nil {
			return fmt.Errorf("list orphaned events: %w", err)
		}
		for _, orphan := range orphans {
			if !orphan.Exhausted {
				if _, err := s.jobs.InsertTx(ctx, tx, eventArgs{EventID: orphan.ID}, nil); err != nil {
					return fmt.Errorf("queue event: %w", err)
				}
				continue
			}
			if _, err := q.FailStripeEvent(ctx, db.FailStripeEventParams{
				LastError: "the process ended during the last attempt", Last: true, Now: s.now(), ID: orphan.ID,
			}); err != nil {
				return fmt.Errorf("give up event: %w", err)
			}
			dead = append(dead, orphan.ID)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range dead {
		s.alarm(ctx, "dead", "event", id)
	}
	return nil
}
