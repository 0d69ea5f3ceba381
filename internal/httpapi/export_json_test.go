package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
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
	for table, columns := range exportedRows {
		names, values, _ := strings.Cut(columns, " = ")
		for i, id := range []uuid.UUID{accountID, stranger} {
			exec(fmt.Sprintf("INSERT INTO %s (account_id, %s) SELECT $1, %s FROM (SELECT $2::text AS n) x", table, names, values), id, []string{"mine", "other"}[i])
		}
	}
	exec(`UPDATE audit_log SET ip = '203.0.113.9', actor_id = (CASE WHEN id = (SELECT min(id::text)::uuid FROM audit_log WHERE account_id = $1) THEN 'another' ELSE $2 END),
		before = '{"a": 1}', after = '{"a": 2}' WHERE account_id = $1`, accountID, userID.String())
	export := exported(t, accountsOn(t, pool), userID)
	wantEveryTable(t, pool, export)
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
		if e.TargetID != "mine" {
			t.Fatalf("audit entry of somebody else: %+v", e)
		}
		if (e.IP != nil) == (e.ActorID == "another") || e.Before["a"] != 1.0 || e.After["a"] != 2.0 {
			t.Fatalf("an audit entry has the address of another, or lacks what the user did: %+v", e)
		}
	}
}

// exportedRows is one row of each table that is only a list of its rows: columns = values, n being "mine" or "other".
var exportedRows = map[string]string{
	"stripe_customers":     "id, stripe_id, email, created_at, updated_at = gen_random_uuid(), 'cus_' || n, n, now(), now()",
	"payment_methods":      "id, customer_id, type, last4, created_at, updated_at = 'pm_' || n, 'cus', 'card', '4242', now(), now()",
	"checkout_attempts":    "id, kind, price_lookup_key, stripe_price_id, currency, success_url, cancel_url, status, created_at, updated_at = gen_random_uuid(), 'subscription', n, 'price', 'eur', 'https://a', 'https://b', 'failed', now(), now()",
	"checkout_sessions":    "id, mode, status, payment_status, amount_total, currency, created_at, updated_at = 'cs_' || n, 'payment', 'complete', 'paid', 5, 'eur', now(), now()",
	"subscription_changes": "id, subscription_id, kind, wish, status, created_at, updated_at = gen_random_uuid(), 'sub_' || n, 'cancel', '{}', 'done', now(), now()",
	"payment_intents":      "id, customer_id, status, amount, currency, created_at, updated_at = 'pi_' || n, 'cus', 'succeeded', 5, 'eur', now(), now()",
	"charges":              "id, customer_id, status, amount, amount_refunded, currency, disputed, created_at, updated_at = 'ch_' || n, 'cus', 'succeeded', 5, 2, 'eur', false, now(), now()",
	"refunds":              "id, charge_id, status, amount, currency, created_at, updated_at = 're_' || n, 'ch_' || n, 'succeeded', 2, 'eur', now(), now()",
	"disputes":             "id, charge_id, status, amount, withdrawn, currency, created_at, updated_at = 'dp_' || n, 'ch_' || n, 'lost', 2, 2, 'eur', now(), now()",
	"credit_notes":         "id, invoice_id, status, amount, credited, currency, created_at, updated_at = 'cn_' || n, 'in_' || n || '1', 'issued', 2, 1, 'eur', now(), now()",
	"invoice_lines":        "id, invoice_id, amount, currency, quantity, proration = 'il_' || n, 'in_' || n || '1', 1, 'eur', 1, false",
	"credit_lots":          "id, source, natural_key, priority, granted, remaining, created_at = gen_random_uuid(), 'grant', n, 1, 5, 0, now()",
	"outbox":               "id, kind, natural_key, payload, created_at = gen_random_uuid(), 'receipt', n, '{\"to\": 1}', now()",
}

// wantEveryTable holds an export with a row of everything against the database: a table that names accounts is in the export, or
// is named here with the reason why not.
func wantEveryTable(t *testing.T, pool *pgxpool.Pool, export api.UserExport) {
	t.Helper()
	a := export.Accounts[0]
	lines := 0
	for _, i := range a.Invoices {
		lines += len(i.Lines)
	}
	lists := map[string]int{
		"api_keys": len(a.APIKeys), "subscriptions": len(a.Subscriptions), "invoices": len(a.Invoices), "invoice_lines": lines,
		"transactions": len(a.Transactions), "credit_entries": len(a.CreditTransactions), "credit_lots": len(a.CreditLots),
		"usage_hourly": len(a.Usage), "audit_log": len(a.AuditLog), "stripe_customers": len(a.Customers), "payment_methods": len(a.PaymentMethods),
		"checkout_attempts": len(a.CheckoutAttempts), "checkout_sessions": len(a.CheckoutSessions),
		"subscription_changes": len(a.SubscriptionChanges), "payment_intents": len(a.Payments), "charges": len(a.Charges),
		"refunds": len(a.Refunds), "disputes": len(a.Disputes), "credit_notes": len(a.CreditNotes), "outbox": len(a.Messages),
	}
	reasons := map[string]string{
		"memberships":        "the role is told with the account",
		"user_deletions":     "a user who is being deleted gets no export",
		"subscription_items": "told with the subscription",
		"credit_accounts":    "sums of the lots, and when to look again",
		"credit_entry_keys":  "hashes of keys that tell requests apart",
		"credit_entry_lots":  "which lots an entry took is bookkeeping; the entries and the lots are told",
		"credit_clawbacks":   "what came of them are the entries of kind revoke and restore",
		"usage_events":       "what the account's own programs have sent; what it comes to is told",
	}
	rows, err := pool.Query(t.Context(), `SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
		WHERE a.attname = 'account_id' AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND NOT c.relispartition
			AND c.relnamespace = current_schema()::regnamespace ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) < 20 {
		t.Fatalf("tables %v, %v", tables, err)
	}
	for _, table := range tables {
		n, exported := lists[table]
		if exported == (reasons[table] != "") {
			t.Errorf("%s is neither exported nor named with a reason, or both", table)
		}
		if exported && n == 0 {
			t.Errorf("the export has nothing of %s", table)
		}
		if _, single := exportedRows[table]; single && n != 1 {
			t.Errorf("the export has %d rows of %s, want the user's own one", n, table)
		}
	}
	if c := a.Customers[0]; c.Email == nil || *c.Email != "mine" || a.Refunds[0].ID != "re_mine" {
		t.Errorf("rows of somebody else: %+v, %+v", c, a.Refunds[0])
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
	if a.APIKeys == nil || a.Subscriptions == nil || a.Invoices == nil || a.Transactions == nil || a.CreditTransactions == nil || a.Usage == nil || a.AuditLog == nil ||
		a.CreditLots == nil || a.Customers == nil || a.PaymentMethods == nil || a.CheckoutAttempts == nil || a.CheckoutSessions == nil ||
		a.SubscriptionChanges == nil || a.Payments == nil || a.Charges == nil || a.Refunds == nil || a.Disputes == nil || a.CreditNotes == nil || a.Messages == nil {
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
