// Package devstack is everything that a saaskit server needs besides itself, on one machine and without the network: PostgreSQL,
// Redis, a stand-in for Supabase Auth and a Stripe emulator. A part whose setting is in the environment is not started: the real
// one is used in its place.
package devstack

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/saaskit/internal/devstack/checkout"
	"example.com/saaskit/internal/devstack/pgserver"
	"example.com/saaskit/internal/devstack/redisserver"
	"example.com/saaskit/internal/devstack/supabase"
	"example.com/saaskit/internal/stripeemu"
)

const database = "saaskit"

// A Stack is the running parts and the environment that leads to them.
type Stack struct {
	Env map[string]string
	// Listener is where the server answers; it is taken early because Stripe's webhook has to know.
	Listener net.Listener
	BaseURL  string

	checkout checkout.Checkout
	dir      string
	envFile  string
	secrets  *secrets
	key      string // the service key of this database
	getenv   func(string) string
	log      *slog.Logger
	stripe   *stripeemu.Emulator // nil where the environment names another Stripe
	down     chan struct{}
	stops    []func()
}

// Start starts the parts that the environment does not name. On error nothing is left running.
func Start(ctx context.Context, getenv func(string) string, log *slog.Logger) (*Stack, error) {
	co, err := checkout.Here()
	if err != nil {
		return nil, err
	}
	return start(ctx, co, getenv, log)
}

func start(ctx context.Context, co checkout.Checkout, getenv func(string) string, log *slog.Logger) (*Stack, error) {
	dir, err := co.State("dev")
	if err != nil {
		return nil, err
	}
	secrets, err := loadSecrets(dir)
	if err != nil {
		return nil, err
	}
	s := &Stack{
		Env: map[string]string{}, checkout: co, dir: dir, secrets: secrets, getenv: getenv, log: log, down: make(chan struct{}),
	}
	for _, step := range []func(context.Context) error{
		s.startListener, s.startPostgres, s.startRedis, s.startStripe, s.startSupabase, s.settings,
		func(context.Context) error { return s.secrets.save() },
	} {
		if err := step(ctx); err != nil {
			s.Stop()
			return nil, err
		}
	}
	return s, nil
}

// Stop ends what was started, last first.
func (s *Stack) Stop() {
	for _, stop := range slices.Backward(s.stops) {
		stop()
	}
	s.stops = nil
}

// Down is closed when a part has ended by itself; the server cannot go on without it.
func (s *Stack) Down() <-chan struct{} { return s.down }

// Getenv reads the environment with the embedded parts in it. What belongs to an embedded part is as that part has it: a lone
// key of another Supabase in the shell would refuse every request.
func (s *Stack) Getenv(name string) string {
	part := strings.HasPrefix(name, "STRIPE_") || strings.HasPrefix(name, "SUPABASE_")
	if v := s.getenv(name); v != "" && (!part || s.Env[name] == "") {
		return v
	}
	return s.Env[name]
}

func (s *Stack) given(name string) bool { return s.getenv(name) != "" }

// Clock is the time of the whole stack, which can be moved; nil where a part is not embedded, for its time stays real.
func (s *Stack) Clock() *stripeemu.Emulator {
	for _, name := range []string{"DATABASE_URL", "REDIS_URL", "SUPABASE_URL", "STRIPE_API_KEY", "STRIPE_API_BASE"} {
		if s.given(name) {
			return nil
		}
	}
	return s.stripe
}

// startListener takes 127.0.0.1:8080, or a free port where another program has that one and ADDR does not insist on it.
func (s *Stack) startListener(ctx context.Context) error {
	var err error
	if s.given("ADDR") {
		var config net.ListenConfig
		s.Listener, err = config.Listen(ctx, "tcp", s.getenv("ADDR"))
	} else {
		s.Listener, err = listen(ctx, 8080)
	}
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	s.stops = append(s.stops, func() { s.Listener.Close() })
	s.BaseURL = "http://" + net.JoinHostPort(reachable(s.Listener), strconv.Itoa(portOf(s.Listener)))
	s.Env["ADDR"] = s.Listener.Addr().String()
	return nil
}

// reachable is the host by which this machine reaches the listener.
func reachable(l net.Listener) string {
	if ip := l.Addr().(*net.TCPAddr).IP; !ip.IsUnspecified() {
		return ip.String()
	}
	return "127.0.0.1"
}

func (s *Stack) startPostgres(ctx context.Context) error {
	if s.given("DATABASE_URL") {
		return nil
	}
	forgetPostgresSettings()
	port, err := strconv.Atoi(cmp.Or(s.getenv("SAASKIT_PG_PORT"), "0"))
	if err != nil {
		return fmt.Errorf("SAASKIT_PG_PORT is not a port: %w", err)
	}
	pg, err := pgserver.Start(ctx, pgserver.Options{Checkout: s.checkout, Port: port, Logf: s.logf})
	if err != nil {
		return err
	}
	s.stops = append(s.stops, func() { _ = pg.Stop() })
	go func() {
		<-pg.Done()
		close(s.down)
	}()
	if err := createDatabase(ctx, pg.URL("postgres")); err != nil {
		return err
	}
	s.Env["DATABASE_URL"] = pg.URL(database)
	return nil
}

// forgetPostgresSettings unsets what PostgreSQL's clients read beside an URL, such as PGSERVICE: it is meant for another server.
func forgetPostgresSettings() {
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "PG") {
			os.Unsetenv(name) //nolint:errcheck // the name is one that the environment has
		}
	}
}

func (s *Stack) startRedis(context.Context) error {
	if s.given("REDIS_URL") {
		return nil
	}
	redis, err := redisserver.StartMemory()
	if err != nil {
		return err
	}
	s.stops = append(s.stops, redis.Stop)
	s.Env["REDIS_URL"] = redis.URL()
	return nil
}

func (s *Stack) startSupabase(ctx context.Context) error {
	if s.given("SUPABASE_URL") {
		return nil
	}
	l, err := listen(ctx, s.secrets.SupabasePort)
	if err != nil {
		return err
	}
	s.secrets.SupabasePort = portOf(l)
	// The issuer is part of every token: without a port in it, tokens survive a change of the port.
	issuer := cmp.Or(s.getenv("SUPABASE_JWT_ISSUER"), "http://localhost/auth/v1")
	secret := cmp.Or(s.getenv("SUPABASE_JWT_SECRET"), s.secrets.JWTSecret)
	now := time.Now
	if clock := s.Clock(); clock != nil {
		now = clock.Time
	}
	standIn, err := supabase.New(supabase.Config{
		Issuer: issuer, JWTSecret: secret, AutoConfirm: s.getenv("SAASKIT_CONFIRM_EMAIL") == "",
		SiteURL: s.BaseURL, RedirectURLs: []string{"http://localhost", "http://127.0.0.1"},
		Path: s.dir + "/supabase.json", Log: s.log, Now: now,
	})
	if err != nil {
		l.Close()
		return fmt.Errorf("start the stand-in for Supabase Auth: %w", err)
	}
	s.stops = append(s.stops, serve(l, standIn, s.log))
	s.Env["SUPABASE_URL"] = urlOf(l)
	s.Env["SUPABASE_JWT_SECRET"] = secret
	s.Env["SUPABASE_JWT_ISSUER"] = issuer
	s.Env["SUPABASE_SERVICE_ROLE_KEY"] = standIn.ServiceRoleKey()
	return nil
}

func (s *Stack) startStripe(ctx context.Context) error {
	if s.given("STRIPE_API_KEY") || s.given("STRIPE_API_BASE") {
		return nil
	}
	secret := cmp.Or(s.getenv("STRIPE_WEBHOOK_SECRET"), s.secrets.WebhookSecret)
	l, err := listen(ctx, s.secrets.StripePort)
	if err != nil {
		return err
	}
	s.secrets.StripePort = portOf(l)
	emulator, err := newStripe(s.dir, urlOf(l))
	if err != nil {
		l.Close()
		return err
	}
	s.stripe = emulator
	s.stops = append(s.stops, emulator.Close, serve(l, emulator.Handler(), s.log))
	if err := sendTo(emulator, s.BaseURL+"/v1/webhooks/stripe", secret); err != nil {
		return err
	}
	s.Env["STRIPE_API_KEY"] = s.secrets.StripeKey
	s.Env["STRIPE_API_BASE"] = urlOf(l)
	s.Env["STRIPE_WEBHOOK_SECRET"] = secret
	return nil
}

func (s *Stack) settings(context.Context) error {
	s.Env["DEV_MODE"] = "true"
	s.Env["SHUTDOWN_DELAY"] = "0s"
	s.Env["APP_ENV"] = "development"
	s.Env["CORS_ORIGINS"] = "*"
	s.Env["REDIRECT_ORIGINS"] = "*"
	s.Env["METRICS_ADDR"] = "127.0.0.1:0"
	return nil
}

func (s *Stack) logf(format string, args ...any) { s.log.Info(fmt.Sprintf(format, args...)) }

// exported are the settings that dev.env shows, in its order.
//
// APP_ENV and DEV_MODE are among them because the CLI would run as production without, and make another catalogue at Stripe.
var exported = []string{
	"APP_ENV", "DEV_MODE",
	"DATABASE_URL", "REDIS_URL", "SUPABASE_URL", "SUPABASE_JWT_SECRET", "SUPABASE_JWT_ISSUER",
	"STRIPE_API_KEY", "STRIPE_API_BASE", "STRIPE_WEBHOOK_SECRET",
}

// WriteEnv writes what other programs need to reach the running server, in a form that a shell can source.
func (s *Stack) WriteEnv() error {
	var b strings.Builder
	fmt.Fprintf(&b, "BASE_URL=%s\n", quote(s.BaseURL))
	for _, name := range exported {
		fmt.Fprintf(&b, "%s=%s\n", name, quote(s.Getenv(name)))
	}
	fmt.Fprintf(&b, "SERVICE_KEY=%s\n", quote(s.key))
	s.envFile = s.checkout.Path(".saaskit", "dev.env")
	if err := writeFile(s.envFile, []byte(b.String())); err != nil {
		return err
	}
	// At the end nothing answers at these addresses any more.
	s.stops = append(s.stops, func() { _ = os.Remove(s.envFile) })
	return nil
}

func quote(v string) string { return "'" + strings.ReplaceAll(v, "'", `'\''`) + "'" }
