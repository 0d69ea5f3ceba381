package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/problem"
)

// A Migration moves the subscribers of a price to another one of the same interval and currency. Nobody is charged for it: the
// new price counts from the next renewal on.
type Migration struct {
	From, To    catalog.Price
	Subscribers []Subscriber
}

// A Subscriber is a subscription at the price that is left.
type Subscriber struct {
	ID        string
	AccountID uuid.UUID
	Status    string
	Quantity  int64
	RenewsAt  *time.Time
	Ending    bool // it is to end, and stays at its price until then
}

// PlanMigration finds who would be moved, and changes nothing. Prices are named by their lookup key or their id at Stripe. It fails
// with [problem.PriceNotFound], and with [problem.InvalidRequest] where a move would charge somebody at once.
func (s *Service) PlanMigration(ctx context.Context, from, to string) (Migration, error) {
	var m Migration
	for name, into := range map[string]*catalog.Price{from: &m.From, to: &m.To} {
		price, known, err := catalog.TierPriceByName(ctx, s.queries(), name)
		if err != nil {
			return m, err
		}
		if !known {
			return m, problem.PriceNotFound.Errorf("there is no tier price %q", name)
		}
		*into = price
	}
	switch {
	case m.From.StripePriceID == m.To.StripePriceID || m.From.StripePriceID == "":
		return m, problem.InvalidRequest.Errorf("both are the same price")
	case m.From.Currency != m.To.Currency || m.From.Interval != m.To.Interval:
		return m, problem.InvalidRequest.Errorf("%s %s is not %s %s: Stripe would charge at once",
			m.To.Interval, m.To.Currency, m.From.Interval, m.From.Currency)
	case m.To.ArchivedAt != nil:
		return m, problem.PriceNotFound.Errorf("%s is not on sale any more", m.To.LookupKey)
	}
	rows, err := s.queries().ListSubscribersOfPrice(ctx, m.From.StripePriceID)
	if err != nil {
		return m, fmt.Errorf("list subscribers: %w", err)
	}
	for _, row := range rows {
		m.Subscribers = append(m.Subscribers, Subscriber{
			ID: row.ID, AccountID: row.AccountID, Status: row.Status, Quantity: row.Quantity, RenewsAt: row.CurrentPeriodEnd, Ending: row.Ending,
		})
	}
	return m, nil
}

// Migrate moves one subscriber. Each is an intent of its own, so a migration that was interrupted is run again as a whole. It fails
// as [Service.ChangeSubscription] does, and with [problem.Conflict] for a subscription that follows a schedule.
func (s *Service) Migrate(ctx context.Context, m Migration, who Subscriber) error {
	_, err := s.changeClaimed(ctx, changeMigrate, Change{
		AccountID: who.AccountID, Actor: audit.Operator("catalog migrate"),
		quiet: true, move: &priceMove{subscription: who.ID, from: m.From.StripePriceID, to: m.To.StripePriceID},
	}, idempotency.Claim{})
	if err != nil {
		return fmt.Errorf("migrate %s: %w", who.ID, err)
	}
	return nil
}

func planMigration(c Change, sub *stripe.Subscription, p plan, ending bool) (plan, error) {
	if c.move == nil {
		return p, errors.New("plan migration: it has no prices")
	}
	for _, item := range sub.Items.Data {
		if item.Price.ID == c.move.from {
			p.Item, p.FromPrice, p.FromQuantity = item.ID, item.Price.ID, item.Quantity
		}
	}
	switch {
	case p.Item == "" || ending:
		return p, nil // moved already, or changed meanwhile, or about to end
	case sub.Schedule != nil:
		return p, problem.Conflict.Errorf("the subscription follows a schedule; move it when that is over")
	case sub.PendingUpdate != nil:
		return p, problem.ChangePending.Errorf("a change of the subscription waits for its payment; move it when that is over")
	}
	p.Action, p.Proration, p.Price, p.Quantity = actNow, prorateNone, c.move.to, p.FromQuantity
	return p, nil
}
