package bench_test

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/webhook"

	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/stripehook"
)

const (
	deliveries    = 640
	webhookSecret = "whsec_bench"
)

// The least that taking an event in is: its bytes in the inbox, and what finds them again.
const insertEvent = `INSERT INTO stripe_events (id, livemode, type, payload, sha256, source, secret_index, status, received_at)
	VALUES ($1, false, 'customer.updated', $2, $3, 'webhook', 0, 'pending', now())`

// benchWebhooks compares rows alone with what a delivery is: a signature, a row and the job that will work on it.
func benchWebhooks(b *testing.B, r *report) {
	pool := openPool(b)
	service, err := stripehook.New(stripehook.Config{
		Pool: pool, Secrets: []string{webhookSecret}, AppEnv: "bench", Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	floor := func() sample {
		events := newEvents()
		return concurrently(b, deliveries, func(i int) error {
			sum := sha256.Sum256(events[i].Payload)
			_, err := pool.Exec(b.Context(), insertEvent, postgres.NewID().String(), events[i].Payload, sum[:])
			return err
		})
	}
	taken := 0
	ours := func() sample {
		events := newEvents()
		taken += deliveries
		return concurrently(b, deliveries, func(i int) error {
			return service.Receive(b.Context(), events[i].Header, events[i].Payload)
		})
	}
	r.compare("webhook_intake", perSecond, "raw pgx, 1 INSERT of the same bytes", floor, ours)
	var queued int
	if err := pool.QueryRow(b.Context(), `SELECT count(*) FROM stripe_events e JOIN river_job j ON j.args ->> 'event_id' = e.id
		WHERE e.status = 'pending'`).Scan(&queued); err != nil || queued != taken {
		b.Fatalf("%d events wait with their job, want %d: %v", queued, taken, err)
	}
}

// newEvents signs distinct events of the size of a small one of Stripe's.
func newEvents() []*webhook.SignedPayload {
	events := make([]*webhook.SignedPayload, deliveries)
	now := time.Now()
	for i := range events {
		id := postgres.NewID()
		body := fmt.Appendf(nil, `{"id":"evt_%s","object":"event","api_version":%q,"created":%d,"livemode":false,"pending_webhooks":1,
			"type":"customer.updated","data":{"object":{"id":"cus_%[1]s","object":"customer","created":%[3]d,"livemode":false,
			"description":%[4]q}}}`, fmt.Sprintf("%x", id[:]), stripe.APIVersion, now.Unix(), fmt.Sprintf("%01000d", i))
		events[i] = webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: body, Secret: webhookSecret, Timestamp: now})
	}
	return events
}
