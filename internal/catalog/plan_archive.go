package catalog

import (
	"context"
	"maps"
	"slices"

	"github.com/stripe/stripe-go/v76"
)

// archiveOthers takes all prices of a place off sale but the version to keep, 0 for none. Those that the tables have lost are
// written into them, for subscriptions may still name them.
func (p *planner) archiveOthers(place Price, found map[int]*stripe.Price, keep int) {
	rows := p.tables.rows()
	for _, n := range slices.Sorted(maps.Keys(found)) {
		at := found[n]
		if n == keep || p.foreign(at.Metadata) {
			continue
		}
		i := slices.IndexFunc(rows, func(row Price) bool { return row.StripePriceID == at.ID })
		if i < 0 {
			p.remember(place, at)
		}
		if !at.Active {
			continue
		}
		if i < 0 || rows[i].ArchivedAt != nil {
			p.plan.note(Removed, "archive price %s at Stripe", at.LookupKey)
		}
		p.plan.after = append(p.plan.after, step{"archive:" + at.LookupKey, func(ctx context.Context, key string, _ *Stored) (string, error) {
			return at.ID, p.setPriceActive(ctx, key, at.ID, false)
		}})
	}
}

// remember puts a price of before among the archived ones, unless its lookup key is known with another price.
func (p *planner) remember(place Price, at *stripe.Price) {
	known := slices.ContainsFunc(p.tables.rows(), func(row Price) bool { return row.LookupKey == at.LookupKey })
	if known || string(at.Currency) != place.Currency || at.UnitAmount < 0 {
		return
	}
	place.LookupKey, place.StripePriceID, place.Amount, place.ArchivedAt = at.LookupKey, at.ID, at.UnitAmount, &p.at
	if place.PackID != "" {
		if place.Credits = creditsOf(at, 0); place.Credits == 0 {
			return // nobody can tell any more what was sold
		}
	}
	p.plan.note(Added, "archived price %s, which Stripe has as %s", place, at.ID)
	p.plan.stored.Prices = append(p.plan.stored.Prices, place)
}

// planRemoved archives what the tables have on sale and the document has not.
func (p *planner) planRemoved(ctx context.Context) error {
	filled := map[string]bool{}
	for _, it := range p.doc.items() {
		for _, price := range it.wanted {
			filled[price.base()] = true
		}
	}
	for _, row := range p.tables.rows() {
		if filled[row.base()] {
			continue
		}
		filled[row.base()] = true // the first row stands for its place
		if err := p.planRetiredPlace(ctx, row); err != nil {
			return err
		}
	}
	return p.planRetiredItems(ctx)
}

func (p *planner) planRetiredPlace(ctx context.Context, place Price) error {
	found, err := p.versions(ctx, place.base(), p.lastVersion(place.base()))
	if err != nil {
		return err
	}
	if row, onSale := p.currentRow(place.base()); onSale {
		p.plan.note(Removed, "archive price %s", row)
	}
	p.archiveOthers(place, found, 0)
	return nil
}

func (p *planner) planRetiredItems(ctx context.Context) error {
	for _, t := range p.tables.tiers {
		if slices.ContainsFunc(p.doc.Tiers, func(s TierSpec) bool { return s.ID == t.ID }) {
			continue
		}
		if t.ArchivedAt == nil {
			p.plan.note(Removed, "archive tier %s; who is subscribed to it keeps it", t.ID)
		}
		if err := p.retireProduct(ctx, t.StripeProductID); err != nil {
			return err
		}
	}
	for _, k := range p.tables.packs {
		if slices.ContainsFunc(p.doc.CreditPacks, func(s PackSpec) bool { return s.ID == k.ID }) {
			continue
		}
		if k.ArchivedAt == nil {
			p.plan.note(Removed, "archive credit pack %s", k.ID)
		}
		if err := p.retireProduct(ctx, k.StripeProductID); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) retireProduct(ctx context.Context, id *string) error {
	if id == nil {
		return nil
	}
	product, ok, err := p.product(ctx, *id)
	if err != nil || !ok || !product.Active || p.foreign(product.Metadata) {
		return err
	}
	p.plan.note(Removed, "archive product %s at Stripe", product.ID)
	p.plan.after = append(p.plan.after, step{"archive:" + product.ID, func(ctx context.Context, key string, _ *Stored) (string, error) {
		return product.ID, p.archiveProduct(ctx, key, product.ID)
	}})
	return nil
}
