package postgres_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/postgres/pgtest"
)

type tickArgs struct{}

func (tickArgs) Kind() string { return "tick" }

func (tickArgs) InsertOpts() river.InsertOpts { return postgres.PeriodicJob() }

// A job that fails leaves the way free for the next one, and a job that waits does not.
func TestPeriodicJobFailsOnce(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(context.Context, *river.Job[tickArgs]) error { return errors.New("no") }))
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Workers: workers, Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 1}}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	insert := func(skipped bool) {
		t.Helper()
		if got, err := client.Insert(t.Context(), tickArgs{}, nil); err != nil || got.UniqueSkippedAsDuplicate != skipped {
			t.Errorf("insert: skipped %t, %v; want %t", got.UniqueSkippedAsDuplicate, err, skipped)
		}
	}
	insert(false)
	insert(true)
	if err := client.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer client.Stop(context.Background()) //nolint:errcheck // the test is over
	for deadline, state := time.Now().Add(30*time.Second), ""; state != "discarded"; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the job that failed is %s, want discarded", state)
		}
		if err := pool.QueryRow(t.Context(), "SELECT state FROM river_job ORDER BY id LIMIT 1").Scan(&state); err != nil {
			t.Fatal(err)
		}
	}
	insert(false)
}
