package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/sql"
)

// templateName returns the name of the template for the migrations compiled
// into this test: a server may hold those of several states of the code.
func templateName() (string, error) {
	sum := sha256.New()
	err := fs.WalkDir(sql.Migrations, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(sql.Migrations, path)
		fmt.Fprintf(sum, "%s %d\n%s", path, len(content), content)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read migrations: %w", err)
	}
	return "tpl_" + hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

// ensureTemplate makes the template unless it exists. Of the processes that
// test packages in parallel one makes it and the others wait: they share an
// advisory lock, which holds among sessions of one database only, hence the
// maintenance database.
func (s *server) ensureTemplate(ctx context.Context) error {
	const key = 0x7361_6173 // nobody else's on a test server
	conn, err := s.admin.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to the test server: %w", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", key); err != nil {
		return fmt.Errorf("lock the template: %w", err)
	}
	defer conn.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", key) //nolint:errcheck // a lost session holds no lock

	var exists bool
	const query = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)"
	if err := conn.QueryRow(ctx, query, s.template).Scan(&exists); err != nil {
		return fmt.Errorf("look for the template: %w", err)
	}
	if exists {
		return nil
	}
	return s.makeTemplate(ctx)
}

// makeTemplate migrates a database under another name and renames it last, so
// that what has the template's name is whole.
func (s *server) makeTemplate(ctx context.Context) error {
	half := s.template + "_new"
	if err := s.drop(ctx, half); err != nil {
		return err
	}
	if err := s.exec(ctx, "CREATE DATABASE %s TEMPLATE template0", half); err != nil {
		return err
	}
	if err := postgres.Migrate(ctx, s.url(half)); err != nil {
		return fmt.Errorf("migrate the template: %w", err)
	}
	// A session on the template would make every copy of it fail.
	if err := s.exec(ctx, "ALTER DATABASE %s ALLOW_CONNECTIONS false", half); err != nil {
		return err
	}
	return s.rename(ctx, half, s.template)
}

// rename waits for the last sessions to go: the server notices only after a
// moment that they were closed.
func (s *server) rename(ctx context.Context, from, to string) error {
	const objectInUse = "55006"
	for {
		_, err := s.admin.Exec(ctx, fill("ALTER DATABASE %s RENAME TO %s", from, to))
		var refused *pgconn.PgError
		if err == nil || !errors.As(err, &refused) || refused.Code != objectInUse {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("finish the template: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
