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

// The least that taking an event in is: its bytes in the inbox, and what finds them again.
const insertEvent = `INSERT INTO stripe_events (id, livemode, type, payload, sha256, source, secret_index, status, received_at)
	VALUES (%s, false, 'customer.updated', %s, %s, 'webhook', 0, 'pending', now())`

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
		script := fmt.Sprintf(insertEvent, "gen_random_uuid()::text", fmt.Sprintf("convert_to(repeat('0', %d), 'UTF8')", size),
			"sha256(gen_random_uuid()::text::bytea)") + ";\n"
		return "pgbench, 1 INSERT of as many bytes", func() sample { return pgbench(b, path, pool, deliveries, script) }
	}
	statement := fmt.Sprintf(insertEvent, "$1", "$2", "$3")
	return "raw pgx, 1 INSERT of the same bytes", func() sample {
		events := newEvents()
		return concurrently(b, deliveries, func(i int) error {
			sum := sha256.Sum256(events[i].Payload)
			_, err := pool.Exec(b.Context(), statement, postgres.NewID().String(), events[i].Payload, sum[:])
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

// Stripe's burst: 500 events in each of three seconds, to a whole server whose workers are at work, at their moments whatever the
// answers take. What counts is when the answer came after the moment at which the event was due.
const (
	burst        = 1500
	burstPause   = 2 * time.Millisecond
	burstAllowed = 300 * time.Millisecond
)

func benchBurst(b *testing.B, r *report) {
	w := servetest.Start(b, servetest.Options{Env: map[string]string{"LOG_LEVEL": "warn"}})
	l := load{
		Method: http.MethodPost, Path: "/v1/webhooks/stripe", Secret: servetest.WebhookSecret, Want: http.StatusOK,
		Count: burst, Pause: burstPause,
	}.at(w.BaseURL)
	var floors, own []sample
	for range r.rounds {
		_, s := drive(b, l)
		s.figure = float64(s.p99.Microseconds()) / 1e3
		floors, own = append(floors, sample{figure: float64(burstAllowed.Milliseconds())}), append(own, s)
	}
	r.add("webhook_p99", millis, "what is allowed at 500 events/s", floors, own)
}

// newEvents signs distinct events of the size of a small one of Stripe's.
func newEvents() []*webhook.SignedPayload {
	events := make([]*webhook.SignedPayload, deliveries)
	for i := range events {
		events[i] = newEvent(webhookSecret)
	}
	return events
}

func newEvent(secret string) *webhook.SignedPayload {
	id, now := postgres.NewID(), time.Now()
	body := fmt.Appendf(nil, `{"id":"evt_%s","object":"event","api_version":%q,"created":%d,"livemode":false,"pending_webhooks":1,
		"type":"customer.updated","data":{"object":{"id":"cus_%[1]s","object":"customer","created":%[3]d,"livemode":false,
		"description":%[4]q}}}`, fmt.Sprintf("%x", id[:]), stripe.APIVersion, now.Unix(), strings.Repeat("0", 1000))
	return webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: body, Secret: secret, Timestamp: now})
}
