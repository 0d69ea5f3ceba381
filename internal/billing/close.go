package billing

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/problem"
)

// CloseBilling ends what an account pays for: open checkouts are taken back and subscriptions canceled at once, as Stripe has
// them and not only as our mirror does. The account has to be closed already, so that nothing new begins. It deletes nothing;
// our rows follow by Stripe's events. It may be called again, after a failure and after success.
func (s *Service) CloseBilling(ctx context.Context, accountID uuid.UUID) error {
	attempts, err := s.queries().ListLiveAttempts(ctx, accountID)
	if err != nil {
		return fmt.Errorf("list checkouts: %w", err)
	}
	for _, a := range attempts {
		if a.LeaseUntil != nil && a.LeaseUntil.After(s.now()) {
			// Its session may be made at this moment; when the lease is over it can be handed out no more.
			return problem.CheckoutRunning.Errorf("a checkout of the account is being opened").After(a.LeaseUntil.Sub(s.now()) + time.Second)
		}
		status, err := s.expireAtStripe(ctx, a)
		if err != nil {
			return err
		}
		if err := s.end(ctx, a, status); err != nil {
			return err
		}
	}
	customers, err := s.queries().ListCustomers(ctx, accountID)
	if err != nil {
		return fmt.Errorf("list customers: %w", err)
	}
	for _, customer := range customers {
		if err := s.cancelAll(ctx, accountID, customer); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) cancelAll(ctx context.Context, accountID uuid.UUID, customer string) error {
	living, err := s.livingSubscriptions(ctx, customer)
	if err != nil {
		if isMissing(err) {
			return nil // a deleted customer has none
		}
		return err
	}
	for _, sub := range living {
		params := &stripe.SubscriptionCancelParams{}
		params.Context = ctx
		if _, err := s.Stripe.Subscriptions.Cancel(sub.ID, params); err != nil && !isMissing(err) {
			return refusal("cancel subscription", err)
		}
		err := audit.Record(ctx, s.queries(), s.now(), audit.Entry{
			Actor: audit.System("billing.close"), AccountID: &accountID, Action: "subscription.cancel",
			Target: "subscription", TargetID: sub.ID,
		})
		if err != nil {
			return err
		}
	}
	return nil
}
