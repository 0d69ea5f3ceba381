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
	changed := before[causeChange]
	causes := append([]Cause{{Key: causeChange}}, c.reversal.Causes...)
	due := append([]int64{changed.Claimed}, c.reversal.due(c.lot.Granted-changed.Claimed)...)
	// First what goes back into the lot: another cause may take it, also one that has found too little there before.
	remaining := c.lot.Remaining
	for _, restore := range []bool{true, false} {
		for i, cause := range causes {
			was := before[cause.Key]
			switch {
			case restore && was.Claimed <= due[i]:
				continue
			case !restore && was.Claimed >= due[i] && (was.Claimed > due[i] || was.Taken == due[i] || c.lot.Remaining <= remaining):
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
		share := Portion(granted, gone, r.Paid)
		due[i], before = share-before, share
	}
	return due
}

// Lost is what of granted credits has gone back with the money that was paid for them.
func Lost(granted, paid int64, causes []Cause) (lost int64) {
	if paid <= 0 {
		return 0
	}
	for _, part := range (Reversal{Paid: paid, Causes: causes}).due(granted) {
		lost += part
	}
	return lost
}

// Portion is floor(amount × off / of), with 0 ≤ off ≤ of.
func Portion(amount, off, of int64) int64 {
	if of <= 0 || amount <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(amount), uint64(min(max(off, 0), of)))
	part, _ := bits.Div64(hi, lo, uint64(of)) // off ≤ of, so it is not more than amount
	return int64(part)
}

// MonthKeys are the natural keys of what the clock brings for an item's period, after the month of its invoice.
func MonthKeys(item string, start, end time.Time) []string {
	var keys []string
	if end.Sub(start) <= longestMonth {
		return nil
	}
	for n := 1; addMonths(start, n).Before(end); n++ {
		keys = append(keys, MonthKey(item, addMonths(start, n)))
	}
	return keys
}

// MonthKey is the natural key of what the clock brings for an item's month that begins at start.
func MonthKey(item string, start time.Time) string { return clockKey(item, start) }

// ChangeKey is the natural key of what the clock brings, for the month that begins at start, of a change that the line has billed.
func ChangeKey(item, line string, start time.Time) string {
	return clockKey(changeOf(item, line), start)
}

// ChangePrefix begins the natural keys of what the clock brings for a change in the middle of an item's period, named by the line that
// has billed it.
func ChangePrefix(item, line string) string { return "clock:" + changeOf(item, line) + ":" }

func changeOf(item, line string) string { return item + ":" + line }
