package credit_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/problem"
)

// Everybody at once: at the end every credit is accounted for.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const workers, each = 12, 25
	w.grant(w.lot("start", 500, 10, 0))
	var spent, granted, refused atomic.Int64
	granted.Add(500)
	errs := make(chan error, workers)
	for n := range workers {
		random := rand.New(rand.NewPCG(uint64(n), 1))
		go func() {
			errs <- func() error {
				for i := range each {
					if random.IntN(4) == 0 {
						amount := random.Int64N(40) + 1
						granted.Add(amount)
						w.grant(w.lot(fmt.Sprint(n, "-", i), amount, 10+random.IntN(3), 0))
						continue
					}
					s, err := w.consume(random.Int64N(30) + 1)
					if errors.Is(err, problem.InsufficientCredits) {
						refused.Add(1)
						continue
					}
					if err != nil {
						return err
					}
					spent.Add(s.Amount)
				}
				return nil
			}()
		}()
	}
	for range workers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got, want := w.balance().Available, granted.Load()-spent.Load(); got != want {
		t.Errorf("available: got %d, want %d", got, want)
	}
	if refused.Load() == 0 {
		t.Error("nobody was refused: the test spends too little")
	}
	w.proven()
}

// killer ends the session of a pool right before its n-th query.
type killer struct {
	admin *pgxpool.Pool
	left  int
}

func (k *killer) TraceQueryStart(ctx context.Context, conn *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	if k.left--; k.left == 0 {
		pid := conn.PgConn().PID()
		k.admin.Exec(context.Background(), "SELECT pg_terminate_backend($1)", pid) //nolint:errcheck // seen below
		for range 1000 {
			var alive int
			if err := k.admin.QueryRow(context.Background(), "SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid).Scan(&alive); err == nil && alive == 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	return ctx
}

func (k *killer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// The session dies before each statement of a transaction in turn, the COMMIT included. Nothing of it is left, and the same
// request succeeds afterwards.
func TestKilledBetweenSteps(t *testing.T) {
	t.Parallel()
	steps := []struct {
		name string
		left int // entries of earlier transactions that a kill may leave behind
		do   func(ctx context.Context, w *world, pool *pgxpool.Pool) error
	}{
		{"consume", 0, func(ctx context.Context, w *world, pool *pgxpool.Pool) error {
			s := credit.Spending{AccountID: w.account, Amount: 70, Reference: "r"}
			key("k", "seventy")(&s)
			_, err := credit.New(credit.Config{Pool: pool, Now: w.clock.Now}).Consume(ctx, s)
			return err
		}},
		{"grant", 0, func(ctx context.Context, w *world, pool *pgxpool.Pool) error {
			return postgres.InTx(ctx, pool, func(q *db.Queries) error {
				_, err := credit.Grant(ctx, q, w.clock.Now(), w.lot("new", 5, 10, 0))
				return err
			})
		}},
		{"read, with an expiry to settle", 1, func(ctx context.Context, w *world, pool *pgxpool.Pool) error {
			_, err := credit.New(credit.Config{Pool: pool, Now: w.clock.Now}).Balance(ctx, w.account)
			return err
		}},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.grant(w.lot("a", 50, 10, 0))
			w.grant(w.lot("b", 50, 20, 0))
			w.grant(w.lot("c", 50, 20, time.Hour))
			w.clock.Set(day0.Add(time.Hour))
			before := w.ledger()
			for n := 1; ; n++ {
				if n > 40 {
					t.Fatal("a transaction of 40 statements?")
				}
				err := w.killedAt(n, step.do)
				if err == nil { // there were fewer statements than n
					if n < 5 {
						t.Errorf("only %d statements were there to kill", n-1)
					}
					break
				}
				if len(w.ledger()) > len(before)+step.left {
					t.Errorf("killed before statement %d: the ledger has %v", n, w.ledger())
				}
				w.proven()
			}
			w.proven()
			once := w.ledger()
			if err := step.do(t.Context(), w, w.pool); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(once, w.ledger()); diff != "" {
				t.Errorf("again (-once +twice):\n%s", diff)
			}
		})
	}
}

// killedAt runs do on a session that dies before its n-th query.
func (w *world) killedAt(n int, do func(context.Context, *world, *pgxpool.Pool) error) error {
	w.t.Helper()
	cfg := w.pool.Config()
	cfg.MaxConns = 1
	k := &killer{admin: w.pool, left: -1}
	cfg.ConnConfig.Tracer = k
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	defer pool.Close()
	if err := pool.Ping(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	k.left = n
	return do(context.Background(), w, pool)
}
