package credit

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestAddMonths(t *testing.T) {
	t.Parallel()
	tests := []struct {
		from string
		n    int
		want string
	}{
		{"2026-01-31T10:00:00Z", 1, "2026-02-28T10:00:00Z"},
		{"2028-01-31T10:00:00Z", 1, "2028-02-29T10:00:00Z"},
		{"2026-01-31T10:00:00Z", 2, "2026-03-31T10:00:00Z"},
		{"2026-01-31T10:00:00Z", 3, "2026-04-30T10:00:00Z"},
		{"2026-11-30T23:59:59Z", 3, "2027-02-28T23:59:59Z"},
		{"2028-02-29T00:00:00Z", 12, "2029-02-28T00:00:00Z"},
		{"2026-05-15T00:00:00Z", 0, "2026-05-15T00:00:00Z"},
		{"2026-03-31T00:00:00Z", -1, "2026-02-28T00:00:00Z"},
		{"2026-01-31T23:30:00-08:00", 1, "2026-03-01T07:30:00Z"}, // the 1st of February in UTC
	}
	for _, tt := range tests {
		from, err := time.Parse(time.RFC3339, tt.from)
		if err != nil {
			t.Fatal(err)
		}
		if got := addMonths(from, tt.n).Format(time.RFC3339); got != tt.want {
			t.Errorf("%s + %d months: got %s, want %s", tt.from, tt.n, got, tt.want)
		}
	}
}

// Months follow each other without gap or overlap, and each moment is in the month that monthAt says.
func TestMonths(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		anchor := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "anchor"), rapid.Int64Range(0, 999_999).Draw(t, "micro")*1000)
		now := anchor.Add(time.Duration(rapid.Int64Range(-int64(9000*24*time.Hour), int64(9000*24*time.Hour)).Draw(t, "later")))
		n := monthAt(anchor, now)
		if start, end := addMonths(anchor, n), addMonths(anchor, n+1); now.Before(start) || !now.Before(end) {
			t.Fatalf("%s is not in month %d of %s: %s to %s", now, n, anchor, start, end)
		}
	})
}

// The months before an end are those that lead to it from the beginning, where that is on a day that every month has.
func TestMonthBefore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		year, month := rapid.IntRange(2000, 2090).Draw(t, "year"), time.Month(rapid.IntRange(1, 12).Draw(t, "month"))
		begin := time.Date(year, month, rapid.IntRange(1, 28).Draw(t, "day"), rapid.IntRange(0, 23).Draw(t, "hour"), 0, 0, 0, time.UTC)
		end := addMonths(begin, 12)
		at := begin.Add(time.Duration(rapid.Int64Range(0, int64(end.Sub(begin))-1).Draw(t, "after")))
		from, to := MonthBefore(end, at)
		n := monthAt(begin, at)
		if !from.Equal(addMonths(begin, n)) || !to.Equal(addMonths(begin, n+1)) {
			t.Fatalf("%s is in %s to %s, not in month %d of %s", at, from, to, n, begin)
		}
	})
}
