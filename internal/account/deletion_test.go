package account_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/problem"
)

// A scene is what is outside of the database: it can be told to fail before or after a step has had its effect.
type scene struct {
	mu     sync.Mutex
	calls  []string
	before map[string]error
	after  map[string]error
}

func (s *scene) step(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.before[name]; err != nil {
		delete(s.before, name)
		return err
	}
	s.calls = append(s.calls, name)
	err := s.after[name]
	delete(s.after, name)
	return err
}

func (s *scene) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

func (s *scene) config(c *account.Config) {
	c.CloseBilling = func(_ context.Context, id uuid.UUID) error { return s.step("billing " + id.String()) }
	c.CloseIdentity = func(_ context.Context, subject string) error { return s.step("identity " + subject) }
}

// leaving makes a user who has left traces everywhere and begins the deletion.
func (w *world) leaving(b account.Bearer) account.Identity {
	w.t.Helper()
	ctx := w.t.Context()
	id := w.admitted(b)
	name := "Ana Doe"
	me := audit.Actor{Kind: audit.ByUser, ID: id.ID.String(), IP: "203.0.113.9"}
	if _, _, err := w.Rename(ctx, noKey(), id.ID, &name, me); err != nil {
		w.t.Fatal(err)
	}
	w.exec(`INSERT INTO idempotency_keys (principal, operation, key, request_hash, result, created_at, expires_at)
		VALUES ($1, 'updateMe', 'k', '\x00', jsonb_build_object('Email', $2::text), now(), now() + interval '1 day')`, "user:"+id.ID.String(), b.Email)
	w.managed(id)
	w.exec(`INSERT INTO stripe_customers (id, account_id, stripe_id, email, told_email, created_at, updated_at) VALUES ($1, $2, 'cus_1', $3, $3, now(), now())`, uuid.New(), id.AccountID, b.Email)
	w.exec(`INSERT INTO payment_methods (id, account_id, customer_id, type, brand, last4, exp_month, exp_year, created_at, updated_at)
		VALUES ('pm_1', $1, 'cus_1', 'card', 'visa', '4242', 4, 2031, now(), now())`, id.AccountID)
	w.exec(`INSERT INTO invoices (id, account_id, customer_id, status, currency, subtotal, total, amount_due, amount_paid, amount_remaining, hosted_invoice_url, invoice_pdf, created_at, updated_at)
		VALUES ('in_1', $1, 'cus_1', 'paid', 'usd', 5, 5, 5, 5, 0, 'https://pay.example.com/in_1', 'https://pay.example.com/in_1/pdf', now(), now())`, id.AccountID)
	w.exec(`INSERT INTO outbox (id, account_id, kind, natural_key, payload, created_at)
		VALUES ($1, $2, 'receipt', 'receipt:in_1', '{"invoice": "in_1", "hosted_invoice_url": "https://pay.example.com/in_1"}', now())`, uuid.New(), id.AccountID)
	// Two events that are over, one of them of somebody else, and two that somebody still needs.
	for event, status := range map[string]string{"evt_done": "done", "evt_ignored": "ignored", "evt_pending": "pending", "evt_dead": "dead", "evt_other": "done"} {
		customer := "cus_1"
		if event == "evt_other" {
			customer = "cus_2"
		}
		w.exec(`INSERT INTO stripe_events (id, livemode, type, customer_id, payload, sha256, source, secret_index, status, received_at)
			VALUES ($1, false, 'customer.updated', $2, convert_to($3, 'UTF8'), '\x01', 'webhook', 0, $4, now())`, event, customer, b.Email, status)
	}
	w.exec(`INSERT INTO api_keys (id, account_id, name, hash, start, scopes, created_by, created_at, updated_at) VALUES ($1, $2, 'k', $3, 'sk_', '{}', $4, now(), now())`,
		uuid.New(), id.AccountID, []byte(strings.Repeat("h", 32)), id.ID)
	w.exec(`INSERT INTO credit_accounts (account_id, balance, next_seq) VALUES ($1, 5, 2)`, id.AccountID)
	w.exec(`INSERT INTO credit_entries (account_id, seq, id, kind, amount, balance_after, held_after, actor_kind, effective_at, created_at) VALUES ($1, 1, $2, 'grant', 5, 5, 0, 'system', now(), now())`,
		id.AccountID, uuid.New())
	if err := w.Delete(ctx, id.ID, me); err != nil {
		w.t.Fatalf("Delete: %v", err)
	}
	return id
}

// managed lets an administrator change a user, whom the answers that are kept for a retry then name, and somebody else.
func (w *world) managed(id account.Identity) {
	w.t.Helper()
	admin := uuid.NewString()
	for _, status := range []string{account.StatusDisabled, account.StatusActive} {
		key, err := idempotency.New("user:"+admin, "updateUser", status, status)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, _, err := w.SetStatus(w.t.Context(), key, id.ID, status, "", audit.Actor{Kind: audit.ByUser, ID: admin}); err != nil {
			w.t.Fatal(err)
		}
	}
	if n := w.count(`SELECT count(*) FROM idempotency_keys WHERE operation = 'updateUser' AND result->>'Email' LIKE '%@example.com'`); n != 2 {
		w.t.Fatalf("answers to the administrator that name the user: got %d, want 2", n)
	}
	w.exec(`INSERT INTO idempotency_keys (principal, operation, key, request_hash, result, created_at, expires_at)
		VALUES ('user:admin', 'updateUser', 'k', '\x00', jsonb_build_object('ID', $1::text), now(), now() + interval '1 day')`, uuid.Max)
}

// left asserts that nothing of the person remains, and that the ledger does.
func (w *world) left(b account.Bearer, id account.Identity) {
	w.t.Helper()
	type row struct{ Email, Name, Status, Account, AccountName string }
	var got row
	err := w.pool.QueryRow(w.t.Context(), `SELECT u.email, u.display_name, u.status, a.status, a.name FROM users u JOIN accounts a ON a.personal_of = u.id WHERE u.id = $1`, id.ID).
		Scan(&got.Email, &got.Name, &got.Status, &got.Account, &got.AccountName)
	if err != nil {
		w.t.Fatal(err)
	}
	if diff := cmp.Diff(row{Status: "deleted", Account: "deleted"}, got); diff != "" {
		w.t.Errorf("user and account (-want +got):\n%s", diff)
	}
	for what, query := range map[string]string{
		"addresses kept of customers": `SELECT count(*) FROM stripe_customers WHERE email <> '' OR told_email <> ''`,
		"cards":                       `SELECT count(*) FROM payment_methods WHERE brand <> '' OR last4 <> '' OR exp_month + exp_year <> 0`,
		"links to invoices":           `SELECT count(*) FROM invoices WHERE hosted_invoice_url IS NOT NULL OR invoice_pdf IS NOT NULL`,
		"links in messages":           `SELECT count(*) FROM outbox WHERE payload::text LIKE '%https:%'`,
		"stored answers":              `SELECT count(*) FROM idempotency_keys WHERE principal <> 'user:admin'`,
		"network addresses in audit":  `SELECT count(*) FROM audit_log WHERE ip <> ''`,
		"live keys":                   `SELECT count(*) FROM api_keys WHERE revoked_at IS NULL`,
		"unfinished deletions":        `SELECT count(*) FROM user_deletions WHERE finished_at IS NULL`,
		"audit entries with a name":   `SELECT count(*) FROM audit_log WHERE audit_log::text LIKE '%Ana%' OR audit_log::text LIKE '%@example.com%'`,
	} {
		if n := w.count(query); n != 0 {
			w.t.Errorf("%s: got %d, want 0", what, n)
		}
	}
	// What is over has lost its payload and nothing else; a dead event waits for somebody who looks at it.
	const kept = `SELECT string_agg(id || ' ' || (sha256 = '\x01')::text, ', ' ORDER BY id) FROM stripe_events WHERE payload IS %s NULL`
	if got := w.text(fmt.Sprintf(kept, "")); got != "evt_done true, evt_ignored true" {
		w.t.Errorf("events without payload: %s", got)
	}
	if got := w.text(fmt.Sprintf(kept, "NOT")); got != "evt_dead true, evt_other true, evt_pending true" {
		w.t.Errorf("events with payload: %s", got)
	}
	if n := w.count(`SELECT count(*) FROM idempotency_keys`); n != 1 {
		w.t.Errorf("stored answers about others: got %d, want 1", n)
	}
	if n := w.count(`SELECT count(*) FROM credit_entries WHERE account_id = $1`, id.AccountID); n != 1 {
		w.t.Errorf("ledger entries: got %d, want 1", n)
	}
	if n := w.count(`SELECT count(*) FROM audit_log WHERE action = 'user.anonymise'`); n != 1 {
		w.t.Errorf("audit entries of the end: got %d, want 1", n)
	}
	if _, err := w.Admit(w.t.Context(), b); !errors.Is(err, problem.UserDeleted) {
		w.t.Errorf("Admit: got %v, want %v", err, problem.UserDeleted)
	}
	if n := w.count(`SELECT count(*) FROM users`); n != 1 {
		w.t.Errorf("users: got %d, want 1: a living token must not make a new one", n)
	}
}

func TestDeleteBegins(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var forgotten int
	w := newWorld(t, func(c *account.Config) {
		c.ForgetKeys = func(_ context.Context, hashes [][]byte) {
			mu.Lock()
			defer mu.Unlock()
			forgotten += len(hashes)
		}
	})
	b := w.bearer()
	id := w.leaving(b)
	if _, err := w.Admit(t.Context(), b); !errors.Is(err, problem.UserDeleted) {
		t.Errorf("Admit: got %v, want %v", err, problem.UserDeleted)
	}
	if n := w.count(`SELECT count(*) FROM api_keys WHERE revoked_at IS NULL`); n != 0 || forgotten == 0 {
		t.Errorf("live keys: got %d, want 0; forgotten %d times", n, forgotten)
	}
	if got := w.text(`SELECT u.status || ' ' || a.status FROM users u JOIN accounts a ON a.personal_of = u.id`); got != "deleting disabled" {
		t.Errorf("user and account: got %q", got)
	}
	// A second click changes nothing.
	if err := w.Delete(t.Context(), id.ID, operator()); err != nil {
		t.Errorf("Delete again: %v", err)
	}
	if n := w.count(`SELECT count(*) FROM river_job WHERE kind = 'account.delete_user'`); n != 1 {
		t.Errorf("jobs: got %d, want 1", n)
	}
	if n := w.count(`SELECT count(*) FROM audit_log WHERE action = 'user.delete'`); n != 1 {
		t.Errorf("audit entries: got %d, want 1", n)
	}
	if err := w.Delete(t.Context(), uuid.New(), operator()); !errors.Is(err, problem.NotFound) {
		t.Errorf("Delete of nobody: got %v, want %v", err, problem.NotFound)
	}
}

// The work is interrupted at each point, and taken up again.
func TestDeletionInterruptedAnywhere(t *testing.T) {
	t.Parallel()
	killed := errors.New("killed")
	for _, tt := range []struct {
		name string
		fail func(s *scene, billing, identity string)
		want []string // what the outside saw
	}{
		{"nowhere", func(*scene, string, string) {}, []string{"billing", "identity"}},
		{"before Stripe", func(s *scene, billing, _ string) { s.before[billing] = killed }, []string{"billing", "identity"}},
		{"after Stripe, before it is written down", func(s *scene, billing, _ string) { s.after[billing] = killed }, []string{"billing", "billing", "identity"}},
		{"before Supabase", func(s *scene, _, identity string) { s.before[identity] = killed }, []string{"billing", "identity"}},
		{"after Supabase, before it is written down", func(s *scene, _, identity string) { s.after[identity] = killed }, []string{"billing", "identity", "identity"}},
		{"everywhere", func(s *scene, billing, identity string) {
			s.before[billing], s.after[billing], s.before[identity], s.after[identity] = killed, killed, killed, killed
		}, []string{"billing", "billing", "identity", "identity"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &scene{before: map[string]error{}, after: map[string]error{}}
			w := newWorld(t, s.config)
			b := w.bearer()
			id := w.leaving(b)
			billing, identity := "billing "+id.AccountID.String(), "identity "+b.Subject
			tt.fail(s, billing, identity)
			runs := 0
			for err := error(killed); err != nil; runs++ {
				if runs == 10 {
					t.Fatalf("not done after %d runs: %v", runs, err)
				}
				if err = w.instance().FinishDeletion(t.Context(), id.ID); err != nil && !errors.Is(err, killed) {
					t.Fatalf("FinishDeletion: %v", err)
				}
			}
			w.left(b, id)
			var want []string
			for _, step := range tt.want {
				want = append(want, map[string]string{"billing": billing, "identity": identity}[step])
			}
			if diff := cmp.Diff(want, s.seen()); diff != "" {
				t.Errorf("steps outside (-want +got):\n%s", diff)
			}
			if err := w.FinishDeletion(t.Context(), id.ID); err != nil || len(s.seen()) != len(want) {
				t.Errorf("once more: %v, steps %q", err, s.seen())
			}
		})
	}
}

// The connection dies in the middle of the last transaction: nothing of it stays, and the next run does all of it.
func TestDeletionKilledWhileAnonymising(t *testing.T) {
	t.Parallel()
	s := &scene{}
	w := newWorld(t, s.config)
	b := w.bearer()
	id := w.leaving(b)
	hold, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hold.Rollback(context.Background()) }()
	// The customer's row is reached after the user's and the account's were changed.
	if _, err := hold.Exec(t.Context(), `SELECT 1 FROM stripe_customers FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- w.FinishDeletion(t.Context(), id.ID) }()
	pgtest.AwaitLock(t, w.pool)
	w.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)
	if err := <-done; err == nil {
		t.Fatal("FinishDeletion on a dead connection: got nil, want an error")
	}
	if err := hold.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.text(`SELECT email || ' ' || status FROM users`); got != b.Email+" deleting" {
		t.Errorf("after the kill: got %q, want nothing changed", got)
	}
	if err := w.FinishDeletion(t.Context(), id.ID); err != nil {
		t.Fatalf("FinishDeletion: %v", err)
	}
	w.left(b, id)
}

// Two workers at once, as after a rescue: one finishes, the other finds nothing to do.
func TestDeletionByTwoWorkers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bearer()
	id := w.leaving(b)
	hold, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hold.Rollback(context.Background()) }()
	if _, err := db.New(hold).LockUser(t.Context(), id.ID); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 2)
	for range 2 {
		go func() { done <- w.FinishDeletion(t.Context(), id.ID) }()
	}
	pgtest.AwaitLocks(t, w.pool, 2)
	if err := hold.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Errorf("FinishDeletion: %v", err)
		}
	}
	w.left(b, id)
}

// worker runs the jobs of the service.
func (w *world) worker(s *account.Service) *river.Client[pgx.Tx] {
	w.t.Helper()
	workers := river.NewWorkers()
	s.AddWorkers(workers)
	client, err := river.NewClient(riverpgxv5.New(w.pool), &river.Config{
		Workers: workers, Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 2}},
		FetchPollInterval: 50 * time.Millisecond, FetchCooldown: 20 * time.Millisecond,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := client.Start(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	return client
}

func stop(t *testing.T, client *river.Client[pgx.Tx]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := client.StopAndCancel(ctx); err != nil {
		t.Errorf("stop worker: %v", err)
	}
}

// The process ends while Stripe has not answered yet; another one finishes.
func TestDeletionJobSurvivesTheWorker(t *testing.T) {
	t.Parallel()
	s := &scene{}
	reached := make(chan struct{}, 1)
	w := newWorld(t, s.config)
	b := w.bearer()
	id := w.leaving(b)

	shape := w.shape
	w.shape = func(c *account.Config) {
		shape(c)
		c.CloseBilling = func(ctx context.Context, _ uuid.UUID) error {
			reached <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}
	}
	first := w.worker(w.instance())
	select {
	case <-reached:
	case <-time.After(20 * time.Second):
		t.Fatal("the job was never worked on")
	}
	stop(t, first)
	if got := w.text(`SELECT status FROM users`); got != account.StatusDeleting {
		t.Fatalf("user: got %q, want deleting", got)
	}
	w.exec(`UPDATE river_job SET scheduled_at = now() WHERE kind = 'account.delete_user'`) // no waiting for the retry
	w.shape = shape
	second := w.worker(w.instance())
	defer stop(t, second)
	eventually(t, 30*time.Second, "the deletion is finished", func() bool {
		return w.count(`SELECT count(*) FROM user_deletions WHERE finished_at IS NOT NULL`) == 1
	})
	w.left(b, id)
}
