package catalog

import (
	"fmt"
	"slices"
	"strings"

	"example.com/saaskit/internal/db"
)

// diffTier notes what changes about a tier beside its prices.
func (p *planner) diffTier(t TierSpec) {
	i := slices.IndexFunc(p.tables.tiers, func(row db.Tier) bool { return row.ID == t.ID })
	if i < 0 {
		p.plan.note(Added, "tier %s: %s, rank %d", t.ID, t.Name, t.Rank)
		return
	}
	what := "tier " + t.ID
	before := p.tables.offer(p.tables.tiers[i])
	if before.ArchivedAt != nil {
		p.plan.note(Added, "%s comes back", what)
	}
	diff(p.plan, what+" name", before.Name, t.Name)
	diff(p.plan, what+" description", before.Description, t.Description)
	diff(p.plan, what+" rank", before.Rank, t.Rank)
	diff(p.plan, what+" requests_per_minute", before.Limits.RequestsPerMinute, t.Limits.RequestsPerMinute)
	diff(p.plan, what+" burst", before.Limits.Burst, t.Limits.Burst)
	diff(p.plan, what+" api_keys", before.Limits.APIKeys, t.Limits.APIKeys)
	diff(p.plan, what+" credits a month", before.Allowance.Amount, t.Credits.Amount)
	diff(p.plan, what+" credits roll over", before.Allowance.Rollover, t.Credits.Rollover)
	diff(p.plan, what+" trial days", before.TrialDays, t.TrialDays)
	diff(p.plan, what+" greatest quantity", before.MaxQuantity, max(t.MaxQuantity, 1))
	diff(p.plan, what+" features", featureList(before.Features), featureList(t.Features))
}

func featureList(list []Feature) string {
	parts := make([]string, len(list))
	for i, f := range list {
		parts[i] = fmt.Sprintf("%s (%s)", f.ID, f.Name)
		if f.Value != "" {
			parts[i] = fmt.Sprintf("%s (%s: %s)", f.ID, f.Name, f.Value)
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// diffPack notes what changes about a pack beside its prices.
func (p *planner) diffPack(k PackSpec) {
	i := slices.IndexFunc(p.tables.packs, func(row db.CreditPack) bool { return row.ID == k.ID })
	if i < 0 {
		p.plan.note(Added, "credit pack %s: %s, %d credits", k.ID, k.Name, k.Credits)
		return
	}
	what := "credit pack " + k.ID
	before := p.tables.packs[i]
	if before.ArchivedAt != nil {
		p.plan.note(Added, "%s comes back", what)
	}
	diff(p.plan, what+" name", before.Name, k.Name)
	diff(p.plan, what+" credits", before.Credits, k.Credits)
	diff(p.plan, what+" expires after days", days(before.ExpiresAfterDays), k.ExpiresAfterDays)
}

// diffMeters compares the meters, of which Stripe knows nothing.
func (p *planner) diffMeters() {
	for _, m := range p.doc.Meters {
		i := slices.IndexFunc(p.tables.meters, func(row db.Meter) bool { return row.ID == m.ID })
		if i < 0 {
			p.plan.note(Added, "meter %s: %s, in units of %s", m.ID, m.Name, m.Unit)
			continue
		}
		diff(p.plan, "meter "+m.ID+" name", p.tables.meters[i].Name, m.Name)
		diff(p.plan, "meter "+m.ID+" unit", p.tables.meters[i].Unit, m.Unit)
	}
	for _, row := range p.tables.meters {
		if !slices.ContainsFunc(p.doc.Meters, func(m MeterSpec) bool { return m.ID == row.ID }) {
			p.plan.note(Removed, "archive meter %s", row.ID)
		}
	}
}

func diff[T comparable](p *Plan, what string, before, after T) {
	if before != after {
		p.note(Changed, "%s: %v → %v", what, before, after)
	}
}
