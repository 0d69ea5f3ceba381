package catalog

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/db"
)

// tables is the whole catalogue, archived rows included, as one moment saw it.
type tables struct {
	tiers      []db.Tier
	features   []db.TierFeature
	tierPrices []db.TierPrice
	packs      []db.CreditPack
	packPrices []db.CreditPackPrice
	meters     []db.Meter
}

// readTables reads all tables in one snapshot of the database, so that an apply that commits in between is seen whole or not
// at all. READ COMMITTED would see half of it.
func readTables(ctx context.Context, pool *pgxpool.Pool) (t tables, err error) {
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, pool, options, func(tx pgx.Tx) error {
		q := db.New(tx)
		var errs [6]error
		t.tiers, errs[0] = q.ListTiers(ctx)
		t.features, errs[1] = q.ListTierFeatures(ctx)
		t.tierPrices, errs[2] = q.ListTierPrices(ctx)
		t.packs, errs[3] = q.ListCreditPacks(ctx)
		t.packPrices, errs[4] = q.ListCreditPackPrices(ctx)
		t.meters, errs[5] = q.ListMeters(ctx)
		return errors.Join(errs[:]...)
	})
	return t, err
}

func readSnapshot(ctx context.Context, pool *pgxpool.Pool) (snapshot, error) {
	t, err := readTables(ctx, pool)
	if err != nil {
		return snapshot{}, err
	}
	s := snapshot{offers: make(map[string]Offer, len(t.tiers)), tiers: []Offer{}, packs: []Pack{}}
	for _, row := range t.tiers {
		offer := t.offer(row)
		s.offers[row.ID] = offer
		if row.ArchivedAt == nil {
			s.tiers = append(s.tiers, offer)
		}
	}
	for _, row := range t.packs {
		if row.ArchivedAt == nil {
			s.packs = append(s.packs, t.pack(row))
		}
	}
	return s, nil
}

func (t tables) offer(row db.Tier) Offer {
	o := Offer{Tier: toTier(row), Features: []Feature{}, Prices: []Price{}}
	for _, f := range t.features {
		if f.TierID == row.ID {
			o.Features = append(o.Features, Feature{ID: f.Feature, Name: f.Name, Value: f.Value})
		}
	}
	for _, p := range t.tierPrices {
		if p.TierID == row.ID && p.ArchivedAt == nil {
			o.Prices = append(o.Prices, t.tierPrice(p))
		}
	}
	return o
}

func (t tables) tierPrice(p db.TierPrice) Price {
	price := Price{
		LookupKey: p.LookupKey, TierID: p.TierID, Interval: p.Interval, Currency: p.Currency, Amount: p.Amount,
		StripePriceID: p.StripePriceID, ArchivedAt: p.ArchivedAt,
	}
	if i := slices.IndexFunc(t.tiers, func(row db.Tier) bool { return row.ID == p.TierID }); i >= 0 {
		price.Credits, price.Rollover = t.tiers[i].AllowanceAmount, t.tiers[i].AllowanceRollover
	}
	return price
}

func (t tables) pack(row db.CreditPack) Pack {
	k := Pack{ID: row.ID, Name: row.Name, Credits: row.Credits, ExpiresAfterDays: days(row.ExpiresAfterDays), Prices: []Price{}}
	for _, p := range t.packPrices {
		if p.PackID == row.ID && p.ArchivedAt == nil {
			k.Prices = append(k.Prices, t.packPrice(p))
		}
	}
	return k
}

func (t tables) packPrice(p db.CreditPackPrice) Price {
	price := Price{
		LookupKey: p.LookupKey, PackID: p.PackID, Currency: p.Currency, Amount: p.Amount, Credits: p.Credits,
		StripePriceID: p.StripePriceID, ArchivedAt: p.ArchivedAt,
	}
	if i := slices.IndexFunc(t.packs, func(row db.CreditPack) bool { return row.ID == p.PackID }); i >= 0 {
		price.ExpiresAfterDays = days(t.packs[i].ExpiresAfterDays)
	}
	return price
}
