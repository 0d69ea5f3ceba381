package idempotency_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/problem"
)

type pgxTx = pgx.Tx

const lease = time.Minute

func TestLease(t *testing.T) {
	t.Parallel()
	pool, k := pgtest.New(t), newKey(t, "k", "body")
	begin := func(now time.Time, k idempotency.Key) (idempotency.Claim, answer, bool, error) {
		var a answer
		c, answered, err := idempotency.Begin(t.Context(), pool, now, k, lease, &a)
		return c, a, answered, err
	}
	finish := func(c idempotency.Claim, n int) error {
		return postgres.InTx(t.Context(), pool, func(q *db.Queries) error { return c.Finish(t.Context(), q, answer{n}) })
	}
	first, _, answered, err := begin(noon, k)
	if err != nil || answered {
		t.Fatalf("first: answered %t, %v", answered, err)
	}
	_, _, _, err = begin(noon.Add(lease-time.Microsecond), k)
	if !errors.Is(err, problem.IdempotencyRunning) || problem.Of(err).RetryAfter == 0 {
		t.Errorf("while it runs: %v", err)
	}
	if _, _, _, err := begin(noon, newKey(t, "k", "other")); !errors.Is(err, problem.IdempotencyMismatch) {
		t.Errorf("other body: %v", err)
	}
	second, _, answered, err := begin(noon.Add(lease), k)
	if err != nil || answered {
		t.Fatalf("after the lease: answered %t, %v", answered, err)
	}
	// The first has lost its claim: neither its answer nor its giving up counts.
	if err := finish(first, 1); !errors.Is(err, problem.IdempotencyRunning) {
		t.Errorf("the first finishes late: %v", err)
	}
	if err := first.Release(t.Context(), pool); err != nil {
		t.Error(err)
	}
	if err := finish(second, 2); err != nil {
		t.Errorf("the second finishes: %v", err)
	}
	if _, a, answered, err := begin(noon.Add(time.Hour), k); err != nil || !answered || a.N != 2 {
		t.Errorf("afterwards: got %d, answered %t, %v", a.N, answered, err)
	}
	// Like any answer it is forgotten in the end.
	if _, _, answered, err := begin(noon.Add(time.Hour+idempotency.Retention), newKey(t, "k", "other")); err != nil || answered {
		t.Errorf("after its retention: answered %t, %v", answered, err)
	}
}

func TestRelease(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	c, _, err := idempotency.Begin(t.Context(), pool, noon, newKey(t, "k", "body"), lease, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Release(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	if _, answered, err := idempotency.Begin(t.Context(), pool, noon, newKey(t, "k", "corrected"), lease, nil); err != nil || answered {
		t.Errorf("after a refusal: answered %t, %v", answered, err)
	}
}

func TestClaimWithoutKey(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	for range 2 {
		c, answered, err := idempotency.Begin(t.Context(), pool, noon, idempotency.Key{}, lease, nil)
		if err != nil || answered {
			t.Fatalf("answered %t, %v", answered, err)
		}
		if err := postgres.InTx(t.Context(), pool, func(q *db.Queries) error { return c.Finish(t.Context(), q, answer{1}) }); err != nil {
			t.Error(err)
		}
		if err := c.Release(t.Context(), pool); err != nil {
			t.Error(err)
		}
	}
}

// Two that find the lease over: one takes it, the other waits for the row and then learns that it came second.
func TestLeaseRivals(t *testing.T) {
	t.Parallel()
	pool, k := pgtest.New(t), newKey(t, "k", "body")
	if _, _, err := idempotency.Begin(t.Context(), pool, noon, k, lease, nil); err != nil {
		t.Fatal(err)
	}
	holder, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Rollback(context.Background()) // ended below
	if _, err := holder.Exec(t.Context(), "SELECT FROM idempotency_keys WHERE key = 'k' FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	const rivals = 4
	ended := make(chan error, rivals)
	for range rivals {
		go func() {
			_, _, err := idempotency.Begin(context.Background(), pool, noon.Add(2*lease), k, lease, nil)
			ended <- err
		}()
	}
	pgtest.AwaitLocks(t, pool, rivals)
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	took := 0
	for range rivals {
		switch err := <-ended; {
		case err == nil:
			took++
		case !errors.Is(err, problem.IdempotencyRunning):
			t.Error(err)
		}
	}
	if took != 1 {
		t.Errorf("%d took the lease, want 1", took)
	}
}
