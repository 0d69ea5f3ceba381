package serve

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/apikey"
	"example.com/saaskit/internal/auth"
	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/cache"
	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/config"
	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/httpapi"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/origin"
	"example.com/saaskit/internal/outbox"
	"example.com/saaskit/internal/stripehook"
	"example.com/saaskit/internal/usage"
)

// domains are the services, each with what it needs of the others.
type domains struct {
	accounts    *account.Service
	auth        *auth.Service
	keys        *apikey.Service
	catalog     *catalog.Service
	billing     *billing.Service
	stripe      *stripehook.Service
	credits     *credit.Service
	usage       *usage.Service
	outbox      *outbox.Service
	idempotency *idempotency.Service
}

func newDomains(cfg config.Config, log *slog.Logger, pool *pgxpool.Pool, c *cache.Cache) (*domains, error) {
	d := &domains{catalog: catalog.New(pool)}
	policy := account.DefaultPolicy()
	policy.Grace = cfg.PastDueGrace
	var err error
	// An account is closed by those who know of its keys, its payments and its identity; they come after it.
	d.accounts, err = account.New(account.Config{
		Pool: pool, Cache: c, Log: log, Now: time.Now, Policy: policy,
		ForgetKeys:   func(ctx context.Context, hashes [][]byte) { d.keys.Forget(ctx, hashes) },
		CloseBilling: func(ctx context.Context, id uuid.UUID) error { return d.billing.CloseBilling(ctx, id) },
		CloseIdentity: func(ctx context.Context, subject string) error {
			if !d.auth.CanDeleteIdentities() {
				return nil
			}
			return d.auth.DeleteIdentity(ctx, subject)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	origins := origin.List(cfg.RedirectOrigins)
	d.auth, err = auth.New(auth.Config{
		URL: cfg.SupabaseURL + "/auth/v1", Issuer: cfg.SupabaseIssuer, Audience: cfg.SupabaseAudience,
		JWTSecret: cfg.SupabaseJWTSecret.Reveal(), AnonKey: cfg.SupabaseAnonKey.Reveal(), ServiceRoleKey: cfg.SupabaseServiceRoleKey.Reveal(),
		AdminClaim: "app_metadata." + cfg.AdminClaim, AdminValue: cfg.AdminClaimValue, AllowAnonymous: cfg.AllowAnonymous,
		Origins: origins, Accounts: d.accounts, Log: log, Now: time.Now,
	})
	if err != nil {
		return nil, fmt.Errorf("sign-in: %w", err)
	}
	return d, d.newMoney(cfg, log, pool, c, origins)
}

func (d *domains) newMoney(cfg config.Config, log *slog.Logger, pool *pgxpool.Pool, c *cache.Cache, origins origin.List) error {
	api, err := billing.NewAPI(cfg.StripeAPIKey.Reveal(), cfg.StripeAPIBase, nil)
	if err != nil {
		return fmt.Errorf("stripe: %w", err)
	}
	d.keys = apikey.New(apikey.Config{Pool: pool, Cache: c, Accounts: d.accounts, Prefix: cfg.APIKeyPrefix, Now: time.Now, Log: log})
	d.credits = credit.New(credit.Config{Pool: pool, Now: time.Now})
	d.usage = usage.New(usage.Config{Pool: pool, Now: time.Now})
	d.billing = billing.New(billing.Config{Pool: pool, Stripe: api, Catalog: d.catalog, Accounts: d.accounts, Origins: origins, AppEnv: cfg.AppEnv, Now: time.Now, Log: log})
	secrets := make([]string, len(cfg.StripeWebhookSecrets))
	for i, s := range cfg.StripeWebhookSecrets {
		secrets[i] = s.Reveal()
	}
	d.stripe, err = stripehook.New(stripehook.Config{
		Pool: pool, Stripe: api, Secrets: secrets, Livemode: cfg.Live(), AppEnv: cfg.AppEnv, Now: time.Now, Log: log,
	})
	if err != nil {
		return fmt.Errorf("webhooks: %w", err)
	}
	return nil
}

func (d *domains) services() httpapi.Services {
	return httpapi.Services{
		Auth: d.auth, Accounts: d.accounts, Keys: d.keys, Catalog: d.catalog, Billing: d.billing, Stripe: d.stripe,
		Credits: d.credits, Usage: d.usage,
	}
}

// workers are the packages with background work.
func (d *domains) workers() []worker {
	return []worker{d.accounts, d.auth, d.stripe, d.credits, d.usage, d.outbox, d.idempotency}
}

// close flushes what is written in batches.
func (d *domains) close() {
	d.keys.Close()
	d.auth.Close()
}
