package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/problem"
)

const (
	// sweepEvery is how often forgotten work is looked for.
	sweepEvery = 10 * time.Minute
	// attempts of one job are over after some six minutes. A deletion is never given up: the sweep then gives it another job.
	attempts = 5
	// strandedAfter is how old an open deletion is when the sweep gives it a job again: its job may be out of attempts.
	strandedAfter = 15 * time.Minute
	// overdueAfter is how old an open deletion is when somebody has to look at it.
	overdueAfter = 24 * time.Hour
	sweepBatch   = 100
)

// DeleteUserArgs is the job that finishes the deletion of a user.
type DeleteUserArgs struct {
	UserID uuid.UUID `json:"user_id"`
}

// Kind names the job.
func (DeleteUserArgs) Kind() string { return "account.delete_user" }

// InsertOpts allows one living job for a user.
func (DeleteUserArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{MaxAttempts: attempts, UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled,
	}}}
}

// Delete begins the deletion of a user: from its commit on every token and every key of the personal account is refused. A job
// in the same transaction does what remains. Deleting a user who is being deleted changes nothing.
func (s *Service) Delete(ctx context.Context, userID uuid.UUID, actor audit.Actor) error {
	var forget func()
	err := postgres.InJobTx(ctx, s.cfg.Pool, func(tx pgx.Tx, q *db.Queries) error {
		u, err := q.LockUser(ctx, userID)
		if err != nil {
			return userError(err)
		}
		if u.User.Status == StatusDeleting || u.User.Status == StatusDeleted {
			return nil
		}
		hashes, err := s.close(ctx, q, u, actor)
		if err != nil {
			return err
		}
		if _, err := s.jobs.InsertTx(ctx, tx, DeleteUserArgs{UserID: userID}, nil); err != nil {
			return fmt.Errorf("queue deletion: %w", err)
		}
		forget = func() { s.forget(ctx, u, hashes) }
		forget()
		return nil
	})
	if forget != nil {
		forget()
	}
	if err != nil {
		return fmt.Errorf("delete user: %w", err)
	}
	return nil
}

// close takes away what the user can do. It returns the hashes of the keys that it has revoked.
func (s *Service) close(ctx context.Context, q *db.Queries, u db.LockUserRow, actor audit.Actor) ([][]byte, error) {
	now := s.now()
	if err := q.SetUserStatus(ctx, StatusDeleting, now, u.User.ID); err != nil {
		return nil, fmt.Errorf("set user status: %w", err)
	}
	if err := q.SetAccountStatus(ctx, StatusDisabled, now, u.AccountID); err != nil {
		return nil, fmt.Errorf("set account status: %w", err)
	}
	hashes, err := q.RevokeAccountKeys(ctx, now, u.AccountID)
	if err != nil {
		return nil, fmt.Errorf("revoke keys: %w", err)
	}
	if _, err := q.InsertUserDeletion(ctx, u.User.ID, u.AccountID, now); err != nil {
		return nil, fmt.Errorf("record deletion: %w", err)
	}
	return hashes, audit.Record(ctx, q, now, audit.Entry{
		Actor: actor, AccountID: &u.AccountID, Action: "user.delete", Target: "user", TargetID: u.User.ID.String(),
		Before: map[string]string{"status": u.User.Status}, After: map[string]any{"status": StatusDeleting, "keys_revoked": len(hashes)},
	})
}

// FinishDeletion takes the steps that a deletion still lacks: end what is paid for, delete the identity, anonymise. Each step is
// written down when it is done, and each may be taken twice, so that it can be interrupted anywhere and called again.
func (s *Service) FinishDeletion(ctx context.Context, userID uuid.UUID) error {
	q := s.queries()
	d, err := q.GetUserDeletion(ctx, userID)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read deletion: %w", err)
	}
	if d.UserDeletion.FinishedAt != nil {
		return s.closeIdentity(ctx, q, d)
	}
	if d.UserDeletion.BillingClosedAt == nil {
		if err := s.closeBilling(ctx, q, userID, d.UserDeletion.AccountID); err != nil {
			return err
		}
	}
	if err := s.closeIdentity(ctx, q, d); err != nil {
		return err
	}
	return s.anonymise(ctx, userID)
}

// closeIdentity is the one step that a deletion may end without: where there is no right to delete identities it stays open, and
// the sweep of a process that has the right takes it up.
func (s *Service) closeIdentity(ctx context.Context, q *db.Queries, d db.GetUserDeletionRow) error {
	if d.UserDeletion.IdentityClosedAt != nil || s.cfg.CloseIdentity == nil {
		return nil
	}
	if err := s.cfg.CloseIdentity(ctx, d.Subject); err != nil {
		return fmt.Errorf("delete identity: %w", err)
	}
	if err := q.MarkIdentityClosed(ctx, s.now(), d.UserDeletion.UserID); err != nil {
		return fmt.Errorf("write step down: %w", err)
	}
	return nil
}

func (s *Service) closeBilling(ctx context.Context, q *db.Queries, userID, accountID uuid.UUID) error {
	if s.cfg.CloseBilling != nil {
		if err := s.cfg.CloseBilling(ctx, accountID); err != nil {
			return fmt.Errorf("close billing: %w", err)
		}
	}
	if err := q.MarkBillingClosed(ctx, s.now(), userID); err != nil {
		return fmt.Errorf("write step down: %w", err)
	}
	return nil
}

// anonymise removes what identifies the person, in one transaction that is also the end. Ledger, invoices and audit log stay.
func (s *Service) anonymise(ctx context.Context, userID uuid.UUID) error {
	var forget func()
	err := postgres.InTx(ctx, s.cfg.Pool, func(q *db.Queries) error {
		now := s.now()
		u, err := q.LockUser(ctx, userID)
		if err != nil {
			return userError(err)
		}
		d, err := q.LockUserDeletion(ctx, userID)
		if err != nil {
			return fmt.Errorf("lock deletion: %w", err)
		}
		if d.FinishedAt != nil {
			return nil // a rival was faster
		}
		principal := Principal{Kind: KindUser, UserID: &userID}.String()
		for _, step := range []func() error{
			func() error { return q.AnonymiseUser(ctx, now, userID) },
			func() error { return q.AnonymiseAccount(ctx, now, u.AccountID) },
			func() error { return q.AnonymiseCustomer(ctx, now, u.AccountID) },
			func() error { return q.AnonymisePaymentMethods(ctx, now, u.AccountID) },
			func() error { return q.AnonymiseInvoices(ctx, now, u.AccountID) },
			func() error { return q.AnonymiseMessages(ctx, u.AccountID) },
			func() error { return q.AnonymiseEvents(ctx, u.AccountID) },
			func() error { return q.AnonymiseAudit(ctx, u.AccountID, userID.String()) },
			func() error { return q.ForgetAnswers(ctx, principal, userID.String()) },
			func() error { return q.MarkDeletionFinished(ctx, now, userID) },
		} {
			if err := step(); err != nil {
				return fmt.Errorf("anonymise: %w", err)
			}
		}
		err = audit.Record(ctx, q, now, audit.Entry{
			Actor: audit.System(DeleteUserArgs{}.Kind()), AccountID: &u.AccountID, Action: "user.anonymise", Target: "user",
			TargetID: userID.String(),
		})
		forget = func() { s.forget(ctx, u, nil) }
		forget()
		return err
	})
	if forget != nil {
		forget()
	}
	return err
}

// SweepArgs is the periodic job that tidies up: signed-out sessions that are over, deletions without a living job.
type SweepArgs struct{}

// Kind names the job.
func (SweepArgs) Kind() string { return "account.sweep" }

// InsertOpts keeps one such job at a time.
func (SweepArgs) InsertOpts() river.InsertOpts { return postgres.PeriodicJob() }

// Sweep does the periodic work. What fails keeps nothing else from being done.
func (s *Service) Sweep(ctx context.Context) error {
	var errs []error
	q := s.queries()
	if _, err := q.DeleteExpiredSessions(ctx, s.now()); err != nil {
		errs = append(errs, fmt.Errorf("delete expired sessions: %w", err))
	}
	return errors.Join(append(errs, s.takeUp(ctx, q), s.takeUpIdentities(ctx, q))...)
}

// takeUpIdentities gives a job to every deletion that ended without the right to delete the identity.
func (s *Service) takeUpIdentities(ctx context.Context, q *db.Queries) error {
	if s.cfg.CloseIdentity == nil {
		return nil
	}
	var errs []error
	var last db.ListOpenIdentitiesRow
	for {
		open, err := q.ListOpenIdentities(ctx, last.RequestedAt, last.UserID, sweepBatch)
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("list open identities: %w", err))...)
		}
		for _, d := range open {
			if _, err := s.jobs.Insert(ctx, DeleteUserArgs{UserID: d.UserID}, nil); err != nil {
				errs = append(errs, fmt.Errorf("queue deletion of the identity of user %s: %w", d.UserID, err))
			}
			last = d
		}
		if len(open) < sweepBatch {
			return errors.Join(errs...)
		}
	}
}

// takeUp gives every deletion that is not finished a living job, for as long as it takes, and tells of those that are overdue.
func (s *Service) takeUp(ctx context.Context, q *db.Queries) error {
	var errs []error
	var overdue []db.ListOpenDeletionsRow
	now := s.now()
	next := db.ListOpenDeletionsParams{Before: now.Add(-strandedAfter), MaxRows: sweepBatch}
	for more := true; more; {
		open, err := q.ListOpenDeletions(ctx, next)
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("list open deletions: %w", err))...)
		}
		for _, d := range open {
			if _, err := s.jobs.Insert(ctx, DeleteUserArgs{UserID: d.UserID}, nil); err != nil {
				errs = append(errs, fmt.Errorf("queue deletion of user %s: %w", d.UserID, err))
			}
			if now.Sub(d.RequestedAt) > overdueAfter {
				overdue = append(overdue, d)
			}
			next.AfterRequestedAt, next.AfterID = d.RequestedAt, d.UserID
		}
		more = len(open) == sweepBatch
	}
	if len(overdue) > 0 {
		s.cfg.Log.ErrorContext(ctx, "users who asked to be deleted more than a day ago are not", "users", len(overdue),
			"oldest", overdue[0].UserID, "requested_at", overdue[0].RequestedAt)
	}
	return errors.Join(errs...)
}

// AddWorkers registers the jobs of this package.
func (s *Service) AddWorkers(workers *river.Workers) {
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, job *river.Job[DeleteUserArgs]) error {
		err := s.FinishDeletion(ctx, job.Args.UserID)
		if errors.Is(err, problem.NotFound) {
			return river.JobCancel(err) // rows of users are never removed
		}
		return err
	}))
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, _ *river.Job[SweepArgs]) error {
		return s.Sweep(ctx)
	}))
}

// PeriodicJobs are the jobs that the clock starts.
func (s *Service) PeriodicJobs() []*river.PeriodicJob {
	sweep := func() (river.JobArgs, *river.InsertOpts) { return SweepArgs{}, nil }
	return []*river.PeriodicJob{
		river.NewPeriodicJob(river.PeriodicInterval(sweepEvery), sweep, &river.PeriodicJobOpts{RunOnStart: true}),
	}
}
