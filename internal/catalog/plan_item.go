package catalog

import (
	"context"
	"slices"
	"strconv"

	"github.com/stripe/stripe-go/v76"
)

// planItem brings one product and its prices to the document.
func (p *planner) planItem(ctx context.Context, it item) error {
	found := make([]map[int]*stripe.Price, len(it.wanted))
	for i, price := range it.wanted {
		var err error
		if found[i], err = p.versions(ctx, price.base(), p.lastVersion(price.base())); err != nil {
			return err
		}
	}
	product, err := p.planProduct(ctx, it, found)
	if err != nil {
		return err
	}
	for i, price := range it.wanted {
		p.planPrice(it, product, price, found[i])
	}
	return nil
}

// planProduct finds the item's product: the one that the tables name, the one that its prices have, or the one under the id
// that we would give. It returns no id where it is still to be made.
func (p *planner) planProduct(ctx context.Context, it item, found []map[int]*stripe.Price) (string, error) {
	ours := p.productID(it.kind, it.id)
	for _, id := range append(p.productCandidates(it, found), ours) {
		product, ok, err := p.product(ctx, id)
		if err != nil {
			return "", err
		}
		if ok && !p.foreign(product.Metadata) {
			p.plan.adoptProduct(p.account, it, product)
			return id, nil
		}
	}
	p.plan.note(Added, "product %s at Stripe for %s %s", ours, it.kind, it.id)
	p.plan.before = append(p.plan.before, step{"create:" + ours, func(ctx context.Context, key string, s *Stored) (string, error) {
		id, err := p.createProduct(ctx, key, ours, it)
		it.products(s)[it.id] = id
		return id, err
	}})
	return "", nil
}

func (p *planner) productCandidates(it item, found []map[int]*stripe.Price) []string {
	var ids []string
	add := func(id string) {
		if id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for _, t := range p.tables.tiers {
		if it.kind == "tier" && t.ID == it.id && t.StripeProductID != nil {
			add(*t.StripeProductID)
		}
	}
	for _, k := range p.tables.packs {
		if it.kind == "pack" && k.ID == it.id && k.StripeProductID != nil {
			add(*k.StripeProductID)
		}
	}
	for _, prices := range found {
		if last := p.latest(prices); last > 0 && prices[last].Product != nil {
			add(prices[last].Product.ID)
		}
	}
	return ids
}

// adoptProduct takes a product that Stripe has, and brings it up to date.
func (pl *Plan) adoptProduct(a account, it item, product *stripe.Product) {
	id := product.ID
	it.products(&pl.stored)[it.id] = id
	same := product.Name == it.name && (product.Description == it.description || it.description == "") &&
		product.Active && product.Metadata[metaEnv] == a.env && product.Metadata[it.meta()] == it.id
	if same {
		return
	}
	pl.note(Changed, "product %s at Stripe", id)
	pl.before = append(pl.before, step{"update:" + id, func(ctx context.Context, key string, _ *Stored) (string, error) {
		return id, a.updateProduct(ctx, key, id, it)
	}})
}

// lastVersion is the highest version of a place that the tables know.
func (p *planner) lastVersion(base string) int {
	last := 0
	for _, row := range p.tables.rows() {
		if row.base() == base {
			last = max(last, versionOf(row.LookupKey, base))
		}
	}
	return last
}

// latest is the highest version at Stripe that is ours, 0 where there is none.
func (p *planner) latest(found map[int]*stripe.Price) int {
	last := 0
	for n, price := range found {
		if !p.foreign(price.Metadata) {
			last = max(last, n)
		}
	}
	return last
}

// planPrice fills one place: it keeps the latest price at Stripe where that is the wanted one, and makes the next version
// otherwise. The others are archived.
func (p *planner) planPrice(it item, product string, want Price, found map[int]*stripe.Price) {
	base := want.base()
	current, onSale := p.currentRow(base)
	last := p.latest(found)
	if last > 0 && p.fits(want, product, found[last], versionKey(base, last)) {
		p.keepPrice(want, found[last], current, onSale)
		p.archiveOthers(want, found, last)
		return
	}
	highest := p.lastVersion(base)
	for n := range found {
		highest = max(highest, n)
	}
	want.LookupKey = versionKey(base, highest+1)
	p.plan.note(Added, "price %s", want)
	if onSale {
		p.plan.note(Removed, "archive price %s", current)
	}
	at := len(p.plan.stored.Prices)
	p.plan.stored.Prices = append(p.plan.stored.Prices, want)
	p.plan.before = append(p.plan.before, step{"create:" + want.LookupKey, func(ctx context.Context, key string, s *Stored) (string, error) {
		id, err := p.createPrice(ctx, key, it.products(s)[it.id], want)
		s.Prices[at].StripePriceID = id
		return id, err
	}})
	p.archiveOthers(want, found, 0)
}

// keepPrice puts a price on sale that Stripe has.
func (p *planner) keepPrice(want Price, found *stripe.Price, current Price, onSale bool) {
	want.LookupKey, want.StripePriceID = found.LookupKey, found.ID
	p.plan.stored.Prices = append(p.plan.stored.Prices, want)
	switch {
	case !onSale:
		p.plan.note(Added, "price %s (Stripe has it as %s)", want, found.ID)
	case current.LookupKey != want.LookupKey:
		p.plan.note(Changed, "price %s (Stripe has it as %s) in place of %s", want, found.ID, current.LookupKey)
	}
	if !found.Active {
		p.plan.note(Changed, "activate price %s at Stripe", found.LookupKey)
		p.plan.before = append(p.plan.before, step{"activate:" + found.LookupKey, func(ctx context.Context, key string, _ *Stored) (string, error) {
			return found.ID, p.setPriceActive(ctx, key, found.ID, true)
		}})
	}
}

func (p *planner) currentRow(base string) (Price, bool) {
	for _, row := range p.tables.rows() {
		if row.base() == base && row.ArchivedAt == nil {
			return row, true
		}
	}
	return Price{}, false
}

// fits tells whether the price at Stripe is the wanted one, and not another than the tables know under its key.
func (p *planner) fits(want Price, product string, at *stripe.Price, key string) bool {
	if string(at.Currency) != want.Currency || at.UnitAmount != want.Amount || at.Product == nil || at.Product.ID != product {
		return false
	}
	if want.TierID != "" {
		if at.Recurring == nil || string(at.Recurring.Interval) != want.Interval || at.Recurring.IntervalCount != 1 ||
			at.Recurring.UsageType != stripe.PriceRecurringUsageTypeLicensed {
			return false
		}
	} else if at.Recurring != nil || creditsOf(at, want.Credits) != want.Credits {
		return false
	}
	for _, row := range p.tables.rows() {
		if row.LookupKey == key && (row.StripePriceID != at.ID || row.Amount != want.Amount || row.PackID != "" && row.Credits != want.Credits) {
			return false
		}
	}
	return true
}

// creditsOf is what a pack's price was made for; fallback where it does not say.
func creditsOf(at *stripe.Price, fallback int64) int64 {
	credits, err := strconv.ParseInt(at.Metadata[metaCredits], 10, 64)
	if err != nil || credits <= 0 {
		return fallback
	}
	return credits
}
