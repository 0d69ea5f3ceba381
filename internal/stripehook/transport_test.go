package stripehook_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/saaskit/internal/httpapi"
	"example.com/saaskit/internal/problem"
	"example.com/saaskit/internal/stripehook"
)

const route = "/v1/webhooks/stripe"

// serve puts the service behind the router of the whole document.
func (w *world) serve() *httptest.Server {
	w.t.Helper()
	handler, err := httpapi.New(httpapi.Config{
		Services: httpapi.Services{Stripe: w.service}, Log: slog.New(slog.NewTextHandler(w.log, nil)),
		Metrics: prometheus.NewRegistry(), Ready: func(context.Context) httpapi.Readiness { return httpapi.Readiness{} },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.Config.ConnState = w.count
	server.Start()
	w.t.Cleanup(server.Close)
	return server
}

// count counts the connections that are open: each has a goroutine of the server.
func (w *world) count(_ net.Conn, state http.ConnState) {
	if state == http.StateNew {
		w.conns.Add(1)
	}
	if state == http.StateClosed {
		w.conns.Add(-1)
	}
}

// answer is what Stripe sees of an answer.
type answer struct {
	status int
	body   string
	header http.Header
}

func send(t testing.TB, method, url string, body io.Reader, header ...string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Request-Id", "one") // which the body of a refusal repeats
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		t.Errorf("%s %s: %v", method, url, err)
		return answer{}
	}
	defer res.Body.Close() // read to its end
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("read answer: %v", err)
	}
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		t.Errorf("%s %s: redirected", method, url)
	}
	return answer{res.StatusCode, string(text), res.Header}
}

// deliver posts a signed body as Stripe does.
func deliver(t testing.TB, server *httptest.Server, body []byte, header ...string) answer {
	t.Helper()
	header = append([]string{"Content-Type", "application/json; charset=utf-8", "Stripe-Signature", sign(body, secret, time.Now())}, header...)
	return send(t, http.MethodPost, server.URL+route, bytes.NewReader(body), header...)
}

func TestC01C02C03OverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	server := w.serve()
	body := encode(t, w.about("customer.subscription.updated", "sub_1"))
	refusals := []answer{
		send(t, http.MethodPost, server.URL+route, bytes.NewReader(body)),
		deliver(t, server, body, "Stripe-Signature", sign(body, "whsec_other", time.Now())),
		deliver(t, server, body, "Stripe-Signature", sign(body, secret, time.Now().Add(-301*time.Second))),
		deliver(t, server, append(bytes.Clone(body), '\n'), "Stripe-Signature", sign(body, secret, time.Now())),
		deliver(t, server, body, "Stripe-Signature", strings.Repeat("v1=aa,", 3500)),
	}
	for i, r := range refusals {
		if r.status != 400 || r.body != refusals[0].body || !strings.Contains(r.body, problem.InvalidSignature.Code) {
			t.Errorf("refusal %d: %d %s", i, r.status, r.body)
		}
	}
	w.want("0", `SELECT count(*) FROM stripe_events`)
	if got := deliver(t, server, body); got.status != 200 || got.body != "" {
		t.Errorf("valid event: %d %q", got.status, got.body)
	}
	w.want("true", `SELECT payload = $1 FROM stripe_events`, body)
	hello := []byte("hello")
	if got := deliver(t, server, hello); got.status != 400 || !strings.Contains(got.body, problem.InvalidEvent.Code) {
		t.Errorf("C16: %d %s", got.status, got.body)
	}
	w.drain()
	w.wantAllDone(1)
}

// A meter counts what is read of a body.
type meter struct {
	io.Reader
	read atomic.Int64
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	m.read.Add(int64(n))
	return n, err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestC13HugeBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := w.serve()
	const size = 50 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for name, length := range map[string]int64{"told": size, "chunked": -1} {
		body := &meter{Reader: io.LimitReader(zeros{}, size)}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+route, body)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = length
		req.Header.Set("Stripe-Signature", "t=1,v1=aa")
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil { // the server may close while we write; then it has read no further
			if body.read.Load() > 8<<20 {
				t.Errorf("%s: %v after %d bytes", name, err, body.read.Load())
			}
			continue
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusRequestEntityTooLarge || !res.Close {
			t.Errorf("%s: %d, connection closed %v", name, res.StatusCode, res.Close)
		}
		if body.read.Load() > 8<<20 { // limit and buffers on the way
			t.Errorf("%s: %d bytes went out", name, body.read.Load())
		}
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 64<<20 {
		t.Errorf("memory has grown by %d MiB", grown>>20)
	}
	w.want("0", `SELECT count(*) FROM stripe_events`)
	w.want("0", `SELECT count(*) FROM stripe_quarantine`)
}

type dripping struct{ ctx context.Context }

func (d dripping) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

func TestC15SlowBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	server := w.serve()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+route, dripping{ctx})
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = 1000
	done := make(chan error, 1)
	go func() {
		res, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode < 400 {
				err = errors.New("accepted")
			}
		}
		done <- err
	}()
	if got := deliver(t, server, encode(t, w.about("customer.updated", "cus_1"))); got.status != 200 {
		t.Errorf("another request meanwhile: %d", got.status)
	}
	select {
	case err := <-done:
		if err != nil && err.Error() == "accepted" {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Error("the server waits for ever")
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for deadline := time.Now().Add(patience); w.conns.Load() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the server still serves %d connections", w.conns.Load())
		}
	}
	w.want("1", `SELECT count(*) FROM stripe_events`)
}

func TestC17GzipBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	server := w.serve()
	plain := encode(t, w.about("customer.subscription.updated", "sub_1"))
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, signature := range map[string]string{
		"signed packed": sign(packed.Bytes(), secret, time.Now()), "signed plain": sign(plain, secret, time.Now()), "bomb": "t=1,v1=aa",
	} {
		got := deliver(t, server, packed.Bytes(), "Content-Encoding", "gzip", "Stripe-Signature", signature)
		if got.status != http.StatusUnsupportedMediaType {
			t.Errorf("%s: %d", name, got.status)
		}
	}
	w.want("0", `SELECT count(*) FROM stripe_events`)
	if got := deliver(t, server, plain, "Content-Encoding", "identity"); got.status != 200 {
		t.Errorf("identity: %d %s", got.status, got.body)
	}
}

func TestC18MethodAndPath(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := w.serve()
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodPatch} {
		got := send(t, method, server.URL+route, nil)
		if got.status != http.StatusMethodNotAllowed || !strings.Contains(got.header.Get("Allow"), http.MethodPost) {
			t.Errorf("%s: %d, Allow %q", method, got.status, got.header.Get("Allow"))
		}
	}
	if got := send(t, http.MethodPost, server.URL+route+"/", strings.NewReader("{}")); got.status != http.StatusNotFound {
		t.Errorf("with a slash: %d", got.status)
	}
}

func TestC19Burst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	server := w.serve()
	const burst, senders = 500, 25
	bodies := make(chan []byte, burst)
	for range burst {
		bodies <- encode(t, w.about("customer.subscription.updated", "sub_1"))
	}
	close(bodies)
	var mu sync.Mutex
	var took []time.Duration
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() {
			for body := range bodies {
				started := time.Now()
				got := deliver(t, server, body)
				mu.Lock()
				took = append(took, time.Since(started))
				mu.Unlock()
				if got.status != 200 || got.header.Get("Set-Cookie") != "" {
					t.Errorf("%d %s", got.status, got.body)
				}
			}
		})
	}
	sending.Wait()
	w.want("500", `SELECT count(*) FROM stripe_events`)
	slices.Sort(took)
	t.Logf("p50 %v, p99 %v", took[burst/2], took[burst*99/100])
	if p99 := took[burst*99/100]; p99 > 5*time.Second { // Stripe's patience; the machine may be busy
		t.Errorf("p99 is %v", p99)
	}
}

func TestC20ContentType(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	server := w.serve()
	for _, contentType := range []string{"text/plain", "", "application/x-www-form-urlencoded", "nonsense;;", "multipart/form-data"} {
		body := encode(t, w.about("customer.subscription.updated", "sub_1"))
		if got := deliver(t, server, body, "Content-Type", contentType); got.status != 200 {
			t.Errorf("%q: %d %s", contentType, got.status, got.body)
		}
	}
	body := encode(t, w.about("customer.subscription.updated", "sub_1"))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+route, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Stripe-Signature", sign(body, secret, time.Now()))
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("no content type: %d", res.StatusCode)
	}
}

func TestC32C33UnavailableOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gate := &gate{}
	pool := gate.pool(t, w.pool)
	w.service = w.newService(with(func(c *stripehook.Config) { c.Pool = pool }))
	w.signup()
	server := w.serve()
	body := encode(t, w.about("customer.subscription.updated", "sub_1"))
	gate.set(true)
	pool.Reset()
	if got := deliver(t, server, body); got.status != http.StatusServiceUnavailable {
		t.Errorf("database down: %d %s", got.status, got.body)
	}
	gate.set(false)
	if got := deliver(t, server, body); got.status != 200 {
		t.Errorf("database back: %d %s", got.status, got.body)
	}
}
