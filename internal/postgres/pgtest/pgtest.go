// Package pgtest gives each test a PostgreSQL database of its own, migrated
// and empty.
//
// The migrations run once, into a template; a test gets a copy of it, which
// takes a few milliseconds. The server is the one that TEST_DATABASE_URL names,
// as it does under make test. Without that variable each test process starts
// its own, which ends with the process, so no package needs a TestMain.
//
// A database is dropped when its test has passed. That of a failed test stays,
// and the test's log names it; on a server of the test process's own it is
// gone when that ends.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/devstack/checkout"
	"example.com/saaskit/internal/devstack/pgserver"
	"example.com/saaskit/internal/postgres"
)

// URLEnv names the server to use. Its role needs the right to create
// databases; the database it names is only connected to.
const URLEnv = "TEST_DATABASE_URL"

// patience bounds what every test waits for; it is long because the machine
// may be busy.
const patience = 30 * time.Second

// poolSize is enough for a test's rivals, and small enough for all tests that
// run at once to share the server.
const poolSize = 10

// New returns a pool on a database of the test's own. The pool is closed at
// the end of the test; a connection that was not given back by then fails it.
func New(t testing.TB) *pgxpool.Pool {
	t.Helper()
	databaseURL := NewURL(t)
	pool, err := postgres.Open(context.Background(), databaseURL, poolSize)
	if err != nil {
		t.Fatalf("open pool: %v", err)
	}
	t.Cleanup(func() { closePool(t, pool) })
	return pool
}

// NewURL returns the URL of a database of the test's own, for tests that start
// whole servers.
func NewURL(t testing.TB) string {
	t.Helper()
	return newURL(t, (*server).clone)
}

// NewEmptyURL is [NewURL] for a database without a schema.
func NewEmptyURL(t testing.TB) string {
	t.Helper()
	return newURL(t, func(s *server, ctx context.Context, name string) error {
		return s.exec(ctx, "CREATE DATABASE %s TEMPLATE template0", name)
	})
}

func newURL(t testing.TB, create func(*server, context.Context, string) error) string {
	t.Helper()
	server, err := shared()
	if err != nil {
		t.Fatalf("prepare test databases: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	name := databaseName(t)
	if err := create(server, ctx, name); err != nil {
		t.Fatalf("make test database: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("kept for you to look at: %s", server.url(name))
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.drop(ctx, name); err != nil {
			t.Errorf("drop test database: %v", err)
		}
	})
	return server.url(name)
}

// AwaitLock waits until some session of the pool's database waits for a lock
// that another one holds, and fails the test if none ever does. It is how a
// test knows that the rival it started has reached the lock.
func AwaitLock(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	AwaitLocks(t, pool, 1)
}

// AwaitLocks is [AwaitLock] for at least n sessions.
func AwaitLocks(t testing.TB, pool *pgxpool.Pool, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	const waiting = `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND wait_event_type = 'Lock'`
	for {
		var sessions int
		if err := pool.QueryRow(ctx, waiting).Scan(&sessions); err != nil {
			t.Fatalf("await %d sessions that wait for a lock, saw %d: %v", n, sessions, err)
		}
		if sessions >= n {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("await %d sessions that wait for a lock: only %d do", n, sessions)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// closePool closes the pool, which waits for every connection to be given
// back; it does not let a leaked one hang the test for ever.
func closePool(t testing.TB, pool *pgxpool.Pool) {
	closed := make(chan struct{})
	go func() {
		pool.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Errorf("%d connections were never given back to the pool", pool.Stat().AcquiredConns())
	}
}

// shared returns the process's server, with its template ready.
var shared = sync.OnceValues(func() (*server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	databaseURL := os.Getenv(URLEnv)
	if databaseURL == "" {
		var err error
		if databaseURL, err = startCluster(ctx); err != nil {
			return nil, err
		}
	}
	return openServer(ctx, databaseURL)
})

// startCluster starts a server that its supervisor stops when this process
// ends: nobody has to.
func startCluster(ctx context.Context) (string, error) {
	co, err := checkout.Here()
	if err != nil {
		return "", err
	}
	started, err := pgserver.Start(ctx, pgserver.Options{
		Checkout:  co,
		Throwaway: true,
		Logf:      func(format string, args ...any) { fmt.Fprintf(os.Stderr, "pgtest: "+format+"\n", args...) },
	})
	if err != nil {
		return "", err
	}
	return started.URL("postgres"), nil
}

// server is where test databases are made.
type server struct {
	base     *url.URL      // of the maintenance database
	admin    *pgxpool.Pool // on it
	template string
}

func openServer(ctx context.Context, databaseURL string) (*server, error) {
	base, err := url.Parse(databaseURL)
	if err != nil {
		return nil, errors.New(URLEnv + " is not a URL") // the cause would show a password
	}
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", URLEnv, err)
	}
	config.MaxConns = 4
	admin, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open the test server: %w", err)
	}
	s := &server{base: base, admin: admin}
	if s.template, err = templateName(); err != nil {
		return nil, err
	}
	return s, s.ensureTemplate(ctx)
}

// url returns the address of a database.
func (s *server) url(database string) string {
	u := *s.base
	u.Path = "/" + database
	return u.String()
}

// clone copies the template. FILE_COPY is two to three times as fast as the
// default for a database as small as a schema.
func (s *server) clone(ctx context.Context, name string) error {
	return s.exec(ctx, "CREATE DATABASE %s TEMPLATE %s STRATEGY FILE_COPY", name, s.template)
}

func (s *server) drop(ctx context.Context, name string) error {
	return s.exec(ctx, "DROP DATABASE IF EXISTS %s WITH (FORCE)", name)
}

// exec runs a statement that takes names where SQL takes no parameters.
func (s *server) exec(ctx context.Context, statement string, names ...string) error {
	if _, err := s.admin.Exec(ctx, fill(statement, names...)); err != nil {
		return fmt.Errorf("%s: %w", fill(statement, names...), err)
	}
	return nil
}

func fill(statement string, names ...string) string {
	quoted := make([]any, len(names))
	for i, name := range names {
		quoted[i] = pgx.Identifier{name}.Sanitize()
	}
	return fmt.Sprintf(statement, quoted...)
}

var (
	serial  atomic.Int64
	unclean = regexp.MustCompile(`[^a-z0-9]+`)
)

// databaseName returns a new name that tells whose database it is. PostgreSQL
// cuts names at 63 bytes.
func databaseName(t testing.TB) string {
	const longest = 40
	test := strings.Trim(unclean.ReplaceAllString(strings.ToLower(t.Name()), "_"), "_")
	if len(test) > longest {
		test = test[:longest]
	}
	return fmt.Sprintf("t%d_%d_%s", os.Getpid(), serial.Add(1), test)
}
