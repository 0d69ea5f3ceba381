package bench_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// loadEnv tells a process of this binary that it is to make requests, and which.
const loadEnv = "BENCH_LOAD"

// A load is what to request again and again.
type load struct {
	Method, Path, URL string
	Body              string // $ID becomes another id each time
	Header            map[string]string
	Secret            string    // of Stripe's signature: the body is an event, another one each time
	About             []subject // what the events are about, in turns; nothing that is known where it is empty
	Want              int
	Count             int
	Pause             time.Duration // between two requests; 0 for as fast as they are answered
	Out               string        // file for the result
}

type loadResult struct {
	PerSecond float64
	P50, P99  time.Duration
}

// at sends the load to another server.
func (l load) at(base string) load {
	l.URL = base + l.Path
	return l
}

// with sends the headers with each request.
func (l load) with(header map[string]string) load {
	l.Header = header
	return l
}

// A subject is a subscription that Stripe has, and whose it is.
type subject struct{ Subscription, Customer string }

func (l load) body() string { return strings.ReplaceAll(l.Body, "$ID", uuid.NewString()) }

// BenchmarkLoad is the other process of [BenchmarkRatios], and nothing by itself.
func BenchmarkLoad(b *testing.B) {
	spec := os.Getenv(loadEnv)
	if spec == "" {
		b.Skip("BenchmarkRatios runs it")
	}
	var l load
	if err := json.Unmarshal([]byte(spec), &l); err != nil {
		b.Fatal(err)
	}
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
	s := l.drive(b, client)
	text, err := json.Marshal(loadResult{PerSecond: s.figure, P50: s.p50, P99: s.p99})
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(l.Out, text, 0o600); err != nil {
		b.Fatal(err)
	}
}

// drive makes the requests. With a pause each has its moment, and what it took counts from there.
func (l load) drive(b *testing.B, client *http.Client) sample {
	if l.Pause == 0 {
		return concurrently(b, l.Count, func(i int) error { return l.send(b, client, i) })
	}
	took, errs := make([]time.Duration, l.Count), make([]error, l.Count)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range l.Count {
		due := start.Add(time.Duration(i) * l.Pause)
		time.Sleep(time.Until(due))
		wg.Go(func() {
			errs[i] = l.send(b, client, i)
			took[i] = time.Since(due)
		})
	}
	wg.Wait()
	failed := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(failed) > 0 {
		b.Fatalf("%d of %d requests have failed, the first: %v", len(failed), l.Count, failed[0])
	}
	return timed(took, time.Since(start))
}

func (l load) send(b *testing.B, client *http.Client, i int) error {
	body, signature := l.body(), ""
	if l.Secret != "" {
		var about subject
		if len(l.About) > 0 {
			about = l.About[i%len(l.About)]
		}
		event := newEvent(l.Secret, about)
		body, signature = string(event.Payload), event.Header
	}
	req, err := http.NewRequestWithContext(b.Context(), l.Method, l.URL, strings.NewReader(body))
	if err != nil {
		return err
	}
	if signature != "" {
		req.Header.Set("Stripe-Signature", signature)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range l.Header {
		req.Header.Set(name, value)
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != l.Want {
		err = fmt.Errorf("%s %s answers %d, want %d: %s", l.Method, l.URL, res.StatusCode, l.Want, answer)
	}
	return err
}
