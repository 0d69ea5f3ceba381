package credit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/page"
	"example.com/saaskit/internal/postgres"
)

// A Balance is what an account has.
type Balance struct {
	Available int64 // what can be spent now
	Held      int64
	Balance   int64     // both together
	Lots      []LotLeft // in the order in which they are spent
}

// A LotLeft is a lot that is not used up.
type LotLeft struct {
	ID        uuid.UUID
	Source    string
	Granted   int64
	Remaining int64
	ExpiresAt *time.Time
	CreatedAt time.Time
}

// Settle writes the expiries of an account that are due. It locks nothing where none is.
func (s *Service) Settle(ctx context.Context, accountID uuid.UUID) error {
	row, found, err := s.glance(ctx, accountID)
	if err != nil || !found || !due(row.NextChangeAt, s.now()) {
		return err
	}
	return s.settle(ctx, accountID)
}

// refresh makes the ledger say what is so now: what the clock owes is granted and what has expired is gone. As a rule that is
// one row to read.
func (s *Service) refresh(ctx context.Context, accountID uuid.UUID) error {
	row, found, err := s.glance(ctx, accountID)
	if err != nil {
		return err
	}
	now := s.now()
	if !found || allowanceDue(row.NextAllowanceAt, now) {
		if _, err := s.grantAllowance(ctx, accountID, found); err != nil {
			return err
		}
	}
	if found && due(row.NextChangeAt, now) {
		return s.settle(ctx, accountID)
	}
	return nil
}

// glance reads an account's row without a lock. It reports false where the account has never had credits.
func (s *Service) glance(ctx context.Context, accountID uuid.UUID) (db.CreditAccount, bool, error) {
	row, err := db.New(s.pool).GetCreditAccount(ctx, accountID)
	if errors.Is(err, pgx.ErrNoRows) {
		return row, false, nil
	}
	if err != nil {
		return row, false, fmt.Errorf("read credit account: %w", err)
	}
	return row, true, nil
}

func (s *Service) settle(ctx context.Context, accountID uuid.UUID) error {
	err := postgres.InTx(ctx, s.pool, func(q *db.Queries) error {
		p, found, err := lock(ctx, q, accountID)
		if err != nil || !found {
			return err
		}
		return p.settle(ctx, s.now())
	})
	if err != nil {
		return fmt.Errorf("settle credits: %w", err)
	}
	return nil
}

// Balance reads what the account has now. An account that never had credits has none.
func (s *Service) Balance(ctx context.Context, accountID uuid.UUID) (Balance, error) {
	if err := s.refresh(ctx, accountID); err != nil {
		return Balance{}, err
	}
	rows, err := db.New(s.pool).GetCreditBalance(ctx, accountID)
	if err != nil {
		return Balance{}, fmt.Errorf("read balance: %w", err)
	}
	b := Balance{Lots: []LotLeft{}}
	for _, r := range rows {
		b.Balance, b.Held, b.Available = r.Balance, r.Held, r.Balance-r.Held
		if r.ID != nil {
			b.Lots = append(b.Lots, LotLeft{
				ID: *r.ID, Source: *r.Source, Granted: *r.Granted, Remaining: *r.Remaining, ExpiresAt: r.ExpiresAt, CreatedAt: *r.CreatedAt,
			})
		}
	}
	return b, nil
}

// Transactions lists the account's entries, newest first.
func (s *Service) Transactions(ctx context.Context, accountID uuid.UUID, r page.Request) (page.Page[Entry], error) {
	before := int64(math.MaxInt64)
	if _, err := r.Decode(&before); err != nil {
		return page.Page[Entry]{}, err
	}
	if err := s.refresh(ctx, accountID); err != nil {
		return page.Page[Entry]{}, err
	}
	rows, err := db.New(s.pool).ListCreditEntries(ctx, accountID, before, int32(r.Limit)+1)
	if err != nil {
		return page.Page[Entry]{}, fmt.Errorf("list credit entries: %w", err)
	}
	return page.New(r, rows, func(e Entry) any { return e.Seq })
}
