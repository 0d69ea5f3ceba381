package credit

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
)

// ensureAllowance grants what the clock owes to an account, the free tier's month or a further month of a yearly price, and tells
// how many lots that were. It is for an account that somebody looks at; [AllowanceArgs] is the job for all others. Where nothing
// is due it reads one row.
func (s *Service) ensureAllowance(ctx context.Context, accountID uuid.UUID) (granted int, err error) {
	row, found, err := s.glance(ctx, accountID)
	if err != nil || found && !allowanceDue(row.NextAllowanceAt, s.now()) {
		return 0, err
	}
	return s.grantAllowance(ctx, accountID, found)
}

// Reconsider makes the clock look at an account's allowance again, for what its subscriptions give has changed. It joins the
// transaction of that change.
func Reconsider(ctx context.Context, q *db.Queries, accountID uuid.UUID) error {
	if err := q.SetNextAllowance(ctx, nil, accountID); err != nil {
		return fmt.Errorf("reconsider allowance: %w", err)
	}
	return nil
}

func allowanceDue(next *time.Time, now time.Time) bool { return next == nil || due(next, now) }

// grantAllowance grants what is owed to one account and tells how many lots that were. known is whether the account has a row
// of credits; none is left behind for one that is not owed anything yet.
func (s *Service) grantAllowance(ctx context.Context, accountID uuid.UUID, known bool) (granted int, err error) {
	err = postgres.InTx(ctx, s.pool, func(q *db.Queries) error {
		ids := []uuid.UUID{accountID}
		found, err := s.circumstancesOf(ctx, q, ids)
		if err != nil {
			return err
		}
		if lots, _ := found[accountID].owed(s.now()); len(lots) == 0 && !known {
			return nil
		}
		p, err := create(ctx, q, accountID)
		if err != nil {
			return err
		}
		// Once more: what was read before the lock may be over.
		granted, err = s.grantOwed(ctx, q, []*purse{p})
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("grant allowance: %w", err)
	}
	return granted, nil
}

// grantOwed grants what the clock owes to accounts that are locked, and notes when to look again.
func (s *Service) grantOwed(ctx context.Context, q *db.Queries, purses []*purse) (granted int, err error) {
	ids := make([]uuid.UUID, len(purses))
	for i, p := range purses {
		ids[i] = p.AccountID
	}
	found, err := s.circumstancesOf(ctx, q, ids)
	if err != nil {
		return 0, err
	}
	now := s.now()
	for _, p := range purses {
		c, before := found[p.AccountID], granted
		lots, next := c.owed(now)
		for _, lot := range lots {
			added, err := p.grant(ctx, now, lot)
			if err != nil {
				return 0, err
			}
			if added {
				granted++
			}
		}
		if granted > before {
			if err := p.reduce(ctx, now, c.reversals()); err != nil {
				return 0, err
			}
		}
		if err := q.SetNextAllowance(ctx, &next, p.AccountID); err != nil {
			return 0, fmt.Errorf("set next allowance: %w", err)
		}
	}
	return granted, nil
}

// reduce takes back of months what has gone back of their money.
func (p *purse) reduce(ctx context.Context, now time.Time, reversals []Reversal) error {
	for _, r := range reversals {
		if _, err := p.reclaim(ctx, now, r); err != nil {
			return fmt.Errorf("reduce allowance: %w", err)
		}
	}
	return nil
}

// circumstancesOf reads what decides over allowances, in a handful of statements for any number of accounts. An account that
// is not there has the zero circumstances, which are owed nothing.
func (s *Service) circumstancesOf(ctx context.Context, q *db.Queries, ids []uuid.UUID) (map[uuid.UUID]circumstances, error) {
	owners, err := q.ListAllowanceOwners(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("read owners: %w", err)
	}
	standings, err := account.StandingsOf(ctx, q, s.policy, ids, s.now())
	if err != nil {
		return nil, err
	}
	lines, err := q.ListAllowanceLines(ctx, ids, ReasonsGiving(GivesChanges), ReasonsGiving(GivesPeriods))
	if err != nil {
		return nil, fmt.Errorf("read what is paid of subscription items: %w", err)
	}
	monthly, err := allowances(ctx, q, standings, lines)
	if err != nil {
		return nil, err
	}
	gone, err := goneOf(ctx, q, ids, lines)
	if err != nil {
		return nil, err
	}
	found := make(map[uuid.UUID]circumstances, len(ids))
	for _, owner := range owners {
		found[owner.ID] = circumstances{owner: owner, standing: standings[owner.ID], monthly: monthly, gone: gone}
	}
	for _, line := range lines {
		c := found[line.AccountID]
		c.lines = append(c.lines, line)
		found[line.AccountID] = c
	}
	return found, nil
}

// goneOf reads what has gone back of the money of the invoices that have paid for items.
func goneOf(ctx context.Context, q *db.Queries, ids []uuid.UUID, lines []db.ListAllowanceLinesRow) (map[string][]Cause, error) {
	var invoices []string
	for _, line := range lines {
		if line.PeriodEnd.Sub(line.PeriodStart) > longestMonth {
			invoices = append(invoices, line.InvoiceID)
		}
	}
	if len(invoices) == 0 {
		return nil, nil
	}
	rows, err := q.ListInvoiceReversals(ctx, ids, invoices)
	if err != nil {
		return nil, fmt.Errorf("read what has gone back: %w", err)
	}
	gone := map[string][]Cause{}
	for _, row := range rows {
		gone[row.InvoiceID] = append(gone[row.InvoiceID], Cause{Key: row.Cause, Amount: row.Amount})
	}
	return gone, nil
}

// allowances reads the allowance of each tier that matters.
func allowances(
	ctx context.Context, q *db.Queries, standings map[uuid.UUID]account.Standing, lines []db.ListAllowanceLinesRow,
) (map[string]catalog.Allowance, error) {
	monthly := map[string]catalog.Allowance{}
	for _, standing := range standings {
		monthly[standing.Tier] = catalog.Allowance{}
	}
	for _, line := range lines {
		monthly[line.TierID] = catalog.Allowance{}
	}
	for id := range monthly {
		tier, found, err := catalog.TierByID(ctx, q, id)
		if err != nil {
			return nil, err
		}
		if found {
			monthly[id] = tier.Allowance
		}
	}
	return monthly, nil
}
