package billing

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/problem"
)

// errAgain asks for another turn: what stood in the way is gone.
var errAgain = errors.New("look again")

// create asks Stripe for the session of an attempt and records it together with the answer to the request.
func (s *Service) create(ctx context.Context, o order, a db.CheckoutAttempt, claim idempotency.Claim) (Session, error) {
	calling, cancel := context.WithTimeout(ctx, stripeBudget)
	defer cancel()
	customer, err := s.Customer(calling, a.AccountID)
	if err == nil && a.Kind == KindSubscription {
		var subscribed bool
		if subscribed, err = s.subscribedAtStripe(calling, customer); subscribed {
			return Session{}, errors.Join(s.giveUp(ctx, a), errSubscribed())
		}
	}
	if err != nil {
		return Session{}, s.notCreated(ctx, a, customer, err)
	}
	made, err := s.Stripe.CheckoutSessions.New(s.sessionParams(calling, a, customer))
	if err != nil {
		return Session{}, s.notCreated(ctx, a, customer, refusal("open session", err))
	}
	session := Session{ID: made.ID, URL: made.URL, ExpiresAt: time.Unix(made.ExpiresAt, 0).UTC()}
	return session, s.recordSession(ctx, o, a, session, claim)
}

func (s *Service) sessionParams(ctx context.Context, a db.CheckoutAttempt, customer string) *stripe.CheckoutSessionParams {
	stamp := map[string]string{metaAccount: a.AccountID.String(), metaAttempt: a.ID.String(), metaEnv: s.AppEnv}
	params := &stripe.CheckoutSessionParams{
		Customer: stripe.String(customer), ClientReferenceID: stripe.String(a.AccountID.String()),
		LineItems:  []*stripe.CheckoutSessionLineItemParams{{Price: stripe.String(a.StripePriceID), Quantity: stripe.Int64(a.Quantity)}},
		SuccessURL: stripe.String(a.SuccessURL), CancelURL: stripe.String(a.CancelURL), ExpiresAt: stripe.Int64(a.ExpiresAt.Unix()),
		AllowPromotionCodes: stripe.Bool(true),
	}
	s.setTax(params)
	if a.Kind == KindSubscription {
		stamp[metaTier] = *a.TierID
		params.Mode = stripe.String(string(stripe.CheckoutSessionModeSubscription))
		params.SubscriptionData = &stripe.CheckoutSessionSubscriptionDataParams{Metadata: stamp}
		if a.TrialDays > 0 {
			params.SubscriptionData.TrialPeriodDays = stripe.Int64(int64(a.TrialDays))
		}
	} else {
		stamp[metaPack] = *a.PackID
		params.Mode = stripe.String(string(stripe.CheckoutSessionModePayment))
		params.PaymentIntentData = &stripe.CheckoutSessionPaymentIntentDataParams{Metadata: stamp}
	}
	params.Metadata = stamp
	params.Context = ctx
	params.SetIdempotencyKey("checkout:" + a.ID.String())
	return params
}

// setTax lets Stripe work out the tax, and the customer give a tax id. Both need what the customer enters on the page.
func (s *Service) setTax(params *stripe.CheckoutSessionParams) {
	if !s.AutomaticTax {
		return
	}
	params.AutomaticTax = &stripe.CheckoutSessionAutomaticTaxParams{Enabled: stripe.Bool(true)}
	params.TaxIDCollection = &stripe.CheckoutSessionTaxIDCollectionParams{Enabled: stripe.Bool(true)}
	params.CustomerUpdate = &stripe.CheckoutSessionCustomerUpdateParams{Address: stripe.String("auto"), Name: stripe.String("auto")}
}

// recordSession hands the session out only where the attempt is still ours.
func (s *Service) recordSession(ctx context.Context, o order, a db.CheckoutAttempt, session Session, claim idempotency.Claim) error {
	return postgres.InTx(ctx, s.Pool, func(q *db.Queries) error {
		opened, err := q.OpenAttempt(ctx, db.OpenAttemptParams{
			StripeSessionID: session.ID, URL: &session.URL, ExpiresAt: &session.ExpiresAt, Now: s.now(),
			ID: a.ID, AccountID: a.AccountID, LeaseUntil: a.LeaseUntil,
		})
		if err != nil {
			return fmt.Errorf("record session: %w", err)
		}
		if opened == 0 {
			return errRunning()
		}
		err = audit.Record(ctx, q, s.now(), audit.Entry{
			Actor: o.Actor, AccountID: &a.AccountID, Action: "checkout.open", Target: "checkout_session", TargetID: session.ID,
			After: map[string]any{"price": a.PriceLookupKey},
		})
		if err != nil {
			return err
		}
		return claim.Finish(ctx, q, session)
	})
}

// notCreated decides what becomes of an attempt whose session Stripe has not made, as far as we know. Where the call may have
// had its effect the attempt stays, for the next try to ask the same again.
func (s *Service) notCreated(ctx context.Context, a db.CheckoutAttempt, customer string, err error) error {
	if !settled(err) {
		s.yield(ctx, a)
		return err
	}
	if failed := s.giveUp(context.WithoutCancel(ctx), a); failed != nil {
		return failed
	}
	var e *stripe.Error
	_ = errors.As(err, &e)
	switch {
	case e.Code == stripe.ErrorCodeCustomerTaxLocationInvalid:
		return err
	case e.Param == "customer" && e.Code == stripe.ErrorCodeResourceMissing:
		// Deleted at Stripe, and the event has not come yet: the next turn makes another one.
		if err := s.queries().ForgetCustomer(ctx, s.now(), a.AccountID, customer); err != nil {
			return fmt.Errorf("forget customer: %w", err)
		}
		return errAgain
	case e.Param == "expires_at":
		return errAgain // resumed too late for the life that was promised
	case strings.HasPrefix(e.Param, "line_items"):
		return s.notOnSale(ctx, a.PriceLookupKey, a.StripePriceID, err)
	case e.Param == "customer":
		return problem.PriceNotFound.Errorf("the account has paid in another currency before and has to go on in that one").Because(err)
	case !s.sells(ctx, a.StripePriceID):
		return s.notOnSale(ctx, a.PriceLookupKey, a.StripePriceID, err)
	}
	return err
}

// sells asks Stripe whether it still sells a price; where it does not answer, it does. A refusal names the price only where the price
// itself is the cause, and not its product.
func (s *Service) sells(ctx context.Context, price string) bool {
	params := &stripe.PriceParams{}
	params.Context = ctx
	params.AddExpand("product")
	got, err := s.Stripe.Prices.Get(price, params)
	if err != nil {
		return !isMissing(err)
	}
	return got.Active && (got.Product == nil || got.Product.Active)
}

// notOnSale is the refusal of a price that our catalogue has on sale and Stripe does not sell: somebody has archived or deleted it, or its
// product, there. Nobody can buy it until the operator has looked, so the operator is told each time.
func (s *Service) notOnSale(ctx context.Context, lookupKey, price string, cause error) error {
	s.alarm(ctx, "catalog_drift", "ours", lookupKey, "price", price)
	return problem.PriceNotFound.Errorf("the price is not on sale any more; choose another one from GET /v1/tiers or GET /v1/credit-packs").
		Because(cause)
}

// retract takes the session of an attempt back. It fails with [problem.AlreadySubscribed] where the customer was faster and
// has paid for a subscription.
func (s *Service) retract(ctx context.Context, a db.CheckoutAttempt) error {
	status, err := s.expireAtStripe(ctx, a)
	if err != nil {
		s.yield(ctx, a)
		return err
	}
	if err := s.end(ctx, a, status); err != nil {
		return err
	}
	if status == attemptComplete && a.Kind == KindSubscription {
		return errSubscribed()
	}
	return nil
}

// expireAtStripe expires a session and returns how it ended: it may have been paid or have run out before.
func (s *Service) expireAtStripe(ctx context.Context, a db.CheckoutAttempt) (status string, err error) {
	if a.StripeSessionID == nil {
		return attemptExpired, nil
	}
	ctx, cancel := context.WithTimeout(ctx, stripeBudget)
	defer cancel()
	params := &stripe.CheckoutSessionExpireParams{}
	params.Context = ctx
	_, err = s.Stripe.CheckoutSessions.Expire(*a.StripeSessionID, params)
	switch {
	case err == nil, isMissing(err):
		return attemptExpired, nil
	case !settled(err):
		return "", refusal("expire session", err)
	}
	look := &stripe.CheckoutSessionParams{}
	look.Context = ctx
	found, failed := s.Stripe.CheckoutSessions.Get(*a.StripeSessionID, look)
	switch {
	case failed != nil:
		return "", refusal("look at session", failed)
	case found.Status == stripe.CheckoutSessionStatusComplete:
		return attemptComplete, nil
	case found.Status == stripe.CheckoutSessionStatusExpired:
		return attemptExpired, nil
	}
	return "", refusal("expire session", err)
}
