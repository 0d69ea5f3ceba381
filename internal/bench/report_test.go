// Package bench measures the server against floors: the least that any implementation would have to do, measured in the same
// run. It holds benchmarks only; `make bench` runs them.
//
// Rounds alternate between the floor and ours, so that whatever else the machine does meets both. A ratio is the median of
// the ratios of the rounds, and above 1 where ours is better. Figures in other units than ratios are those of one machine.
package bench_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// defaultRounds are enough for a median and keep the whole run under two minutes.
const defaultRounds = 3

// BenchmarkRatios measures everything and prints the table. Each part counts its own operations: run it with -benchtime 1x.
func BenchmarkRatios(b *testing.B) {
	r := &report{rounds: defaultRounds}
	if count := os.Getenv("COUNT"); count != "" {
		var err error
		if r.rounds, err = strconv.Atoi(count); err != nil || r.rounds < 1 {
			b.Fatalf("COUNT is %q, not a number of rounds", count)
		}
	}
	b.Run("http", func(b *testing.B) { benchHTTP(b, r) })
	b.Run("credits", func(b *testing.B) { benchCredits(b, r) })
	b.Run("webhooks", func(b *testing.B) { benchWebhooks(b, r) })
	b.Run("burst", func(b *testing.B) { benchBurst(b, r) })
	b.Run("auth", func(b *testing.B) { benchAuth(b, r) })
	r.print(os.Stdout)
	if file := os.Getenv("BENCH_JSON"); file != "" {
		r.write(b, file)
	}
}

// A sample is one side of a round. The figure is in the unit of its row.
type sample struct {
	figure   float64
	p50, p99 time.Duration // zero where single operations were not timed
}

// A row compares ours with a floor.
type row struct {
	Name      string  `json:"name"`
	Unit      string  `json:"unit"`
	FloorIs   string  `json:"floor_is"`
	Floor     float64 `json:"floor"`
	Ours      float64 `json:"ours"`
	Ratio     float64 `json:"ratio"`
	P50Micros int64   `json:"p50_us,omitempty"`
	P99Micros int64   `json:"p99_us,omitempty"`
}

type report struct {
	rounds int
	rows   []row
}

// Units; of the first more is better, of the others less.
const (
	perSecond = "ops/s"
	cpuMicros = "CPU us/op"
	nanos     = "ns/op"
	millis    = "p99 ms"
	fetches   = "fetches"
)

// compare measures both sides in turns, after one turn of each that does not count.
func (r *report) compare(name, unit, floorIs string, floor, ours func() sample) {
	floor()
	ours()
	var floors, own []sample
	for range r.rounds {
		floors, own = append(floors, floor()), append(own, ours())
	}
	r.add(name, unit, floorIs, floors, own)
}

func (r *report) add(name, unit, floorIs string, floors, own []sample) {
	ratios := make([]float64, len(own))
	for i := range own {
		ratios[i] = own[i].figure / floors[i].figure
		if unit != perSecond {
			ratios[i] = 1 / ratios[i]
		}
	}
	figure := func(s sample) float64 { return s.figure }
	r.rows = append(r.rows, row{
		Name: name, Unit: unit, FloorIs: floorIs, Ratio: median(ratios),
		Floor: median(each(floors, figure)), Ours: median(each(own, figure)),
		P50Micros: median(each(own, func(s sample) time.Duration { return s.p50 })).Microseconds(),
		P99Micros: median(each(own, func(s sample) time.Duration { return s.p99 })).Microseconds(),
	})
}

func each[T, R any](list []T, f func(T) R) []R {
	out := make([]R, len(list))
	for i, v := range list {
		out[i] = f(v)
	}
	return out
}

func median[T cmp.Ordered](list []T) T {
	slices.Sort(list)
	return list[len(list)/2]
}

// print writes the table, and each ratio once more on a line for scripts.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "\nMedian of %d rounds; ratio above 1: better than the floor; p50 and p99 are ours.\n\n", r.rounds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tUNIT\tFLOOR\tOURS\tRATIO\tP50\tP99\tTHE FLOOR IS")
	for _, row := range r.rows {
		p50, p99 := "-", "-"
		if row.P99Micros > 0 {
			p50, p99 = fmt.Sprintf("%.1fms", float64(row.P50Micros)/1e3), fmt.Sprintf("%.1fms", float64(row.P99Micros)/1e3)
		}
		fmt.Fprintf(t, "%s\t%s\t%.4g\t%.4g\t%.2f\t%s\t%s\t%s\n", row.Name, row.Unit, row.Floor, row.Ours, row.Ratio, p50, p99, row.FloorIs)
	}
	_ = t.Flush()
	fmt.Fprintln(w)
	for _, row := range r.rows {
		fmt.Fprintf(w, "RATIO %s %.3f\n", row.Name, row.Ratio)
	}
}

func (r *report) write(b *testing.B, file string) {
	b.Helper()
	text, err := json.MarshalIndent(map[string]any{"rounds": r.rounds, "rows": r.rows}, "", "  ")
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil { //nolint:gosec // figures are no secret
		b.Fatal(err)
	}
}

// callers is how many work at once where a floor is about concurrency.
const callers = 16

// concurrently calls f for 0 to n-1 from several callers and times the calls. The figure is calls per second.
func concurrently(b *testing.B, n int, f func(i int) error) sample {
	b.Helper()
	took, errs := make([]time.Duration, n), make([]error, callers)
	var wg sync.WaitGroup
	start := time.Now()
	for c := range callers {
		wg.Go(func() {
			for i := c; i < n && errs[c] == nil; i += callers {
				from := time.Now()
				errs[c] = f(i)
				took[i] = time.Since(from)
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	for _, err := range errs {
		if err != nil {
			b.Fatal(err)
		}
	}
	return timed(took, elapsed)
}

func timed(took []time.Duration, elapsed time.Duration) sample {
	slices.Sort(took)
	return sample{figure: float64(len(took)) / elapsed.Seconds(), p50: took[len(took)/2], p99: took[len(took)*99/100]}
}
