package credit

import (
	"context"
	"fmt"
	"math/bits"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/db"
)

// A Cause is money of a payment that went back: refund:re_1, dispute:dp_1, credit_note:cn_1. A cause that has ended has the amount 0.
type Cause struct {
	Key    string
	Amount int64
}

// A Reversal is what has gone back of one payment, and which lots that payment has bought.
type Reversal struct {
	AccountID uuid.UUID
	Paid      int64 // with what was paid from the customer's balance
	// Causes are all there are, in an order that stays: the first takes first.
	Causes []Cause
	// The lots are those with one of the natural keys, or with a natural key that begins with one of the prefixes.
	NaturalKeys, Prefixes []string
	Actor                 audit.Actor
}

// A Reclaimed is what [Reclaim] has changed.
type Reclaimed struct{ Taken, Restored, Shortfall int64 }

// Reclaim takes back of each lot the share of what was granted that the money which went back has of what was paid, and gives
// back what a cause has taken that has ended. It joins the transaction of q, whose caller has the account locked.
//
// The result follows from the causes alone, so doing it again changes nothing. What is spent or expired cannot be taken: the
// difference stays noted as the shortfall of its cause, and is not taken from credits that come later.
func Reclaim(ctx context.Context, q *db.Queries, now time.Time, r Reversal) (Reclaimed, error) {
	if r.Paid <= 0 || len(r.Causes) == 0 {
		return Reclaimed{}, nil
	}
	p, found, err := lock(ctx, q, r.AccountID)
	if err != nil || !found {
		return Reclaimed{}, err
	}
	return p.reclaim(ctx, now, r)
}

// reclaim is [Reclaim] of an account whose credits are locked.
func (p *purse) reclaim(ctx context.Context, now time.Time, r Reversal) (Reclaimed, error) {
	var done Reclaimed
	if err := p.settle(ctx, now); err != nil {
		return done, err
	}
	lots, err := p.q.ListCreditLotsOfPayment(ctx, r.AccountID, r.NaturalKeys, r.Prefixes)
	if err != nil {
		return done, fmt.Errorf("list lots of payment: %w", err)
	}
	for _, lot := range lots {
		one := &claim{purse: p, reversal: r, lot: lot, now: now}
		if err := one.settle(ctx, &done); err != nil {
			return done, fmt.Errorf("take back from lot %s: %w", lot.ID, err)
		}
	}
	return done, p.settle(ctx, now)
}

// A claim is what goes back of one lot.
type claim struct {
	*purse
	reversal Reversal
	lot      db.ListCreditLotsOfPaymentRow
	now      time.Time
}

func (c *claim) settle(ctx context.Context, done *Reclaimed) error {
	rows, err := c.q.ListCreditClawbacks(ctx, c.AccountID, c.lot.ID)
	if err != nil {
		return fmt.Errorf("list what was taken: %w", err)
	}
	before := make(map[string]db.ListCreditClawbacksRow, len(rows))
	for _, row := range rows {
		before[row.Cause] = row
	}
	due := c.reversal.due(c.lot.Granted)
	// First what goes back into the lot: another cause may take it.
	for _, restore := range []bool{true, false} {
		for i, cause := range c.reversal.Causes {
			was := before[cause.Key]
			if was.Claimed == due[i] || (was.Claimed > due[i]) != restore {
				continue
			}
			if err := c.change(ctx, cause.Key, was.Taken, due[i], done); err != nil {
				return err
			}
		}
	}
	return nil
}

// change brings what a cause has taken to what it may take, as far as there is something to take.
func (c *claim) change(ctx context.Context, cause string, taken, due int64, done *Reclaimed) error {
	kind, amount := KindRestore, taken-due
	if amount < 0 {
		kind, amount = KindRevoke, max(amount, -c.lot.Remaining, -c.available())
	}
	if amount > 0 && c.lot.ExpiresAt != nil && (c.NextChangeAt == nil || c.lot.ExpiresAt.Before(*c.NextChangeAt)) {
		c.NextChangeAt = c.lot.ExpiresAt // what comes back into a lot that is over is gone at once
	}
	if amount != 0 {
		if _, err := c.append(ctx, change{
			kind: kind, parts: []part{{c.lot.ID, amount}}, description: cause, actor: c.reversal.Actor, effective: c.now, now: c.now,
		}); err != nil {
			return err
		}
		c.lot.Remaining += amount
	}
	now := taken - amount
	if err := c.q.SetCreditClawback(ctx, db.SetCreditClawbackParams{
		AccountID: c.AccountID, LotID: c.lot.ID, Cause: cause, Claimed: due, Taken: now, Now: c.now,
	}); err != nil {
		return fmt.Errorf("note what was taken: %w", err)
	}
	done.Taken, done.Restored, done.Shortfall = done.Taken+max(0, -amount), done.Restored+max(0, amount), done.Shortfall+due-now
	return nil
}

// due is the share of each cause in what was granted. All together they are floor(granted × min(paid, gone) / paid).
func (r Reversal) due(granted int64) []int64 {
	due, gone, before := make([]int64, len(r.Causes)), int64(0), int64(0)
	for i, cause := range r.Causes {
		gone = min(r.Paid, gone+min(r.Paid, max(0, cause.Amount)))
		hi, lo := bits.Mul64(uint64(granted), uint64(gone))
		share, _ := bits.Div64(hi, lo, uint64(r.Paid)) // gone ≤ paid, so it is not more than granted
		due[i], before = int64(share)-before, int64(share)
	}
	return due
}

// MonthKeys are the natural keys of what the clock brings for an item's period, after the month of its invoice.
func MonthKeys(item string, start, end time.Time) []string {
	var keys []string
	if end.Sub(start) <= longestMonth {
		return nil
	}
	for n := 1; addMonths(start, n).Before(end); n++ {
		keys = append(keys, clockKey(item, addMonths(start, n)))
	}
	return keys
}

// ChangePrefix begins the natural keys of what the clock brings for a change in the middle of an item's period, named by the line that
// has billed it.
func ChangePrefix(item, line string) string { return "clock:" + changeOf(item, line) + ":" }

func changeOf(item, line string) string { return item + ":" + line }
