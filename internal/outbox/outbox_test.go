package outbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/outbox"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/postgres/pgtest"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func add(t *testing.T, pool *pgxpool.Pool, m outbox.Message) (added bool) {
	t.Helper()
	err := postgres.InTx(t.Context(), pool, func(q *db.Queries) (err error) {
		added, err = outbox.Add(t.Context(), q, noon, m)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return added
}

// line is what the log says of a message.
type line struct {
	Msg        string `json:"msg"`
	Kind       string `json:"kind"`
	NaturalKey string `json:"natural_key"`
	Account    string `json:"account"`
}

func deliver(t *testing.T, pool *pgxpool.Pool) []line {
	t.Helper()
	var out bytes.Buffer
	d := outbox.NewDelivery(pool, func() time.Time { return noon }, slog.New(slog.NewJSONHandler(&out, nil)), nil)
	told, err := d.Deliver(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lines := []line{}
	for decoder := json.NewDecoder(&out); decoder.More(); {
		var l line
		if err := decoder.Decode(&l); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	if told != len(lines) {
		t.Errorf("Deliver says %d and told %d", told, len(lines))
	}
	return lines
}

func TestDeliver(t *testing.T) {
	t.Parallel()
	pool, account := pgtest.New(t), uuid.New()
	receipt := outbox.Message{AccountID: &account, Kind: "receipt", NaturalKey: "receipt:in_1", Payload: map[string]string{"email": "a@example.com"}}
	if !add(t, pool, receipt) {
		t.Error("the first is not new")
	}
	if add(t, pool, receipt) {
		t.Error("the second is new")
	}
	add(t, pool, outbox.Message{Kind: "alarm", NaturalKey: "alarm:1"})
	want := []line{
		{"outbox message", "receipt", "receipt:in_1", account.String()}, {"outbox message", "alarm", "alarm:1", ""},
	}
	if diff := cmp.Diff(want, deliver(t, pool)); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if add(t, pool, receipt) {
		t.Error("what was told is new again")
	}
	if again := deliver(t, pool); len(again) != 0 {
		t.Errorf("told again: %v", again)
	}
}

func TestDeliverMany(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	const many = 250
	for i := range many {
		add(t, pool, outbox.Message{Kind: "receipt", NaturalKey: fmt.Sprint(i)})
	}
	keys := map[string]bool{}
	for _, l := range deliver(t, pool) {
		keys[l.NaturalKey] = true
	}
	if len(keys) != many {
		t.Errorf("told %d, want %d", len(keys), many)
	}
}

// A delivery that ends before its commit has told in vain: the next one tells again. One that is at work is not waited for.
func TestDeliverAtLeastOnce(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	add(t, pool, outbox.Message{Kind: "receipt", NaturalKey: "a"})
	other, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Rollback(context.Background()) // ended below
	held, err := db.New(other).LeaseOutbox(t.Context(), noon.Add(time.Minute), noon, 10)
	if err != nil || len(held) != 1 {
		t.Fatalf("took %d, %v", len(held), err)
	}
	add(t, pool, outbox.Message{Kind: "receipt", NaturalKey: "b"})
	if lines := deliver(t, pool); len(lines) != 1 || lines[0].NaturalKey != "b" {
		t.Errorf("beside another delivery: %v", lines)
	}
	if _, err := pool.Exec(t.Context(), "SELECT pg_terminate_backend($1)", other.Conn().PgConn().PID()); err != nil {
		t.Fatal(err)
	}
	// The server gives the row free when it has noticed.
	for range 500 {
		if lines := deliver(t, pool); len(lines) == 1 && lines[0].NaturalKey == "a" {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the message of a killed delivery was never told")
}
