package credit

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/db"
)

// causeChange claims what a lot holds and its line has not bought after all: another payment has, or it was given back.
const causeChange = "change"

// SetShare brings what is granted under the lot's natural key to the lot's amount, in the transaction of q, whose caller has the account
// locked: what is missing is granted as a further lot, and what is too much is taken back as far as it is there. It reports whether
// anything has changed; then what has gone back of the payment is to be reclaimed anew.
func SetShare(ctx context.Context, q *db.Queries, now time.Time, l Lot) (changed bool, err error) {
	p, err := create(ctx, q, l.AccountID)
	if err != nil {
		return false, err
	}
	if err := p.settle(ctx, now); err != nil {
		return false, err
	}
	rows, err := q.ListCreditLotsOfPayment(ctx, l.AccountID, []string{l.NaturalKey}, []string{l.NaturalKey + ":"})
	if err != nil {
		return false, fmt.Errorf("list lots of share: %w", err)
	}
	left, granted := l.Amount, int64(0)
	for _, row := range rows {
		keep := min(left, row.Granted)
		left, granted = left-keep, granted+row.Granted
		done, err := p.keep(ctx, now, row, keep, l.Actor)
		if err != nil {
			return false, err
		}
		changed = changed || done
	}
	if left > 0 {
		l.Amount = left
		if granted > 0 {
			l.NaturalKey += ":" + strconv.FormatInt(granted, 10) // from which unit on
		}
		added, err := p.grant(ctx, now, l)
		if err != nil {
			return false, err
		}
		changed = changed || added
	}
	return changed, p.settle(ctx, now)
}

// A Part of what was granted under the natural keys is no longer theirs: Off of Of.
type Part struct {
	AccountID   uuid.UUID
	NaturalKeys []string
	Off, Of     int64
	Actor       audit.Actor
}

// Cut takes the part back as far as it is there, once for ever. It joins the transaction of q, whose caller has the account locked, and
// reports whether anything has changed.
func Cut(ctx context.Context, q *db.Queries, now time.Time, c Part) (changed bool, err error) {
	p, found, err := lock(ctx, q, c.AccountID)
	if err != nil || !found {
		return false, err
	}
	if err := p.settle(ctx, now); err != nil {
		return false, err
	}
	rows, err := q.ListCreditLotsOfPayment(ctx, c.AccountID, c.NaturalKeys, nil)
	if err != nil {
		return false, fmt.Errorf("list lots to cut: %w", err)
	}
	for _, row := range rows {
		done, err := p.keep(ctx, now, row, row.Granted-Portion(row.Granted, c.Off, c.Of), c.Actor)
		if err != nil {
			return false, err
		}
		changed = changed || done
	}
	return changed, p.settle(ctx, now)
}

// keep leaves of a lot's granted credits those that its line has bought.
func (p *purse) keep(ctx context.Context, now time.Time, lot db.ListCreditLotsOfPaymentRow, keep int64, actor audit.Actor) (bool, error) {
	rows, err := p.q.ListCreditClawbacks(ctx, p.AccountID, lot.ID)
	if err != nil {
		return false, fmt.Errorf("list what was taken: %w", err)
	}
	var was db.ListCreditClawbacksRow
	for _, row := range rows {
		if row.Cause == causeChange {
			was = row
		}
	}
	due := lot.Granted - keep
	if was.Claimed == due {
		return false, nil
	}
	one := &claim{purse: p, reversal: Reversal{Actor: actor}, lot: lot, now: now}
	return true, one.change(ctx, causeChange, was.Taken, due, &Reclaimed{})
}
