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
	"example.com/saaskit/internal/problem"
)

// A Spending is credits to be taken from an account.
type Spending struct {
	AccountID   uuid.UUID
	Amount      int64
	Description string
	Reference   string          // the caller's own name for it, unique in the account for ever; may be empty
	Key         idempotency.Key // may be the zero key
	Actor       audit.Actor
}

// Spent is what came of a Spending.
type Spent struct {
	TransactionID uuid.UUID
	Amount        int64
	Available     int64 // right after the transaction
	Replayed      bool  // whether this answers an earlier request with the same Idempotency-Key
}

// Consume takes an amount, whole or not at all: it fails with [problem.InsufficientCredits] where there is less.
//
// What was asked before is answered again from its entry, for ever, and takes nothing: the same Idempotency-Key (with another
// request: [problem.IdempotencyMismatch]), and the same reference with the same amount (with another amount:
// [problem.ReferenceReused]). A refusal leaves no trace, so the next try is judged anew.
func (s *Service) Consume(ctx context.Context, spending Spending) (Spent, error) {
	if spending.Amount <= 0 {
		return Spent{}, problem.InvalidRequest.Errorf("the amount has to be positive").In("body.amount", "is not positive")
	}
	spent, err := s.consume(ctx, spending)
	if errors.Is(err, problem.InsufficientCredits) {
		// A new month may have begun that nobody has looked at yet, or another was quicker to look than this one.
		granted, ensured := s.ensureAllowance(ctx, spending.AccountID)
		if ensured != nil {
			return Spent{}, ensured
		}
		row, _, glanced := s.glance(ctx, spending.AccountID)
		if glanced != nil {
			return Spent{}, glanced
		}
		if granted > 0 || row.Balance-row.Held >= spending.Amount {
			spent, err = s.consume(ctx, spending)
		}
	}
	if postgres.IsUnique(err, "credit_entries_idempotency_key") {
		return Spent{}, otherAccount(spending.Key)
	}
	if err != nil {
		return Spent{}, fmt.Errorf("consume credits: %w", err)
	}
	return spent, nil
}

func (s *Service) consume(ctx context.Context, spending Spending) (spent Spent, err error) {
	err = postgres.InTx(ctx, s.pool, func(q *db.Queries) error {
		p, found, err := lock(ctx, q, spending.AccountID)
		if err != nil {
			return err
		}
		if !found {
			return insufficient(0, spending.Amount)
		}
		now := s.now() // not before: credits may have expired while this waited for the lock
		if err := p.settle(ctx, now); err != nil {
			return err
		}
		spent, err = p.spend(ctx, now, spending)
		return err
	})
	return spent, err
}

func (p *purse) spend(ctx context.Context, now time.Time, s Spending) (Spent, error) {
	if spent, found, err := p.answered(ctx, s.Key); err != nil || found {
		return spent, err
	}
	if spent, found, err := p.referred(ctx, now, s); err != nil || found {
		return spent, err
	}
	if s.Amount > p.available() {
		return Spent{}, insufficient(p.available(), s.Amount)
	}
	parts, err := p.burn(ctx, s.Amount)
	if err != nil {
		return Spent{}, err
	}
	e, err := p.append(ctx, change{
		kind: KindConsume, parts: parts, description: s.Description, reference: s.Reference, key: s.Key, actor: s.Actor,
		effective: now, now: now,
	})
	return outcome(e), err
}

// answered looks for the entry that the key was answered with before.
func (p *purse) answered(ctx context.Context, key idempotency.Key) (Spent, bool, error) {
	if key.None() {
		return Spent{}, false, nil
	}
	row, err := p.q.FindCreditEntryByKey(ctx, p.AccountID, key.Hash())
	if errors.Is(err, pgx.ErrNoRows) {
		return Spent{}, false, nil
	}
	if err != nil {
		return Spent{}, false, fmt.Errorf("look for idempotency key: %w", err)
	}
	if err := key.Check(row.RequestHash); err != nil {
		return Spent{}, false, err
	}
	e, err := p.q.GetCreditEntry(ctx, p.AccountID, row.Seq)
	if err != nil {
		return Spent{}, false, fmt.Errorf("read answered entry: %w", err)
	}
	spent := outcome(e)
	spent.Replayed = true
	return spent, true, nil
}

// referred looks for the entry that has the reference already. A key that comes with the repetition is kept, so that it too
// belongs to this request from now on.
func (p *purse) referred(ctx context.Context, now time.Time, s Spending) (Spent, bool, error) {
	if s.Reference == "" {
		return Spent{}, false, nil
	}
	e, err := p.q.GetCreditEntryByReference(ctx, p.AccountID, s.Reference)
	if errors.Is(err, pgx.ErrNoRows) {
		return Spent{}, false, nil
	}
	if err != nil {
		return Spent{}, false, fmt.Errorf("look for reference: %w", err)
	}
	if e.Amount != -s.Amount {
		return Spent{}, false, problem.ReferenceReused.Errorf("the reference belongs to transaction %s over %d credits", e.ID, -e.Amount).
			In("body.reference", "belongs to a transaction with another amount")
	}
	if s.Key.None() {
		return outcome(e), true, nil
	}
	kept, err := p.q.InsertCreditEntryKey(ctx, db.InsertCreditEntryKeyParams{
		IdempotencyHash: s.Key.Hash(), AccountID: p.AccountID, Seq: e.Seq, RequestHash: s.Key.Request, CreatedAt: now,
	})
	if err != nil {
		return Spent{}, false, fmt.Errorf("keep idempotency key: %w", err)
	}
	if kept == 0 {
		return Spent{}, false, otherAccount(s.Key)
	}
	return outcome(e), true, nil
}

// fewLots is how many lots are read at first: nearly every spending needs no more.
const fewLots = 16

// burn chooses the lots to take an amount from, which is known to be available.
func (p *purse) burn(ctx context.Context, amount int64) ([]part, error) {
	for _, most := range []int32{fewLots, math.MaxInt32} {
		lots, err := p.q.ListCreditLotsToBurn(ctx, p.AccountID, most)
		if err != nil {
			return nil, fmt.Errorf("list lots: %w", err)
		}
		parts, open := []part{}, amount
		for _, lot := range lots {
			taken := min(lot.Remaining, open)
			parts, open = append(parts, part{lot.ID, -taken}), open-taken
			if open == 0 {
				return parts, nil
			}
		}
	}
	return nil, fmt.Errorf("lots of account %s hold less than its balance of %d", p.AccountID, p.Balance)
}

func outcome(e Entry) Spent {
	return Spent{TransactionID: e.ID, Amount: -e.Amount, Available: e.BalanceAfter - e.HeldAfter}
}

func insufficient(available, needed int64) error {
	return problem.InsufficientCredits.Errorf("%d credits are needed and %d are available", needed, available).
		In("body.amount", fmt.Sprintf("is more than the %d credits that are available", available))
}

// otherAccount is the refusal of a key that was used for another account: that was another request.
func otherAccount(k idempotency.Key) error { return k.Check(nil) }
