package credit

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
)

// Of one job: short transactions, and an end to them. What is left then is left to the next job.
const (
	jobBatch   = 100
	jobBatches = 100
)

// SweepArgs is the job that settles accounts whose credits have expired. Nobody's answer depends on it.
type SweepArgs struct{}

// Kind names the job.
func (SweepArgs) Kind() string { return "credit_sweep" }

// InsertOpts keeps one such job at a time.
func (SweepArgs) InsertOpts() river.InsertOpts { return oneAtATime() }

// AllowanceArgs is the job that grants the allowances that the clock owes.
type AllowanceArgs struct{}

// Kind names the job.
func (AllowanceArgs) Kind() string { return "credit_allowance" }

// InsertOpts keeps one such job at a time.
func (AllowanceArgs) InsertOpts() river.InsertOpts { return oneAtATime() }

func oneAtATime() river.InsertOpts {
	return river.InsertOpts{UniqueOpts: river.UniqueOpts{ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled,
	}}}
}

// AddWorkers registers what the package's jobs do.
func (s *Service) AddWorkers(w *river.Workers) {
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, _ *river.Job[SweepArgs]) error { return s.Sweep(ctx) }))
	river.AddWorker(w, river.WorkFunc(func(ctx context.Context, _ *river.Job[AllowanceArgs]) error {
		_, err := s.GrantAllowances(ctx)
		return err
	}))
}

// PeriodicJobs are the package's regular jobs.
func (s *Service) PeriodicJobs() []*river.PeriodicJob {
	onStart := &river.PeriodicJobOpts{RunOnStart: true}
	return []*river.PeriodicJob{
		river.NewPeriodicJob(river.PeriodicInterval(time.Minute), func() (river.JobArgs, *river.InsertOpts) { return SweepArgs{}, nil }, onStart),
		river.NewPeriodicJob(river.PeriodicInterval(5*time.Minute), func() (river.JobArgs, *river.InsertOpts) { return AllowanceArgs{}, nil }, onStart),
	}
}

// Sweep settles every account that time alone has changed.
func (s *Service) Sweep(ctx context.Context) error {
	for range jobBatches {
		ids, err := db.New(s.pool).ListDueCreditAccounts(ctx, s.now(), jobBatch)
		if err != nil {
			return fmt.Errorf("list due accounts: %w", err)
		}
		for _, id := range ids {
			if err := s.Settle(ctx, id); err != nil {
				return fmt.Errorf("settle account %s: %w", id, err)
			}
		}
		if len(ids) < jobBatch {
			break
		}
	}
	return nil
}

// GrantAllowances grants to all accounts what the clock owes them and returns how many lots that were.
func (s *Service) GrantAllowances(ctx context.Context) (granted int, err error) {
	q := db.New(s.pool)
	sources := []func(context.Context) ([]uuid.UUID, error){
		func(ctx context.Context) ([]uuid.UUID, error) { return q.ListAllowancesDue(ctx, s.now(), jobBatch) },
		func(ctx context.Context) ([]uuid.UUID, error) { return q.ListAccountsWithoutCredits(ctx, jobBatch) },
	}
	for _, list := range sources {
		for range jobBatches {
			ids, err := list(ctx)
			if err != nil {
				return granted, fmt.Errorf("list accounts: %w", err)
			}
			n, held, err := s.grantBatch(ctx, ids)
			if err != nil {
				return granted, fmt.Errorf("grant allowances: %w", err)
			}
			// Without progress the same accounts would be listed again: others hold them.
			if granted += n; len(ids) < jobBatch || held == 0 {
				break
			}
		}
	}
	return granted, nil
}

// grantBatch grants to those of the accounts that nobody else is at work on, in one transaction. It returns how many it held.
func (s *Service) grantBatch(ctx context.Context, ids []uuid.UUID) (granted, held int, err error) {
	if len(ids) == 0 {
		return 0, 0, nil
	}
	err = postgres.InTx(ctx, s.pool, func(q *db.Queries) error {
		if err := q.EnsureCreditAccounts(ctx, ids); err != nil {
			return fmt.Errorf("make credit accounts: %w", err)
		}
		rows, err := q.LockCreditAccountsFree(ctx, ids)
		if err != nil {
			return fmt.Errorf("lock credits: %w", err)
		}
		purses := make([]*purse, len(rows))
		for i, row := range rows {
			purses[i] = &purse{q: q, CreditAccount: row}
		}
		held = len(purses)
		granted, err = s.grantOwed(ctx, q, purses)
		return err
	})
	return granted, held, err
}
