package stripehook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
)

// parkPauses are how long an event waits for what is not there yet: a customer whose row we have not committed, an object
// that another server of Stripe's does not know yet. A quarter of an hour together is beyond any of our own steps.
var parkPauses = [...]time.Duration{5 * time.Second, 70 * time.Second, 12 * time.Minute}

// awaitOwner parks an event of an unknown customer without asking Stripe: other environments on the same Stripe account
// would cost us their traffic once more. The payload's customer is a hint only, so in the end the object decides.
func (s *Service) awaitOwner(ctx context.Context, event db.StripeEvent) error {
	if event.CustomerID == "" || int(event.Parks) >= len(parkPauses) {
		return nil
	}
	known, err := s.queries().IsStripeCustomerKnown(ctx, event.CustomerID)
	if err != nil {
		return fmt.Errorf("look for customer: %w", err)
	}
	if !known {
		return &parking{reasonUnowned, event.CustomerID}
	}
	return nil
}

// park puts an event aside. When waiting is over, a customer that carries our stamp is adopted, and everything else is not
// ours.
func (s *Service) park(ctx context.Context, event db.StripeEvent, p *parking, t try) error {
	if parks := int(event.Parks); parks < len(parkPauses) {
		if _, err := s.queries().ParkStripeEvent(ctx, p.Error(), event.ID); err != nil {
			return fmt.Errorf("park event: %w", err)
		}
		return river.JobSnooze(parkPauses[parks])
	}
	if p.reason != reasonUnowned {
		return s.end(ctx, event, &ending{statusIgnored, p.reason})
	}
	adopted, err := s.adopt(ctx, event, p.customer)
	if err == nil && adopted {
		err = s.attempt(ctx, event)
	}
	if again := (*parking)(nil); err == nil && !adopted || errors.As(err, &again) || errors.Is(err, errGone) {
		return s.end(ctx, event, &ending{statusIgnored, p.reason})
	}
	return s.conclude(ctx, event, err, t)
}

// adopt fills an empty mapping from the stamp that we put on customers when we create them: our process died between
// Stripe's answer and our commit, and nobody came back since. It never changes a mapping.
func (s *Service) adopt(ctx context.Context, event db.StripeEvent, id string) (bool, error) {
	fetched, err := s.fetch(ctx, root{kindCustomer, id})
	if err != nil {
		return false, err
	}
	c, ok := fetched.(*customer)
	if !ok || c.Deleted || c.Metadata[metadataEnv] != s.appEnv {
		return false, nil
	}
	account, err := uuid.Parse(c.Metadata[metadataAccount])
	if err != nil {
		return false, nil //nolint:nilerr // a stamp that is none of ours
	}
	adopted := false
	err = postgres.InTx(ctx, s.pool, func(q *db.Queries) (err error) {
		if adopted, err = s.fillMapping(ctx, q, account, id); err != nil || !adopted {
			return err
		}
		return audit.Record(ctx, q, s.now(), audit.Entry{
			Actor: audit.Stripe(event.ID), AccountID: &account, Action: "stripe_customer.adopt",
			Target: "stripe_customer", TargetID: id,
		})
	})
	return adopted, err
}

func (s *Service) fillMapping(ctx context.Context, q *db.Queries, account uuid.UUID, id string) (bool, error) {
	if _, err := q.LockStripeAccount(ctx, account); errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("lock account: %w", err)
	}
	live, err := q.GetLiveStripeCustomer(ctx, account)
	var rows int64
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		rows, err = q.InsertAdoptedStripeCustomer(ctx, db.InsertAdoptedStripeCustomerParams{
			ID: postgres.NewID(), AccountID: account, StripeID: id, Now: s.now(),
		})
	case err == nil && live.StripeID == nil:
		rows, err = q.FillStripeCustomer(ctx, db.FillStripeCustomerParams{
			StripeID: id, Now: s.now(), ID: live.ID, AccountID: account,
		})
	}
	if err != nil {
		return false, fmt.Errorf("adopt customer: %w", err)
	}
	return rows > 0, nil
}

// claimed tells whether a checkout that belongs to nobody names one of our accounts, as a payment link can for anybody who writes
// the name into its address. It is nobody's until somebody has looked: the event waits in quarantine for that.
func (s *Service) claimed(ctx context.Context, event db.StripeEvent) (bool, error) {
	var payload struct {
		Data struct {
			Object struct {
				ClientReferenceID string            `json:"client_reference_id"`
				Metadata          map[string]string `json:"metadata"`
			} `json:"object"`
		} `json:"data"`
	}
	if event.ObjectKind != kindSession {
		return false, nil
	}
	if err := json.Unmarshal(event.Payload, &payload); err != nil {
		return false, nil //nolint:nilerr // what cannot be read names nobody
	}
	for _, name := range []string{payload.Data.Object.ClientReferenceID, payload.Data.Object.Metadata[metadataAccount]} {
		id, err := uuid.Parse(name)
		if err != nil {
			continue
		}
		exists, err := s.queries().AccountExists(ctx, id)
		if err != nil {
			return false, fmt.Errorf("look for account: %w", err)
		}
		if exists {
			return true, nil
		}
	}
	return false, nil
}
