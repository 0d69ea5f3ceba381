package bench_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
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
	Want              int
	Out               string // file for the result
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
	s := concurrently(b, requests, func(i int) error { return l.send(b, client, i) })
	text, err := json.Marshal(loadResult{PerSecond: s.figure, P50: s.p50, P99: s.p99})
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(l.Out, text, 0o600); err != nil {
		b.Fatal(err)
	}
}

func (l load) send(b *testing.B, client *http.Client, i int) error {
	req, err := http.NewRequestWithContext(b.Context(), l.Method, l.URL, strings.NewReader(l.body()))
	if err != nil {
		return err
	}
	if l.Body != "" {
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
