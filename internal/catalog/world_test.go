package catalog_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stripe/stripe-go/v76/client"

	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/stripecontract"
	"example.com/saaskit/internal/stripeemu"
)

// A world is an emulated Stripe account, a database, and a wire between them that counts the calls that change something and
// can be cut.
type world struct {
	t    *testing.T
	emu  *stripeemu.Emulator
	url  string
	pool *pgxpool.Pool

	writes atomic.Int64
	cut    atomic.Int64 // cut the wire at this write; 0 is never
	late   bool         // after Stripe has done it, instead of before
}

func newWorld(t *testing.T) *world {
	t.Helper()
	emu, err := stripeemu.New(stripeemu.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(emu.Close)
	server := httptest.NewServer(emu.Handler())
	t.Cleanup(server.Close)
	return &world{t: t, emu: emu, url: server.URL, pool: pgtest.New(t)}
}

var errCut = errors.New("the process was killed")

// RoundTrip is the wire. A cut one stays cut: a killed process does not go on.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	n, cut := w.writes.Load(), w.cut.Load()
	if r.Method != http.MethodGet {
		n = w.writes.Add(1)
	}
	if cut > 0 && (n > cut || n == cut && !w.late) {
		return nil, errCut
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && cut > 0 && n == cut {
		_ = answer.Body.Close()
		return nil, errCut
	}
	return answer, err
}

func (w *world) api() *client.API {
	w.t.Helper()
	contract, err := stripecontract.Load()
	if err != nil {
		w.t.Fatal(err)
	}
	checked := &stripecontract.Transport{Contract: contract, Base: w, Report: func(err error) {
		if !errors.Is(err, errCut) {
			w.t.Errorf("contract: %v", err)
		}
	}}
	backend := stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{
		URL: stripe.String(w.url), HTTPClient: &http.Client{Transport: checked}, MaxNetworkRetries: stripe.Int64(0),
		EnableTelemetry: stripe.Bool(false), LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull},
	})
	return client.New("sk_test_catalog", &stripe.Backends{API: backend, Connect: backend, Uploads: backend})
}

func (w *world) applier() *catalog.Applier { return w.applierOf("test", w.pool) }

func (w *world) applierOf(env string, pool *pgxpool.Pool) *catalog.Applier {
	return catalog.NewApplier(catalog.Config{Pool: pool, Stripe: w.api(), AppEnv: env, Now: time.Now})
}

func yes(catalog.Plan) error { return nil }

func (w *world) apply(source string) catalog.Plan {
	w.t.Helper()
	return w.applyWith(w.applier(), source)
}

func (w *world) applyWith(a *catalog.Applier, source string) catalog.Plan {
	w.t.Helper()
	plan, err := a.Apply(w.t.Context(), load(w.t, source), yes)
	if err != nil {
		w.t.Fatalf("apply: %v\n%s", err, plan)
	}
	return plan
}

func load(t *testing.T, source string) catalog.Document {
	t.Helper()
	doc, err := catalog.Load([]byte(source))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// atStripe lists everything there: products and prices, by key, with what matters of them.
func (w *world) atStripe() map[string]string {
	w.t.Helper()
	w.cut.Store(0)
	found := map[string]string{}
	products := w.api().Products.List(&stripe.ProductListParams{})
	for products.Next() {
		p := products.Product()
		found[p.ID] = fmt.Sprintf("%s active=%v", p.Name, p.Active)
	}
	prices := w.api().Prices.List(&stripe.PriceListParams{})
	for prices.Next() {
		p := prices.Price()
		if _, twice := found[p.LookupKey]; twice {
			w.t.Errorf("two prices under %q", p.LookupKey)
		}
		interval := "once"
		if p.Recurring != nil {
			interval = string(p.Recurring.Interval)
		}
		found[p.LookupKey] = fmt.Sprintf("%s %d %s %s active=%v", p.Currency, p.UnitAmount, interval, p.Product.ID, p.Active)
	}
	if err := errors.Join(products.Err(), prices.Err()); err != nil {
		w.t.Fatal(err)
	}
	return found
}

// onSale lists what the tables sell, by lookup key, and checks that Stripe sells it at the same price.
func (w *world) onSale(pool *pgxpool.Pool) map[string]int64 {
	w.t.Helper()
	s := catalog.New(pool)
	found := map[string]int64{}
	var prices []catalog.Price
	tiers, err := s.Tiers(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, offer := range tiers {
		prices = append(prices, offer.Prices...)
	}
	packs, err := s.CreditPacks(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, pack := range packs {
		prices = append(prices, pack.Prices...)
	}
	for _, p := range prices {
		at, err := w.api().Prices.Get(p.StripePriceID, nil)
		if err != nil || at.LookupKey != p.LookupKey || at.UnitAmount != p.Amount || string(at.Currency) != p.Currency || !at.Active {
			w.t.Errorf("%v is %+v at Stripe, %v", p, at, err)
		}
		found[p.LookupKey] = p.Amount
	}
	return found
}

func check[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func smallAtStripe() map[string]string {
	return map[string]string{
		"saaskit_test_tier_pro":   "Pro active=true",
		"saaskit_test_pack_small": "Small active=true",
		"pro_month_usd":           "usd 2900 month saaskit_test_tier_pro active=true",
		"pro_month_eur":           "eur 2700 month saaskit_test_tier_pro active=true",
		"pack_small_usd":          "usd 1500 once saaskit_test_pack_small active=true",
		"pack_small_eur":          "eur 1400 once saaskit_test_pack_small active=true",
	}
}
