package usage_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/saaskit/internal/problem"
	"example.com/saaskit/internal/usage"
)

func day(d, h int) time.Time { return time.Date(2026, 3, d, h, 0, 0, 0, time.UTC) }

func TestSeries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tokens := at("t", 0, 1000)
	tokens.Meter = "tokens"
	inEurope := at("eu", -time.Hour, 4)
	inEurope.Dimension = "eu"
	w.mustRecord(
		usage.Event{ID: "last month", Meter: "requests", Quantity: 1, OccurredAt: day(1, 0).Add(-time.Microsecond)},
		usage.Event{ID: "first", Meter: "requests", Quantity: 2, OccurredAt: day(1, 0)},
		at("a", 0, 8), at("b", 59*time.Minute, 16), inEurope, tokens,
	)
	elsewhere := time.FixedZone("elsewhere", -8*3600)
	to := day(10, 12)
	tests := []struct {
		name string
		ask  usage.Query
		want usage.Series
	}{
		{"hours, widened", usage.Query{Window: usage.Hour, From: day(10, 11).Add(time.Minute), To: ptr(day(10, 12).Add(time.Second))},
			usage.Series{Total: 28, Windows: []usage.Window{{day(10, 11), day(10, 12), 4, 1}, {day(10, 12), day(10, 13), 24, 2}}}},
		{"to is not included", usage.Query{Window: usage.Hour, From: day(10, 11), To: &to},
			usage.Series{Total: 4, Windows: []usage.Window{{day(10, 11), day(10, 12), 4, 1}}}},
		{"days of UTC", usage.Query{Window: usage.Day, From: day(1, 7).In(elsewhere), To: ptr(day(10, 1).In(elsewhere))},
			usage.Series{Total: 30, Windows: []usage.Window{{day(1, 0), day(2, 0), 2, 1}, {day(10, 0), day(11, 0), 28, 3}}}},
		{"months, until now", usage.Query{Window: usage.Month, From: day(1, 0).Add(-time.Second)},
			usage.Series{Total: 31, Windows: []usage.Window{
				{time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), day(1, 0), 1, 1},
				{day(1, 0), time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC), 30, 4},
			}}},
		{"nothing", usage.Query{Window: usage.Day, From: day(3, 0), To: ptr(day(4, 0))}, usage.Series{Windows: []usage.Window{}}},
		{"as many as there may be", usage.Query{Window: usage.Hour, From: to.Add(-1000 * time.Hour), To: &to},
			usage.Series{Total: 7, Windows: []usage.Window{
				{day(1, 0).Add(-time.Hour), day(1, 0), 1, 1}, {day(1, 0), day(1, 1), 2, 1}, {day(10, 11), day(10, 12), 4, 1}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.ask.AccountID, tt.ask.Meter = w.account, "requests"
			got, err := w.usage.Series(t.Context(), tt.ask)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("series (-want +got):\n%s", diff)
			}
		})
	}
}

// What nobody can count in 64 bits is told as the most that fits, and is kept exactly: no sum refuses a request, or an answer.
func TestSumsBeyondTheLargestNumber(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustRecord(at("first", 0, 1000), at("next hour", time.Hour, 7), at("next day", 24*time.Hour, 7))
	w.exec("UPDATE usage_hourly SET quantity = 9223372036854775807 WHERE hour = $1", noon)
	w.mustRecord(at("one more", 0, 1_000_000_000_000))
	to := day(12, 0)
	for _, tt := range []struct {
		window string
		want   []int64
	}{
		{usage.Hour, []int64{math.MaxInt64, 7, 7}}, {usage.Day, []int64{math.MaxInt64, 7}}, {usage.Month, []int64{math.MaxInt64}},
	} {
		series, err := w.usage.Series(t.Context(), usage.Query{AccountID: w.account, Meter: "requests", Window: tt.window, From: day(10, 0), To: &to})
		if err != nil {
			t.Fatalf("%s: %v", tt.window, err)
		}
		var got []int64
		for _, window := range series.Windows {
			got = append(got, window.Quantity)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || series.Total != math.MaxInt64 {
			t.Errorf("%s: total %d (-want +got):\n%s", tt.window, series.Total, diff)
		}
	}
	if n := w.number("SELECT count(*) FROM usage_hourly WHERE quantity = 9223372036854775807::numeric + 1000000000000"); n != 1 {
		t.Error("the hour is not the exact sum")
	}
}

func TestSeriesRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("INSERT INTO meters (id, name, unit, updated_at, archived_at) VALUES ('old', 'old', 'one', $1, $1)", noon)
	tests := []struct {
		name string
		ask  usage.Query
		want error
	}{
		{"backwards", usage.Query{Meter: "requests", Window: usage.Hour, From: noon, To: ptr(noon.Add(-time.Hour))}, problem.InvalidRequest},
		{"no time", usage.Query{Meter: "requests", Window: usage.Hour, From: noon}, problem.InvalidRequest},
		{"too many hours", usage.Query{Meter: "requests", Window: usage.Hour, From: noon.Add(-1001 * time.Hour)}, problem.InvalidRequest},
		{"too many days", usage.Query{Meter: "requests", Window: usage.Day, From: noon.AddDate(-3, 0, 0)}, problem.InvalidRequest},
		{"all of history", usage.Query{Meter: "requests", Window: usage.Hour, From: time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC),
			To: ptr(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC))}, problem.InvalidRequest},
		{"too many months", usage.Query{Meter: "requests", Window: usage.Month, From: noon.AddDate(-84, 0, 0)}, problem.InvalidRequest},
		{"unknown meter", usage.Query{Meter: "nonsense", Window: usage.Day, From: noon.AddDate(0, 0, -1)}, problem.UnknownMeter},
		{"archived meter", usage.Query{Meter: "old", Window: usage.Day, From: noon.AddDate(0, 0, -1)}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := w.usage.Series(t.Context(), tt.ask); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }
