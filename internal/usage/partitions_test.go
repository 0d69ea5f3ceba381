package usage_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/usage"
)

func (w *world) partitions() []string {
	w.t.Helper()
	rows, err := w.pool.Query(context.Background(), `SELECT c.relname || ' ' || pg_get_expr(c.relpartbound, c.oid)
		FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'usage_events'::regclass ORDER BY 1`)
	if err != nil {
		w.t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

func TestPartitions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	want := []string{
		"usage_events_2026_02 FOR VALUES FROM ('2026-02-01 00:00:00+00') TO ('2026-03-01 00:00:00+00')",
		"usage_events_2026_03 FOR VALUES FROM ('2026-03-01 00:00:00+00') TO ('2026-04-01 00:00:00+00')",
		"usage_events_2026_04 FOR VALUES FROM ('2026-04-01 00:00:00+00') TO ('2026-05-01 00:00:00+00')",
		"usage_events_2026_05 FOR VALUES FROM ('2026-05-01 00:00:00+00') TO ('2026-06-01 00:00:00+00')",
	}
	if diff := cmp.Diff(want, w.partitions()); diff != "" {
		t.Errorf("partitions (-want +got):\n%s", diff)
	}
	// Another session's time zone makes no other months.
	w.exec("ALTER DATABASE " + pgx.Identifier{w.pool.Config().ConnConfig.Database}.Sanitize() + " SET timezone TO 'Asia/Tokyo'")
	conn, err := pgx.Connect(t.Context(), w.pool.Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) // the database goes anyway
	if _, err := conn.Exec(t.Context(), "SELECT make_usage_partitions('2026-04-10 12:00:00+00')"); err != nil {
		t.Fatal(err)
	}
	want = append(want, "usage_events_2026_06 FOR VALUES FROM ('2026-06-01 00:00:00+00') TO ('2026-07-01 00:00:00+00')")
	if diff := cmp.Diff(want, w.partitions()); diff != "" {
		t.Errorf("partitions a month later (-want +got):\n%s", diff)
	}
}

func TestPartitionsOfRivals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.now = noon.AddDate(2, 0, 0)
	const rivals = 8
	ended := make(chan error, rivals)
	for range rivals {
		go func() { ended <- w.usage.MakePartitions(t.Context()) }()
	}
	for range rivals {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if n := len(w.partitions()); n != 8 {
		t.Errorf("%d partitions, want 8", n)
	}
}

// Events are written while partitions are made, and the other way round.
func TestPartitionsBlockNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	writer, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Rollback(context.Background()) // nothing to keep
	if _, err := writer.Exec(t.Context(), `INSERT INTO usage_events (account_id, event_id, occurred_at, meter_id, quantity, received_at)
		VALUES ($1, 'a', $2, 'requests', 1, $2)`, w.account, noon); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	later := usage.New(w.pool, func() time.Time { return noon.AddDate(1, 0, 0) })
	if err := later.MakePartitions(ctx); err != nil {
		t.Errorf("with a writer at work: %v", err)
	}
	maker, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer maker.Rollback(context.Background()) // nothing to keep
	if _, err := maker.Exec(t.Context(), "SELECT make_usage_partitions($1)", noon.AddDate(3, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Exec(ctx, `INSERT INTO usage_events (account_id, event_id, occurred_at, meter_id, quantity, received_at)
		VALUES ($1, 'b', $2, 'requests', 1, $2)`, w.account, noon); err != nil {
		t.Errorf("with a maker at work: %v", err)
	}
}

// Nobody made the partitions of this time: the request that meets none makes them.
func TestRecordMakesMissingPartitions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.now = noon.AddDate(1, 0, 0)
	event := at("a", 0, 3)
	event.OccurredAt = w.now
	if got := w.mustRecord(event); got.Accepted != 1 {
		t.Errorf("got %+v", got)
	}
	if !slices.ContainsFunc(w.partitions(), func(p string) bool { return p[:20] == "usage_events_2027_03" }) {
		t.Errorf("partitions: %q", w.partitions())
	}
	w.agree()
}
