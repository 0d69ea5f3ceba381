package credit_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// The jobs as the server runs them: the sweep writes the expiry, the clock brings the month, and nobody looked.
func TestJobs(t *testing.T) {
	t.Parallel()
	w := withCatalogue(t)
	w.grant(w.lot("a", 50, 10, time.Hour))
	w.clock.Set(day0.Add(time.Hour))
	// The jobs run at the same time, and the one for allowances leaves alone what another holds: each has an account of its own.
	w.exec("UPDATE credit_accounts SET next_allowance_at = $1", day0.Add(2*time.Hour))
	expiring, fresh := w.account, w.newAccount(day0, true)
	workers := river.NewWorkers()
	w.credits.AddWorkers(workers)
	client, err := river.NewClient(riverpgxv5.New(w.pool), &river.Config{
		Workers: workers, PeriodicJobs: w.credits.PeriodicJobs(), Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 2}},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Stop(context.Background()) }) //nolint:errcheck // the test is over
	deadline := time.Now().Add(2 * time.Minute)
	for owed := 0; owed == 0 || len(w.ledger()) < 2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the jobs wrote nothing: %v", w.ledger())
		}
		w.account = fresh
		owed = len(w.lots())
		w.account = expiring
	}
	if lots := w.remaining(); len(lots) != 0 {
		t.Errorf("lots of the account whose credits expired: %v", lots)
	}
	w.account = fresh
	if lots := w.remaining(); len(lots) != 1 || lots["clock:free:2026-03-01T12:00:00Z"] != 5 {
		t.Errorf("lots of the other: %v", lots)
	}
	w.proven()
}

// broken adds accounts with a row of credits each, that is changed by a statement.
func (w *world) broken(n int, change string, args ...any) {
	w.t.Helper()
	for range n {
		id := w.newAccount(day0, true)
		w.exec("INSERT INTO credit_accounts (account_id) VALUES ($1)", id)
		w.exec(change, append([]any{id}, args...)...)
	}
}

// More accounts than a batch fail, before one that does not.
const failing = 101

func TestSweepGoesOnPastFailures(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.broken(failing, `WITH lot AS (
			INSERT INTO credit_lots (account_id, id, source, natural_key, priority, granted, remaining, expires_at, created_at)
			VALUES ($1, gen_random_uuid(), 'grant', 'k', 10, 5, 5, $2, $2)
		) UPDATE credit_accounts SET next_change_at = $2 WHERE account_id = $1`, day0.Add(time.Minute)) // its balance is 0
	w.grant(w.lot("a", 50, 10, time.Hour))
	w.clock.Set(day0.Add(time.Hour))
	err := w.credits.Sweep(t.Context())
	if got := strings.Count(fmt.Sprint(err), "settle account"); got != failing {
		t.Errorf("%d failures are told of, want %d: %.300v", got, failing, err)
	}
	if left := w.remaining(); len(left) != 0 {
		t.Errorf("what has expired is left: %v", left)
	}
}

func TestGrantAllowancesGoesOnPastFailures(t *testing.T) {
	t.Parallel()
	w := withCatalogue(t)
	w.broken(failing, "UPDATE credit_accounts SET balance = $2 WHERE account_id = $1", int64(math.MaxInt64))
	w.ensure()
	w.clock.Set(date(4, 1))
	w.exec("UPDATE credit_accounts SET next_allowance_at = $1 WHERE account_id = $2", date(4, 1), w.account) // the last of all
	other := w.newAccount(day0, true)                                                                        // has no row yet
	granted, err := w.credits.GrantAllowances(t.Context())
	if got := strings.Count(fmt.Sprint(err), "overflows"); got != failing || granted != 2 {
		t.Errorf("granted %d, want 2; %d failures are told of, want %d: %.300v", granted, got, failing, err)
	}
	for _, w.account = range []uuid.UUID{w.account, other} {
		if lots := w.lots(); lots["clock:free:2026-04-01T12:00:00Z"] != 5 {
			t.Errorf("lots: %v", lots)
		}
	}
}
