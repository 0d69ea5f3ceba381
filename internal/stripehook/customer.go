package stripehook

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/db"
)

type customer struct {
	common
	Deleted         bool   `json:"deleted"`
	Email           string `json:"email"`
	Balance         int64  `json:"balance"`
	Currency        string `json:"currency"`
	InvoiceSettings struct {
		DefaultPaymentMethod ref `json:"default_payment_method"`
	} `json:"invoice_settings"`
}

// customer is itself.
func (c *customer) customer() string { return c.ID }

func fetchCustomer(ctx context.Context, api *client.API, id string) (object, error) {
	got, err := api.Customers.Get(id, &stripe.CustomerParams{Params: stripe.Params{Context: ctx}})
	if err != nil {
		return nil, err
	}
	c := new(customer)
	return c, read(got.LastResponse, c)
}

func storeCustomer(ctx context.Context, t *settling, c *customer) error {
	if c.Deleted {
		return customerGone(ctx, t, c.ID)
	}
	before, err := t.q.GetStripeCustomerBalance(ctx, c.ID, t.account)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read balance: %w", err)
	}
	rows, err := t.q.UpdateStripeCustomer(ctx, db.UpdateStripeCustomerParams{
		Email: c.Email, DefaultPaymentMethod: c.InvoiceSettings.DefaultPaymentMethod.pointer(), Balance: c.Balance,
		Currency: optional(c.Currency), Now: t.now, StripeID: c.ID, AccountID: t.account,
	})
	if err := moved(rows, err, "customer"); err != nil || before.Balance == c.Balance {
		return err
	}
	type state struct {
		Balance  int64   `json:"balance"`
		Currency *string `json:"currency,omitempty"`
	}
	return audit.Record(ctx, t.q, t.now, audit.Entry{
		Actor: t.actor, AccountID: &t.account, Action: "stripe_customer.update", Target: "stripe_customer", TargetID: c.ID,
		Before: state{before.Balance, before.Currency}, After: state{c.Balance, optional(c.Currency)},
	})
}

// customerGone marks the mapping deleted. The row stays, so that the id is the account's for ever and what still comes in
// about the customer finds its owner.
func customerGone(ctx context.Context, t *settling, id string) error {
	if t.account == uuid.Nil {
		return nil
	}
	if err := t.q.MarkStripeObjectDeleted(ctx, t.now, id); err != nil {
		return fmt.Errorf("mark customer deleted: %w", err)
	}
	rows, err := t.q.DeleteStripeCustomer(ctx, t.now, id, t.account)
	if err != nil || rows == 0 {
		return err
	}
	return audit.Record(ctx, t.q, t.now, audit.Entry{
		Actor: t.actor, AccountID: &t.account, Action: "stripe_customer.delete", Target: "stripe_customer", TargetID: id,
	})
}

// afterCustomer looks at the subscriptions of a deleted customer: their own events may have come before, or never.
func afterCustomer(ctx context.Context, q *db.Queries, o object) ([]root, error) {
	c, ok := o.(*customer)
	if !ok || !c.Deleted {
		return nil, nil
	}
	return subscriptionsOf(ctx, q, c.ID)
}

func subscriptionsOf(ctx context.Context, q *db.Queries, customer string) ([]root, error) {
	ids, err := q.ListSubscriptionsOfCustomer(ctx, customer)
	if err != nil {
		return nil, fmt.Errorf("list subscriptions of customer: %w", err)
	}
	roots := make([]root, 0, len(ids))
	for _, id := range ids {
		roots = append(roots, root{kindSubscription, id})
	}
	return roots, nil
}
