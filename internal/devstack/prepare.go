package devstack

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/apikey"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/cache"
	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/config"
	"example.com/saaskit/internal/devstack/checkout"
	"example.com/saaskit/internal/devstack/pgserver"
	"example.com/saaskit/internal/postgres"
)

// Prepare brings the database up to date, puts catalog.yaml on sale and sees to a service key.
func (s *Stack) Prepare(ctx context.Context, cfg config.Config) error {
	if err := postgres.Migrate(ctx, cfg.DatabaseURL.Reveal()); err != nil {
		return err
	}
	pool, err := postgres.Open(ctx, cfg.DatabaseURL.Reveal(), 0)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := s.applyCatalog(ctx, cfg, pool); err != nil {
		return err
	}
	return s.serviceKey(ctx, cfg, pool)
}

func (s *Stack) applyCatalog(ctx context.Context, cfg config.Config, pool *pgxpool.Pool) error {
	source, err := os.ReadFile(s.checkout.Path("catalog.yaml"))
	if err != nil {
		return fmt.Errorf("read catalogue: %w", err)
	}
	doc, err := catalog.Load(source)
	if err != nil {
		return fmt.Errorf("catalog.yaml:\n%w", err)
	}
	api, err := billing.NewAPI(cfg.StripeAPIKey.Reveal(), cfg.StripeAPIBase, nil)
	if err != nil {
		return err
	}
	applier := catalog.NewApplier(catalog.Config{Pool: pool, Stripe: api, AppEnv: cfg.AppEnv, Now: time.Now})
	if _, err := applier.Apply(ctx, doc, func(catalog.Plan) error { return nil }); err != nil {
		return fmt.Errorf("apply catalogue: %w", err)
	}
	return nil
}

// Greet tells a person what there is now and three lines to try.
func (s *Stack) Greet(out io.Writer) {
	envFile := s.envFile
	who := "you-" + strings.ToLower(rand.Text()[:6]) + "@example.com"
	fmt.Fprintf(out, `
saaskit is running. Stop it with Ctrl-C; the data stays until 'make reset'.

  API         %s   (document: %s/openapi.yaml)
  Stripe      %s
  settings    %s

Try:

  curl -s %s/v1/tiers
  curl -s %s/v1/auth/signup -H 'Content-Type: application/json' -d '{"email":"%s","password":"correct horse battery"}'
  (. '%s' && curl -s "$BASE_URL/v1/users" -H "X-API-Key: $SERVICE_KEY")

Or walk through everything:  make demo

`, s.BaseURL, s.BaseURL, s.stripePage(), envFile, s.BaseURL, s.BaseURL, who, envFile)
}

// stripePage is where a person sees what Stripe knows.
func (s *Stack) stripePage() string {
	if s.stripe == nil {
		return cmp.Or(s.Getenv("STRIPE_API_BASE"), "the account of STRIPE_API_KEY")
	}
	return s.Getenv("STRIPE_API_BASE") + "/_emulator/   (emulator: what it holds, and its clock; a checkout's url opens its payment page)"
}

// Reset deletes the data of this checkout's development server. It refuses while one runs.
func Reset() error {
	co, err := checkout.Here()
	if err != nil {
		return err
	}
	return reset(co)
}

func reset(co checkout.Checkout) error {
	if err := pgserver.Reset(co); err != nil {
		return err
	}
	dir, err := co.State("dev")
	if err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// serviceKey makes a service key at the first start on a database and keeps its secret with the other secrets of the checkout: the database
// has its hash alone.
func (s *Stack) serviceKey(ctx context.Context, cfg config.Config, pool *pgxpool.Pool) error {
	c, err := cache.Open(ctx, cfg.RedisURL.Reveal(), cfg.RedisPrefix, s.log)
	if err != nil {
		return err
	}
	defer c.Close()
	keys := apikey.New(apikey.Config{Pool: pool, Cache: c, Log: s.log, Now: time.Now, Prefix: cfg.APIKeyPrefix})
	defer keys.Close()
	for _, known := range slices.Backward(s.secrets.ServiceKeys) {
		if _, err := keys.Authenticate(ctx, known, netip.Addr{}); err == nil {
			s.key = known
			return nil
		}
	}
	made, err := keys.CreateService(ctx, apikey.Wish{Name: "development", Scopes: apikey.ServiceScopes()}, audit.Operator("make dev"))
	if err != nil {
		return fmt.Errorf("make a service key: %w", err)
	}
	s.key = string(made.Secret)
	s.secrets.ServiceKeys = append(s.secrets.ServiceKeys, s.key)
	return s.secrets.save()
}
