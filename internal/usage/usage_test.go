package usage_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/problem"
	"example.com/saaskit/internal/usage"
)

func TestRecordCountsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.mustRecord(at("a", 0, 5), at("b", 0, 7), at("a", 0, 5), at("a", time.Hour, 1))
	if diff := cmp.Diff(usage.Accepted{Accepted: 3, Duplicates: 1}, first); diff != "" {
		t.Errorf("first (-want +got):\n%s", diff)
	}
	// Another quantity, another meter, a nanosecond later: the same event. Another time: another event.
	other := at("b", 0, 7)
	other.Meter = "tokens"
	second := w.mustRecord(at("a", 0, 99), other, at("b", time.Nanosecond, 7), at("b", time.Microsecond, 2), at("c", 0, 0))
	if diff := cmp.Diff(usage.Accepted{Accepted: 2, Duplicates: 3}, second); diff != "" {
		t.Errorf("second (-want +got):\n%s", diff)
	}
	if n := w.number("SELECT sum(quantity) FROM usage_hourly"); n != 5+7+1+2 {
		t.Errorf("sum: got %d", n)
	}
	w.agree()
	// Ids are the account's own.
	w.account = postgres.NewID()
	if got := w.mustRecord(at("a", 0, 5)); got.Accepted != 1 {
		t.Errorf("another account: got %+v", got)
	}
}

func TestRecordRefusesWhole(t *testing.T) {
	t.Parallel()
	unknown := at("x", 0, 1)
	unknown.Meter = "nonsense"
	archived := at("x", 0, 1)
	archived.Meter = "old"
	tests := []struct {
		name   string
		events []usage.Event
		want   error
		at     []string
	}{
		{"unknown meter", []usage.Event{at("a", 0, 1), unknown, at("b", 0, 1), unknown}, problem.UnknownMeter,
			[]string{"body.events.1.meter", "body.events.3.meter"}},
		{"archived meter", []usage.Event{archived}, problem.UnknownMeter, []string{"body.events.0.meter"}},
		{"too old", []usage.Event{at("a", 0, 1), at("b", -usage.MaxAge-time.Microsecond, 1)}, problem.EventTime, []string{"body.events.1.occurred_at"}},
		{"too far ahead", []usage.Event{at("a", usage.MaxAhead+time.Microsecond, 1)}, problem.EventTime, []string{"body.events.0.occurred_at"}},
		{"none", nil, problem.InvalidRequest, []string{"body.events"}},
		{"too many", ids("e", usage.MaxEvents+1), problem.InvalidRequest, []string{"body.events"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.exec("INSERT INTO meters (id, name, unit, updated_at, archived_at) VALUES ('old', 'old', 'one', $1, $1)", noon)
			_, err := w.record(tt.events...)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			var at []string
			for _, f := range problem.Of(err).Fields {
				at = append(at, f.Location)
			}
			if diff := cmp.Diff(tt.at, at); diff != "" {
				t.Errorf("locations (-want +got):\n%s", diff)
			}
			if n := w.number("SELECT count(*) FROM usage_events"); n != 0 {
				t.Errorf("%d events of a refused request are there", n)
			}
		})
	}
}

func TestRecordTakesTheEdges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	events := append(ids("e", usage.MaxEvents-2), at("oldest", -usage.MaxAge, 1), at("newest", usage.MaxAhead, 1))
	if got := w.mustRecord(events...); got.Accepted != usage.MaxEvents {
		t.Errorf("got %+v", got)
	}
	w.agree()
}

func TestRecordReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, err := idempotency.New("api_key:1", "recordUsage", "k", "body")
	if err != nil {
		t.Fatal(err)
	}
	events := []usage.Event{at("a", -usage.MaxAge, 1), at("a", -usage.MaxAge, 1)}
	first, again, err := w.usage.Record(t.Context(), w.account, events, key, audit.Actor{Kind: audit.ByService, ID: "key"})
	if err != nil || again {
		t.Fatalf("first: replayed %t, %v", again, err)
	}
	w.now = noon.Add(time.Hour) // by now the event would be too old
	second, again, err := w.usage.Record(t.Context(), w.account, events, key, audit.Actor{Kind: audit.ByService, ID: "key"})
	if err != nil || !again || second != first {
		t.Errorf("again: got %+v, replayed %t, %v; want %+v", second, again, err, first)
	}
	key.Request = []byte("another")
	if _, _, err := w.usage.Record(t.Context(), w.account, events, key, audit.Actor{Kind: audit.ByService, ID: "key"}); !errors.Is(err, problem.IdempotencyMismatch) {
		t.Errorf("other body: %v", err)
	}
}

// What a service key does for an account is in the account's audit log, once for each request that does something.
func TestRecordByServiceKeyIsAudited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, err := idempotency.New("service:1", "recordUsage", "k", "body")
	if err != nil {
		t.Fatal(err)
	}
	service := audit.Actor{Kind: audit.ByService, ID: "key-1", RequestID: "req-1", IP: "203.0.113.9"}
	events := []usage.Event{at("a", 0, 1), at("b", 0, 1), at("a", 0, 1)}
	for range 2 { // the second is answered from the first
		if _, _, err := w.usage.Record(t.Context(), w.account, events, key, service); err != nil {
			t.Fatal(err)
		}
	}
	unknown := at("x", 0, 1)
	unknown.Meter = "nonsense"
	if _, _, err := w.usage.Record(t.Context(), w.account, []usage.Event{unknown}, idempotency.Key{}, service); !errors.Is(err, problem.UnknownMeter) {
		t.Fatal(err)
	}
	w.mustRecord(at("c", 0, 1)) // by the account's own key
	rows, err := w.pool.Query(t.Context(), `SELECT concat_ws(' ', account_id = $1, actor_kind, actor_id, action, target_kind, target_id = $1::text,
		after::text, request_id, ip) FROM audit_log`, w.account)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	want := []string{`t service key-1 usage.record account t {"accepted": 2, "duplicates": 1} req-1 203.0.113.9`}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("audit log: %v (-want +got):\n%s", err, diff)
	}
}

// Two requests with the same events in opposite orders take them in one order: the second waits for the first at the first
// event that they share, and not crosswise.
func TestRecordOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	holder, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Rollback(context.Background()) // ended below
	_, err = db.New(holder).InsertUsageEvents(t.Context(), db.InsertUsageEventsParams{
		EventIds: []string{"b"}, OccurredAts: []time.Time{noon}, MeterIds: []string{"requests"}, Dimensions: []string{""},
		Quantities: []int64{1}, AccountID: w.account, ReceivedAt: noon,
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	events := []usage.Event{at("a", 0, 1), at("b", 0, 1)}
	go func() { _, err := w.record(events...); ended <- err }()
	pgtest.AwaitLocks(t, w.pool, 1) // has a, waits for b
	go func() { _, err := w.record(at("b", 0, 1), at("a", 0, 1)); ended <- err }()
	pgtest.AwaitLocks(t, w.pool, 2)
	const waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND $1 = ANY (pg_blocking_pids(pid))"
	if n := w.number(waiting, int32(holder.Conn().PgConn().PID())); n != 1 {
		t.Errorf("%d requests wait for the holder of the second event, want 1: the other one waits for the first event", n)
	}
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	w.agree()
}

// Rivals that record the same events: each counts once in the end.
func TestRecordRivals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const rivals, events = 8, 60
	type end struct {
		accepted usage.Accepted
		err      error
	}
	ended := make(chan end, rivals)
	for i := range rivals {
		go func() {
			list := ids("e", events)
			if i%2 == 1 {
				slices.Reverse(list)
			}
			accepted, err := w.record(list...)
			ended <- end{accepted, err}
		}()
	}
	total := 0
	for range rivals {
		e := <-ended
		if e.err != nil {
			t.Error(e.err)
		}
		total += e.accepted.Accepted
	}
	if total != events {
		t.Errorf("%d events were accepted in all, want %d", total, events)
	}
	w.agree()
}
