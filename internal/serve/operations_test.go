package serve_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	contract "example.com/saaskit/api"
	"example.com/saaskit/internal/serve/servetest"
	"example.com/saaskit/internal/stripeemu"
)

func get(path string) servetest.Request {
	return servetest.Request{Method: http.MethodGet, Path: path}
}

func TestHealthAndDocument(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{})
	if res := w.Do(t, get("/healthz")).Want(http.StatusOK, nil); string(bytes.TrimSpace(res.Body)) != `{"status":"ok"}` {
		t.Errorf("/healthz answers %s", res.Body)
	}
	res := w.Do(t, get("/openapi.yaml")).Want(http.StatusOK, nil)
	if !bytes.Equal(res.Body, contract.Document) || !strings.HasPrefix(res.Header.Get("Content-Type"), "application/yaml") {
		t.Errorf("/openapi.yaml has %d bytes of %s, the document has %d", len(res.Body), res.Header.Get("Content-Type"), len(contract.Document))
	}
}

// Ready follows the database; without Redis the server is ready and says that it is slower.
func TestReadiness(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{})
	ready := func(status int, database, schema, redis string) func() bool {
		want := fmt.Sprintf(`{"ready":%t,"database":%q,"schema":%q,"redis":%q}`, status == http.StatusOK, database, schema, redis)
		return func() bool {
			res := w.Do(t, get("/readyz"))
			return res.Status == status && string(bytes.TrimSpace(res.Body)) == want
		}
	}
	soon := func(what string, holds func() bool) {
		t.Helper()
		servetest.Eventually(t, 15*time.Second, holds, "%s: /readyz says %s", what, w.Do(t, get("/readyz")).Body)
	}
	if !ready(http.StatusOK, "ok", "current", "ok")() {
		t.Fatalf("at first: %s", w.Do(t, get("/readyz")).Body)
	}
	w.Redis.Stop()
	w.Do(t, get("/v1/tiers")).Want(http.StatusOK, nil) // somebody notices
	soon("without Redis", ready(http.StatusOK, "ok", "current", "degraded"))
	w.Redis.Restart()
	soon("with Redis again", ready(http.StatusOK, "ok", "current", "ok"))

	openDatabase := closeDatabase(t, w)
	soon("without the database", ready(http.StatusServiceUnavailable, "unreachable", "unknown", "ok"))
	w.Do(t, get("/healthz")).Want(http.StatusOK, nil) // the process itself is well
	openDatabase()
	w.Pool.Reset() // our own sessions ended, too
	soon("with the database again", ready(http.StatusOK, "ok", "current", "ok"))
	if _, err := w.Pool.Exec(t.Context(), "DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version)"); err != nil {
		t.Fatal(err)
	}
	soon("with a schema that is behind", ready(http.StatusServiceUnavailable, "ok", "behind", "ok"))
}

// closeDatabase ends every session of the world's database and lets no new one in, until what it returns is called.
func closeDatabase(t *testing.T, w *servetest.World) (open func()) {
	t.Helper()
	u, err := url.Parse(w.Setting("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	conn, err := pgx.Connect(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	allow := func(yes bool) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS %t", pgx.Identifier{name}.Sanitize(), yes)); err != nil {
			t.Fatal(err)
		}
	}
	allow(false)
	if _, err := conn.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name); err != nil {
		t.Fatal(err)
	}
	return func() {
		allow(true)
		_ = conn.Close(t.Context())
	}
}

// What there is to watch: requests by operation and status, the pool, Redis, and how long Stripe's events wait.
func TestMetrics(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{Env: map[string]string{"METRICS_ADDR": "127.0.0.1:0"}})
	p := w.Person(t)
	w.Do(t, get("/v1/users/me")).WantProblem(http.StatusUnauthorized, "unauthenticated")
	w.Do(t, get("/v1/nothing")).WantProblem(http.StatusNotFound, "not_found")
	delayEvents(t, w, p)
	w.Redis.Stop()
	w.Do(t, get("/v1/tiers")).Want(http.StatusOK, nil)

	text := scrape(t, w.MetricsURL())
	request := func(part, operation, status string) string {
		return fmt.Sprintf("saaskit_http_request_duration_seconds_%s{operation=%q,status=%q}", part, operation, status)
	}
	for name, least := range map[string]float64{
		request("count", "getMe", "200"): 1, request("count", "getMe", "401"): 1, request("sum", "getMe", "200"): 1e-9,
		request("count", "createCheckoutSession", "201"): 1, request("count", "none", "404"): 1,
		"saaskit_redis_degraded":            1,
		"saaskit_postgres_connections_max":  8,
		"saaskit_postgres_connections_open": 1, "saaskit_postgres_connections_in_use": 0, "saaskit_postgres_waits_total": 0,
		"saaskit_stripe_events_pending": 1, "saaskit_stripe_oldest_pending_seconds": 3600,
		"saaskit_stripe_events_dead": 0, `saaskit_stripe_events_quarantined{reason="livemode"}`: 0, "saaskit_stripe_sweep_age_seconds": 0,
		"saaskit_stripe_events_swept_total": 0, `saaskit_stripe_drift_repaired_total{kind="subscription"}`: 0, `saaskit_stripe_events_received_total{status="pending"}`: 1,
		"go_goroutines": 1, "process_open_fds": 1,
	} {
		if got, ok := sample(text, name); !ok || got < least {
			t.Errorf("%s is %v (%v), want %v at least", name, got, ok, least)
		}
	}
	for _, secret := range []string{p.Token, p.Email, p.AccountID.String()} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is in the metrics", secret)
		}
	}
	w.Do(t, get("/metrics")).WantProblem(http.StatusNotFound, "not_found") // not where the public can ask
}

var metricName = regexp.MustCompile("`(saaskit_[a-z_]+)")

// An alert on a metric that is not there never fires: what docs/operations.md names has to be there.
func TestDocumentedMetricsExist(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{Env: map[string]string{"METRICS_ADDR": "127.0.0.1:0"}})
	w.Do(t, get("/v1/tiers")).Want(http.StatusOK, nil)
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	names := metricName.FindAllStringSubmatch(string(page), -1)
	if len(names) < 10 {
		t.Fatalf("docs/operations.md names %d metrics: the test looks at the wrong thing", len(names))
	}
	text := scrape(t, w.MetricsURL())
	for _, name := range names {
		if !strings.Contains(text, "# HELP "+name[1]+" ") {
			t.Errorf("docs/operations.md names %s, which is not there", name[1])
		}
	}
}

// A body that never comes must not be waited for, whether the path is an operation or not, and the connection must be over
// then: what comes late would be taken for the next request.
func TestUnfinishedRequestsEnd(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{})
	tests := []struct{ path, want string }{
		{"/nothing", "404"}, {"/healthz", "405"}, {"/v1/auth/login", "408"}, {"/v1/webhooks/stripe", "408"},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			t.Parallel()
			var dialer net.Dialer
			conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(w.BaseURL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{", tt.path)
			if err := conn.SetReadDeadline(time.Now().Add(40 * time.Second)); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn)
			if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 "+tt.want) {
				t.Errorf("answered %q, then %v", answer, err)
			}
		})
	}
}

// delayEvents leaves events in the inbox that have waited for an hour.
func delayEvents(t *testing.T, w *servetest.World, p servetest.Person) {
	t.Helper()
	page := w.Checkout(t, p, servetest.Pro())
	held := hold(t, w, stripeemu.Fault{Method: http.MethodGet})
	w.Pay(t, page)
	held.await(t)
	if _, err := w.Pool.Exec(t.Context(), "UPDATE stripe_events SET received_at = received_at - interval '1 hour'"); err != nil {
		t.Fatal(err)
	}
}

func scrape(t *testing.T, base string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Timeout: 15 * time.Second}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("/metrics answers %d (%v)", res.StatusCode, err)
	}
	return string(text)
}

// sample reads one line of a Prometheus text.
func sample(text, name string) (float64, bool) {
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	v, err := strconv.ParseFloat(m[1], 64)
	return v, err == nil
}
