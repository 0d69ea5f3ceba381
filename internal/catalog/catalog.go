package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/db"
)

// FreeTier is the id of the tier that everybody has who pays for no other; every catalogue has it.
const FreeTier = "free"

// Intervals of tier prices.
const (
	Month = "month"
	Year  = "year"
)

// A Tier is what an account may have, without its features and prices: those are in an [Offer].
type Tier struct {
	ID              string
	Name            string
	Description     string
	Rank            int // higher is more
	Limits          Limits
	Allowance       Allowance
	TrialDays       int    // before the first payment, once for an account; 0 is none
	MaxQuantity     int64  // how many of it a subscription may have; at least 1
	StripeProductID string // empty for the free tier
	ArchivedAt      *time.Time
}

// Limits are what a tier enforces.
type Limits struct {
	RequestsPerMinute int `json:"requests_per_minute"`
	Burst             int `json:"burst"`
	APIKeys           int `json:"api_keys"`
}

// An Allowance is the credits that come with a tier every month; an amount of 0 is none.
type Allowance struct {
	Amount   int64 `json:"amount"`
	Rollover bool  `json:"rollover"`
}

// A Feature is something that a tier contains. Value is empty where it is no more than a yes.
type Feature struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// A Price is what a tier or a credit pack costs in one currency, on sale or archived.
type Price struct {
	LookupKey string
	TierID    string // empty for a pack
	PackID    string // empty for a tier
	Interval  string // of a tier: Month or Year
	Currency  string
	Amount    int64 // minor units
	// Credits of a pack are those sold under this price; those of a tier are its monthly allowance as it is now.
	Credits          int64
	Rollover         bool // of a tier: its credits outlive their month
	ExpiresAfterDays int  // of a pack; 0 is never
	StripePriceID    string
	ArchivedAt       *time.Time
}

// TierByID reads a tier, archived or not, in the transaction of q. It reports false where there never was one.
func TierByID(ctx context.Context, q *db.Queries, id string) (Tier, bool, error) {
	row, err := q.GetTier(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return Tier{}, false, nil
	}
	if err != nil {
		return Tier{}, false, fmt.Errorf("read tier: %w", err)
	}
	return toTier(row), true, nil
}

// PriceByStripeID reads the price that Stripe knows by this id, archived or not, in the transaction of q. It reports false
// where the price is not of our catalogue.
func PriceByStripeID(ctx context.Context, q *db.Queries, stripePriceID string) (Price, bool, error) {
	tier, err := q.GetTierPriceByStripeID(ctx, stripePriceID)
	if err == nil {
		return Price{
			LookupKey: tier.LookupKey, TierID: tier.TierID, Interval: tier.Interval, Currency: tier.Currency, Amount: tier.Amount,
			Credits: tier.AllowanceAmount, Rollover: tier.AllowanceRollover,
			StripePriceID: tier.StripePriceID, ArchivedAt: tier.ArchivedAt,
		}, true, nil
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return Price{}, false, fmt.Errorf("read tier price: %w", err)
	}
	pack, err := q.GetCreditPackPriceByStripeID(ctx, stripePriceID)
	if errors.Is(err, pgx.ErrNoRows) {
		return Price{}, false, nil
	}
	if err != nil {
		return Price{}, false, fmt.Errorf("read credit pack price: %w", err)
	}
	return Price{
		LookupKey: pack.LookupKey, PackID: pack.PackID, Currency: pack.Currency, Amount: pack.Amount, Credits: pack.Credits,
		ExpiresAfterDays: days(pack.ExpiresAfterDays), StripePriceID: pack.StripePriceID, ArchivedAt: pack.ArchivedAt,
	}, true, nil
}

// MeterExists tells in the transaction of q whether usage may be recorded on the meter.
func MeterExists(ctx context.Context, q *db.Queries, id string) (bool, error) {
	ok, err := q.MeterExists(ctx, id)
	if err != nil {
		return false, fmt.Errorf("read meter: %w", err)
	}
	return ok, nil
}

func toTier(row db.Tier) Tier {
	t := Tier{
		ID: row.ID, Name: row.Name, Description: row.Description, Rank: int(row.Rank),
		Limits:    Limits{RequestsPerMinute: int(row.RequestsPerMinute), Burst: int(row.Burst), APIKeys: int(row.APIKeys)},
		Allowance: Allowance{Amount: row.AllowanceAmount, Rollover: row.AllowanceRollover},
		TrialDays: int(row.TrialDays), MaxQuantity: row.MaxQuantity, ArchivedAt: row.ArchivedAt,
	}
	if row.StripeProductID != nil {
		t.StripeProductID = *row.StripeProductID
	}
	return t
}

func days(d *int32) int {
	if d == nil {
		return 0
	}
	return int(*d)
}
