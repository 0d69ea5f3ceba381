package serve_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/serve/servetest"
)

// Whatever the clock starts has a single attempt: what is tried again later keeps its successors from being started.
func TestPeriodicJobsHaveOneAttempt(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{})
	// What runs at the start, which is nearly all.
	want := []string{
		"account.sweep", "credit_allowance", "credit_sweep", "outbox_deliver", "stripe_reconcile", "stripe_requeue", "stripe_retention",
		"stripe_sweep", "usage_partitions",
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		rows, err := w.Pool.Query(t.Context(), "SELECT DISTINCT kind FROM river_job WHERE max_attempts = 1 ORDER BY kind")
		if err != nil {
			t.Fatal(err)
		}
		got, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		if slices.Equal(got, want) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("with one attempt: got %q, want %q", got, want)
		}
	}
	var others int
	if err := w.Pool.QueryRow(t.Context(), "SELECT count(*) FROM river_job WHERE max_attempts <> 1").Scan(&others); err != nil || others != 0 {
		t.Errorf("%d jobs that the clock started have more than one attempt, %v", others, err)
	}
}

// A job that fails is told of: nobody looks into River's tables.
func TestFailedJobIsLogged(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{})
	if _, err := w.Pool.Exec(t.Context(), "ALTER TABLE outbox RENAME TO elsewhere"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		lines := w.Log.Lines("job failed")
		for _, line := range lines {
			if strings.Contains(line, "outbox_deliver") && strings.Contains(line, `relation \"outbox\" does not exist`) {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("not logged: %q", lines)
		}
	}
}
