package billing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/problem"
)

// Kinds of changes of a subscription.
const (
	changePlan      = "change"
	changeCancel    = "cancel"
	changeCancelNow = "cancel_now"
	changeResume    = "resume"
	changeMigrate   = "migrate"
)

// Statuses that changes end with.
const (
	changeDone      = "done"
	changeFailed    = "failed"    // Stripe, or we, have refused it
	changeAbandoned = "abandoned" // interrupted, and then something else was asked for
)

// A Change is what somebody wants of a subscription. What is left out stays as it is.
type Change struct {
	AccountID uuid.UUID
	UserID    *uuid.UUID
	Tier      string
	Interval  string
	Quantity  int64
	// ProratedAt is the second of a preview: with it the charge is what the preview said.
	ProratedAt *time.Time
	Key        idempotency.Key
	Actor      audit.Actor

	move  *priceMove // of a migration
	quiet bool       // nobody is shown how the subscription stands then
}

// A priceMove takes one subscription from a price to another.
type priceMove struct{ subscription, from, to string }

// A wish is a change as it is written down. Two that are equal are the same change.
type wish struct {
	Tier       string `json:"tier,omitempty"`
	Interval   string `json:"interval,omitempty"`
	Quantity   int64  `json:"quantity,omitempty"`
	ProratedAt int64  `json:"prorated_at,omitempty"`
	// Of a migration.
	Subscription string `json:"subscription,omitempty"`
	Price        string `json:"price,omitempty"`
}

func (c Change) wish() wish {
	w := wish{Tier: c.Tier, Interval: c.Interval, Quantity: c.Quantity}
	if c.ProratedAt != nil {
		w.ProratedAt = c.ProratedAt.Unix()
	}
	if c.move != nil {
		w.Subscription, w.Price = c.move.subscription, c.move.to
	}
	return w
}

// ChangeSubscription moves the account's subscription to another tier, interval or quantity: up at once, for the difference, and
// down at the end of the period that is paid. What there is now takes back a change that is scheduled or waits for its payment.
// It returns how the subscription stands then, and whether that is the stored answer to an earlier request with the same key.
//
// It fails with [problem.NoSubscription], [problem.SubscriptionEnding], [problem.PaymentOverdue], [problem.PriceNotFound], with
// [problem.PaymentFailed], after which nothing has changed, with [problem.ChangeRunning] while another request changes the
// account's subscription, with [problem.AddressUnknown] and [problem.StripeRefused], and with [problem.StripeFailed], after which the same
// request goes on where this one stopped.
func (s *Service) ChangeSubscription(ctx context.Context, c Change) (State, bool, error) {
	return s.change(ctx, changePlan, c)
}

// CancelSubscription ends the account's subscription at the end of its period, or at once. It fails as [Service.ChangeSubscription]
// does; a subscription that is to end already stays so.
func (s *Service) CancelSubscription(ctx context.Context, c Change, now bool) (State, bool, error) {
	if now {
		return s.change(ctx, changeCancelNow, c)
	}
	return s.change(ctx, changeCancel, c)
}

// ResumeSubscription takes a cancellation back that has not taken effect, and lets a subscription go on whose trial has ended without a
// payment method. It fails as [Service.ChangeSubscription] does.
func (s *Service) ResumeSubscription(ctx context.Context, c Change) (State, bool, error) {
	return s.change(ctx, changeResume, c)
}

func (s *Service) change(ctx context.Context, kind string, c Change) (state State, replayed bool, err error) {
	claim, replayed, err := idempotency.Begin(ctx, s.Pool, s.now(), c.Key, checkoutLease, &state)
	if err != nil || replayed {
		return state, replayed, err
	}
	state, err = s.changeClaimed(ctx, kind, c, claim)
	if err != nil {
		if failed := claim.Release(context.WithoutCancel(ctx), s.Pool); failed != nil {
			s.Log.WarnContext(ctx, "an idempotency key stays claimed until its lease ends", "error", failed)
		}
		return State{}, false, s.told(ctx, fmt.Errorf("%s subscription: %w", kind, err))
	}
	return state, false, nil
}

func (s *Service) changeClaimed(ctx context.Context, kind string, c Change, claim idempotency.Claim) (State, error) {
	deadline := time.Now().Add(patience) // of the caller, so in real time
	for turn := 0; turn < maxTurns; {
		row, found, err := s.takeChange(ctx, kind, c)
		if err != nil {
			return State{}, err
		}
		switch found {
		case takenOurs:
			state, err := s.work(ctx, c, row, claim)
			if !errors.Is(err, errAgain) {
				return state, err
			}
			turn++
			continue
		case takenStale:
			if err := s.settleStale(ctx, row); err != nil && !refused(err) {
				return State{}, err
			}
			turn++
			continue
		case takenBusy:
		}
		if time.Now().After(deadline) {
			return State{}, errChanging()
		}
		if err := pause(ctx, lookEvery); err != nil {
			return State{}, err
		}
	}
	return State{}, errChanging()
}

func errChanging() error {
	return problem.ChangeRunning.Errorf("another request is changing the subscription; try again in a moment").After(runningWait)
}

func errNoSubscription() error {
	return problem.NoSubscription.Errorf("the account has no subscription; buy one by a checkout session")
}

// What takeChange has found.
type taken int

const (
	takenOurs  taken = iota // it is ours to bring about
	takenBusy               // another one is at work
	takenStale              // one that was interrupted, to be settled first
)

// takeChange writes the intent under the lock of the account, or takes up the same one where its lease is over and its plan is not old. One
// for something else that was interrupted, or whose plan is of another day, is abandoned: what has come of it, Stripe tells when the new
// one is planned. Only an upgrade is settled before, for a part of it may be left that the new plan would not see to.
func (s *Service) takeChange(ctx context.Context, kind string, c Change) (row db.SubscriptionChange, found taken, err error) {
	err = postgres.InTx(ctx, s.Pool, func(q *db.Queries) error {
		if _, err := account.Open(ctx, q, c.AccountID); err != nil {
			return err
		}
		running, err := q.GetRunningChange(ctx, c.AccountID)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			row, err = s.intendChange(ctx, q, kind, c)
			return err
		case err != nil:
			return fmt.Errorf("read change: %w", err)
		}
		if running.LeaseUntil != nil && running.LeaseUntil.After(s.now()) {
			found = takenBusy
			return nil
		}
		same, err := sameChange(running, kind, c.wish())
		if err != nil {
			return err
		}
		p, err := planWritten(running)
		if err != nil {
			return err
		}
		if same && (running.Plan == nil || p.age(running, s.now()) < previewLife) {
			row, err = s.leaseChange(ctx, q, running)
			return err
		}
		if p.Action == actNow {
			found = takenStale
			row, err = s.leaseChange(ctx, q, running)
			return err
		}
		if err := s.endChange(ctx, q, running, changeAbandoned); err != nil {
			return err
		}
		row, err = s.intendChange(ctx, q, kind, c)
		return err
	})
	return row, found, err
}

// leaseChange is called under the lock of the account.
func (s *Service) leaseChange(ctx context.Context, q *db.Queries, row db.SubscriptionChange) (db.SubscriptionChange, error) {
	row.LeaseUntil = new(s.now().Add(checkoutLease))
	err := q.LeaseChange(ctx, db.LeaseChangeParams{LeaseUntil: row.LeaseUntil, Now: s.now(), ID: row.ID, AccountID: row.AccountID})
	if err != nil {
		return row, fmt.Errorf("lease change: %w", err)
	}
	return row, nil
}

func sameChange(row db.SubscriptionChange, kind string, w wish) (bool, error) {
	var written wish
	if err := json.Unmarshal(row.Wish, &written); err != nil {
		return false, fmt.Errorf("read change: %w", err)
	}
	return row.Kind == kind && written == w, nil
}

func (s *Service) intendChange(ctx context.Context, q *db.Queries, kind string, c Change) (db.SubscriptionChange, error) {
	if c.move != nil {
		row := db.SubscriptionChange{AccountID: c.AccountID, SubscriptionID: c.move.subscription, Kind: kind}
		return s.insertChange(ctx, q, row, c.wish())
	}
	sub, err := s.subscriptionShown(ctx, q, c.AccountID)
	if err != nil {
		return db.SubscriptionChange{}, err
	}
	return s.insertChange(ctx, q, db.SubscriptionChange{
		AccountID: c.AccountID, SubscriptionID: sub.ID, Kind: kind, CreatedBy: c.UserID,
	}, c.wish())
}

// subscriptionShown is the subscription that [Service.State] shows: what somebody changes is what they have seen. Where that one is over
// it is the newest that is not.
func (s *Service) subscriptionShown(ctx context.Context, q *db.Queries, accountID uuid.UUID) (db.Subscription, error) {
	standing, err := s.Accounts.StandingIn(ctx, q, accountID)
	if err != nil {
		return db.Subscription{}, err
	}
	if shown := standing.Subscription; shown != nil && shown.Live() {
		return shown.Subscription, nil
	}
	sub, err := q.GetLiveSubscription(ctx, accountID)
	if errors.Is(err, pgx.ErrNoRows) {
		return sub, errNoSubscription()
	}
	if err != nil {
		return sub, fmt.Errorf("read subscription: %w", err)
	}
	return sub, nil
}

func (s *Service) insertChange(ctx context.Context, q *db.Queries, row db.SubscriptionChange, w wish) (db.SubscriptionChange, error) {
	raw, err := json.Marshal(w)
	if err != nil {
		return row, fmt.Errorf("encode change: %w", err)
	}
	now := s.now()
	row.ID, row.Wish, row.LeaseUntil, row.CreatedAt = postgres.NewID(), raw, new(now.Add(checkoutLease)), now
	err = q.InsertChange(ctx, db.InsertChangeParams{
		ID: row.ID, AccountID: row.AccountID, SubscriptionID: row.SubscriptionID, Kind: row.Kind, Wish: row.Wish,
		LeaseUntil: row.LeaseUntil, CreatedBy: row.CreatedBy, CreatedAt: now,
	})
	if err != nil {
		return row, fmt.Errorf("write change: %w", err)
	}
	return row, nil
}

// endChange fails with [problem.ChangeRunning] where another one has taken the change over: its outcome is theirs to tell.
func (s *Service) endChange(ctx context.Context, q *db.Queries, row db.SubscriptionChange, status string) error {
	ended, err := q.EndChange(ctx, db.EndChangeParams{
		Status: status, Now: s.now(), ID: row.ID, AccountID: row.AccountID, LeaseUntil: row.LeaseUntil,
	})
	if err != nil {
		return fmt.Errorf("end change: %w", err)
	}
	if ended == 0 {
		return errChanging()
	}
	return nil
}

// yieldChange lets the next request resume at once what this one could not end. Where it fails the lease ends by itself.
func (s *Service) yieldChange(ctx context.Context, row db.SubscriptionChange) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	err := s.queries().YieldChange(ctx, db.YieldChangeParams{Now: s.now(), ID: row.ID, AccountID: row.AccountID, LeaseUntil: row.LeaseUntil})
	if err != nil {
		s.Log.WarnContext(ctx, "a change of a subscription waits for the end of its lease", "change", row.ID, "error", err)
	}
}

// work brings a change about while its lease lasts: plan, calls to Stripe, a look at what they came to, and the record.
func (s *Service) work(ctx context.Context, c Change, row db.SubscriptionChange, claim idempotency.Claim) (State, error) {
	calling, cancel := context.WithTimeout(ctx, stripeBudget)
	defer cancel()
	p, err := s.planOf(calling, c, row)
	if err == nil {
		err = s.carryOut(calling, row, &p)
	}
	if err == nil {
		err = s.follow(calling, row, p)
	}
	switch {
	case errors.Is(err, errTakenOver):
		return State{}, errChanging()
	case err == nil:
	case refused(err):
		if failed := s.endChange(context.WithoutCancel(ctx), s.queries(), row, changeFailed); failed != nil {
			return State{}, failed
		}
		return State{}, err
	default:
		s.yieldChange(ctx, row)
		return State{}, err
	}
	var state State
	if !c.quiet {
		state, err = s.State(ctx, row.AccountID)
	}
	if err != nil {
		s.yieldChange(ctx, row)
		return State{}, err
	}
	return state, s.recordChange(ctx, c, row, p, state, claim)
}

// errTakenOver is the error of a change whose lease was over.
var errTakenOver = errors.New("the change was taken over")

// refused tells whether a change has ended without having come about: Stripe or we have said no. Everything else may have had its
// effect, and is asked again.
func refused(err error) bool {
	if settled(err) {
		return true
	}
	p := (*problem.Error)(nil)
	return errors.As(err, &p) && p.Kind != problem.StripeFailed
}

func (s *Service) recordChange(ctx context.Context, c Change, row db.SubscriptionChange, p plan, state State, claim idempotency.Claim) error {
	return postgres.InTx(ctx, s.Pool, func(q *db.Queries) error {
		if err := s.endChange(ctx, q, row, changeDone); err != nil {
			return err
		}
		if p.Action != actNothing {
			err := audit.Record(ctx, q, s.now(), audit.Entry{
				Actor: c.Actor, AccountID: &row.AccountID, Action: "subscription." + row.Kind, Target: "subscription",
				TargetID: row.SubscriptionID, Before: p.before(), After: p.after(),
			})
			if err != nil {
				return err
			}
		}
		return claim.Finish(ctx, q, state)
	})
}

// follow looks at what has come of a change by the way that events take, so that the answer shows it whatever the events do.
func (s *Service) follow(ctx context.Context, row db.SubscriptionChange, p plan) error {
	roots := [][2]string{{"subscription", row.SubscriptionID}}
	if p.invoice != "" {
		roots = append(roots, [2]string{"invoice", p.invoice})
	}
	for _, r := range roots {
		if err := s.sync(ctx, r[0], r[1]); err != nil {
			return err
		}
	}
	return nil
}

// sync looks at an object of Stripe's now.
func (s *Service) sync(ctx context.Context, kind, id string) error {
	if s.Sync == nil {
		return nil
	}
	if err := s.Sync(ctx, kind, id); err != nil {
		return problem.StripeFailed.Errorf("Stripe cannot be asked right now; try again in a moment").After(stripeBusy).Because(err)
	}
	return nil
}
