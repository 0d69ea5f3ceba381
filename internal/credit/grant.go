package credit

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
)

// A Lot is credits to be granted.
type Lot struct {
	AccountID uuid.UUID
	Source    string // SourceAllowance, SourcePack, SourceGrant
	// NaturalKey is what the credits are for, once for ever: invoice:in_1:il_1, session:cs_1, clock:free:2026-03-01T00:00:00Z.
	NaturalKey  string
	Priority    int // lower is spent first
	Amount      int64
	ExpiresAt   *time.Time // nil is never; at this moment the credits are gone
	Description string
	Actor       audit.Actor
}

// Grant adds a lot in the transaction of q, which must be READ COMMITTED and stays locked on the account's credits until its
// end. It reports false, and changes nothing, where the natural key was granted to the account before.
//
// A lot that comes after its expiry is granted all the same and expires at once: the ledger shows both.
func Grant(ctx context.Context, q *db.Queries, now time.Time, g Lot) (granted bool, err error) {
	if g.Amount <= 0 || g.NaturalKey == "" {
		return false, fmt.Errorf("grant %q: amount %d: a lot needs a natural key and a positive amount", g.NaturalKey, g.Amount)
	}
	p, err := create(ctx, q, g.AccountID)
	if err != nil {
		return false, err
	}
	return p.grant(ctx, now, g)
}

func (p *purse) grant(ctx context.Context, now time.Time, g Lot) (granted bool, err error) {
	if err := p.settle(ctx, now); err != nil {
		return false, err
	}
	id := postgres.NewID()
	added, err := p.q.InsertCreditLot(ctx, db.InsertCreditLotParams{
		AccountID: g.AccountID, ID: id, Source: g.Source, NaturalKey: g.NaturalKey, Priority: int32(g.Priority),
		Granted: g.Amount, ExpiresAt: g.ExpiresAt, CreatedAt: now,
	})
	if err != nil {
		return false, fmt.Errorf("add lot %s: %w", g.NaturalKey, err)
	}
	if added == 0 {
		return false, nil
	}
	if p.NextChangeAt == nil || g.ExpiresAt != nil && g.ExpiresAt.Before(*p.NextChangeAt) {
		p.NextChangeAt = g.ExpiresAt
	}
	if _, err = p.append(ctx, change{
		kind: KindGrant, parts: []part{{id, g.Amount}}, description: g.Description, actor: g.Actor, effective: now, now: now,
	}); err != nil {
		return false, fmt.Errorf("grant %s: %w", g.NaturalKey, err)
	}
	return true, p.settle(ctx, now)
}
