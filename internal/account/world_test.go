package account_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/cache"
	"example.com/saaskit/internal/cache/redistest"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/postgres/pgtest"
)

const issuer = "https://auth.example.com/auth/v1"

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

// A world is a database, a Redis and one instance of the service.
type world struct {
	*account.Service
	*clock
	t     *testing.T
	pool  *pgxpool.Pool
	redis string
	space string // in Redis; instances of one installation share it
	shape func(*account.Config)
}

func newWorld(t *testing.T, shape ...func(*account.Config)) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{}, pool: pgtest.New(t), redis: redistest.New(t), space: "test"}
	w.shape = func(c *account.Config) {
		for _, f := range shape {
			f(c)
		}
	}
	w.Service = w.instance()
	return w
}

// instance starts another instance on the same database and Redis.
func (w *world) instance() *account.Service {
	w.t.Helper()
	log := slog.New(slog.DiscardHandler)
	c, err := cache.Open(context.Background(), w.redis, w.space, log)
	if err != nil {
		w.t.Fatalf("open cache: %v", err)
	}
	w.t.Cleanup(c.Close)
	cfg := account.Config{Pool: w.pool, Cache: c, Log: log, Now: w.Now, Policy: account.DefaultPolicy()}
	w.shape(&cfg)
	s, err := account.New(cfg)
	if err != nil {
		w.t.Fatalf("account.New: %v", err)
	}
	return s
}

// bearer is somebody with a token issued now.
func (w *world) bearer() account.Bearer {
	subject, session := uuid.NewString(), uuid.New()
	return account.Bearer{
		Issuer: issuer, Subject: subject, Email: subject[:8] + "@example.com", SessionID: &session, IssuedAt: w.Now().Truncate(time.Second),
	}
}

// admitted admits somebody who has to be.
func (w *world) admitted(b account.Bearer) account.Identity {
	w.t.Helper()
	id, err := w.Admit(w.t.Context(), b)
	if err != nil {
		w.t.Fatalf("Admit: %v", err)
	}
	return id
}

// known makes somebody a user behind the cache's back, so that no tombstone of the making keeps Redis from being filled.
func (w *world) known(b account.Bearer) {
	w.t.Helper()
	w.space = "other"
	other := w.instance()
	w.space = "test"
	if _, err := other.Admit(w.t.Context(), b); err != nil {
		w.t.Fatalf("Admit: %v", err)
	}
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.pool.Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// count runs a query that answers one number.
func (w *world) count(sql string, args ...any) int {
	w.t.Helper()
	var n int
	if err := w.pool.QueryRow(w.t.Context(), sql, args...).Scan(&n); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// text runs a query that answers one text.
func (w *world) text(sql string, args ...any) string {
	w.t.Helper()
	var text string
	if err := w.pool.QueryRow(w.t.Context(), sql, args...).Scan(&text); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	return text
}

func eventually(t *testing.T, within time.Duration, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

func operator() audit.Actor { return audit.Operator("test") }

func noKey() idempotency.Key { return idempotency.Key{} }
