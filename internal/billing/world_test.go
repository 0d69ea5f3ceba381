package billing_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stripe/stripe-go/v76/client"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/cache"
	"example.com/saaskit/internal/cache/redistest"
	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/catalog/catalogtest"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/origin"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/stripecontract"
	"example.com/saaskit/internal/stripeemu"
	"example.com/saaskit/internal/stripehook"
)

// A clock runs, and can be set forward.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// A world is an emulated Stripe, a database with the test catalogue on sale in both, and one account.
type world struct {
	*billing.Service
	*clock
	t         *testing.T
	emu       *stripeemu.Emulator
	pool      *pgxpool.Pool
	userID    uuid.UUID
	accountID uuid.UUID
	url       string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{}, pool: pgtest.New(t)}
	emu, err := stripeemu.New(stripeemu.Config{Now: w.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(emu.Close)
	server := httptest.NewServer(emu.Handler())
	t.Cleanup(server.Close)
	w.emu, w.url = emu, server.URL
	w.sell()
	w.userID, w.accountID = pgtest.User(t, w.pool)
	w.Service = w.instance(w.api())
	return w
}

// api is a client whose requests and answers are checked against Stripe's document.
func (w *world) api() *client.API {
	w.t.Helper()
	contract, err := stripecontract.Load()
	if err != nil {
		w.t.Fatal(err)
	}
	checked := &stripecontract.Transport{Contract: contract, Report: func(err error) { w.t.Errorf("contract: %v", err) }}
	api, err := billing.NewAPI("sk_test_billing", w.url, &http.Client{Transport: checked})
	if err != nil {
		w.t.Fatal(err)
	}
	return api
}

func (w *world) instance(api *client.API) *billing.Service {
	w.t.Helper()
	origins, err := origin.Parse([]string{"https://app.example.com"})
	if err != nil {
		w.t.Fatal(err)
	}
	accounts := w.accounts()
	hook, err := stripehook.New(stripehook.Config{
		Pool: w.pool, Stripe: api, Secrets: []string{"whsec_test"}, AppEnv: "test", Now: w.Now, Log: slog.New(slog.DiscardHandler),
		ForgetStanding: accounts.ForgetStanding,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return billing.New(billing.Config{
		Pool: w.pool, Stripe: api, Catalog: catalog.New(w.pool), Accounts: accounts, Origins: origins,
		AppEnv: "test", Sync: hook.Sync, Now: w.Now, Log: slog.New(slog.DiscardHandler),
	})
}

func (w *world) accounts() *account.Service {
	w.t.Helper()
	log := slog.New(slog.DiscardHandler)
	c, err := cache.Open(context.Background(), redistest.New(w.t), "test", log)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	s, err := account.New(account.Config{Pool: w.pool, Cache: c, Log: log, Now: w.Now, Policy: account.DefaultPolicy()})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// sell puts the test catalogue on sale here and at Stripe.
func (w *world) sell() {
	w.t.Helper()
	catalogtest.Apply(w.t, w.pool)
	stored := catalogtest.Catalogue()
	for _, products := range []map[string]string{stored.TierProducts, stored.PackProducts} {
		for name, id := range products {
			w.create("product", map[string]any{"id": id, "name": name, "active": true})
		}
	}
	for _, p := range stored.Prices {
		fields := map[string]any{
			"id": p.StripePriceID, "active": true, "currency": p.Currency, "unit_amount": p.Amount, "lookup_key": p.LookupKey,
			"product": stored.TierProducts[p.TierID], "type": "recurring",
			"recurring": map[string]any{
				"interval": p.Interval, "interval_count": 1, "usage_type": "licensed", "aggregate_usage": nil,
			},
		}
		if p.PackID != "" {
			fields["product"], fields["type"], fields["recurring"] = stored.PackProducts[p.PackID], "one_time", nil
		}
		w.create("price", fields)
	}
}

func (w *world) create(kind string, fields map[string]any) {
	w.t.Helper()
	if _, err := w.emu.Create(kind, fields); err != nil {
		w.t.Fatal(err)
	}
}

const (
	success = "https://app.example.com/done?session={CHECKOUT_SESSION_ID}"
	cancel  = "https://app.example.com/back"
)

func (w *world) tier(id string) billing.Wish {
	return billing.Wish{
		AccountID: w.accountID, UserID: &w.userID, Tier: id, Interval: "month", Currency: "usd", SuccessURL: success, CancelURL: cancel,
		Actor: audit.Actor{Kind: audit.ByUser, ID: w.userID.String()},
	}
}

func (w *world) pack() billing.Wish {
	wish := w.tier("")
	wish.Interval, wish.CreditPack = "", "small"
	return wish
}

func (w *world) keyed(wish billing.Wish, value string) billing.Wish {
	w.t.Helper()
	key, err := idempotency.New("user:"+w.userID.String(), "createCheckoutSession", value, []any{wish.Tier, wish.CreditPack, wish.SuccessURL})
	if err != nil {
		w.t.Fatal(err)
	}
	wish.Key = key
	return wish
}

func (w *world) open(wish billing.Wish) billing.Session {
	w.t.Helper()
	session, _, err := w.OpenCheckout(w.t.Context(), wish)
	if err != nil {
		w.t.Fatalf("OpenCheckout: %v", err)
	}
	return session
}

func (w *world) refused(wish billing.Wish, want error) error {
	w.t.Helper()
	session, _, err := w.OpenCheckout(w.t.Context(), wish)
	if !errors.Is(err, want) {
		w.t.Fatalf("OpenCheckout: %+v, %v; want %v", session, err, want)
	}
	return err
}

// statuses are those of all sessions at Stripe, oldest first.
func (w *world) statuses() string {
	var list []string
	for _, o := range w.emu.Objects("checkout.session") {
		list = append([]string{o["status"].(string)}, list...)
	}
	return strings.Join(list, " ")
}

// attempts are the statuses of all attempts, oldest first.
func (w *world) attempts() string {
	w.t.Helper()
	var text string
	err := w.pool.QueryRow(w.t.Context(), "SELECT coalesce(string_agg(status, ' ' ORDER BY created_at, id), '') FROM checkout_attempts").Scan(&text)
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

func (w *world) count(sql string) (n int) {
	w.t.Helper()
	if err := w.pool.QueryRow(w.t.Context(), sql).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.pool.Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatal(err)
	}
}

// pay fills in the payment page of a session.
func (w *world) pay(session billing.Session) {
	w.t.Helper()
	form := strings.NewReader(url.Values{"action": {"pay"}}.Encode())
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, session.URL, form)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := browser.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusSeeOther {
		page, _ := io.ReadAll(answer.Body)
		w.t.Fatalf("pay: %d %s", answer.StatusCode, page)
	}
}

// subscribe writes what the mirror knows of a subscription.
func (w *world) subscribe(id, status string, ended bool) {
	w.t.Helper()
	w.exec(`INSERT INTO subscriptions (id, account_id, customer_id, status, tier_id, price_id, livemode, ended_at, created_at, updated_at)
		VALUES ($1, $2, 'cus_1', $3, 'basic', 'price_basic', false, CASE WHEN $4 THEN now() END, now(), now())`, id, w.accountID, status, ended)
}
