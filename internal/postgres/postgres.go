// Package postgres holds what every package needs of PostgreSQL: the pool, the transaction helper, migrations and ids.
//
// A method of a service opens a transaction with [InTx]; a function that takes *db.Queries joins one.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/db"
)

// InTx runs f in one transaction: committed where f returns nil, rolled back where it returns an error or panics. Every
// query of f goes through q; keep slow work (hashing, calls to Stripe) out of f, for it holds a connection.
func InTx(ctx context.Context, pool *pgxpool.Pool, f func(q *db.Queries) error) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return f(db.New(tx)) })
}

// InJobTx is [InTx] for those who also insert River jobs, which want the transaction itself.
func InJobTx(ctx context.Context, pool *pgxpool.Pool, f func(tx pgx.Tx, q *db.Queries) error) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return f(tx, db.New(tx)) })
}

// IsUnique tells whether err is the violation of the named unique constraint or index.
func IsUnique(err error, constraint string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23505" && pg.ConstraintName == constraint
}

// NewID returns a UUIDv7: ids are made here, so that a statement and its retry carry the same one.
func NewID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

// errURL is all that is said of an URL that cannot be read: the error of pgx repeats what it takes for its other parts, and a
// password with an @ in it is one of them.
var errURL = errors.New("the database URL cannot be read: " +
	"write postgres://user:password@host/database, special characters of the password as %40 and the like")

// Open connects a pool and checks that the server answers. maxConns of 0 keeps pgx's default. Statements are planned once
// per connection and reused; times are read and shown in UTC.
func Open(ctx context.Context, databaseURL string, maxConns int32) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return nil, errURL
	}
	if maxConns > 0 {
		cfg.MaxConns = maxConns
	}
	cfg.ConnConfig.RuntimeParams["timezone"] = "UTC"
	cfg.AfterConnect = readUTC
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reach database: %w", err)
	}
	return pool, nil
}

// readUTC makes times come back in UTC, wherever the process runs: pgx gives them in its local time zone.
func readUTC(_ context.Context, conn *pgx.Conn) error {
	conn.TypeMap().RegisterType(&pgtype.Type{
		Name: "timestamptz", OID: pgtype.TimestamptzOID, Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC},
	})
	return nil
}
