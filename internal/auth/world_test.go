package auth_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/crypto/bcrypt"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/auth"
	"example.com/saaskit/internal/cache"
	"example.com/saaskit/internal/cache/redistest"
	"example.com/saaskit/internal/devstack/supabase"
	"example.com/saaskit/internal/origin"
	"example.com/saaskit/internal/postgres/pgtest"
)

const (
	secret   = "a-shared-secret-of-at-least-32-bytes"
	password = "correct horse"
	ip       = "203.0.113.9"
)

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

// A world is a project at Supabase, a database, a Redis and a service that works with them.
type world struct {
	*supabase.Server
	*clock
	*auth.Service
	t        *testing.T
	url      string
	redis    string
	pool     *pgxpool.Pool
	accounts *account.Service
	shape    func(*auth.Config)
}

// newWorld starts all of it; shape changes the project, more the service.
func newWorld(t *testing.T, shape func(*supabase.Config), more ...func(*auth.Config)) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{}, pool: pgtest.New(t), redis: redistest.New(t)}
	cfg := supabase.Config{JWTSecret: secret, BcryptCost: bcrypt.MinCost, AutoConfirm: true, Now: w.Now}
	srv := httptest.NewUnstartedServer(nil)
	w.url = "http://" + srv.Listener.Addr().String() + "/auth/v1"
	cfg.Issuer = w.url
	if shape != nil {
		shape(&cfg)
	}
	project, err := supabase.New(cfg)
	if err != nil {
		t.Fatalf("start project: %v", err)
	}
	srv.Config.Handler = project
	srv.Start()
	t.Cleanup(srv.Close)
	w.Server = project
	w.shape = func(c *auth.Config) {
		for _, f := range more {
			f(c)
		}
	}
	w.Service, w.accounts = w.instance()
	return w
}

// instance starts another instance of the service on the same database and Redis.
func (w *world) instance() (*auth.Service, *account.Service) {
	w.t.Helper()
	log := slog.New(slog.DiscardHandler)
	c, err := cache.Open(context.Background(), w.redis, "test", log)
	if err != nil {
		w.t.Fatalf("open cache: %v", err)
	}
	w.t.Cleanup(c.Close)
	accounts, err := account.New(account.Config{Pool: w.pool, Cache: c, Log: log, Now: w.Now, Policy: account.DefaultPolicy()})
	if err != nil {
		w.t.Fatalf("account.New: %v", err)
	}
	origins, err := origin.Parse([]string{"https://app.example.com"})
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := auth.Config{URL: w.url, JWTSecret: secret, Origins: origins, Accounts: accounts, Log: log, Now: w.Now}
	w.shape(&cfg)
	s, err := auth.New(cfg)
	if err != nil {
		w.t.Fatalf("auth.New: %v", err)
	}
	w.t.Cleanup(s.Close)
	return s, accounts
}

// person signs somebody up and returns the subject and the session.
func (w *world) person(email string, opts supabase.SignUpOptions) (string, supabase.Session) {
	w.t.Helper()
	id, session, err := w.Server.SignUp(email, password, opts)
	if err != nil {
		w.t.Fatalf("sign up %s: %v", email, err)
	}
	return id, session
}

// admitted authenticates a token that has to be good.
func (w *world) admitted(token string) account.Principal {
	w.t.Helper()
	p, err := w.Authenticate(w.t.Context(), token)
	if err != nil {
		w.t.Fatalf("Authenticate: %v", err)
	}
	return p
}

// refuses authenticates a token that has to be refused with want.
func (w *world) refuses(token string, want error) {
	w.t.Helper()
	if _, err := w.Authenticate(w.t.Context(), token); !errors.Is(err, want) {
		w.t.Fatalf("Authenticate: got %v, want %v", err, want)
	}
}

// scan reads one row.
func (w *world) scan(into any, sql string, args ...any) {
	w.t.Helper()
	if err := w.pool.QueryRow(w.t.Context(), sql, args...).Scan(into); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// eventually waits until f holds.
func eventually(t *testing.T, within time.Duration, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

func both(c *supabase.Config)  { c.Mode = supabase.Both }
func es256(c *supabase.Config) { c.Mode = supabase.ES256 }

// sprint prints in every way that a careless line of a log would.
func sprint(v any) string { return fmt.Sprintf("%v %+v %#v %s", v, v, v, v) }
