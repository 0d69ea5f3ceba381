package credit

import (
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/db"
)

// An Allowance is a tier's credits of one month, that an invoice or the clock brings.
type Allowance struct {
	AccountID  uuid.UUID
	NaturalKey string
	Tier       string
	Monthly    catalog.Allowance
	Quantity   int64 // how many of the tier were bought
	// The period that was paid for. Of one with several months this is the allowance of the first; the clock brings the others.
	Start, End time.Time
	Actor      audit.Actor
}

// AllowanceLot makes a lot of an allowance: spent before what was bought by itself, and gone with its month unless the tier
// lets it roll over. It reports false where the tier has no allowance.
func AllowanceLot(a Allowance) (Lot, bool) {
	l := Lot{
		AccountID: a.AccountID, Source: SourceAllowance, NaturalKey: a.NaturalKey, Priority: PriorityAllowance,
		Amount: a.Monthly.Amount * a.Quantity, Description: "Allowance of tier " + a.Tier, Actor: a.Actor,
	}
	if !a.Monthly.Rollover {
		end := firstMonthEnd(a.Start, a.End)
		l.ExpiresAt = &end
	}
	return l, l.Amount > 0
}

// recheck is how long the clock leaves an account alone of which it does not know when it is next owed something.
const recheck = time.Hour

// circumstances are what decides which allowances the clock owes to an account.
type circumstances struct {
	owner    db.ListAllowanceOwnersRow
	standing account.Standing
	lines    []db.ListAllowanceLinesRow   // what was paid of the periods of items
	monthly  map[string]catalog.Allowance // by tier
	gone     map[string][]Cause           // what has gone back of the money of invoices
}

// owed lists what the clock owes to an account by now, whether it was granted already or not, and when to look again.
func (c circumstances) owed(now time.Time) (lots []Lot, next time.Time) {
	next = now.Add(recheck)
	if c.owner.Status != account.StatusActive {
		return nil, next
	}
	if c.standing.Access {
		return c.owedMonths(now, next)
	}
	lot, month, ok := c.free(now)
	if ok {
		lots = append(lots, lot)
	}
	if c.standing.Subscription == nil && ok {
		next = month // nothing but time changes an account that has never subscribed
	}
	return lots, next
}

// free is the allowance of the tier without a price: for the month of the account's own that now is in, and not before the
// owner's address is confirmed. It returns when that month ends.
func (c circumstances) free(now time.Time) (Lot, time.Time, bool) {
	anchor := c.owner.CreatedAt
	n := monthAt(anchor, now)
	if c.owner.EmailConfirmedAt == nil || n < 0 {
		return Lot{}, time.Time{}, false
	}
	tier, start, end := c.standing.Tier, addMonths(anchor, n), addMonths(anchor, n+1)
	lot, ok := AllowanceLot(Allowance{
		AccountID: c.owner.ID, NaturalKey: clockKey(tier, start), Tier: tier, Monthly: c.monthly[tier], Quantity: 1,
		Start: start, End: end, Actor: audit.System("credit_allowance"),
	})
	return lot, end, ok
}

// owedMonths lists the months after the first of subscription periods that have several, as far as they are paid: access alone may go
// on through a grace or a pause for months that nobody pays for. Each subscription that gives access has its months, whichever of them
// decides over the tier. Months that are over are owed only where their credits would still be there.
func (c circumstances) owedMonths(now, next time.Time) ([]Lot, time.Time) {
	var lots []Lot
	access := map[string]bool{}
	for _, s := range c.standing.All {
		access[s.ID] = s.Access
		if until := s.AccessUntil; s.Access && until != nil {
			next = earlier(next, *until)
		}
	}
	for _, lines := range c.byItem() {
		item := lines[0]
		if !access[item.SubscriptionID] || item.PeriodEnd.Sub(item.PeriodStart) <= longestMonth {
			continue
		}
		for n := 1; ; n++ {
			start, end := addMonths(item.PeriodStart, n), addMonths(item.PeriodStart, n+1)
			if !start.Before(item.PeriodEnd) {
				break
			}
			if start.After(now) {
				next = earlier(next, start)
				break
			}
			for _, lot := range c.month(lines, start, earlier(end, item.PeriodEnd)) {
				if lot.ExpiresAt == nil || lot.ExpiresAt.After(now) {
					lots = append(lots, lot)
				}
			}
		}
	}
	return lots, next
}

// byItem parts the lines by item, in their order.
func (c circumstances) byItem() (items [][]db.ListAllowanceLinesRow) {
	for i, line := range c.lines {
		if i == 0 || line.ID != c.lines[i-1].ID {
			items = append(items, nil)
		}
		items[len(items)-1] = append(items[len(items)-1], line)
	}
	return items
}

// month lists what the paid lines of an item give for a month. All together it is what the latest of them gives; each line has a lot of
// its own with what it added and no later one has given up, so that money which goes back takes what that money has bought. What
// a change gives back is only where it began from: that is paid, if at all, by another line.
func (c circumstances) month(lines []db.ListAllowanceLinesRow, start, end time.Time) (lots []Lot) {
	gives := func(line db.ListAllowanceLinesRow) int64 { return c.monthly[line.TierID].Amount * line.Quantity }
	var had int64
	for i, line := range lines {
		if !brings(line, start) {
			continue
		}
		keeps := gives(line)
		for _, later := range lines[i+1:] {
			if brings(later, start) {
				keeps = min(keeps, gives(later))
			}
		}
		added := keeps - had
		had = keeps
		if line.Credited {
			continue
		}
		of := line.ID
		if line.Proration {
			of = changeOf(line.ID, line.LineID)
		}
		lot, ok := AllowanceLot(Allowance{
			AccountID: line.AccountID, NaturalKey: clockKey(of, start), Tier: line.TierID, Quantity: 1, Start: start, End: end,
			Monthly: catalog.Allowance{Amount: added, Rollover: c.monthly[line.TierID].Rollover}, Actor: audit.System("credit_allowance"),
		})
		if ok {
			lots = append(lots, lot)
		}
	}
	return lots
}

// brings is whether a line counts for the month that begins at start. What a change adds to the month that it falls into comes with
// its invoice.
func brings(line db.ListAllowanceLinesRow, start time.Time) bool {
	began := line.LineStart.Before(start) || !line.Proration && line.LineStart.Equal(start)
	return began && line.LineEnd.After(start)
}

// reversals are what takes back of the months of items whose money has gone back in part. A month that the clock brings later loses the
// same share as those that were there.
func (c circumstances) reversals() []Reversal {
	var all []Reversal
	for _, line := range c.lines {
		causes := c.gone[line.InvoiceID]
		if len(causes) == 0 || line.Payable <= 0 || line.Credited {
			continue
		}
		r := Reversal{AccountID: line.AccountID, Paid: line.Payable, Causes: causes, Actor: audit.System("credit_allowance")}
		if line.Proration {
			r.Prefixes = []string{ChangePrefix(line.ID, line.LineID)}
		} else {
			r.NaturalKeys = MonthKeys(line.ID, line.PeriodStart, line.PeriodEnd)
		}
		all = append(all, r)
	}
	return all
}

// clockKey is the natural key of an allowance that the clock brings.
func clockKey(of string, start time.Time) string {
	return "clock:" + of + ":" + start.UTC().Format(time.RFC3339Nano)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
