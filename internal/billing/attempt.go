package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/problem"
)

// Statuses of attempts.
const (
	attemptCreating = "creating" // Stripe is asked for a session; nobody has its address
	attemptOpen     = "open"     // the customer can pay
	attemptExpiring = "expiring" // the session is taken back
	attemptComplete = "complete"
	attemptExpired  = "expired"
)

// What the state machine does next.
type move int

const (
	serve   move = iota // hand out the session that is open
	await               // look again: another process is busy
	create              // ask Stripe for a session
	retract             // take the session back at Stripe
)

type decision struct {
	move    move
	session Session
	attempt db.CheckoutAttempt // ours to work on until its lease ends
}

// decide looks at the account's living attempt under the lock of the account and takes a lease where Stripe has to be called.
func (s *Service) decide(ctx context.Context, o order, claim idempotency.Claim) (next decision, err error) {
	err = postgres.InTx(ctx, s.Pool, func(q *db.Queries) error {
		if _, err := account.Open(ctx, q, o.AccountID); err != nil {
			return err
		}
		if err := refuseSecond(ctx, q, o); err != nil {
			return err
		}
		attempt, err := q.GetLiveAttempt(ctx, o.AccountID, o.kind)
		if errors.Is(err, pgx.ErrNoRows) {
			next, err = s.begin(ctx, q, o)
			return err
		}
		if err != nil {
			return fmt.Errorf("read attempt: %w", err)
		}
		next, err = s.continueWith(ctx, q, o, attempt)
		if err != nil || next.move != serve {
			return err
		}
		return claim.Finish(ctx, q, next.session)
	})
	return next, err
}

func refuseSecond(ctx context.Context, q *db.Queries, o order) error {
	if o.kind != KindSubscription {
		return nil
	}
	subscribed, err := q.HasLiveSubscription(ctx, o.AccountID)
	if err != nil {
		return fmt.Errorf("read subscriptions: %w", err)
	}
	if subscribed {
		return errSubscribed()
	}
	return nil
}

func errSubscribed() error {
	return problem.AlreadySubscribed.Errorf("change or cancel the subscription that there is")
}

// continueWith decides what becomes of a living attempt.
func (s *Service) continueWith(ctx context.Context, q *db.Queries, o order, a db.CheckoutAttempt) (decision, error) {
	now := s.now()
	busy := a.LeaseUntil != nil && a.LeaseUntil.After(now)
	lives := a.ExpiresAt != nil && a.ExpiresAt.After(now.Add(leastLeft))
	switch {
	case a.Status == attemptOpen && o.same(a) && lives && a.StripeSessionID != nil && a.URL != nil:
		return decision{move: serve, session: Session{ID: *a.StripeSessionID, URL: *a.URL, ExpiresAt: *a.ExpiresAt}}, nil
	case busy:
		return decision{move: await}, nil
	case a.Status == attemptCreating && o.same(a) && lives:
		return s.lease(ctx, q, a, attemptCreating, create)
	case a.Status == attemptCreating:
		// Its process is gone or will find its lease lost: either way nobody gets the address of that session.
		_, err := q.GiveUpAttempt(ctx, db.GiveUpAttemptParams{Now: now, ID: a.ID, AccountID: a.AccountID, LeaseUntil: a.LeaseUntil})
		if err != nil {
			return decision{}, fmt.Errorf("give up attempt: %w", err)
		}
		return s.begin(ctx, q, o)
	}
	return s.lease(ctx, q, a, attemptExpiring, retract)
}

// same tells whether the attempt is for the same wish.
func (o order) same(a db.CheckoutAttempt) bool {
	return a.StripePriceID == o.price.StripePriceID && a.Quantity == o.Quantity && a.SuccessURL == o.SuccessURL && a.CancelURL == o.CancelURL
}

// begin writes the intent: all that Stripe will be told, so that a second process tells it the same.
func (s *Service) begin(ctx context.Context, q *db.Queries, o order) (decision, error) {
	now := s.now()
	a := db.CheckoutAttempt{
		ID: postgres.NewID(), AccountID: o.AccountID, Kind: o.kind, PriceLookupKey: o.price.LookupKey,
		StripePriceID: o.price.StripePriceID, Currency: o.price.Currency, SuccessURL: o.SuccessURL, CancelURL: o.CancelURL,
		Status: attemptCreating, LeaseUntil: new(now.Add(checkoutLease)), ExpiresAt: new(now.Add(sessionLife)), CreatedBy: o.UserID,
		Quantity: o.Quantity,
	}
	if o.kind == KindSubscription {
		a.TierID, a.Interval = &o.price.TierID, &o.price.Interval
		trial, err := trialDays(ctx, q, o)
		if err != nil {
			return decision{}, err
		}
		a.TrialDays = trial
	} else {
		a.PackID, a.Credits = &o.price.PackID, &o.price.Credits
	}
	err := q.InsertAttempt(ctx, db.InsertAttemptParams{
		ID: a.ID, AccountID: a.AccountID, Kind: a.Kind, PriceLookupKey: a.PriceLookupKey, StripePriceID: a.StripePriceID,
		Currency: a.Currency, TierID: a.TierID, Interval: a.Interval, PackID: a.PackID, Credits: a.Credits,
		SuccessURL: a.SuccessURL, CancelURL: a.CancelURL, Quantity: a.Quantity, TrialDays: a.TrialDays, LeaseUntil: a.LeaseUntil, ExpiresAt: a.ExpiresAt,
		CreatedBy: a.CreatedBy, CreatedAt: now,
	})
	if err != nil {
		return decision{}, fmt.Errorf("write attempt: %w", err)
	}
	return decision{move: create, attempt: a}, nil
}

// trialDays gives the tier's trial to an account that has never had a subscription.
func trialDays(ctx context.Context, q *db.Queries, o order) (int32, error) {
	if o.tier.TrialDays == 0 {
		return 0, nil
	}
	had, err := q.HadSubscription(ctx, o.AccountID)
	if err != nil {
		return 0, fmt.Errorf("look for earlier subscriptions: %w", err)
	}
	if had {
		return 0, nil
	}
	return int32(o.tier.TrialDays), nil //nolint:gosec // the catalogue bounds it
}

func (s *Service) lease(ctx context.Context, q *db.Queries, a db.CheckoutAttempt, status string, then move) (decision, error) {
	a.Status, a.LeaseUntil = status, new(s.now().Add(checkoutLease))
	err := q.LeaseAttempt(ctx, db.LeaseAttemptParams{
		Status: status, LeaseUntil: a.LeaseUntil, Now: s.now(), ID: a.ID, AccountID: a.AccountID,
	})
	if err != nil {
		return decision{}, fmt.Errorf("lease attempt: %w", err)
	}
	return decision{move: then, attempt: a}, nil
}

// yield lets the next request go on at once with what this one could not end. Where it fails the lease ends by itself.
func (s *Service) yield(ctx context.Context, a db.CheckoutAttempt) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	err := s.queries().YieldAttempt(ctx, db.YieldAttemptParams{Now: s.now(), ID: a.ID, AccountID: a.AccountID, LeaseUntil: a.LeaseUntil})
	if err != nil {
		s.Log.WarnContext(ctx, "a checkout attempt waits for the end of its lease", "attempt", a.ID, "error", err)
	}
}

// giveUp ends an attempt that Stripe has refused.
func (s *Service) giveUp(ctx context.Context, a db.CheckoutAttempt) error {
	_, err := s.queries().GiveUpAttempt(ctx, db.GiveUpAttemptParams{
		Now: s.now(), ID: a.ID, AccountID: a.AccountID, LeaseUntil: a.LeaseUntil,
	})
	if err != nil {
		return fmt.Errorf("give up attempt: %w", err)
	}
	return nil
}

func (s *Service) end(ctx context.Context, a db.CheckoutAttempt, status string) error {
	_, err := s.queries().EndAttempt(ctx, db.EndAttemptParams{Status: status, Now: s.now(), ID: a.ID, AccountID: a.AccountID})
	if err != nil {
		return fmt.Errorf("end attempt: %w", err)
	}
	return nil
}
