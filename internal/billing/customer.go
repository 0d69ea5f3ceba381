package billing

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
)

// Customer returns Stripe's id of the account's customer, and makes one where there is none. However many ask at once, there is
// one: they share a row, and with it the idempotency key.
func (s *Service) Customer(ctx context.Context, accountID uuid.UUID) (string, error) {
	row, err := s.intendCustomer(ctx, accountID)
	if err != nil {
		return "", fmt.Errorf("intend customer: %w", err)
	}
	if row.StripeID != nil {
		return *row.StripeID, nil
	}
	params := &stripe.CustomerParams{Metadata: map[string]string{metaAccount: accountID.String(), metaEnv: s.AppEnv}}
	if row.Email != "" {
		params.Email = stripe.String(row.Email)
	}
	params.Context = ctx
	params.SetIdempotencyKey("customer:" + row.ID.String())
	made, err := s.Stripe.Customers.New(params)
	if err != nil {
		return "", refusal("make customer", err)
	}
	return s.recordCustomer(ctx, row, made.ID)
}

// intendCustomer returns the account's living row, which has no Stripe id until Stripe has answered.
func (s *Service) intendCustomer(ctx context.Context, accountID uuid.UUID) (row db.StripeCustomer, err error) {
	if row, err = s.queries().GetCustomer(ctx, accountID); !errors.Is(err, pgx.ErrNoRows) {
		return row, err
	}
	err = postgres.InTx(ctx, s.Pool, func(q *db.Queries) error {
		if _, err := account.Lock(ctx, q, accountID); err != nil {
			return err
		}
		if row, err = q.GetCustomer(ctx, accountID); !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		email, err := q.GetAccountOwnerEmail(ctx, accountID)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("read owner: %w", err)
		}
		row = db.StripeCustomer{ID: postgres.NewID(), AccountID: accountID, Email: email}
		return q.InsertCustomer(ctx, db.InsertCustomerParams{ID: row.ID, AccountID: accountID, Email: email, CreatedAt: s.now()})
	})
	return row, err
}

func (s *Service) recordCustomer(ctx context.Context, row db.StripeCustomer, stripeID string) (string, error) {
	recorded, err := s.queries().RecordCustomer(ctx, db.RecordCustomerParams{
		StripeID: stripeID, Now: s.now(), ID: row.ID, AccountID: row.AccountID,
	})
	if err != nil {
		return "", fmt.Errorf("record customer: %w", err)
	}
	if recorded > 0 {
		return stripeID, nil
	}
	// An event of Stripe's has filled the row with the customer of an earlier try: that one it stays.
	now, err := s.queries().GetCustomer(ctx, row.AccountID)
	if err == nil && now.StripeID == nil {
		err = errors.New("the customer was deleted meanwhile")
	}
	if err != nil {
		return "", fmt.Errorf("record customer: %w", err)
	}
	return *now.StripeID, nil
}

// subscribedAtStripe asks Stripe for a subscription of the customer that has not ended. Our mirror follows Stripe's events; in
// the moment after a payment, or while events do not arrive, it does not know yet.
func (s *Service) subscribedAtStripe(ctx context.Context, customer string) (bool, error) {
	living, err := s.livingSubscriptions(ctx, customer)
	for _, sub := range living {
		if sub.Status != stripe.SubscriptionStatusIncomplete {
			return true, nil
		}
	}
	return false, err
}

// livingSubscriptions are those that Stripe lists without being asked for ended ones.
func (s *Service) livingSubscriptions(ctx context.Context, customer string) ([]*stripe.Subscription, error) {
	params := &stripe.SubscriptionListParams{Customer: stripe.String(customer)}
	params.Context, params.Limit = ctx, stripe.Int64(100)
	list := s.Stripe.Subscriptions.List(params)
	var living []*stripe.Subscription
	for list.Next() {
		sub := list.Subscription()
		if sub.Status != stripe.SubscriptionStatusCanceled && sub.Status != stripe.SubscriptionStatusIncompleteExpired {
			living = append(living, sub)
		}
	}
	return living, refusal("list subscriptions", list.Err())
}
