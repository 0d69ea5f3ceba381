package bench_test

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/postgres/pgtest"
)

const (
	purses   = 100 // each side has as many accounts
	spending = 640
)

// The least that a debit is: one UPDATE and one INSERT in a transaction, on the tables and indexes of the ledger.
const (
	debit = `UPDATE credit_accounts SET balance = balance - 1, next_seq = next_seq + 1
		WHERE account_id = %s AND balance >= 1 RETURNING balance, next_seq`
	entry = `INSERT INTO credit_entries (account_id, seq, id, kind, amount, balance_after, held_after, idempotency_hash, request_hash,
		actor_kind, effective_at, created_at)
		VALUES (%s, %s, gen_random_uuid(), 'consume', -1, %s, 0, sha256(gen_random_uuid()::text::bytea), '\x00', 'system', now(), now())`
)

// A ledger has two sets of accounts with credits: the floor keeps no lots, and would leave ours inconsistent.
type ledger struct {
	pool         *pgxpool.Pool
	service      *credit.Service
	floors, ours [purses]uuid.UUID
	spent        int64
}

func benchCredits(b *testing.B, r *report) {
	l := newLedger(b)
	for _, accounts := range []int{purses, 1} {
		name := "credits_many"
		if accounts == 1 {
			name = "credits_hot"
		}
		floorIs, floor := "raw pgx, 1 UPDATE + 1 INSERT", func() sample { return l.raw(b, accounts) }
		if path, err := exec.LookPath("pgbench"); err == nil {
			floorIs, floor = "pgbench, 1 UPDATE + 1 INSERT", func() sample { return l.pgbench(b, path, accounts) }
		}
		r.compare(name, perSecond, floorIs, floor, func() sample { return l.consume(b, accounts) })
	}
	var left int64
	if err := l.pool.QueryRow(b.Context(), `SELECT sum(balance)::bigint FROM credit_accounts WHERE account_id = ANY ($1)`, l.ours[:]).
		Scan(&left); err != nil || left != purses*lot-l.spent {
		b.Fatalf("%d credits are left of %d after %d were spent: %v", left, purses*lot, l.spent, err)
	}
}

const lot = 1_000_000_000

func newLedger(b *testing.B) *ledger {
	b.Helper()
	l := &ledger{pool: openPool(b)}
	l.service = credit.New(credit.Config{Pool: l.pool, Now: time.Now})
	for i := range purses {
		l.floors[i], l.ours[i] = pgtest.Account(b, l.pool), pgtest.Account(b, l.pool)
		for _, id := range []uuid.UUID{l.floors[i], l.ours[i]} {
			if err := postgres.InTx(b.Context(), l.pool, func(q *db.Queries) error {
				_, err := credit.Grant(b.Context(), q, time.Now(), credit.Lot{
					AccountID: id, Source: credit.SourceGrant, NaturalKey: "bench", Amount: lot, Actor: audit.System("bench"),
				})
				return err
			}); err != nil {
				b.Fatal(err)
			}
		}
	}
	l.exec(b, "CREATE TABLE bench_accounts (n int PRIMARY KEY, id uuid NOT NULL)")
	for i, id := range l.floors {
		l.exec(b, "INSERT INTO bench_accounts VALUES ($1, $2)", i, id)
	}
	l.exec(b, "ANALYZE")
	return l
}

func (l *ledger) exec(b *testing.B, sql string, args ...any) {
	b.Helper()
	if _, err := l.pool.Exec(b.Context(), sql, args...); err != nil {
		b.Fatal(err)
	}
}

// openPool connects as many sessions as there are callers.
func openPool(b *testing.B) *pgxpool.Pool {
	b.Helper()
	pool, err := postgres.Open(b.Context(), pgtest.NewURL(b), callers)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	return pool
}

func (l *ledger) consume(b *testing.B, accounts int) sample {
	b.Helper()
	l.spent += spending
	return concurrently(b, spending, func(int) error {
		key, err := idempotency.New("service:bench", "consumeCredits", uuid.NewString(), "one credit")
		if err != nil {
			return err
		}
		_, err = l.service.Consume(b.Context(), credit.Spending{
			AccountID: l.ours[rand.IntN(accounts)], Amount: 1, Key: key, Actor: audit.System("bench"),
		})
		return err
	})
}

func (l *ledger) raw(b *testing.B, accounts int) sample {
	b.Helper()
	update, insert := fmt.Sprintf(debit, "$1"), fmt.Sprintf(entry, "$1", "$2", "$3")
	return concurrently(b, spending, func(int) error {
		id := l.floors[rand.IntN(accounts)]
		return pgx.BeginFunc(b.Context(), l.pool, func(tx pgx.Tx) error {
			var balance, next int64
			if err := tx.QueryRow(b.Context(), update, id).Scan(&balance, &next); err != nil {
				return err
			}
			_, err := tx.Exec(b.Context(), insert, id, next-1, balance)
			return err
		})
	})
}

// pgbench runs the same two statements. Its clients look the account up first, for its variables are numbers.
func (l *ledger) pgbench(b *testing.B, path string, accounts int) sample {
	b.Helper()
	find := "(SELECT id FROM bench_accounts WHERE n = :a)"
	return pgbench(b, path, l.pool, spending, fmt.Sprintf("\\set a random(0, %d)\nBEGIN;\n%s \\gset\n%s;\nEND;\n", accounts-1,
		fmt.Sprintf(debit, find), fmt.Sprintf(entry, find, ":next_seq - 1", ":balance")))
}
