package apikey_test

import (
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/apikey"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/cache"
	"example.com/saaskit/internal/cache/redistest"
	"example.com/saaskit/internal/catalog/catalogtest"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/postgres/pgtest"
)

const (
	patience = 15 * time.Second
	// bound is the promise: a change is seen everywhere within a second.
	bound = time.Second
)

// A clock can be moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// A world is one instance of the service with an account that may have many keys.
type world struct {
	*apikey.Service
	t       *testing.T
	pool    *pgxpool.Pool
	clock   *clock
	account uuid.UUID
	user    uuid.UUID
}

// newWorld makes a world; redisURL is empty for a Redis of its own.
func newWorld(t *testing.T, redisURL string) *world {
	t.Helper()
	if redisURL == "" {
		redisURL = redistest.New(t)
	}
	pool := pgtest.New(t)
	catalogtest.Apply(t, pool)
	w := &world{t: t, pool: pool, clock: &clock{at: time.Date(2026, 5, 1, 12, 0, 0, 123456000, time.UTC)}}
	w.user, w.account = pgtest.User(t, pool)
	w.Service = w.instance(redisURL)
	w.allow(100)
	return w
}

// instance starts one more server on the same database.
func (w *world) instance(redisURL string) *apikey.Service {
	w.t.Helper()
	c, err := cache.Open(w.t.Context(), redisURL, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	s := apikey.New(apikey.Config{
		Pool: w.pool, Cache: c, Log: slog.New(slog.DiscardHandler), Now: w.clock.now, Policy: account.DefaultPolicy(),
	})
	w.t.Cleanup(s.Close)
	return s
}

// allow sets how many keys the free tier allows.
func (w *world) allow(keys int) {
	w.t.Helper()
	w.exec("UPDATE tiers SET api_keys = $1 WHERE id = 'free'", keys)
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.pool.Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

func (w *world) number(sql string, args ...any) (n int) {
	w.t.Helper()
	if err := w.pool.QueryRow(w.t.Context(), sql, args...).Scan(&n); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func (w *world) create(wish apikey.Wish) apikey.Created {
	w.t.Helper()
	if wish.Name == "" {
		wish.Name = "deploy"
	}
	created, err := w.Create(w.t.Context(), w.account, &w.user, wish, idempotency.Key{}, w.actor())
	if err != nil {
		w.t.Fatalf("Create: %v", err)
	}
	return created
}

func (w *world) actor() audit.Actor {
	return audit.Actor{Kind: audit.ByUser, ID: w.user.String(), RequestID: "req_1", IP: "192.0.2.7"}
}

// from is an address of nobody in particular.
func from() netip.Addr { return netip.MustParseAddr("192.0.2.7") }

// want fails unless authentication with the secret ends in want, nil for success.
func (w *world) want(s *apikey.Service, secret apikey.Secret, want error) {
	w.t.Helper()
	if _, err := s.Authenticate(w.t.Context(), string(secret), from()); !errors.Is(err, want) {
		w.t.Errorf("Authenticate: got %v, want %v", err, want)
	}
}

// await waits until authentication ends in want, and fails where that takes longer than d.
func (w *world) await(s *apikey.Service, secret apikey.Secret, want error, d time.Duration) {
	w.t.Helper()
	for began := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		_, err := s.Authenticate(w.t.Context(), string(secret), from())
		if errors.Is(err, want) {
			return
		}
		if time.Since(began) > d {
			w.t.Fatalf("Authenticate after %v: got %v, want %v", d, err, want)
		}
	}
}
