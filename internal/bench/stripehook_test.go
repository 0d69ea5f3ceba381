package bench_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/webhook"

	"example.com/saaskit/internal/httpapi"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/serve/servetest"
	"example.com/saaskit/internal/stripehook"
)

const (
	deliveries    = 640
	webhookSecret = "whsec_bench"
)

// The least that taking an event in is: the same row as ours, with its bytes and what finds them again.
const insertEvent = `INSERT INTO stripe_events (id, stripe_account, livemode, type, api_version, object_kind, object_id, root_id, customer_id,
		event_created, payload, sha256, source, secret_index, status, reason, received_at, done_at)
	SELECT 'evt_' || id, '', false, 'customer.updated', '` + stripe.APIVersion + `', 'customer', 'cus_' || id, 'cus_' || id, 'cus_' || id,
		now(), %s, %s, 'webhook', 0, 'pending', '', now(), NULL FROM (SELECT %s AS id) AS e`

// benchWebhooks compares rows alone with what a delivery is: a signature, a row and the job that will work on it. No worker runs.
func benchWebhooks(b *testing.B, r *report) {
	pool, log := openPool(b), slog.New(slog.DiscardHandler)
	service, err := stripehook.New(stripehook.Config{
		Pool: pool, Secrets: []string{webhookSecret}, AppEnv: "bench", Now: time.Now, Log: log,
	})
	if err != nil {
		b.Fatal(err)
	}
	taken := 0
	ours := func() sample {
		events := newEvents()
		taken += deliveries
		return concurrently(b, deliveries, func(i int) error {
			return service.Receive(b.Context(), events[i].Header, events[i].Payload)
		})
	}
	floorIs, floor := insertFloor(b, pool)
	r.compare("webhook_intake", perSecond, floorIs, floor, ours)
	var queued int
	if err := pool.QueryRow(b.Context(), `SELECT count(*) FROM stripe_events e JOIN river_job j ON j.args ->> 'event_id' = e.id
		WHERE e.status = 'pending'`).Scan(&queued); err != nil || queued != taken {
		b.Fatalf("%d events wait with their job, want %d: %v", queued, taken, err)
	}

	handler, err := httpapi.New(httpapi.Config{Services: httpapi.Services{Stripe: service}, Log: log})
	if err != nil {
		b.Fatal(err)
	}
	srv := httptest.NewServer(handler)
	b.Cleanup(srv.Close)
	delivery := load{Method: http.MethodPost, Path: "/v1/webhooks/stripe", Secret: webhookSecret, Want: http.StatusOK, Count: 10 * deliveries}
	compareHTTP(b, r, "webhook_http", delivery.at(srv.URL), "bare Echo that verifies the signature", bareVerify)
}

// insertFloor inserts the same row, in the fastest way there is.
func insertFloor(b *testing.B, pool *pgxpool.Pool) (name string, floor func() sample) {
	if path, err := exec.LookPath("pgbench"); err == nil {
		size := len(newEvents()[0].Payload)
		script := fmt.Sprintf(insertEvent, fmt.Sprintf("convert_to(repeat('0', %d), 'UTF8')", size), "sha256(id::bytea)",
			"replace(gen_random_uuid()::text, '-', '')") + ";\n"
		return "pgbench, 1 INSERT of such a row", func() sample { return pgbench(b, path, pool, deliveries, script) }
	}
	statement := fmt.Sprintf(insertEvent, "$2", "$3", "$1::text")
	return "raw pgx, 1 INSERT of the same row", func() sample {
		events := newEvents()
		return concurrently(b, deliveries, func(i int) error {
			sum := sha256.Sum256(events[i].Payload)
			_, err := pool.Exec(b.Context(), statement, strings.ReplaceAll(postgres.NewID().String(), "-", ""), events[i].Payload, sum[:])
			return err
		})
	}
}

// bareVerify reads the body, verifies the signature and says yes.
func bareVerify(c echo.Context) error {
	body, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return err
	}
	if err := webhook.ValidatePayload(body, c.Request().Header.Get("Stripe-Signature"), webhookSecret); err != nil {
		return echo.NewHTTPError(http.StatusBadRequest)
	}
	return c.NoContent(http.StatusOK)
}

// Stripe's burst: 500 events in each of three seconds, to a whole server whose workers are at work on them, at their moments whatever
// the answers take. What counts is when the answer came after the moment at which the event was due.
const (
	burst        = 1500
	burstPause   = 2 * time.Millisecond
	burstAllowed = 300 * time.Millisecond
	customers    = 20 // whom the burst is about
)

// A storm is about one subscription.
const (
	storm        = 1000
	stormPause   = 20 * time.Millisecond
	stormAllowed = 40 // reads at Stripe
)

func benchBurst(b *testing.B, r *report) {
	w := servetest.Start(b, servetest.Options{Env: map[string]string{"LOG_LEVEL": "warn"}})
	for range customers {
		w.Buy(b, w.Person(b), servetest.Pro())
	}
	rows, err := w.Pool.Query(b.Context(), `SELECT id, customer_id FROM subscriptions ORDER BY id`)
	if err != nil {
		b.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[subject])
	if err != nil || len(all) != customers {
		b.Fatalf("%d subscriptions, want %d: %v", len(all), customers, err)
	}
	l := load{
		Method: http.MethodPost, Path: "/v1/webhooks/stripe", Secret: servetest.WebhookSecret, Want: http.StatusOK,
		Count: burst, Pause: burstPause, About: all,
	}.at(w.BaseURL)
	var floors, own []sample
	for round := range r.rounds {
		_, s := drive(b, l)
		s.figure = float64(s.p99.Microseconds()) / 1e3
		floors, own = append(floors, sample{figure: float64(burstAllowed.Milliseconds())}), append(own, s)
		awaitDone(b, w, burst*(round+1))
	}
	r.add("webhook_p99", millis, "what is allowed at 500 events/s", floors, own)
	if p99 := r.rows[len(r.rows)-1].Ours; p99 > float64(burstAllowed.Milliseconds()) {
		b.Errorf("the 99th percentile at 500 events/s is %.0f ms, allowed are %s", p99, burstAllowed)
	}

	l.Count, l.Pause, l.About = storm, stormPause, all[:1]
	w.Stripe.ResetRequests()
	drive(b, l)
	awaitDone(b, w, burst*r.rounds+storm)
	reads := 0
	for _, request := range w.Stripe.Requests() {
		if request.Method == http.MethodGet && request.Path == "/v1/subscriptions/"+all[0].Subscription {
			reads++
		}
	}
	r.add("webhook_storm", fetches, "what is allowed for 1,000 updates", []sample{{figure: stormAllowed}}, []sample{{figure: float64(reads)}})
	if reads > stormAllowed || reads == 0 {
		b.Errorf("%d updates of one subscription cost %d reads, allowed are %d", storm, reads, stormAllowed)
	}
}

// awaitDone waits until so many of our events have been worked on, and wants all of them to have ended well.
func awaitDone(b *testing.B, w *servetest.World, n int) {
	b.Helper()
	var pending, done int
	servetest.Eventually(b, 2*time.Minute, func() bool {
		err := w.Pool.QueryRow(b.Context(), `SELECT count(*) FILTER (WHERE status = 'pending'), count(*) FILTER (WHERE status = 'done')
			FROM stripe_events WHERE id LIKE 'evt\_bench%'`).Scan(&pending, &done)
		if err != nil {
			b.Fatal(err)
		}
		return pending == 0
	}, "the events are never done")
	if done != n {
		b.Fatalf("%d events are done, want %d", done, n)
	}
}

// newEvents signs distinct events of the size of a small one of Stripe's.
func newEvents() []*webhook.SignedPayload {
	events := make([]*webhook.SignedPayload, deliveries)
	for i := range events {
		events[i] = newEvent(webhookSecret, subject{})
	}
	return events
}

// newEvent signs an event about a subscription, or about a customer whom nobody knows.
func newEvent(secret string, about subject) *webhook.SignedPayload {
	id, now := postgres.NewID(), time.Now()
	eventType, object := "customer.subscription.updated", fmt.Sprintf(`"id":%q,"object":"subscription","customer":%q`, about.Subscription, about.Customer)
	if about == (subject{}) {
		eventType, object = "customer.updated", fmt.Sprintf(`"id":"cus_%x","object":"customer"`, id[:])
	}
	body := fmt.Appendf(nil, `{"id":"evt_bench%x","object":"event","api_version":%q,"created":%d,"livemode":false,"pending_webhooks":1,
		"type":%q,"data":{"object":{%s,"created":%[3]d,"livemode":false,"description":%[6]q}}}`,
		id[:], stripe.APIVersion, now.Unix(), eventType, object, strings.Repeat("0", 1000))
	return webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: body, Secret: secret, Timestamp: now})
}
