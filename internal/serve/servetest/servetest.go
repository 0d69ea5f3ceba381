// Package servetest runs the whole server for a test: its own database, its own Redis, a stand-in for Supabase Auth and a Stripe
// emulator, reached over HTTP. Every answer is held against the document.
package servetest

import (
	"errors"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/cache/redistest"
	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/devstack/supabase"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/serve"
	"example.com/saaskit/internal/stripeemu"
)

// Secrets of a world. They are no secrets of anybody.
const (
	JWTSecret     = "a-secret-for-tests-with-at-least-32-characters"
	WebhookSecret = "whsec_for_tests_0123456789"
	StripeKey     = "sk_test_0123456789"
)

// startTimeout bounds how long a server may take to come up on a busy machine.
const startTimeout = 30 * time.Second

// A World is a running server and all that it talks to.
type World struct {
	BaseURL  string
	Supabase *supabase.Server
	Stripe   *stripeemu.Emulator
	Redis    *redistest.Server
	Pool     *pgxpool.Pool
	Log      *LogBuffer

	t          testing.TB
	env        map[string]string
	binary     string
	manualMail bool
	clock      serve.Clock
}

// Options change a world.
type Options struct {
	Env        map[string]string // settings of the server
	ManualMail bool              // e-mail addresses have to be confirmed
	NoServer   bool              // the test starts its own servers, and names one in BaseURL
	NoCatalog  bool              // nothing is on sale yet
	Clock      bool              // time can be moved, for all parts together
}

// Start runs a server until the test ends. catalog.yaml is on sale, and Stripe's events come in.
func Start(t testing.TB, o Options) *World {
	t.Helper()
	w := &World{t: t, Log: &LogBuffer{}, Redis: redistest.Start(t), manualMail: o.ManualMail}
	databaseURL := pgtest.NewURL(t)
	stripeURL := w.startStripe()
	if o.Clock {
		w.clock = w.Stripe
	}
	supabaseURL := w.startSupabase(o)
	w.env = map[string]string{
		"DATABASE_URL": databaseURL, "DATABASE_MAX_CONNS": "8", "REDIS_URL": w.Redis.URL(), "METRICS_ADDR": "off",
		"SUPABASE_URL": supabaseURL, "SUPABASE_JWT_SECRET": JWTSecret, "SUPABASE_SERVICE_ROLE_KEY": w.Supabase.ServiceRoleKey(),
		"STRIPE_API_KEY": StripeKey, "STRIPE_API_BASE": stripeURL, "STRIPE_WEBHOOK_SECRET": WebhookSecret,
		"DEV_MODE": "true", "APP_ENV": "test", "CORS_ORIGINS": "https://app.example.com", "REDIRECT_ORIGINS": "https://app.example.com",
		"AUTH_PER_MINUTE": "10000", "LOG_FORMAT": "json", "LOG_LEVEL": "debug", "SHUTDOWN_DELAY": "0s", "SHUTDOWN_TIMEOUT": "10s",
	}
	maps.Copy(w.env, o.Env)
	w.openPool(databaseURL)
	if !o.NoCatalog {
		w.sellCatalog()
	}
	if o.NoServer {
		return w
	}
	w.BaseURL = w.Instance()
	w.Webhook(w.BaseURL)
	return w
}

// Instance runs one more instance of the server on the same database and Redis until the test ends, and returns its address.
func (w *World) Instance() string {
	w.t.Helper()
	return w.Run(w.t, nil).URL
}

// Webhook lets Stripe's events come in at a server.
func (w *World) Webhook(url string) { w.Stripe.Register(url+"/v1/webhooks/stripe", WebhookSecret) }

func listen(t testing.TB) net.Listener {
	t.Helper()
	var c net.ListenConfig
	l, err := c.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serveHTTP answers on a free port until the test ends.
func serveHTTP(t testing.TB, l net.Listener, h http.Handler) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	}()
	t.Cleanup(func() { _ = srv.Close() })
}

func (w *World) startSupabase(o Options) string {
	w.t.Helper()
	l := listen(w.t)
	url := "http://" + l.Addr().String()
	now := time.Now
	if o.Clock {
		now = w.Stripe.Time
	}
	s, err := supabase.New(supabase.Config{
		Now: now, Issuer: url + "/auth/v1", JWTSecret: JWTSecret, AutoConfirm: !o.ManualMail, BcryptCost: 4, MailInterval: -1, Anonymous: true,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Supabase = s
	serveHTTP(w.t, l, s)
	return url
}

func (w *World) startStripe() string {
	w.t.Helper()
	l := listen(w.t)
	url := "http://" + l.Addr().String()
	e, err := stripeemu.New(stripeemu.Config{BaseURL: url})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Stripe = e
	w.t.Cleanup(e.Close)
	serveHTTP(w.t, l, e.Handler())
	return url
}

func (w *World) openPool(url string) {
	w.t.Helper()
	pool, err := postgres.Open(w.t.Context(), url, 4)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(pool.Close)
	w.Pool = pool
}

func (w *World) sellCatalog() {
	w.t.Helper()
	source, err := os.ReadFile(filepath.Join(root(), "catalog.yaml"))
	if err != nil {
		w.t.Fatal(err)
	}
	doc, err := catalog.Load(source)
	if err != nil {
		w.t.Fatal(err)
	}
	api, err := billing.NewAPI(StripeKey, w.env["STRIPE_API_BASE"], nil)
	if err != nil {
		w.t.Fatal(err)
	}
	applier := catalog.NewApplier(catalog.Config{Pool: w.Pool, Stripe: api, AppEnv: w.env["APP_ENV"], Now: time.Now})
	if _, err := applier.Apply(w.t.Context(), doc, func(catalog.Plan) error { return nil }); err != nil {
		w.t.Fatalf("apply the catalogue: %v", err)
	}
}
