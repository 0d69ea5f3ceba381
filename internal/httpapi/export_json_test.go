package httpapi

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/api"
	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/cache"
	"example.com/saaskit/internal/cache/redistest"
	"example.com/saaskit/internal/postgres/pgtest"
)

// An export holds everything of every kind, over more than one page, and nothing of anybody else.
func TestExportIsWhole(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	userID, accountID := pgtest.User(t, pool)
	_, stranger := pgtest.User(t, pool)
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	const many = 1203 // three pages
	for i, id := range []uuid.UUID{accountID, stranger} {
		prefix := []string{"mine", "other"}[i]
		exec(`INSERT INTO api_keys (id, account_id, name, hash, start, scopes, allowed_ips, created_at, updated_at)
			VALUES (gen_random_uuid(), $1, $2::text, sha256($2::text::bytea), 'sk_', '{credits:read}', '{10.0.0.0/8}', now(), now())`, id, prefix)
		exec(`INSERT INTO subscriptions (id, account_id, customer_id, status, livemode, created_at, updated_at) VALUES ('sub_' || $2::text, $1, 'cus', 'active', false, now(), now())`, id, prefix)
		exec(`INSERT INTO invoices (id, account_id, customer_id, status, currency, subtotal, total, amount_due, amount_paid, amount_remaining, created_at, updated_at)
			SELECT 'in_' || $2::text || n, $1, 'cus', 'paid', 'eur', 1, 1, 1, 1, 0, now(), now() FROM generate_series(1, $3::int) n`, id, prefix, many)
		exec(`INSERT INTO transactions (id, account_id, kind, natural_key, status, amount, currency, occurred_at, updated_at)
			SELECT gen_random_uuid(), $1, 'payment', $2::text || n, 'succeeded', 1, 'eur', now(), now() FROM generate_series(1, $3::int) n`, id, prefix, many)
		exec(`INSERT INTO credit_accounts (account_id, balance, next_seq) VALUES ($1, 1, 2)`, id)
		exec(`INSERT INTO credit_entries (account_id, seq, id, kind, amount, balance_after, held_after, actor_kind, effective_at, created_at)
			SELECT $1, n, gen_random_uuid(), 'grant', 1, n, 0, 'system', now(), now() FROM generate_series(1, $2::int) n`, id, many)
		exec(`INSERT INTO usage_hourly (account_id, meter_id, hour, quantity, events)
			VALUES ($1, 'calls', '2026-03-01T00:00Z', 2, 1), ($1, 'calls', '2026-03-31T23:00Z', 3, 1), ($1, 'calls', '2026-04-01T00:00Z', 7, 1),
				($1, 'calls', '2026-05-01T00:00Z', 9223372036854775807, 1), ($1, 'calls', '2026-05-02T00:00Z', 1, 1)`, id)
		exec(`INSERT INTO audit_log (id, account_id, actor_kind, action, target_kind, target_id, created_at)
			SELECT gen_random_uuid(), $1, 'user', 'api_key.create', 'api_key', $2, now() FROM generate_series(1, $3::int) n`, id, prefix, many)
	}
	export := exported(t, accountsOn(t, pool), userID)
	if export.User.ID != userID || len(export.Accounts) != 1 {
		t.Fatalf("got user %v with %d accounts, want %v with 1", export.User.ID, len(export.Accounts), userID)
	}
	a := export.Accounts[0]
	for what, got := range map[string]int{
		"invoices": len(a.Invoices), "transactions": len(a.Transactions), "credit transactions": len(a.CreditTransactions), "audit log": len(a.AuditLog),
	} {
		if got != many {
			t.Errorf("%s: got %d, want %d", what, got, many)
		}
	}
	if len(a.APIKeys) != 1 || a.APIKeys[0].Name != "mine" || len(a.APIKeys[0].AllowedIps) != 1 || len(a.Subscriptions) != 1 || *a.Subscriptions[0].ID != "sub_mine" {
		t.Errorf("keys %+v, subscriptions %+v", a.APIKeys, a.Subscriptions)
	}
	if len(a.Usage) != 3 || a.Usage[0].Quantity != 5 || a.Usage[1].Quantity != 7 || a.Usage[2].Quantity != math.MaxInt64 || !a.Usage[0].Month.Equal(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("usage: got %+v, want 5 in March, 7 in April, and the most that fits in May", a.Usage)
	}
	for _, e := range a.AuditLog {
		if *e.TargetID != "mine" {
			t.Fatalf("audit entry of somebody else: %+v", e)
		}
	}
}

// An export says of a subscription what GET /v1/subscription says.
func TestExportedSubscription(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	userID, accountID := pgtest.User(t, pool)
	if _, err := pool.Exec(t.Context(), `INSERT INTO subscriptions (id, account_id, customer_id, status, livemode, current_period_end, cancel_at_period_end, created_at, updated_at)
		VALUES ('sub_1', $1, 'cus', 'active', false, '2026-04-01T00:00Z', true, now(), now())`, accountID); err != nil {
		t.Fatal(err)
	}
	accounts := accountsOn(t, pool)
	standing, err := accounts.Standing(t.Context(), accountID)
	if err != nil {
		t.Fatal(err)
	}
	got, want := exported(t, accounts, userID).Accounts[0].Subscriptions[0], toSubscription(billing.StateOf(*standing.Subscription))
	if diff := cmp.Diff(want, got); diff != "" || got.CancelAt == nil {
		t.Errorf("cancel_at %v (-want +got):\n%s", got.CancelAt, diff)
	}
}

// An account without anything has empty lists, not missing ones.
func TestExportOfNothing(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	userID, _ := pgtest.User(t, pool)
	a := exported(t, accountsOn(t, pool), userID).Accounts[0]
	if a.APIKeys == nil || a.Subscriptions == nil || a.Invoices == nil || a.Transactions == nil || a.CreditTransactions == nil || a.Usage == nil || a.AuditLog == nil {
		t.Errorf("a list is missing: %+v", a)
	}
}

func accountsOn(t *testing.T, pool *pgxpool.Pool) *account.Service {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	c, err := cache.Open(context.Background(), redistest.New(t), "test", log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cfg := account.Config{Pool: pool}
	cfg.Cache, cfg.Log, cfg.Now, cfg.Policy = c, log, time.Now, account.DefaultPolicy()
	accounts, err := account.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return accounts
}

func exported(t *testing.T, accounts *account.Service, userID uuid.UUID) api.UserExport {
	t.Helper()
	s := &Server{Services: Services{Accounts: accounts}}
	ctx := context.WithValue(t.Context(), visitKey{}, &visit{caller: caller{Principal: account.Principal{Kind: account.KindUser, UserID: &userID}}})
	answer, err := s.ExportMe(ctx, api.ExportMeRequestObject{})
	if err != nil {
		t.Fatalf("ExportMe: %v", err)
	}
	rec := httptest.NewRecorder()
	if err := answer.VisitExportMeResponse(rec); err != nil {
		t.Fatalf("write: %v", err)
	}
	var export api.UserExport
	decoder := json.NewDecoder(rec.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&export); err != nil {
		t.Fatalf("the answer is no export: %v", err)
	}
	if rec.Code != 200 || rec.Header().Get("Content-Type") != "application/json" {
		t.Errorf("got %d %q", rec.Code, rec.Header().Get("Content-Type"))
	}
	return export
}
