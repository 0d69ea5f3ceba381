package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/saaskit/internal/db"
)

// Stored is a catalogue with what Stripe calls its parts.
type Stored struct {
	Document
	TierProducts map[string]string // tier id → product id at Stripe
	PackProducts map[string]string // pack id → product id at Stripe
	// Prices are those on sale, and archived ones that the tables may not know yet.
	Prices []Price
}

// Write replaces the catalogue of the tables in the transaction of q. What s leaves out is archived.
func Write(ctx context.Context, q *db.Queries, now time.Time, s Stored) error {
	archive := []func(context.Context, time.Time) error{
		q.ArchiveTiers, q.ArchiveTierPrices, q.ArchiveCreditPacks, q.ArchiveCreditPackPrices, q.ArchiveMeters,
	}
	for _, step := range archive {
		if err := step(ctx, now); err != nil {
			return fmt.Errorf("archive the catalogue before: %w", err)
		}
	}
	for _, t := range s.Tiers {
		if err := writeTier(ctx, q, now, t, s.TierProducts[t.ID]); err != nil {
			return fmt.Errorf("write tier %s: %w", t.ID, err)
		}
	}
	for _, p := range s.CreditPacks {
		if err := writePack(ctx, q, now, p, s.PackProducts[p.ID]); err != nil {
			return fmt.Errorf("write credit pack %s: %w", p.ID, err)
		}
	}
	for _, p := range s.Prices {
		if err := writePrice(ctx, q, now, p); err != nil {
			return fmt.Errorf("write price %s: %w", p.LookupKey, err)
		}
	}
	for _, m := range s.Meters {
		if err := q.UpsertMeter(ctx, db.UpsertMeterParams{ID: m.ID, Name: m.Name, Unit: m.Unit, UpdatedAt: now}); err != nil {
			return fmt.Errorf("write meter %s: %w", m.ID, err)
		}
	}
	return nil
}

func writeTier(ctx context.Context, q *db.Queries, now time.Time, t TierSpec, product string) error {
	err := q.UpsertTier(ctx, db.UpsertTierParams{
		ID: t.ID, Name: t.Name, Description: t.Description, Rank: int32(t.Rank),
		RequestsPerMinute: int32(t.Limits.RequestsPerMinute), Burst: int32(t.Limits.Burst), APIKeys: int32(t.Limits.APIKeys),
		AllowanceAmount: t.Credits.Amount, AllowanceRollover: t.Credits.Rollover,
		TrialDays: int32(t.TrialDays), MaxQuantity: max(t.MaxQuantity, 1),
		StripeProductID: orNull(product), UpdatedAt: now,
	})
	if err != nil {
		return err
	}
	if err := q.DeleteTierFeatures(ctx, t.ID); err != nil {
		return err
	}
	for i, f := range t.Features {
		row := db.InsertTierFeatureParams{TierID: t.ID, Feature: f.ID, Name: f.Name, Value: f.Value, Position: int32(i)}
		if err := q.InsertTierFeature(ctx, row); err != nil {
			return err
		}
	}
	return nil
}

func writePack(ctx context.Context, q *db.Queries, now time.Time, p PackSpec, product string) error {
	var expires *int32
	if p.ExpiresAfterDays > 0 {
		expires = new(int32(p.ExpiresAfterDays))
	}
	return q.UpsertCreditPack(ctx, db.UpsertCreditPackParams{
		ID: p.ID, Name: p.Name, Credits: p.Credits, ExpiresAfterDays: expires, StripeProductID: orNull(product), UpdatedAt: now,
	})
}

// errPriceChanged cannot happen as long as another amount gets another lookup key.
var errPriceChanged = errors.New("another price was sold under this lookup key")

func writePrice(ctx context.Context, q *db.Queries, now time.Time, p Price) error {
	var rows int64
	var err error
	if p.TierID != "" {
		rows, err = q.UpsertTierPrice(ctx, db.UpsertTierPriceParams{
			LookupKey: p.LookupKey, TierID: p.TierID, Interval: p.Interval, Currency: p.Currency, Amount: p.Amount,
			StripePriceID: p.StripePriceID, ArchivedAt: p.ArchivedAt, CreatedAt: now,
		})
	} else {
		rows, err = q.UpsertCreditPackPrice(ctx, db.UpsertCreditPackPriceParams{
			LookupKey: p.LookupKey, PackID: p.PackID, Currency: p.Currency, Amount: p.Amount, Credits: p.Credits,
			StripePriceID: p.StripePriceID, ArchivedAt: p.ArchivedAt, CreatedAt: now,
		})
	}
	if err == nil && rows == 0 {
		err = errPriceChanged
	}
	return err
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
