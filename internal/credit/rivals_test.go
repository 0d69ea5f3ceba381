package credit_test

import (
	"context"

	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/credit"
)

// result is how a rival's spending ended.
type result struct {
	spent credit.Spent
	err   error
}

// holdLock begins a transaction that holds the account's row.
func (w *world) holdLock() pgx.Tx {
	w.t.Helper()
	tx, err := w.pool.Begin(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { tx.Rollback(context.Background()) }) // ended by the test as a rule
	if _, err := tx.Exec(context.Background(), "SELECT FROM credit_accounts WHERE account_id = $1 FOR UPDATE", w.account); err != nil {
		w.t.Fatal(err)
	}
	return tx
}
