package stripehook

import (
	"context"
	"fmt"
	"slices"
	"time"

	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/db"
)

// What changes in the middle of a period add to the allowance of its month follows from all that is stored of the period, so it is found
// anew whenever something of that is told, in whatever order: an invoice, a refund, a price that the catalogue has learned.

// A billed line is one of a period: of the whole of it, or of a change within it.
type billed = db.ListPeriodLinesRow

// A turn is what an invoice bills of the changes of one second: what it gives back from then on, and what it charges.
type turn struct{ back, on []billed }

func (n turn) first() billed {
	if len(n.back) > 0 {
		return n.back[0]
	}
	return n.on[0]
}

// A month is one of the allowance, with what payments have brought of it so far.
type month struct {
	from, to time.Time
	covered  int64
}

// A share is what a change adds to its month. It stands under the largest line that charges for it.
type share struct {
	line   billed
	month  month
	amount int64
}

// A cut takes back of what an item has brought for a month, for a part of the month was given back with its money.
type cut struct {
	keys        []string
	part, whole time.Duration
}

// A ladder is a period whose changes are gone through from the first to the last.
type ladder struct {
	whole  []billed
	level  int64 // how many credits a month the subscription gives
	month  month
	lost   func(line billed, amount int64) int64 // what of an amount has gone back with the money of the line's invoice
	shares []share
	cuts   []cut
}

// climb goes through the changes of a period. Of each it takes what the way up adds to what the month has already: who goes down and up
// again has paid for that before, and what has gone back with its money can be bought again.
func climb(lines []billed, lost func(billed, int64) int64) *ladder {
	l := &ladder{lost: lost}
	var turns []turn
	for _, line := range lines {
		switch {
		case !line.Proration:
			l.whole = append(l.whole, line)
			l.level += gives(line)
			continue
		case len(turns) == 0 || !sameTurn(turns[len(turns)-1].first(), line):
			turns = append(turns, turn{})
		}
		n := &turns[len(turns)-1]
		if line.Credited {
			n.back = append(n.back, line)
		} else {
			n.on = append(n.on, line)
		}
	}
	if len(l.whole) == 0 && len(turns) > 0 { // nobody has told of the period itself
		l.level = sum(turns[0].back)
	}
	for _, n := range turns {
		l.take(n)
	}
	return l
}

func sameTurn(a, b billed) bool {
	return a.InvoiceID == b.InvoiceID && a.PeriodStart.Equal(b.PeriodStart)
}

func (l *ladder) take(n turn) {
	at := n.first()
	if l.month.from.IsZero() || !at.PeriodStart.Before(l.month.to) {
		l.month.from, l.month.to = l.monthOf(at)
		l.month.covered = l.level
	}
	before := l.level
	l.level = max(0, l.level+sum(n.on)-sum(n.back))
	for _, line := range n.removed() {
		l.cut(line)
	}
	if len(n.on) == 0 || n.unclear() {
		return
	}
	s := share{line: slices.MaxFunc(n.on, func(a, b billed) int { return int(a.Amount - b.Amount) }), month: l.month}
	s.amount = max(0, min(l.level-before, l.level-l.month.covered))
	l.month.covered += s.amount - l.lost(s.line, s.amount)
	l.shares = append(l.shares, s)
}

// monthOf is the month of the allowance that a change falls into: counted from where the period begins, and where nobody has told of that,
// back from its end.
func (l *ladder) monthOf(line billed) (from, to time.Time) {
	if len(l.whole) == 0 {
		return credit.MonthBefore(line.PeriodEnd, line.PeriodStart)
	}
	return credit.MonthOf(l.whole[0].PeriodStart, line.PeriodEnd, line.PeriodStart)
}

// cut takes back of an item what its line gives back of the month.
func (l *ladder) cut(line billed) {
	part := l.month.to.Sub(line.PeriodStart)
	for i := range l.shares {
		if s := &l.shares[i]; s.line.Item == line.Item && s.month.from.Equal(l.month.from) && s.amount > 0 {
			off := portion(s.amount, part, l.month.to.Sub(s.line.PeriodStart))
			l.month.covered -= off - l.lost(s.line, off)
			s.amount -= off
		}
	}
	for _, base := range l.whole {
		if base.Item != line.Item {
			continue
		}
		c := cut{keys: []string{lineKey(base.InvoiceID, base.ID)}, part: part, whole: l.month.to.Sub(l.month.from)}
		if !l.month.from.Equal(base.PeriodStart) {
			c.keys = []string{credit.MonthKey(line.Item, l.month.from)}
			for _, s := range l.shares {
				if s.line.Item == line.Item {
					c.keys = append(c.keys, credit.ChangeKey(line.Item, s.line.ID, l.month.from))
				}
			}
		}
		l.month.covered -= portion(gives(base), part, c.whole)
		l.cuts = append(l.cuts, c)
	}
}

// removed are the items of which money was given back while nothing has taken their place.
func (n turn) removed() []billed {
	var gone []billed
	if slices.ContainsFunc(n.on, func(on billed) bool { return !n.has(n.back, on.Item) }) {
		return nil
	}
	for _, line := range n.back {
		if line.Amount < 0 && !line.Renewed && !n.has(n.on, line.Item) {
			gone = append(gone, line)
		}
	}
	return gone
}

// unclear is where something known has come in the place of an unknown price: how much that adds nobody can tell before the catalogue
// knows the price. Who was told of the price when it came is not told again.
func (n turn) unclear() bool {
	added := slices.ContainsFunc(n.on, func(on billed) bool { return on.Gives != nil && !n.has(n.back, on.Item) })
	for _, line := range n.back {
		known := slices.ContainsFunc(n.on, func(on billed) bool { return on.Item == line.Item && on.Gives != nil })
		if line.Gives == nil && (known || added && !n.has(n.on, line.Item)) {
			return true
		}
	}
	return false
}

func (turn) has(lines []billed, item string) bool {
	return slices.ContainsFunc(lines, func(line billed) bool { return line.Item == item })
}

func gives(line billed) int64 {
	if line.Gives == nil {
		return 0
	}
	return *line.Gives
}

func sum(lines []billed) (all int64) {
	for _, line := range lines {
		all += gives(line)
	}
	return all
}

// portion is what of an amount falls into a part of a time, by the second.
func portion(amount int64, part, whole time.Duration) int64 {
	if whole <= 0 {
		return 0
	}
	return credit.Portion(amount, int64(part/time.Second), int64(whole/time.Second))
}

// settleShares brings what the changes have bought, in the periods of which the invoice bills anything, to what they add to their months.
// It returns the invoices of which anything has changed.
func (t *settling) settleShares(ctx context.Context, invoiceID string) (changed []billed, err error) {
	lines, err := t.q.ListPeriodLines(ctx, t.account, credit.ReasonsGiving(credit.GivesChanges), invoiceID)
	if err != nil {
		return nil, fmt.Errorf("list lines of period: %w", err)
	}
	if !slices.ContainsFunc(lines, func(line billed) bool { return line.Proration }) {
		return nil, nil
	}
	causes := map[string][]credit.Cause{}
	for _, line := range lines {
		if _, known := causes[line.InvoiceID]; known || !line.Proration {
			continue
		}
		if causes[line.InvoiceID], err = t.reversals(ctx, db.ListReversalsParams{AccountID: t.account, InvoiceID: &line.InvoiceID, ChargeID: line.ChargeID}); err != nil {
			return nil, err
		}
	}
	lost := func(line billed, amount int64) int64 {
		return credit.Lost(amount, line.Payable, causes[line.InvoiceID])
	}
	for len(lines) > 0 {
		n := slices.IndexFunc(lines, func(line billed) bool { return !line.PeriodEnd.Equal(lines[0].PeriodEnd) })
		if n < 0 {
			n = len(lines)
		}
		l := climb(lines[:n], lost)
		lines = lines[n:]
		more, err := t.settleLadder(ctx, l)
		if err != nil {
			return nil, err
		}
		changed = append(changed, more...)
	}
	return changed, nil
}

func (t *settling) settleLadder(ctx context.Context, l *ladder) (changed []billed, err error) {
	for _, s := range l.shares {
		done, err := t.setShare(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("grant upgrade %s: %w", s.line.ID, err)
		}
		if done {
			changed = append(changed, s.line)
		}
	}
	for _, c := range l.cuts {
		done, err := credit.Cut(ctx, t.q, t.now, credit.Part{
			AccountID: t.account, NaturalKeys: c.keys, Off: int64(c.part / time.Second), Of: int64(c.whole / time.Second), Actor: t.actor,
		})
		if err != nil {
			return nil, fmt.Errorf("cut a month: %w", err)
		}
		if done {
			changed = append(changed, l.whole...)
		}
	}
	return changed, nil
}

// setShare brings the credits of a change to its share, for the rest of its month. One that was billed with the next renewal, or paid
// late, has a month from its payment on: the one that it was for is over.
func (t *settling) setShare(ctx context.Context, s share) (changed bool, err error) {
	start, end := s.month.from, s.month.to
	if paid := s.line.PaidAt; !paid.Before(end) {
		if s.amount > 0 && !paid.Before(s.line.PeriodEnd) && end.Before(s.line.PeriodEnd) {
			return false, t.tellOperator(ctx, "upgrade_billed_late", s.line.InvoiceID+":"+s.line.ID, map[string]any{
				"monthly": s.amount, "from": s.line.PeriodStart, "to": s.line.PeriodEnd,
			})
		}
		start, end = paid, paid.AddDate(0, 1, 0)
	}
	lot, _ := credit.AllowanceLot(credit.Allowance{
		AccountID: t.account, NaturalKey: lineKey(s.line.InvoiceID, s.line.ID), Tier: s.line.TierID, Quantity: 1, Start: start, End: end,
		Monthly: catalog.Allowance{Amount: s.amount, Rollover: s.line.Rollover}, Actor: t.actor,
	})
	return credit.SetShare(ctx, t.q, t.now, lot)
}
