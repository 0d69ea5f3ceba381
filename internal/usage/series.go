package usage

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/problem"
)

// Windows of a series. A day and a month are those of UTC.
const (
	Hour  = "hour"
	Day   = "day"
	Month = "month"
)

// MaxWindows bounds a series.
const MaxWindows = 1000

// A Query asks for the usage of one meter over time.
type Query struct {
	AccountID uuid.UUID
	Meter     string
	Window    string
	From      time.Time
	To        *time.Time // not included; nil is now
}

// A Series is usage over time, the oldest window first, windows without usage left out. The largest number stands for itself
// and for all that is larger.
type Series struct {
	Total   int64
	Windows []Window
}

// A Window is what was used in one stretch of time.
type Window struct {
	Start, End time.Time
	Quantity   int64
	Events     int64
}

// Series sums usage. From and To are widened to whole windows. It fails with [problem.UnknownMeter] where there never was such
// a meter, and with [problem.InvalidRequest] where the windows would be none or more than [MaxWindows].
func (s *Service) Series(ctx context.Context, r Query) (Series, error) {
	to := s.now()
	if r.To != nil {
		to = *r.To
	}
	from, end, err := span(r.Window, r.From, to)
	if err != nil {
		return Series{}, err
	}
	q := db.New(s.pool)
	rows, err := q.SumUsage(ctx, db.SumUsageParams{Unit: r.Window, AccountID: r.AccountID, MeterID: r.Meter, FromHour: from, ToHour: end})
	if err != nil {
		return Series{}, fmt.Errorf("sum usage: %w", err)
	}
	if len(rows) == 0 {
		return Series{Windows: []Window{}}, meterWasKnown(ctx, q, r.Meter)
	}
	series := Series{Windows: make([]Window, len(rows))}
	for i, row := range rows {
		series.Windows[i] = Window{Start: row.Start, End: next(r.Window, row.Start), Quantity: row.Quantity, Events: row.Events}
		series.Total += min(row.Quantity, math.MaxInt64-series.Total)
	}
	return series, nil
}

func meterWasKnown(ctx context.Context, q *db.Queries, meter string) error {
	known, err := q.MeterWasKnown(ctx, meter)
	if err != nil {
		return fmt.Errorf("read meter: %w", err)
	}
	if !known {
		return problem.UnknownMeter.Errorf("there is no meter %q in the catalogue", meter).In("query.meter", "is not in the catalogue")
	}
	return nil
}

// span widens a stretch of time to whole windows.
func span(window string, from, to time.Time) (start, end time.Time, err error) {
	if !from.Before(to) {
		return start, end, problem.InvalidRequest.Errorf("from has to be before to").In("query.from", "is not before to")
	}
	start, end = floor(window, from), floor(window, to)
	if end.Before(to) {
		end = next(window, end)
	}
	if n := count(window, start, end); n > MaxWindows {
		return start, end, problem.InvalidRequest.Errorf(
			"from and to are %d windows of a %s apart and an answer has at most %d: ask for less at once or for longer windows",
			n, window, MaxWindows).
			In("query.from", "is too far from to")
	}
	return start, end, nil
}

// floor is the beginning of the window that t is in.
func floor(window string, t time.Time) time.Time {
	t = t.UTC()
	switch window {
	case Month:
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	case Day:
		return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	}
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), 0, 0, 0, time.UTC)
}

// next is the beginning of the window after the one that begins at start.
func next(window string, start time.Time) time.Time {
	switch window {
	case Month:
		return start.AddDate(0, 1, 0)
	case Day:
		return start.AddDate(0, 0, 1)
	}
	return start.Add(time.Hour)
}

// count is how many windows lie between the beginnings of two.
func count(window string, start, end time.Time) int64 {
	switch window {
	case Month:
		return int64(end.Year()-start.Year())*12 + int64(end.Month()-start.Month())
	case Day:
		return (end.Unix() - start.Unix()) / (24 * 3600)
	}
	return (end.Unix() - start.Unix()) / 3600
}
