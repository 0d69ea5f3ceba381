package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/postgres"
)

const (
	// changeRest is how long an interrupted change is left to whoever asked for it: told to try again, they do.
	changeRest = 30 * time.Second
	// keyLife is how long a call may be made again with its key. Stripe forgets keys after a day, and then would do it twice.
	keyLife      = 23 * time.Hour
	changesBatch = 20
)

// ChangesArgs is the job that carries interrupted changes of subscriptions to their end.
type ChangesArgs struct{}

// Kind names the job.
func (ChangesArgs) Kind() string { return "billing_changes" }

// InsertOpts keeps one such job at a time.
func (ChangesArgs) InsertOpts() river.InsertOpts { return postgres.PeriodicJob() }

// FinishChanges takes up changes that were interrupted and that nobody has asked for again, and returns how many have ended. One that fails
// keeps no other from its end; those that have waited longest come first.
func (s *Service) FinishChanges(ctx context.Context) (int, error) {
	rows, err := s.queries().ListInterruptedChanges(ctx, s.now().Add(-changeRest), changesBatch)
	if err != nil {
		return 0, fmt.Errorf("list interrupted changes: %w", err)
	}
	ended := 0
	var failed []error
	for _, found := range rows {
		row, open, err := s.takeInterrupted(ctx, found)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			continue // somebody else has taken it up
		case err == nil:
			err = s.finishChange(ctx, row, open)
			if refused(err) {
				_ = s.told(ctx, err) // to the operator, where it is one for them
				err = nil            // it has ended without having come about, or somebody else has taken it over
			}
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("finish change %s: %w", found.ID, err))
			continue
		}
		ended++
	}
	return ended, errors.Join(failed...)
}

// takeInterrupted leases a change that was found, and tells whether its account is open. It fails with [pgx.ErrNoRows] where it has ended
// or is leased.
func (s *Service) takeInterrupted(ctx context.Context, found db.SubscriptionChange) (row db.SubscriptionChange, open bool, err error) {
	err = postgres.InTx(ctx, s.Pool, func(q *db.Queries) error {
		a, err := account.Lock(ctx, q, found.AccountID)
		if err != nil {
			return err
		}
		open = a.Status == account.StatusActive
		row, err = q.GetRunningChange(ctx, found.AccountID)
		if err != nil {
			return fmt.Errorf("read change: %w", err)
		}
		if row.ID != found.ID || row.LeaseUntil != nil && row.LeaseUntil.After(s.now()) {
			return pgx.ErrNoRows
		}
		row, err = s.leaseChange(ctx, q, row)
		return err
	})
	return row, open, err
}

// finishChange brings a change about that nobody waits for. Its calls are made again with the same keys while Stripe remembers those. What
// charges somebody is made only as long as a preview lives: a charge hours later is no answer to what was asked. Of an account that is
// closed nothing is begun.
func (s *Service) finishChange(ctx context.Context, row db.SubscriptionChange, open bool) error {
	p, err := planWritten(row)
	if err != nil {
		return err
	}
	if row.Plan == nil { // nothing was asked of Stripe
		return s.endChange(ctx, s.queries(), row, changeAbandoned)
	}
	life := keyLife
	if p.Action == actNow || p.Action == actUnpause {
		life = previewLife
	}
	if !open || p.age(row, s.now()) >= life {
		return s.settleStale(ctx, row)
	}
	if p.Action == actNow {
		// What has come about needs only its rest. Stripe repeats the answer to a key, also that it has failed.
		if came, err := s.settleDone(ctx, row, p); came || err != nil {
			return err
		}
	}
	_, err = s.work(ctx, askedAgain(row, p), row, idempotency.Claim{})
	if errors.Is(err, errAgain) {
		return nil // it has ended, and to plan it anew is for whoever asks for it anew
	}
	return err
}

// askedAgain is a change as the one who asked for it first would ask again.
func askedAgain(row db.SubscriptionChange, p plan) Change {
	c := Change{AccountID: row.AccountID, UserID: row.CreatedBy, quiet: true, Actor: audit.System(ChangesArgs{}.Kind())}
	switch {
	case p.Asker.Kind != "":
		c.Actor = audit.Actor{Kind: p.Asker.Kind, ID: p.Asker.ID, RequestID: p.Asker.RequestID}
	case row.CreatedBy != nil && *row.CreatedBy != uuid.Nil:
		c.Actor = audit.Actor{Kind: audit.ByUser, ID: row.CreatedBy.String()}
	}
	return c
}

// settleStale ends a change whose calls may not be made again: as done where Stripe has it as planned, and otherwise as abandoned, after a
// look at what has become of the subscription.
func (s *Service) settleStale(ctx context.Context, row db.SubscriptionChange) error {
	p, err := planWritten(row)
	if err != nil {
		return err
	}
	if p.Action == actNow {
		if came, err := s.settleDone(ctx, row, p); came || err != nil {
			return err
		}
	}
	calling, cancel := context.WithTimeout(ctx, stripeBudget)
	defer cancel()
	if err := s.sync(calling, "subscription", row.SubscriptionID); err != nil {
		s.yieldChange(ctx, row)
		return err
	}
	return s.endChange(ctx, s.queries(), row, changeAbandoned)
}

// settleDone ends an upgrade that Stripe has carried out, and tells whether it has. Where a change was scheduled before, it is to be dropped
// even now: else what was paid for would be undone at the end of the period.
func (s *Service) settleDone(ctx context.Context, row db.SubscriptionChange, p plan) (came bool, err error) {
	calling, cancel := context.WithTimeout(ctx, stripeBudget)
	defer cancel()
	came, err = s.dropRest(calling, row, &p)
	if err == nil && came {
		err = s.follow(calling, row, p)
	}
	switch {
	case err == nil && came:
		return true, s.recordChange(ctx, askedAgain(row, p), row, p, State{}, idempotency.Claim{})
	case err == nil:
		return false, nil
	case refused(err):
		if failed := s.endChange(context.WithoutCancel(ctx), s.queries(), row, changeFailed); failed != nil {
			return false, failed
		}
		return false, err
	}
	s.yieldChange(ctx, row)
	return false, err
}

// dropRest tells whether the subscription is as planned at Stripe, and then releases the schedule that the plan was to drop.
func (s *Service) dropRest(ctx context.Context, row db.SubscriptionChange, p *plan) (bool, error) {
	sub, err := s.subscriptionAtStripe(ctx, row.SubscriptionID)
	if err != nil {
		return false, err
	}
	as := false
	for _, item := range sub.Items.Data {
		as = as || item.ID == p.Item && item.Price.ID == p.Price && item.Quantity == p.Quantity
	}
	if !as {
		return false, nil
	}
	if sub.LatestInvoice != nil && p.Proration == prorateNow {
		p.invoice = sub.LatestInvoice.ID
	}
	if sub.Schedule == nil || sub.Schedule.ID != p.Schedule {
		return true, nil
	}
	return true, s.releaseBy(ctx, p, "")
}
