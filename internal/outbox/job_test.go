package outbox_test

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"example.com/saaskit/internal/outbox"
	"example.com/saaskit/internal/postgres/pgtest"
)

// The job as the server runs it: begun by its schedule, one at a time.
func TestJob(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	add(t, pool, outbox.Message{Kind: "receipt", NaturalKey: "a"})
	d := outbox.NewDelivery(pool, func() time.Time { return noon }, slog.New(slog.NewJSONHandler(&bytes.Buffer{}, nil)), nil)
	workers := river.NewWorkers()
	d.AddWorkers(workers)
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Workers: workers, PeriodicJobs: d.PeriodicJobs(), Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 1}},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	// While one job waits there is no second one.
	for i := range 2 {
		inserted, err := client.Insert(t.Context(), outbox.DeliverArgs{}, nil)
		if err != nil || inserted.UniqueSkippedAsDuplicate != (i == 1) {
			t.Errorf("insert %d: skipped %t, %v", i, inserted.UniqueSkippedAsDuplicate, err)
		}
	}
	if err := client.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer client.Stop(context.Background()) //nolint:errcheck // the test is over
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		var waiting int
		if err := pool.QueryRow(ctx, "SELECT count(*) FROM outbox WHERE sent_at IS NULL").Scan(&waiting); err != nil {
			t.Fatal(err)
		}
		if waiting == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}
