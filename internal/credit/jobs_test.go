package credit_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// The jobs as the server runs them: the sweep writes the expiry, the clock brings the month, and nobody looked.
func TestJobs(t *testing.T) {
	t.Parallel()
	w := withCatalogue(t)
	w.grant(w.lot("a", 50, 10, time.Hour))
	w.clock.Set(day0.Add(time.Hour))
	workers := river.NewWorkers()
	w.credits.AddWorkers(workers)
	client, err := river.NewClient(riverpgxv5.New(w.pool), &river.Config{
		Workers: workers, PeriodicJobs: w.credits.PeriodicJobs(), Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 2}},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Stop(context.Background()) }) //nolint:errcheck // the test is over
	deadline := time.Now().Add(2 * time.Minute)
	for len(w.ledger()) < 3 {
		if time.Now().After(deadline) {
			t.Fatalf("the jobs wrote nothing: %v", w.ledger())
		}
		time.Sleep(20 * time.Millisecond)
	}
	if lots := w.remaining(); len(lots) != 1 || lots["clock:free:2026-03-01T12:00:00Z"] != 5 {
		t.Errorf("lots: %v", lots)
	}
	w.proven()
}
