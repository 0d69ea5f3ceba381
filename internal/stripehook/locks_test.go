package stripehook_test

import (
	"context"
	"testing"
	"time"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/postgres/pgtest"
)

// The first grant and the first read of an account's credits both make its row there. The read needs the account's key while
// the webhook's transaction has the account locked: a lock that keeps the key back would let each wait for the other.
func TestFirstReadOfCreditsPassesAFirstGrant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`UPDATE users SET email_confirmed_at = created_at`)
	w.exec(`UPDATE accounts SET created_at = $1`, w.clock.Now())
	w.signup()
	w.settled(w.about("customer.subscription.updated", "sub_1"))
	w.exec(`UPDATE subscriptions SET status = 'canceled'`) // so that the clock owes the free tier's month
	event := w.about("invoice.paid", "in_1")
	w.post(event)
	hold, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hold.Rollback(context.Background()) }()
	// The invoice is written after the account is locked and before its credits are granted.
	if _, err := hold.Exec(t.Context(), `LOCK TABLE invoices IN EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	worked := make(chan error, 1)
	go func() { worked <- w.service.Work(context.Background(), event["id"].(string), false) }()
	pgtest.AwaitLock(t, w.pool)
	credits := credit.New(credit.Config{Pool: w.pool, Now: w.clock.Now, Policy: account.DefaultPolicy()})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if b, err := credits.Balance(ctx, w.t1); err != nil || b.Available != 5 {
		t.Errorf("read beside the webhook: %+v, %v", b, err)
	}
	if err := hold.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-worked; err != nil {
		t.Errorf("webhook beside the read: %v", err)
	}
	w.want("15", `SELECT balance FROM credit_accounts`)
}
