// Package catalogtest gives tests a small catalogue without Stripe.
package catalogtest

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
)

// Ids at Stripe of the prices of [Catalogue].
const (
	PriceBasic        = "price_basic"          // basic, month, usd 1000, 10 credits
	PriceBasicEUR     = "price_basic_eur"      // basic, month, eur 900
	PriceBasicYear    = "price_basic_year"     // basic, year, usd 10000
	PriceBasicYearEUR = "price_basic_year_eur" // basic, year, eur 9000
	PricePro          = "price_pro"            // pro, month, usd 3000, 30 credits
	PriceProEUR       = "price_pro_eur"        // pro, month, eur 2700
	PriceProYear      = "price_pro_year"       // pro, year, usd 30000
	PriceProYearEUR   = "price_pro_year_eur"   // pro, year, eur 27000
	PricePack         = "price_pack"           // pack small, usd 500, 50 credits, for 365 days
	PricePackEUR      = "price_pack_eur"       // pack small, eur 450
)

// Apply writes [Catalogue] into the tables, as if it had been applied at Stripe.
func Apply(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	err := postgres.InTx(t.Context(), pool, func(q *db.Queries) error {
		return catalog.Write(t.Context(), q, time.Now(), Catalogue())
	})
	if err != nil {
		t.Fatalf("apply the test catalogue: %v", err)
	}
}

// Catalogue is the tiers free (5 credits a month), basic (10) and pro (30), the pack small and the meter requests.
func Catalogue() catalog.Stored {
	return catalog.Stored{
		Document: catalog.Document{
			Currencies: []string{"usd", "eur"},
			Tiers: []catalog.TierSpec{
				tier(catalog.FreeTier, 0, 60, 1, 5),
				tier("basic", 1, 120, 2, 10),
				tier("pro", 2, 600, 5, 30),
			},
			CreditPacks: []catalog.PackSpec{{ID: "small", Name: "Small", Credits: 50, ExpiresAfterDays: 365}},
			Meters:      []catalog.MeterSpec{{ID: "requests", Name: "Requests", Unit: "request"}},
		},
		TierProducts: map[string]string{"basic": "prod_basic", "pro": "prod_pro"},
		PackProducts: map[string]string{"small": "prod_pack"},
		Prices: []catalog.Price{
			price("basic", catalog.Month, "usd", 1000, PriceBasic),
			price("basic", catalog.Month, "eur", 900, PriceBasicEUR),
			price("basic", catalog.Year, "usd", 10000, PriceBasicYear),
			price("basic", catalog.Year, "eur", 9000, PriceBasicYearEUR),
			price("pro", catalog.Month, "usd", 3000, PricePro),
			price("pro", catalog.Month, "eur", 2700, PriceProEUR),
			price("pro", catalog.Year, "usd", 30000, PriceProYear),
			price("pro", catalog.Year, "eur", 27000, PriceProYearEUR),
			{LookupKey: "small_usd", PackID: "small", Currency: "usd", Amount: 500, Credits: 50, StripePriceID: PricePack},
			{LookupKey: "small_eur", PackID: "small", Currency: "eur", Amount: 450, Credits: 50, StripePriceID: PricePackEUR},
		},
	}
}

func tier(id string, rank, perMinute, keys int, credits int64) catalog.TierSpec {
	return catalog.TierSpec{
		ID: id, Name: id, Description: "The tier " + id + ".", Rank: rank,
		Features: []catalog.Feature{{ID: "api", Name: "API access"}},
		Limits:   catalog.Limits{RequestsPerMinute: perMinute, Burst: 20, APIKeys: keys},
		Credits:  catalog.Allowance{Amount: credits},
	}
}

func price(tierID, interval, currency string, amount int64, stripeID string) catalog.Price {
	return catalog.Price{
		LookupKey: tierID + "_" + interval + "_" + currency, TierID: tierID, Interval: interval, Currency: currency,
		Amount: amount, StripePriceID: stripeID,
	}
}
