package postgres_test

import (
	"testing"
	"time"

	"example.com/saaskit/internal/postgres/pgtest"
)

// Not parallel: the process's time zone is everybody's.
func TestTimesAreUTC(t *testing.T) { //nolint:paralleltest // see above
	pool := pgtest.New(t)
	local := time.Local
	time.Local = time.FixedZone("elsewhere", 9*3600)
	defer func() { time.Local = local }()
	var got time.Time
	var pointer *time.Time
	if err := pool.QueryRow(t.Context(), "SELECT '2026-03-01 12:00:00+00'::timestamptz, '2026-03-01 12:00:00+00'::timestamptz").Scan(&got, &pointer); err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{got, *pointer} {
		if text := at.Format(time.RFC3339); text != "2026-03-01T12:00:00Z" {
			t.Errorf("got %s", text)
		}
	}
}
