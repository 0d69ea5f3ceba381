package postgres

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"example.com/saaskit/sql"
)

// A Migration is one step of the schema and whether the database has it.
type Migration struct {
	Version int64
	Name    string
	Applied bool
}

// ErrSchemaBehind says that the database lacks migrations of this binary.
var ErrSchemaBehind = errors.New("the database schema is behind: run `saaskit migrate up`")

// Migrate brings the database up to date. Any number of instances may start at once: one migrates, the others wait for the
// advisory lock and find nothing to do.
func Migrate(ctx context.Context, databaseURL string) error {
	return withProvider(databaseURL, func(p *goose.Provider) error {
		if _, err := p.Up(ctx); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
		return nil
	})
}

// MigrationStatus lists every migration, oldest first.
func MigrationStatus(ctx context.Context, databaseURL string) ([]Migration, error) {
	var list []Migration
	err := withProvider(databaseURL, func(p *goose.Provider) error {
		all, err := p.Status(ctx)
		if err != nil {
			return fmt.Errorf("read migrations: %w", err)
		}
		for _, m := range all {
			list = append(list, Migration{Version: m.Source.Version, Name: m.Source.Path, Applied: m.State == goose.StateApplied})
		}
		return nil
	})
	return list, err
}

// CheckSchema returns [ErrSchemaBehind] where the database lacks a migration of this binary.
func CheckSchema(ctx context.Context, databaseURL string) error {
	list, err := MigrationStatus(ctx, databaseURL)
	if err != nil {
		return err
	}
	for _, m := range list {
		if !m.Applied {
			return fmt.Errorf("%w (first missing: %s)", ErrSchemaBehind, m.Name)
		}
	}
	return nil
}

// SchemaIsCurrent tells whether the database has the newest migration of this binary. It is [CheckSchema] for those who ask often.
func SchemaIsCurrent(ctx context.Context, pool *pgxpool.Pool) (bool, error) {
	newest, err := newestMigration()
	if err != nil {
		return false, err
	}
	var applied bool
	err = pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM goose_db_version WHERE version_id = $1 AND is_applied)", newest).Scan(&applied)
	if err != nil {
		return false, fmt.Errorf("read schema version: %w", err)
	}
	return applied, nil
}

// newestMigration is the version of the last file; their names sort by version.
func newestMigration() (int64, error) {
	files, err := fs.Glob(sql.Migrations, "migrations/*.sql")
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("list migrations: %w", err)
	}
	version, err := goose.NumericComponent(files[len(files)-1])
	if err != nil {
		return 0, fmt.Errorf("read version of migration: %w", err)
	}
	return version, nil
}

func withProvider(databaseURL string, f func(*goose.Provider) error) error {
	cfg, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return errURL
	}
	pool := stdlib.OpenDB(*cfg)
	defer pool.Close()
	p, err := newProvider(pool)
	if err != nil {
		return err
	}
	return f(p)
}

func newProvider(pool *stdsql.DB) (*goose.Provider, error) {
	migrations, err := fs.Sub(sql.Migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open migrations: %w", err)
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 120))
	if err != nil {
		return nil, fmt.Errorf("make migration lock: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, pool, migrations, goose.WithSessionLocker(locker))
	if err != nil {
		return nil, fmt.Errorf("load migrations: %w", err)
	}
	return p, nil
}
