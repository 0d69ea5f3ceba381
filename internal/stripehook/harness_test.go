package stripehook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"
	"github.com/stripe/stripe-go/v76/webhook"

	"example.com/saaskit/internal/catalog/catalogtest"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/problem"
	"example.com/saaskit/internal/stripeemu"
	"example.com/saaskit/internal/stripehook"
)

const (
	secret   = "whsec_current"
	appEnv   = "test"
	patience = 30 * time.Second
)

type object = map[string]any

// A world is our side and Stripe: a database with account T1, whose customer is cus_1, and account T2 without one; an
// emulated Stripe; the service between them.
type world struct {
	t       *testing.T
	pool    *pgxpool.Pool
	emu     *stripeemu.Emulator
	api     *client.API
	service *stripehook.Service
	clock   *clock
	log     *logBuffer
	t1, t2  uuid.UUID
	events  int
	told    map[string]bool // events that sent has returned
	poison  bool            // the log may tell of a panic
	conns   atomic.Int32    // connections that the server of serve has open
	read    atomic.Int64    // bytes that it has read from them
	dice    *rand.Rand      // see random
}

type option func(*stripehook.Config)

func with(change func(*stripehook.Config)) option { return change }

func newWorld(t *testing.T, options ...option) *world {
	t.Helper()
	w := &world{t: t, pool: pgtest.New(t), clock: &clock{now: time.Now().UTC().Truncate(time.Second)}, log: &logBuffer{}}
	catalogtest.Apply(t, w.pool)
	w.t1, w.t2 = w.account("one"), w.account("two")
	w.exec(`INSERT INTO stripe_customers (id, account_id, stripe_id, created_at, updated_at) VALUES ($1, $2, 'cus_1', now(), now())`,
		postgres.NewID(), w.t1)
	var err error
	if w.emu, err = stripeemu.New(stripeemu.Config{Now: w.clock.Now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.emu.Close)
	server := httptest.NewServer(w.emu.Handler())
	t.Cleanup(server.Close)
	w.api = newClient(server.URL)
	w.service = w.newService(options...)
	t.Cleanup(func() { w.checkLog() })
	return w
}

// newService makes another instance of the server's side.
func (w *world) newService(options ...option) *stripehook.Service {
	w.t.Helper()
	config := stripehook.Config{
		Pool: w.pool, Stripe: w.api, Secrets: []string{secret}, AppEnv: appEnv, Now: w.clock.Now,
		Log: slog.New(slog.NewTextHandler(w.log, nil)),
	}
	for _, change := range options {
		change(&config)
	}
	service, err := stripehook.New(config)
	if err != nil {
		w.t.Fatal(err)
	}
	return service
}

func newClient(base string) *client.API {
	backend := func(kind stripe.SupportedBackend) stripe.Backend {
		return stripe.GetBackendWithConfig(kind, &stripe.BackendConfig{
			URL: stripe.String(base), MaxNetworkRetries: stripe.Int64(0), EnableTelemetry: stripe.Bool(false),
			HTTPClient:    &http.Client{Timeout: 20 * time.Second},
			LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull},
		})
	}
	return client.New("sk_test_stripehook", &stripe.Backends{
		API: backend(stripe.APIBackend), Connect: backend(stripe.ConnectBackend), Uploads: backend(stripe.UploadsBackend),
	})
}

func (w *world) account(subject string) uuid.UUID {
	w.t.Helper()
	user, account := postgres.NewID(), postgres.NewID()
	w.exec(`INSERT INTO users (id, issuer, subject, email, created_at, updated_at) VALUES ($1, 'test', $2, $2 || '@example.com', now(), now())`, user, subject)
	w.exec(`INSERT INTO accounts (id, kind, name, personal_of, created_at, updated_at) VALUES ($1, 'personal', $3, $2, now(), now())`, account, user, subject)
	return account
}

// A clock is moved by tests.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type logBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.String()
}

// canary is in every payload and in the secret's place in no log.
const canary = "canary-of-the-payload"

func (w *world) checkLog() {
	text, words := w.log.String(), []string{canary, secret}
	if !w.poison {
		words = append(words, "panic")
	}
	for _, forbidden := range words {
		if strings.Contains(text, forbidden) {
			w.t.Errorf("the log contains %q:\n%s", forbidden, text)
		}
	}
}

// event is the body of an event about an object as Stripe has it at this moment.
func (w *world) event(eventType string, given object) object {
	w.events++
	return object{
		"id": fmt.Sprintf("evt_%s_%d", strings.NewReplacer(".", "_").Replace(eventType), w.events), "object": "event",
		"api_version": stripe.APIVersion, "created": w.clock.Now().Unix(), "livemode": false, "pending_webhooks": 1,
		"request": object{"id": nil, "idempotency_key": nil}, "type": eventType, "data": object{"object": given},
		"canary": canary,
	}
}

// about is an event about a stored object.
func (w *world) about(eventType, id string) object {
	w.t.Helper()
	stored, ok := w.emu.Get(id)
	if !ok {
		w.t.Fatalf("no object %s", id)
	}
	return w.event(eventType, stored)
}

func encode(t testing.TB, event object) []byte {
	t.Helper()
	body, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func sign(body []byte, secret string, at time.Time) string {
	return webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: body, Secret: secret, Timestamp: at}).Header
}

// post delivers events, each signed, and wants 200 for all.
func (w *world) post(events ...object) {
	w.t.Helper()
	for _, event := range events {
		body := encode(w.t, event)
		if err := w.service.Receive(w.t.Context(), sign(body, secret, time.Now()), body); err != nil {
			w.t.Fatalf("post %v: %v", event["type"], err)
		}
	}
}

// settled delivers events and works until none is pending.
func (w *world) settled(events ...object) {
	w.t.Helper()
	w.post(events...)
	w.drain()
}

// maxRounds bounds how often a pending event is tried; every pause counts as over.
const maxRounds = 12

// drain works on the inbox without waiting for pauses.
func (w *world) drain() {
	w.t.Helper()
	w.drainWith(w.service)
}

func (w *world) drainWith(service *stripehook.Service) {
	w.t.Helper()
	for range maxRounds {
		pending := w.texts(`SELECT id FROM stripe_events WHERE status = 'pending' ORDER BY received_at, id`)
		if len(pending) == 0 {
			return
		}
		for _, id := range pending {
			w.tryWith(service, id, false)
		}
	}
	w.t.Fatalf("still pending: %v\n%s", w.texts(`SELECT id || ' ' || last_error FROM stripe_events WHERE status = 'pending'`), w.log.String())
}

// try makes one attempt at an event and returns how it ended.
func (w *world) try(id string, last bool) error { return w.tryWith(w.service, id, last) }

func (w *world) tryWith(service *stripehook.Service, id string, last bool) error {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	return service.Work(ctx, id, last)
}

func snoozed(err error) bool {
	var snooze *river.JobSnoozeError
	return errors.As(err, &snooze)
}

// startRiver works on the jobs as serve does, until the test ends or stop is called.
func (w *world) startRiver(service *stripehook.Service) (stop func()) {
	w.t.Helper()
	workers := river.NewWorkers()
	service.AddWorkers(workers)
	jobs, err := river.NewClient(riverpgxv5.New(w.pool), &river.Config{
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 4}}, Workers: workers,
		FetchCooldown: 5 * time.Millisecond, FetchPollInterval: 20 * time.Millisecond, JobTimeout: patience,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := jobs.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := jobs.StopAndCancel(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			w.t.Logf("stop river: %v", err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

// hurry makes every waiting job due.
func (w *world) hurry() {
	w.t.Helper()
	w.exec(`UPDATE river_job SET state = 'available', scheduled_at = now() WHERE state IN ('retryable', 'scheduled')`)
}

// await waits until the query gives want.
func (w *world) await(want, query string, args ...any) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got := w.text(query, args...)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s\nis %q, waited for %q\n%s", query, got, want, w.log.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	if _, err := w.pool.Exec(context.Background(), query, args...); err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
}

// text is the single value of a query, as text; empty for no row.
func (w *world) text(query string, args ...any) string {
	w.t.Helper()
	var value *string
	err := w.pool.QueryRow(context.Background(), `SELECT (`+query+`)::text`, args...).Scan(&value)
	if err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	if value == nil {
		return ""
	}
	return *value
}

func (w *world) texts(query string, args ...any) []string {
	w.t.Helper()
	rows, err := w.pool.Query(context.Background(), query, args...)
	if err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	return values
}

// want fails the test where a query's value is another one.
func (w *world) want(want, query string, args ...any) {
	w.t.Helper()
	if got := w.text(query, args...); got != want {
		w.t.Errorf("%s\nis %q, want %q", query, got, want)
	}
}

// wantEvent checks how an event has ended: state and reason.
func (w *world) wantEvent(id, want string) {
	w.t.Helper()
	w.want(want, `SELECT status || CASE WHEN reason = '' THEN '' ELSE ':' || reason END FROM stripe_events WHERE id = $1`, id)
}

// wantAllDone checks that each of n events is done.
func (w *world) wantAllDone(n int) {
	w.t.Helper()
	w.want(fmt.Sprintf("%d of %d", n, n), `SELECT count(*) FILTER (WHERE status = 'done') || ' of ' || count(*) FROM stripe_events`)
}

// gets counts the reads of one object that reached Stripe.
func (w *world) gets(path string) int {
	n := 0
	for _, r := range w.emu.Requests() {
		if r.Method == http.MethodGet && r.Path == path {
			n++
		}
	}
	return n
}

// metric sums a metric over all labels that match.
func (w *world) metric(name string, labels ...string) float64 {
	w.t.Helper()
	return metricOf(w.t, w.service, name, labels...)
}

func metricOf(t testing.TB, service *stripehook.Service, name string, labels ...string) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(service)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
	next:
		for _, m := range family.GetMetric() {
			for i := 0; i+1 < len(labels); i += 2 {
				found := false
				for _, l := range m.GetLabel() {
					found = found || l.GetName() == labels[i] && l.GetValue() == labels[i+1]
				}
				if !found {
					continue next
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

func (w *world) alarms(reason string) float64 {
	w.t.Helper()
	return w.metric("saaskit_stripe_alarms_total", "reason", reason)
}

// is tells whether an error is of a kind.
func is(err error, kind *problem.Kind) bool { return errors.Is(err, kind) }
