package stripehook_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
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
	server.Listener = metered{server.Listener, &w.read}
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

// metered counts what a server reads from its connections.
type metered struct {
	net.Listener
	read *atomic.Int64
}

func (m metered) Accept() (net.Conn, error) {
	conn, err := m.Listener.Accept()
	return meteredConn{conn, m.read}, err
}

type meteredConn struct {
	net.Conn
	read *atomic.Int64
}

func (m meteredConn) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	m.read.Add(int64(n))
	return n, err
}

// readOf sends what the server is not to read whole, and wants a status and a closed connection. It returns the bytes that were read.
func (w *world) readOf(server *httptest.Server, status int, body io.Reader, length int64, header ...string) int64 {
	w.t.Helper()
	before := w.read.Load()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, server.URL+route, body)
	w.must(err)
	req.ContentLength = length
	req.Header.Set("Stripe-Signature", "t=1,v1=aa")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err == nil { // the server may close while we write
		_ = res.Body.Close()
		if res.StatusCode != status || !res.Close {
			w.t.Errorf("%d, connection closed %v; want %d", res.StatusCode, res.Close, status)
		}
	}
	w.awaitClosed()
	return w.read.Load() - before
}

// awaitClosed waits until the server serves nobody any more.
func (w *world) awaitClosed() {
	w.t.Helper()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for deadline := time.Now().Add(patience); w.conns.Load() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("the server still serves %d connections", w.conns.Load())
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

const (
	limit = 1 << 20
	// beyond is what net/http reads of a body in the hope that it ends, before it closes the connection, and its buffers.
	beyond = 300 << 10
)

func TestC13HugeBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := w.serve()
	const size = 50 << 20
	for name, length := range map[string]int64{"told": size, "chunked": -1} {
		most := int64(limit + beyond)
		if length > 0 {
			most = beyond // it is refused before it is read
		}
		if read := w.readOf(server, http.StatusRequestEntityTooLarge, io.LimitReader(zeros{}, size), length); read > most {
			t.Errorf("%s: %d bytes were read, want %d at the most", name, read, most)
		}
	}
	w.want("0", `SELECT count(*) FROM stripe_events`)
	w.want("0", `SELECT count(*) FROM stripe_quarantine`)
}

func TestC13TheLimitIsExact(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	server := w.serve()
	for _, over := range []int{0, 1} {
		for _, chunked := range []bool{false, true} {
			event := encode(t, w.about(updated, "sub_1"))
			body := slices.Concat(event, bytes.Repeat([]byte(" "), limit+over-len(event)))
			reader, want := io.Reader(bytes.NewReader(body)), http.StatusOK
			if chunked {
				reader = io.MultiReader(reader) // of which net/http does not know the length
			}
			if over > 0 {
				want = http.StatusRequestEntityTooLarge
			}
			got := send(t, http.MethodPost, server.URL+route, reader, "Stripe-Signature", sign(body, secret, time.Now()))
			if got.status != want {
				t.Errorf("%d bytes, chunked %v: %d, want %d: %s", len(body), chunked, got.status, want, got.body)
			}
		}
	}
	w.drain()
	w.wantAllDone(2)
}

func TestC14LargeLegitimateBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	metadata := object{} // as much as Stripe takes
	for i := range 50 {
		metadata[fmt.Sprintf("%040d", i)] = strings.Repeat("m", 500)
	}
	lines := []any{w.line("il_in_1", w.basic(), 1000, object{"metadata": metadata})}
	for i := range 9 {
		lines = append(lines, w.line(fmt.Sprintf("il_%d", i), w.price("price_consulting", "", 100, "usd"), 100, object{"metadata": metadata}))
	}
	w.patch("in_1", object{"metadata": metadata, "subtotal": 1900, "total": 1900, "amount_due": 1900, "amount_paid": 1900,
		"lines": list("/v1/invoices/in_1/lines", lines...)})
	body := encode(t, w.about("invoice.paid", "in_1"))
	if len(body) < 200<<10 {
		t.Fatalf("%d bytes are not large", len(body))
	}
	if got := deliver(t, w.serve(), body); got.status != http.StatusOK {
		t.Fatalf("%d: %s", got.status, got.body)
	}
	w.want("true", `SELECT payload = $1 FROM stripe_events`, body)
	w.drain()
	w.wantAllDone(1)
	w.want("10", `SELECT balance FROM credit_accounts`)
	w.want("10", `SELECT count(*) FROM invoice_lines`)
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
	w.awaitClosed()
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
		"signed packed": sign(packed.Bytes(), secret, time.Now()), "signed plain": sign(plain, secret, time.Now()),
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

// A megabyte that would become a gigabyte is refused for what it says it is, before anybody reads it.
func TestC17GzipBomb(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := w.serve()
	var member bytes.Buffer
	z, err := gzip.NewWriterLevel(&member, gzip.BestCompression)
	w.must(err)
	_, err = io.CopyN(z, zeros{}, 64<<20)
	w.must(err)
	w.must(z.Close())
	bomb := bytes.Repeat(member.Bytes(), 15) // gzip goes on with the next member
	if len(bomb) < limit*9/10 || len(bomb) > limit {
		t.Fatalf("a bomb of %d bytes", len(bomb))
	}
	for name, length := range map[string]int64{"told": int64(len(bomb)), "chunked": -1} {
		read := w.readOf(server, http.StatusUnsupportedMediaType, bytes.NewReader(bomb), length,
			"Content-Encoding", "gzip", "Stripe-Signature", sign(bomb, secret, time.Now()))
		if read > beyond {
			t.Errorf("%s: %d bytes were read, want %d at the most", name, read, beyond)
		}
	}
	w.want("0", `SELECT count(*) FROM stripe_events`)
	w.want("0", `SELECT count(*) FROM stripe_quarantine`)
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
