package credit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"

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
func (SweepArgs) InsertOpts() river.InsertOpts { return postgres.PeriodicJob() }

// AllowanceArgs is the job that grants the allowances that the clock owes.
type AllowanceArgs struct{}

// Kind names the job.
func (AllowanceArgs) Kind() string { return "credit_allowance" }

// InsertOpts keeps one such job at a time.
func (AllowanceArgs) InsertOpts() river.InsertOpts { return postgres.PeriodicJob() }

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
		river.NewPeriodicJob(river.PeriodicInterval(5*time.Minute),
			func() (river.JobArgs, *river.InsertOpts) { return AllowanceArgs{}, nil }, onStart),
	}
}

// Sweep settles every account that time alone has changed. An account that fails keeps no other from being settled: the errors
// of all of them are returned together.
func (s *Service) Sweep(ctx context.Context) error {
	var failed []uuid.UUID
	var errs []error
	for range jobBatches {
		ids, err := db.New(s.pool).ListDueCreditAccounts(ctx, s.now(), failed, jobBatch)
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("list due accounts: %w", err))...)
		}
		for _, id := range ids {
			if err := s.Settle(ctx, id); err != nil {
				failed, errs = append(failed, id), append(errs, fmt.Errorf("settle account %s: %w", id, err))
			}
		}
		if len(ids) < jobBatch {
			break
		}
	}
	return errors.Join(errs...)
}

// GrantAllowances grants to all accounts what the clock owes them and returns how many lots that were. An account that fails
// keeps no other from its own: the errors of all of them are returned together.
func (s *Service) GrantAllowances(ctx context.Context) (granted int, err error) {
	q := db.New(s.pool)
	sources := []func(passed []uuid.UUID) ([]uuid.UUID, error){
		func(passed []uuid.UUID) ([]uuid.UUID, error) {
			return q.ListAllowancesDue(ctx, s.now(), passed, jobBatch)
		},
		func(passed []uuid.UUID) ([]uuid.UUID, error) {
			return q.ListAccountsWithoutCredits(ctx, passed, jobBatch)
		},
	}
	var errs []error
	for _, list := range sources {
		// Of these nothing has changed: others hold them, or they fail. They would be listed again and again.
		var passed []uuid.UUID
		for range jobBatches {
			ids, err := list(passed)
			if err != nil {
				errs = append(errs, fmt.Errorf("list accounts: %w", err))
				break
			}
			n, left, err := s.grantEach(ctx, ids)
			granted, passed = granted+n, append(passed, left...)
			if err != nil {
				errs = append(errs, err)
			}
			if len(ids) < jobBatch {
				break
			}
		}
	}
	return granted, errors.Join(errs...)
}

// grantEach grants to accounts all at once, and where that fails to one after the other. It returns those that it left.
func (s *Service) grantEach(ctx context.Context, ids []uuid.UUID) (granted int, left []uuid.UUID, err error) {
	granted, left, err = s.grantBatch(ctx, ids)
	if err == nil {
		return granted, left, nil
	}
	var errs []error
	for _, id := range ids {
		n, held, err := s.grantBatch(ctx, []uuid.UUID{id})
		if err != nil {
			held, errs = []uuid.UUID{id}, append(errs, fmt.Errorf("grant allowance to account %s: %w", id, err))
		}
		granted, left = granted+n, append(left, held...)
	}
	return granted, left, errors.Join(errs...)
}

// grantBatch grants to those of the accounts that nobody else is at work on, in one transaction. It returns the others.
func (s *Service) grantBatch(ctx context.Context, ids []uuid.UUID) (granted int, left []uuid.UUID, err error) {
	if len(ids) == 0 {
		return 0, nil, nil
	}
	err = postgres.InTx(ctx, s.pool, func(q *db.Queries) error {
		if err := q.EnsureCreditAccounts(ctx, ids); err != nil {
			return fmt.Errorf("make credit accounts: %w", err)
		}
		rows, err := q.LockCreditAccountsFree(ctx, ids)
		if err != nil {
			return fmt.Errorf("lock credits: %w", err)
		}
		free := make(map[uuid.UUID]bool, len(rows))
		purses := make([]*purse, len(rows))
		for i, row := range rows {
			purses[i], free[row.AccountID] = &purse{q: q, CreditAccount: row}, true
		}
		left = slices.DeleteFunc(slices.Clone(ids), func(id uuid.UUID) bool { return free[id] })
		granted, err = s.grantOwed(ctx, q, purses)
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	return granted, left, nil
}
