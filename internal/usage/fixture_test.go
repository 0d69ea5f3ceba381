package usage_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/usage"
)

// noon is the time of every test unless it moves it.
var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

type world struct {
	t       testing.TB
	pool    *pgxpool.Pool
	usage   *usage.Service
	now     time.Time
	account uuid.UUID
}

// newWorld has the meters requests and tokens, and the partitions of its time.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, pool: pgtest.New(t), now: noon, account: postgres.NewID()}
	w.usage = usage.New(w.pool, func() time.Time { return w.now })
	for _, meter := range []string{"requests", "tokens"} {
		w.exec("INSERT INTO meters (id, name, unit, updated_at) VALUES ($1, $1, 'one', $2)", meter, noon)
	}
	if err := w.usage.MakePartitions(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.pool.Exec(context.Background(), sql, args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

func (w *world) number(sql string, args ...any) int64 {
	w.t.Helper()
	var n int64
	if err := w.pool.QueryRow(context.Background(), sql, args...).Scan(&n); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func (w *world) record(events ...usage.Event) (usage.Accepted, error) {
	accepted, _, err := w.usage.Record(context.Background(), w.account, events, idempotency.Key{}, audit.Actor{Kind: audit.ByAPIKey, ID: "key"})
	return accepted, err
}

func (w *world) mustRecord(events ...usage.Event) usage.Accepted {
	w.t.Helper()
	accepted, err := w.record(events...)
	if err != nil {
		w.t.Fatalf("record: %v", err)
	}
	return accepted
}

// agree fails the test where the hours are not the sums of the events.
func (w *world) agree() {
	w.t.Helper()
	const differing = `SELECT count(*) FROM (
		SELECT account_id, meter_id, date_trunc('hour', occurred_at, 'UTC') AS hour, dimension, sum(quantity) AS quantity, count(*) AS events
		FROM usage_events GROUP BY 1, 2, 3, 4
	) e FULL JOIN usage_hourly h USING (account_id, meter_id, hour, dimension)
	WHERE e.quantity IS DISTINCT FROM h.quantity OR e.events IS DISTINCT FROM h.events`
	if n := w.number(differing); n != 0 {
		w.t.Errorf("%d hours are not the sums of their events", n)
	}
}

// at is an event of one request at a time after noon.
func at(id string, after time.Duration, quantity int64) usage.Event {
	return usage.Event{ID: id, Meter: "requests", Quantity: quantity, OccurredAt: noon.Add(after)}
}

func ids(prefix string, n int) []usage.Event {
	events := make([]usage.Event, n)
	for i := range events {
		events[i] = at(fmt.Sprint(prefix, i), -time.Duration(i)*time.Minute, int64(i))
	}
	return events
}
