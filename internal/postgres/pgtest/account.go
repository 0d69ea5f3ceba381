package pgtest

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/postgres"
)

// Account makes a user with a confirmed address and a personal account, and returns the account's id.
func Account(t testing.TB, pool *pgxpool.Pool) uuid.UUID {
	t.Helper()
	_, accountID := User(t, pool)
	return accountID
}

// User makes a user with a confirmed address, the personal account and the membership in it.
func User(t testing.TB, pool *pgxpool.Pool) (userID, accountID uuid.UUID) {
	t.Helper()
	userID, accountID = postgres.NewID(), postgres.NewID()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	now := time.Now().UTC().Truncate(time.Microsecond)
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		for _, insert := range []struct {
			sql  string
			args []any
		}{
			{`INSERT INTO users (id, issuer, subject, email, email_as_of, email_confirmed_at, email_checked_at, created_at, updated_at)
				VALUES ($1, 'https://auth.example.com/auth/v1', $2, $3, $4, $4, $4, $4, $4)`,
				[]any{userID, userID.String(), userID.String() + "@example.com", now}},
			{`INSERT INTO accounts (id, kind, name, personal_of, created_at, updated_at) VALUES ($1, 'personal', 'Ana', $2, $3, $3)`,
				[]any{accountID, userID, now}},
			{`INSERT INTO memberships (account_id, user_id, role, created_at) VALUES ($1, $2, 'owner', $3)`,
				[]any{accountID, userID, now}},
		} {
			if _, err := tx.Exec(ctx, insert.sql, insert.args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("make account: %v", err)
	}
	return userID, accountID
}
