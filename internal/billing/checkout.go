package billing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/problem"
)

// Kinds of checkouts; an account has one of each at a time.
const (
	KindSubscription = "subscription"
	KindCreditPack   = "credit_pack"
)

const (
	// checkoutLease is how long one process may be busy with an attempt at Stripe. After it another one goes on.
	checkoutLease = 30 * time.Second
	// stripeBudget keeps the calls within the lease.
	stripeBudget = checkoutLease - 2*time.Second
	// sessionLife is how long a customer may take to pay; Stripe takes half an hour to a day.
	sessionLife = time.Hour
	// leastLeft is how much of its life a session needs to be handed out again.
	leastLeft = time.Minute
	// patience is how long a double click waits for its twin.
	patience    = 5 * time.Second
	lookEvery   = 50 * time.Millisecond
	maxTurns    = 8 // of the state machine, waiting not counted
	runningWait = 2 * time.Second
	maxPacks    = 100 // in one checkout
)

// A Wish is what somebody wants to buy: a tier at an interval, or a credit pack.
type Wish struct {
	AccountID  uuid.UUID
	UserID     *uuid.UUID
	Tier       string
	Interval   string
	CreditPack string
	Currency   string
	Quantity   int64 // 0 is one
	SuccessURL string
	CancelURL  string
	Key        idempotency.Key
	Actor      audit.Actor
}

// A Session is an open page at Stripe where the wish can be paid.
type Session struct {
	ID        string    `json:"id"`
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expires_at"`
}

// OpenCheckout returns a page where the wish can be paid, and whether that is the stored answer to an earlier request with the
// same key. The same wish gets the session that is still open; another wish of its kind takes that one back first.
//
// It fails with [problem.InvalidRequest], [problem.RedirectNotAllowed] and [problem.PriceNotFound] for what cannot be wished,
// with [problem.AlreadySubscribed], with [problem.CheckoutRunning] while another request is busy with the account's checkout,
// with [problem.AddressUnknown] and [problem.StripeRefused], and with [problem.StripeFailed], after which the same request goes on where
// this one stopped.
func (s *Service) OpenCheckout(ctx context.Context, w Wish) (session Session, replayed bool, err error) {
	claim, replayed, err := idempotency.Begin(ctx, s.Pool, s.now(), w.Key, checkoutLease, &session)
	if err != nil || replayed {
		return session, replayed, err
	}
	session, err = s.fulfil(ctx, w, claim)
	if err != nil {
		if failed := claim.Release(context.WithoutCancel(ctx), s.Pool); failed != nil {
			s.Log.WarnContext(ctx, "an idempotency key stays claimed until its lease ends", "error", failed)
		}
		return Session{}, false, s.told(ctx, fmt.Errorf("open checkout: %w", err))
	}
	return session, false, nil
}

func (s *Service) fulfil(ctx context.Context, w Wish, claim idempotency.Claim) (Session, error) {
	o, err := s.order(ctx, w)
	if err != nil {
		return Session{}, err
	}
	deadline := time.Now().Add(patience) // of the caller, so in real time
	for turn := 0; turn < maxTurns; {
		next, err := s.decide(ctx, o, claim)
		if err != nil {
			return Session{}, err
		}
		switch next.move {
		case serve:
			return next.session, nil
		case create:
			session, err := s.create(ctx, o, next.attempt, claim)
			if !errors.Is(err, errAgain) {
				return session, err
			}
			turn++
		case retract:
			if err := s.retract(ctx, next.attempt); err != nil {
				return Session{}, err
			}
			turn++
		case await:
			if time.Now().After(deadline) {
				return Session{}, errRunning()
			}
			if err := pause(ctx, lookEvery); err != nil {
				return Session{}, err
			}
		}
	}
	return Session{}, errRunning()
}

func errRunning() error {
	return problem.CheckoutRunning.Errorf("another request is opening a checkout of this account; try again in a moment").After(runningWait)
}

// An order is a wish that was looked up in the catalogue.
type order struct {
	Wish
	kind  string
	price catalog.Price
	tier  catalog.Tier
}

func (s *Service) order(ctx context.Context, w Wish) (order, error) {
	if err := cmp.Or(s.Origins.Allows("success_url", w.SuccessURL), s.Origins.Allows("cancel_url", w.CancelURL)); err != nil {
		return order{}, err
	}
	tier, pack := w.Tier != "" && w.Interval != "", w.CreditPack != ""
	var err error
	o := order{Wish: w}
	o.Quantity = max(w.Quantity, 1)
	switch {
	case tier && !pack:
		o.kind = KindSubscription
		if o.price, err = s.Catalog.TierPrice(ctx, w.Tier, w.Interval, w.Currency); err == nil {
			o.tier, err = s.tierFor(ctx, w.Tier, o.Quantity)
		}
	case pack && w.Tier == "" && w.Interval == "":
		o.kind = KindCreditPack
		if o.Quantity > maxPacks {
			return order{}, problem.InvalidRequest.Errorf("credit packs are sold up to %d at a time", maxPacks).
				In("body.quantity", fmt.Sprintf("is above %d", maxPacks))
		}
		o.price, err = s.Catalog.PackPrice(ctx, w.CreditPack, w.Currency)
	default:
		return order{}, badWish(w)
	}
	return o, err
}

// tierFor is the tier where so many of it are sold.
func (s *Service) tierFor(ctx context.Context, id string, quantity int64) (catalog.Tier, error) {
	offer, err := s.Catalog.Tier(ctx, id)
	if err != nil {
		return catalog.Tier{}, err
	}
	return offer.Tier, withinQuantity(offer.Tier, quantity)
}

func badWish(w Wish) error {
	p := problem.InvalidRequest.Errorf("name either a tier with its interval, or a credit pack")
	switch {
	case w.CreditPack != "" && w.Tier != "":
		return p.In("body.credit_pack", "does not go with a tier")
	case w.CreditPack != "":
		return p.In("body.interval", "does not go with a credit pack")
	case w.Tier != "":
		return p.In("body.interval", "is missing")
	case w.Interval != "":
		return p.In("body.tier", "is missing")
	}
	return p.In("body.tier", "is missing")
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
