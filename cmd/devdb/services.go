package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/devstack/checkout"
	"example.com/saaskit/internal/devstack/pgserver"
	"example.com/saaskit/internal/devstack/redisserver"
	"example.com/saaskit/internal/postgres"
)

// services is what the command is run with.
type services struct {
	checkout     checkout.Checkout
	env          []string
	logf         func(format string, args ...any)
	postgres     *pgserver.Server // nil where the caller has one of their own
	dropDatabase func() error     // nil where none was made
}

func (s *services) start(ctx context.Context, migrate bool) error {
	if os.Getenv("TEST_REDIS_URL") == "" {
		if err := redisserver.Prepare(ctx, s.checkout, s.logf); err != nil {
			return err
		}
	}
	databaseURL := os.Getenv("TEST_DATABASE_URL")
	if databaseURL == "" {
		server, err := pgserver.Start(ctx, pgserver.Options{Checkout: s.checkout, Throwaway: true, Logf: s.logf})
		if err != nil {
			return err
		}
		s.postgres = server
		databaseURL = server.URL("postgres")
		s.env = append(s.env, "TEST_DATABASE_URL="+databaseURL)
	}
	if !migrate {
		return nil
	}
	return s.migrate(ctx, databaseURL)
}

// migrate makes a migrated database of the command's own, so that nothing is
// changed in one of the caller's.
func (s *services) migrate(ctx context.Context, databaseURL string) error {
	name := fmt.Sprintf("devdb_%d", os.Getpid())
	if err := execute(ctx, databaseURL, "CREATE DATABASE "+name); err != nil {
		return err
	}
	s.dropDatabase = func() error {
		return execute(context.WithoutCancel(ctx), databaseURL, "DROP DATABASE "+name+" WITH (FORCE)")
	}
	made, err := url.Parse(databaseURL)
	if err != nil {
		return errors.New("TEST_DATABASE_URL is not a URL") // the cause would show a password
	}
	made.Path = "/" + name
	if err := postgres.Migrate(ctx, made.String()); err != nil {
		return err
	}
	s.env = append(s.env, "DATABASE_URL="+made.String())
	return nil
}

func execute(ctx context.Context, databaseURL, statement string) error {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return fmt.Errorf("connect to the test server: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

func (s *services) stop() error {
	switch {
	case s.postgres != nil:
		return s.postgres.Stop() // and everything in it is gone
	case s.dropDatabase != nil:
		return s.dropDatabase()
	default:
		return nil
	}
}

// gone is closed when the server ends, which it should not while the command
// runs.
func (s *services) gone() <-chan struct{} {
	if s.postgres == nil {
		return nil
	}
	return s.postgres.Done()
}

// withoutPostgres leaves out the variables by which PostgreSQL's clients can be
// told to go elsewhere, such as PGHOST or PGSERVICE: they would add themselves
// to every URL.
func withoutPostgres(env []string) []string {
	var kept []string
	for _, variable := range env {
		if !strings.HasPrefix(variable, "PG") {
			kept = append(kept, variable)
		}
	}
	return kept
}
