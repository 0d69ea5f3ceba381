package credit_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/postgres/pgtest"
)

// day0 is when every test begins.
var day0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// clock is a time that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// world is a database with one account, and the service on it.
type world struct {
	t       testing.TB
	pool    *pgxpool.Pool
	clock   *clock
	credits *credit.Service
	account uuid.UUID
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, pool: pgtest.New(t), clock: &clock{now: day0}}
	w.credits = credit.New(credit.Config{Pool: w.pool, Now: w.clock.Now})
	w.account = w.newAccount(day0, true)
	return w
}

// newAccount adds a personal account.
func (w *world) newAccount(created time.Time, confirmed bool) uuid.UUID {
	w.t.Helper()
	user, id := postgres.NewID(), postgres.NewID()
	var confirmedAt *time.Time
	if confirmed {
		confirmedAt = &created
	}
	w.exec(`INSERT INTO users (id, issuer, subject, email, email_confirmed_at, created_at, updated_at)
		VALUES ($1, 'test', $2, 'a@example.com', $3, $4, $4)`, user, user.String(), confirmedAt, created)
	w.exec(`INSERT INTO accounts (id, kind, name, personal_of, created_at, updated_at)
		VALUES ($1, 'personal', 'a', $2, $3, $3)`, id, user, created)
	return id
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.pool.Exec(context.Background(), sql, args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// lot is a lot for the account under test.
func (w *world) lot(key string, amount int64, priority int, expires time.Duration) credit.Lot {
	l := credit.Lot{
		AccountID: w.account, Source: credit.SourceGrant, NaturalKey: key, Priority: priority, Amount: amount,
		Description: "lot " + key, Actor: audit.System("test"),
	}
	if expires != 0 {
		at := day0.Add(expires)
		l.ExpiresAt = &at
	}
	return l
}

func (w *world) grant(l credit.Lot) bool {
	w.t.Helper()
	var granted bool
	err := postgres.InTx(context.Background(), w.pool, func(q *db.Queries) (err error) {
		granted, err = credit.Grant(context.Background(), q, w.clock.Now(), l)
		return err
	})
	if err != nil {
		w.t.Fatalf("grant %s: %v", l.NaturalKey, err)
	}
	return granted
}

func (w *world) consume(amount int64, changes ...func(*credit.Spending)) (credit.Spent, error) {
	w.t.Helper()
	s := credit.Spending{AccountID: w.account, Amount: amount, Actor: audit.Actor{Kind: audit.ByAPIKey, ID: "key", RequestID: "req"}}
	for _, change := range changes {
		change(&s)
	}
	return w.credits.Consume(context.Background(), s)
}

func (w *world) mustConsume(amount int64, changes ...func(*credit.Spending)) credit.Spent {
	w.t.Helper()
	spent, err := w.consume(amount, changes...)
	if err != nil {
		w.t.Fatalf("consume %d: %v", amount, err)
	}
	return spent
}

// reference names a spending.
func reference(r string) func(*credit.Spending) {
	return func(s *credit.Spending) { s.Reference = r }
}

// key gives a spending an Idempotency-Key; body stands for the request that comes with it.
func key(value, body string) func(*credit.Spending) {
	return func(s *credit.Spending) {
		k, err := idempotency.New("api_key:1", "consumeCredits", value, body)
		if err != nil {
			panic(err)
		}
		s.Key = k
	}
}

// remaining is what is left in each lot, by natural key, used-up lots left out.
func (w *world) remaining() map[string]int64 {
	w.t.Helper()
	left := map[string]int64{}
	rows, err := w.pool.Query(context.Background(), "SELECT natural_key, remaining FROM credit_lots WHERE account_id = $1 AND remaining > 0", w.account)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var k string
		var n int64
		if err := rows.Scan(&k, &n); err != nil {
			w.t.Fatal(err)
		}
		left[k] = n
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	return left
}

// row is an entry as the tests compare it.
type row struct {
	Seq, Amount, BalanceAfter int64
	Kind                      string
	EffectiveAt               time.Time
}

// ledger is the account's whole ledger, oldest first.
func (w *world) ledger() []row {
	w.t.Helper()
	rows, err := w.pool.Query(context.Background(),
		"SELECT seq, amount, balance_after, kind, effective_at FROM credit_entries WHERE account_id = $1 ORDER BY seq", w.account)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	var list []row
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.Seq, &r.Amount, &r.BalanceAfter, &r.Kind, &r.EffectiveAt); err != nil {
			w.t.Fatal(err)
		}
		list = append(list, r)
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	return list
}

func (w *world) balance() credit.Balance {
	w.t.Helper()
	b, err := w.credits.Balance(context.Background(), w.account)
	if err != nil {
		w.t.Fatalf("balance: %v", err)
	}
	return b
}
