package catalog

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Signs of changes.
const (
	Added   = "+"
	Changed = "~"
	Removed = "-"
)

// A Change is one line of what an apply does.
type Change struct {
	Sign string
	Text string
}

// A Plan is the way from what there is to a document.
type Plan struct {
	Changes []Change
	// Resumes tells that an apply of the same document was interrupted and is gone on with.
	Resumes bool
	// Supersedes tells that an apply of another document was interrupted and is given up.
	Supersedes bool

	before []step // at Stripe, before the tables change
	after  []step // at Stripe, when nobody sells by the old tables any more
	stored Stored
}

// A step is one call to Stripe. Its name is its own within the apply: it is part of the idempotency key.
type step struct {
	name string
	do   func(ctx context.Context, key string, s *Stored) (stripeID string, err error)
}

// Empty tells whether there is nothing to do.
func (p Plan) Empty() bool {
	return len(p.Changes) == 0 && !p.Resumes && !p.Supersedes
}

// String lists the changes for people.
func (p Plan) String() string {
	var b strings.Builder
	if p.Resumes {
		b.WriteString("An interrupted apply of this catalogue goes on.\n")
	}
	if p.Supersedes {
		b.WriteString("An interrupted apply of another catalogue is given up.\n")
	}
	for _, c := range p.Changes {
		fmt.Fprintf(&b, "%s %s\n", c.Sign, c.Text)
	}
	if p.Empty() {
		b.WriteString("Nothing to change.\n")
	}
	return b.String()
}

func (p *Plan) note(sign, format string, args ...any) {
	p.Changes = append(p.Changes, Change{Sign: sign, Text: fmt.Sprintf(format, args...)})
}

// A planner compares a document with the tables and with Stripe. It changes nothing.
type planner struct {
	account
	tables tables
	doc    Document
	at     time.Time // when what is found off sale counts as archived
	plan   *Plan
}

func (p *planner) run(ctx context.Context) error {
	p.plan.stored = Stored{Document: p.doc, TierProducts: map[string]string{}, PackProducts: map[string]string{}}
	for _, t := range p.doc.Tiers {
		p.diffTier(t)
	}
	for _, k := range p.doc.CreditPacks {
		p.diffPack(k)
	}
	p.diffMeters()
	for _, it := range p.doc.items() {
		if err := p.planItem(ctx, it); err != nil {
			return err
		}
	}
	return p.planRemoved(ctx)
}

// items are the parts of the document that Stripe has to know.
func (d Document) items() []item {
	var list []item
	for _, t := range d.Tiers {
		if len(t.Prices) > 0 {
			list = append(list, tierItem(t))
		}
	}
	for _, k := range d.CreditPacks {
		list = append(list, packItem(k))
	}
	return list
}

// An item is what has a product at Stripe: a tier or a credit pack.
type item struct {
	kind        string // tier or pack
	id          string
	name        string
	description string
	wanted      []Price // as they should be on sale, without lookup key and id
}

func tierItem(t TierSpec) item {
	it := item{kind: "tier", id: t.ID, name: t.Name, description: t.Description}
	for _, p := range t.Prices {
		it.wanted = append(it.wanted, Price{
			LookupKey: tierKey(t.ID, p.Interval, p.Currency), TierID: t.ID, Interval: p.Interval, Currency: p.Currency, Amount: p.Amount,
		})
	}
	return it
}

func packItem(k PackSpec) item {
	it := item{kind: "pack", id: k.ID, name: k.Name}
	for _, p := range k.Prices {
		it.wanted = append(it.wanted, Price{
			LookupKey: packKey(k.ID, p.Currency), PackID: k.ID, Currency: p.Currency, Amount: p.Amount, Credits: k.Credits,
		})
	}
	return it
}

func (it item) meta() string {
	if it.kind == "tier" {
		return metaTier
	}
	return metaPack
}

// products is where the item's product id is kept.
func (it item) products(s *Stored) map[string]string {
	if it.kind == "tier" {
		return s.TierProducts
	}
	return s.PackProducts
}

// rows returns all prices of the tables.
func (t tables) rows() []Price {
	var list []Price
	for _, p := range t.tierPrices {
		list = append(list, t.tierPrice(p))
	}
	for _, p := range t.packPrices {
		list = append(list, t.packPrice(p))
	}
	return list
}

// base is the lookup key of the first price in the place of this one.
func (p Price) base() string {
	if p.TierID != "" {
		return tierKey(p.TierID, p.Interval, p.Currency)
	}
	return packKey(p.PackID, p.Currency)
}

func (p Price) String() string {
	if p.TierID != "" {
		return fmt.Sprintf("%s: %s %d a %s", p.LookupKey, p.Currency, p.Amount, p.Interval)
	}
	return fmt.Sprintf("%s: %s %d for %d credits", p.LookupKey, p.Currency, p.Amount, p.Credits)
}
