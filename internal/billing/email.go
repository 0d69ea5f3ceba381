package billing

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/riverqueue/river"
	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
)

const emailBatch = 100

// EmailArgs is the job that tells Stripe the addresses that have changed.
type EmailArgs struct{}

// Kind names the job.
func (EmailArgs) Kind() string { return "billing_customer_email" }

// InsertOpts keeps one such job at a time.
func (EmailArgs) InsertOpts() river.InsertOpts { return postgres.PeriodicJob() }

// TellEmails tells Stripe the addresses of customers whose owner has another one by now, and returns how many. What is to be told
// follows from the rows, not from a message about a change: nothing gets lost, and only what we changed is told. An address
// that the customer has given Stripe, in the portal, stays until the owner's own changes.
func (s *Service) TellEmails(ctx context.Context) (int, error) {
	told, after := 0, uuid.Nil
	var failed []error
	for {
		rows, err := s.queries().ListUntoldEmails(ctx, after, emailBatch)
		if err != nil {
			return told, fmt.Errorf("list changed e-mail addresses: %w", err)
		}
		for _, row := range rows {
			after = row.ID
			if err := s.tellEmail(ctx, row); err != nil {
				failed = append(failed, err)
				continue
			}
			told++
		}
		if len(rows) < emailBatch || len(failed) > emailBatch {
			return told, errors.Join(failed...)
		}
	}
}

func (s *Service) tellEmail(ctx context.Context, row db.ListUntoldEmailsRow) error {
	params := &stripe.CustomerParams{Email: stripe.String(row.Email)}
	params.Context = ctx
	// The time is in the key: an address that comes back within a day is another change.
	params.SetIdempotencyKey(fmt.Sprintf("customer-email:%s:%d", row.ID, row.EmailAsOf.UnixMicro()))
	if _, err := s.Stripe.Customers.Update(row.StripeID, params); err != nil && !isMissing(err) {
		return refusal("tell e-mail address", err)
	}
	err := s.queries().RecordToldEmail(ctx, db.RecordToldEmailParams{Email: row.Email, Now: s.now(), ID: row.ID, AccountID: row.AccountID})
	if err != nil {
		return fmt.Errorf("record e-mail address: %w", err)
	}
	return nil
}
