package catalog_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/catalog/catalogtest"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/problem"
)

func write(t *testing.T, pool *pgxpool.Pool, s catalog.Stored) error {
	t.Helper()
	return postgres.InTx(t.Context(), pool, func(q *db.Queries) error { return catalog.Write(t.Context(), q, time.Now(), s) })
}

func TestPriceByStripeID(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	catalogtest.Apply(t, pool)
	tests := []struct {
		name string
		id   string
		want catalog.Price
		ok   bool
	}{
		{"tier", catalogtest.PricePro, catalog.Price{
			LookupKey: "pro_month_usd", TierID: "pro", Interval: "month", Currency: "usd", Amount: 3000, Credits: 30, StripePriceID: "price_pro",
		}, true},
		{"pack", catalogtest.PricePack, catalog.Price{
			LookupKey: "small_usd", PackID: "small", Currency: "usd", Amount: 500, Credits: 50, ExpiresAfterDays: 365, StripePriceID: "price_pack",
		}, true},
		{"unknown", "price_zzz", catalog.Price{}, false},
		{"empty", "", catalog.Price{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok, err := catalog.PriceByStripeID(t.Context(), db.New(pool), tt.id)
			if err != nil || ok != tt.ok {
				t.Fatalf("PriceByStripeID: ok %v, %v", ok, err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A tier and a price that are not on sale any more go on working for those who have them.
func TestArchivedStaysReadable(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	catalogtest.Apply(t, pool)
	next := catalogtest.Catalogue()
	next.Tiers = next.Tiers[:2] // without pro
	next.Prices = next.Prices[:4]
	next.CreditPacks = nil
	next.Meters = nil
	if err := write(t, pool, next); err != nil {
		t.Fatal(err)
	}
	q := db.New(pool)
	price, ok, err := catalog.PriceByStripeID(t.Context(), q, catalogtest.PricePro)
	if err != nil || !ok || price.ArchivedAt == nil || price.Credits != 30 {
		t.Errorf("price: %+v, %v, %v", price, ok, err)
	}
	tier, ok, err := catalog.TierByID(t.Context(), q, "pro")
	if err != nil || !ok || tier.ArchivedAt == nil || tier.Rank != 2 || tier.Limits.APIKeys != 5 {
		t.Errorf("tier: %+v, %v, %v", tier, ok, err)
	}
	if ok, err := catalog.MeterExists(t.Context(), q, "requests"); err != nil || ok {
		t.Errorf("archived meter: %v, %v", ok, err)
	}
	s := catalog.New(pool)
	tiers, err := s.Tiers(t.Context())
	if err != nil || len(tiers) != 2 {
		t.Errorf("Tiers: %+v, %v", tiers, err)
	}
	offer, err := s.Tier(t.Context(), "pro")
	if err != nil || len(offer.Prices) != 0 {
		t.Errorf("Tier: %+v, %v", offer, err)
	}
	if packs, err := s.CreditPacks(t.Context()); err != nil || len(packs) != 0 {
		t.Errorf("CreditPacks: %+v, %v", packs, err)
	}
	_, err = s.TierPrice(t.Context(), "pro", catalog.Month, "usd")
	if !errors.Is(err, problem.PriceNotFound) {
		t.Errorf("TierPrice of an archived tier: %v", err)
	}
}

func TestTierByIDUnknown(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	if _, ok, err := catalog.TierByID(t.Context(), db.New(pool), "pro"); err != nil || ok {
		t.Errorf("got %v, %v", ok, err)
	}
	if _, err := catalog.New(pool).Tier(t.Context(), "pro"); !errors.Is(err, problem.NotFound) {
		t.Errorf("Tier: %v", err)
	}
}

func TestWriteNeverChangesASoldPrice(t *testing.T) {
	t.Parallel()
	change := map[string]func(*catalog.Price){
		"amount":   func(p *catalog.Price) { p.Amount++ },
		"currency": func(p *catalog.Price) { p.Currency = "gbp" },
		"id":       func(p *catalog.Price) { p.StripePriceID += "x" },
		"credits":  func(p *catalog.Price) { p.Credits++ },
	}
	for name, f := range change {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := pgtest.New(t)
			catalogtest.Apply(t, pool)
			next := catalogtest.Catalogue()
			f(&next.Prices[len(next.Prices)-1])
			if err := write(t, pool, next); err == nil {
				t.Fatal("a sold price was changed")
			}
		})
	}
}

// Ranks may be swapped, and what was archived may come back.
func TestWriteSwapsAndRevives(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	catalogtest.Apply(t, pool)
	next := catalogtest.Catalogue()
	next.Tiers[1].Rank, next.Tiers[2].Rank = next.Tiers[2].Rank, next.Tiers[1].Rank
	next.Prices = next.Prices[1:] // without price_basic
	if err := write(t, pool, next); err != nil {
		t.Fatal(err)
	}
	s := catalog.New(pool)
	if tiers, err := s.Tiers(t.Context()); err != nil || tiers[1].ID != "pro" || tiers[2].ID != "basic" {
		t.Fatalf("after the swap: %+v, %v", tiers, err)
	}
	if _, err := s.TierPrice(t.Context(), "basic", catalog.Month, "usd"); !errors.Is(err, problem.PriceNotFound) {
		t.Fatalf("archived price is on sale: %v", err)
	}
	catalogtest.Apply(t, pool)
	s.Forget()
	if p, err := s.TierPrice(t.Context(), "basic", catalog.Month, "usd"); err != nil || p.Amount != 1000 {
		t.Fatalf("after coming back: %+v, %v", p, err)
	}
}

// Without a call to Forget another process's catalogue is seen within a second, and not on every call.
func TestServiceCaches(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	catalogtest.Apply(t, pool)
	s := catalog.New(pool)
	began := time.Now()
	if tiers, err := s.Tiers(t.Context()); err != nil || len(tiers) != 3 {
		t.Fatalf("Tiers: %v, %v", tiers, err)
	}
	next := catalogtest.Catalogue()
	next.Tiers = next.Tiers[:2]
	next.Prices = next.Prices[:4]
	if err := write(t, pool, next); err != nil {
		t.Fatal(err)
	}
	tiers, err := s.Tiers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if time.Since(began) < catalog.Freshness && len(tiers) != 3 {
		t.Error("the tables were read again at once")
	}
	time.Sleep(time.Until(began.Add(catalog.Freshness + 50*time.Millisecond)))
	if tiers, err := s.Tiers(t.Context()); err != nil || len(tiers) != 2 {
		t.Errorf("after a second: %d tiers, %v", len(tiers), err)
	}
}
