package pgtest_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/postgres/pgtest"
)

func TestNew(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"one", "other"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := pgtest.New(t)
			if err := postgres.CheckSchema(t.Context(), pool.Config().ConnString()); err != nil {
				t.Errorf("schema: %v", err)
			}
			// Fails where the tests share a database.
			if _, err := pool.Exec(t.Context(), "CREATE TABLE mine (id int PRIMARY KEY)"); err != nil {
				t.Errorf("create table: %v", err)
			}
		})
	}
}

func TestDroppedAtTheEnd(t *testing.T) {
	t.Parallel()
	look := pgtest.New(t)
	var gone string
	t.Run("user", func(t *testing.T) {
		gone = databaseOf(t, pgtest.New(t))
	})
	var left int
	if err := look.QueryRow(t.Context(), "SELECT count(*) FROM pg_database WHERE datname = $1", gone).Scan(&left); err != nil {
		t.Fatal(err)
	}
	if left != 0 {
		t.Errorf("the database of a test that passed is still there: %s", gone)
	}
}

// A server whose test forgot a session must not keep the database alive.
func TestNewURLDropsWithSessions(t *testing.T) {
	t.Parallel()
	t.Run("user", func(t *testing.T) {
		conn, err := pgx.Connect(t.Context(), pgtest.NewURL(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		// The session stays open on purpose.
	})
}

func TestAwaitLock(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	if _, err := pool.Exec(t.Context(), "CREATE TABLE one (id int); INSERT INTO one VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	holder, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Exec(t.Context(), "SELECT FROM one FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	const rivals = 2
	ended, both := make(chan error, rivals), make(chan struct{})
	rival := func() {
		_, err := pool.Exec(t.Context(), "UPDATE one SET id = id + 1")
		ended <- err
	}
	go func() {
		pgtest.AwaitLocks(t, pool, rivals)
		close(both)
	}()
	go rival()
	pgtest.AwaitLock(t, pool)
	select {
	case <-both:
		t.Error("AwaitLocks saw two sessions where one waits")
	case <-time.After(50 * time.Millisecond):
	}
	go rival()
	<-both
	select {
	case err := <-ended:
		t.Errorf("a rival did not wait: %v", err)
	default:
	}
	if err := holder.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range rivals {
		if err := <-ended; err != nil {
			t.Errorf("rival: %v", err)
		}
	}
}

func databaseOf(t *testing.T, pool *pgxpool.Pool) string {
	t.Helper()
	var name string
	if err := pool.QueryRow(t.Context(), "SELECT current_database()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	return name
}
