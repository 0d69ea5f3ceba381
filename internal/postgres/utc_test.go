package postgres_test

import (
	"testing"
	"time"

	"example.com/saaskit/internal/postgres/pgtest"
)

// Left to itself pgx gives times in time.Local, which is another location than UTC even where it means the same.
func TestTimesAreUTC(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	var got time.Time
	var pointer *time.Time
	if err := pool.QueryRow(t.Context(), "SELECT '2026-03-01 12:00:00+00'::timestamptz, '2026-03-01 12:00:00+00'::timestamptz").Scan(&got, &pointer); err != nil {
		t.Fatal(err)
	}
	want := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	for _, at := range []time.Time{got, *pointer} {
		if at != want { // == where Equal would not look at the location
			t.Errorf("got %v in %v, want %v", at, at.Location(), want)
		}
	}
}
