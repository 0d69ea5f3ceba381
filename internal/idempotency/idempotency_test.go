package idempotency_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/problem"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

type answer struct{ N int }

func newKey(t *testing.T, value, request string) idempotency.Key {
	t.Helper()
	k, err := idempotency.New("user:1", "operation", value, request)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// counter is an effect that the tests count.
func counter(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := pgtest.New(t)
	if _, err := pool.Exec(t.Context(), "CREATE TABLE effects (n int)"); err != nil {
		t.Fatal(err)
	}
	return pool
}

func effects(t *testing.T, pool *pgxpool.Pool) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM effects").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// do is a request whose effect is one row and whose answer is n.
func do(ctx context.Context, pool *pgxpool.Pool, now time.Time, k idempotency.Key, n int, refusal error) (a answer, replayed bool, err error) {
	err = postgres.InJobTx(ctx, pool, func(tx pgxTx, q *db.Queries) error {
		a, replayed, err = idempotency.Do(ctx, q, now, k, func() (answer, error) {
			if _, err := tx.Exec(ctx, "INSERT INTO effects VALUES ($1)", n); err != nil {
				return answer{}, err
			}
			return answer{n}, refusal
		})
		return err
	})
	return a, replayed, err
}

func TestDo(t *testing.T) {
	t.Parallel()
	pool := counter(t)
	k := newKey(t, "k", "body")
	steps := []struct {
		name     string
		key      idempotency.Key
		now      time.Time
		n        int
		refusal  error
		want     int
		replayed bool
		err      error
		effects  int // afterwards
	}{
		{"refusal", k, noon, 1, problem.InsufficientCredits, 0, false, problem.InsufficientCredits, 0},
		{"judged anew", k, noon, 2, nil, 2, false, nil, 1},
		{"replay", k, noon, 3, nil, 2, true, nil, 1},
		{"replay, though it would be refused now", k, noon.Add(time.Hour), 3, problem.InsufficientCredits, 2, true, nil, 1},
		{"other body", newKey(t, "k", "other"), noon, 4, nil, 0, false, problem.IdempotencyMismatch, 1},
		{"other key", newKey(t, "k2", "body"), noon, 5, nil, 5, false, nil, 2},
		{"no key", idempotency.Key{}, noon, 6, nil, 6, false, nil, 3},
		{"no key again", idempotency.Key{}, noon, 7, nil, 7, false, nil, 4},
		{"right before the retention is over", k, noon.Add(idempotency.Retention - time.Microsecond), 8, nil, 2, true, nil, 4},
		{"retention over, other body", newKey(t, "k", "other"), noon.Add(idempotency.Retention), 9, nil, 9, false, nil, 5},
		{"the first body has become the other one", k, noon.Add(idempotency.Retention), 10, nil, 0, false, problem.IdempotencyMismatch, 5},
	}
	for _, s := range steps {
		a, replayed, err := do(t.Context(), pool, s.now, s.key, s.n, s.refusal)
		if !errors.Is(err, s.err) || replayed != s.replayed || err == nil && a.N != s.want {
			t.Errorf("%s: got %d, replayed %t, %v; want %d, %t, %v", s.name, a.N, replayed, err, s.want, s.replayed, s.err)
		}
		if n := effects(t, pool); n != s.effects {
			t.Errorf("%s: %d effects, want %d", s.name, n, s.effects)
		}
	}
}

func TestScope(t *testing.T) {
	t.Parallel()
	pool := counter(t)
	base := newKey(t, "k", "body")
	principal, operation := base, base
	principal.Principal, operation.Operation = "user:2", "other"
	for i, k := range []idempotency.Key{base, principal, operation} {
		if _, replayed, err := do(t.Context(), pool, noon, k, i, nil); err != nil || replayed {
			t.Errorf("key %d: replayed %t, %v", i, replayed, err)
		}
	}
	hashes := map[string]bool{}
	for _, k := range []idempotency.Key{base, principal, operation, {Principal: "a", Operation: "bc", Value: "d"}, {Principal: "ab", Operation: "c", Value: "d"}} {
		hashes[string(k.Hash())] = true
	}
	if len(hashes) != 5 {
		t.Errorf("%d hashes of 5 keys", len(hashes))
	}
	if (idempotency.Key{}).Hash() != nil {
		t.Error("no key has a hash")
	}
}

// A duplicate waits for its twin and then answers what that one answered, or does it itself where that one failed.
func TestDuplicateWaits(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		end      func(ctx context.Context, tx pgxTx, pool *pgxpool.Pool) error
		want     int
		replayed bool
	}{
		{"committed", func(ctx context.Context, tx pgxTx, _ *pgxpool.Pool) error { return tx.Commit(ctx) }, 1, true},
		{"rolled back", func(ctx context.Context, tx pgxTx, _ *pgxpool.Pool) error { return tx.Rollback(ctx) }, 2, false},
		{"killed", func(ctx context.Context, tx pgxTx, pool *pgxpool.Pool) error {
			_, err := pool.Exec(ctx, "SELECT pg_terminate_backend($1)", tx.Conn().PgConn().PID())
			return err
		}, 2, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pool, k := counter(t), newKey(t, "k", "body")
			first, err := pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer first.Rollback(context.Background()) // ended by the test
			_, _, err = idempotency.Do(t.Context(), db.New(first), noon, k, func() (answer, error) {
				_, err := first.Exec(t.Context(), "INSERT INTO effects VALUES (1)")
				return answer{1}, err
			})
			if err != nil {
				t.Fatal(err)
			}
			type end struct {
				a        answer
				replayed bool
				err      error
			}
			ended := make(chan end, 1)
			go func() {
				a, replayed, err := do(context.Background(), pool, noon, k, 2, nil)
				ended <- end{a, replayed, err}
			}()
			pgtest.AwaitLock(t, pool)
			if err := tt.end(t.Context(), first, pool); err != nil {
				t.Fatal(err)
			}
			got := <-ended
			if got.err != nil || got.a.N != tt.want || got.replayed != tt.replayed {
				t.Errorf("the duplicate: got %+v; want %d, replayed %t", got, tt.want, tt.replayed)
			}
			if n := effects(t, pool); n != 1 {
				t.Errorf("%d effects, want 1", n)
			}
		})
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	pool := counter(t)
	for i, at := range []time.Time{noon, noon.Add(time.Second), noon.Add(time.Hour)} {
		if _, _, err := do(t.Context(), pool, at, newKey(t, string(rune('a'+i)), "body"), i, nil); err != nil {
			t.Fatal(err)
		}
	}
	deleted, err := idempotency.Clean(t.Context(), pool, noon.Add(idempotency.Retention+time.Second))
	if err != nil || deleted != 2 {
		t.Errorf("deleted %d, %v; want 2", deleted, err)
	}
	if _, replayed, err := do(t.Context(), pool, noon.Add(2*time.Hour), newKey(t, "c", "body"), 9, nil); err != nil || !replayed {
		t.Errorf("a key within its retention: replayed %t, %v", replayed, err)
	}
}
