package credit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/postgres"
)

// A purse is an account's credits while its row is locked by the transaction of q. Only a purse writes entries.
type purse struct {
	q *db.Queries
	db.CreditAccount
}

// A part is what an entry puts into a lot, or takes from it.
type part struct {
	lot    uuid.UUID
	amount int64
}

// A change is an entry that is about to be written.
type change struct {
	kind        string
	parts       []part
	description string
	reference   string
	key         idempotency.Key
	actor       audit.Actor
	effective   time.Time
	now         time.Time
}

// lock takes the account's row for the rest of the transaction. It reports false where the account has never had credits.
func lock(ctx context.Context, q *db.Queries, accountID uuid.UUID) (*purse, bool, error) {
	row, err := q.LockCreditAccount(ctx, accountID)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("lock credits: %w", err)
	}
	return &purse{q: q, CreditAccount: row}, true, nil
}

// create is [lock] for those who bring credits: it makes the account's row where there is none.
func create(ctx context.Context, q *db.Queries, accountID uuid.UUID) (*purse, error) {
	p, found, err := lock(ctx, q, accountID)
	if err != nil || found {
		return p, err
	}
	// Waits for a rival that makes the row too.
	if err := q.EnsureCreditAccount(ctx, accountID); err != nil {
		return nil, fmt.Errorf("make credit account: %w", err)
	}
	if p, found, err = lock(ctx, q, accountID); err == nil && !found {
		err = fmt.Errorf("credit account %s is not there after it was made", accountID)
	}
	return p, err
}

// available is what can be spent.
func (p *purse) available() int64 { return p.Balance - p.Held }

// settle writes the expiry of each lot whose time is over, at the moment that it was over.
func (p *purse) settle(ctx context.Context, now time.Time) error {
	if !due(p.NextChangeAt, now) {
		return nil
	}
	lots, err := p.q.ListExpiredCreditLots(ctx, p.AccountID, now)
	if err != nil {
		return fmt.Errorf("list expired lots: %w", err)
	}
	for _, lot := range lots {
		if _, err := p.append(ctx, change{
			kind: KindExpire, parts: []part{{lot.ID, -lot.Remaining}}, actor: audit.System("credit_expiry"),
			effective: *lot.ExpiresAt, now: now,
		}); err != nil {
			return fmt.Errorf("expire lot %s: %w", lot.ID, err)
		}
	}
	return p.schedule(ctx)
}

// due tells whether time alone changes an account by now; nil is never.
func due(next *time.Time, now time.Time) bool { return next != nil && !next.After(now) }

// schedule finds out when time alone changes the account next.
func (p *purse) schedule(ctx context.Context) error {
	p.NextChangeAt = nil
	next, err := p.q.NextCreditExpiry(ctx, p.AccountID)
	switch {
	case err == nil:
		p.NextChangeAt = &next
	case !errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("find next expiry: %w", err)
	}
	if err := p.q.SetNextCreditChange(ctx, p.NextChangeAt, p.AccountID); err != nil {
		return fmt.Errorf("schedule next expiry: %w", err)
	}
	return nil
}

// append writes an entry: the next of the account, with the balance that follows from it.
func (p *purse) append(ctx context.Context, c change) (Entry, error) {
	ids, amounts, sum := make([]uuid.UUID, len(c.parts)), make([]int64, len(c.parts)), int64(0)
	for i, part := range c.parts {
		ids[i], amounts[i] = part.lot, part.amount
		sum += part.amount
	}
	if sum > 0 && p.Balance > math.MaxInt64-sum {
		return Entry{}, fmt.Errorf("balance of account %s overflows", p.AccountID)
	}
	e := Entry{
		AccountID: p.AccountID, Seq: p.NextSeq, ID: postgres.NewID(), Kind: c.kind, Amount: sum, BalanceAfter: p.Balance + sum,
		HeldAfter: p.Held, Description: c.description, IdempotencyHash: c.key.Hash(), ActorKind: c.actor.Kind, ActorID: c.actor.ID,
		RequestID: c.actor.RequestID, EffectiveAt: c.effective, CreatedAt: c.now,
	}
	if c.reference != "" {
		e.Reference = &c.reference
	}
	if !c.key.None() {
		e.RequestHash = c.key.Request
	}
	if err := p.write(ctx, e, ids, amounts); err != nil {
		return Entry{}, err
	}
	p.Balance, p.NextSeq = e.BalanceAfter, e.Seq+1
	return e, nil
}

func (p *purse) write(ctx context.Context, e Entry, lots []uuid.UUID, amounts []int64) error {
	err := p.q.AppendCreditEntry(ctx, db.AppendCreditEntryParams{
		AccountID: e.AccountID, Seq: e.Seq, ID: e.ID, Kind: e.Kind, Amount: e.Amount, BalanceAfter: e.BalanceAfter,
		HeldAfter: e.HeldAfter, Description: e.Description, Reference: e.Reference, IdempotencyHash: e.IdempotencyHash,
		RequestHash: e.RequestHash, ActorKind: e.ActorKind, ActorID: e.ActorID, RequestID: e.RequestID,
		EffectiveAt: e.EffectiveAt, CreatedAt: e.CreatedAt,
		LotIds: lots, LotAmounts: amounts, NextChangeAt: p.NextChangeAt,
	})
	if err != nil {
		return fmt.Errorf("append %s entry: %w", e.Kind, err)
	}
	return nil
}
