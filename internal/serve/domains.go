package serve

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/apikey"
	"example.com/saaskit/internal/audit"
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
	accounts *account.Service
	auth     *auth.Service
	keys     *apikey.Service
	catalog  *catalog.Service
	billing  *billing.Service
	stripe   *stripehook.Service
	credits  *credit.Service
	usage    *usage.Service
	outbox   *outbox.Delivery
	audit    *audit.Log
	cleaning cleaning
	clock    Clock // nil where time cannot be moved
	now      func() time.Time
}

func newDomains(cfg config.Config, log *slog.Logger, pool *pgxpool.Pool, c *cache.Cache, clock Clock) (*domains, error) {
	now := time.Now
	if clock != nil {
		now = clock.Time
	}
	d := &domains{catalog: catalog.New(pool), cleaning: cleaning{pool, now}, clock: clock, now: now, audit: audit.New(pool)}
	var err error
	// An account is closed by those who know of its keys, its payments and its identity; they come after it.
	accounts := account.Config{
		Pool: pool, Cache: c, Log: log, Now: d.now, Policy: policy(cfg),
		ForgetKeys:   func(ctx context.Context, hashes [][]byte) { d.keys.Forget(ctx, hashes) },
		CloseBilling: func(ctx context.Context, id uuid.UUID) error { return d.billing.CloseBilling(ctx, id) },
	}
	if cfg.SupabaseServiceRoleKey != "" { // without it identities stay, and are deleted once there is one
		accounts.CloseIdentity = func(ctx context.Context, subject string) error { return d.auth.DeleteIdentity(ctx, subject) }
	}
	d.accounts, err = account.New(accounts)
	if err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	origins, err := origin.Parse(cfg.RedirectOrigins)
	if err != nil {
		return nil, fmt.Errorf("REDIRECT_ORIGINS: %w", err)
	}
	d.auth, err = auth.New(auth.Config{
		URL: cfg.SupabaseURL + "/auth/v1", Issuer: cfg.SupabaseIssuer, Audience: cfg.SupabaseAudience,
		JWTSecret: cfg.SupabaseJWTSecret.Reveal(), AnonKey: cfg.SupabaseAnonKey.Reveal(), ServiceRoleKey: cfg.SupabaseServiceRoleKey.Reveal(),
		AdminClaim: "app_metadata." + cfg.AdminClaim, AdminValue: cfg.AdminClaimValue, AllowAnonymous: cfg.AllowAnonymous,
		Origins: origins, Accounts: d.accounts, Log: log, Now: d.now,
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
	d.keys = apikey.New(apikey.Config{Pool: pool, Cache: c, Log: log, Now: d.now, Policy: policy(cfg), Prefix: cfg.APIKeyPrefix})
	d.credits = credit.New(credit.Config{Pool: pool, Now: d.now, Policy: policy(cfg)})
	d.usage = usage.New(pool, d.now)
	mailer, err := newMailer(cfg)
	if err != nil {
		return err
	}
	d.outbox = outbox.NewDelivery(pool, d.now, log, mailer)
	d.billing = billing.New(billing.Config{
		Pool: pool, Stripe: api, Catalog: d.catalog, Accounts: d.accounts, Origins: origins, AppEnv: cfg.AppEnv, Now: d.now, Log: log,
		AutomaticTax: cfg.AutomaticTax,
		// Events are taken in by those who know of billing; they come after it.
		Sync:  func(ctx context.Context, kind, id string) error { return d.stripe.Sync(ctx, kind, id) },
		Alarm: func(ctx context.Context, reason string, attrs ...any) { d.stripe.Alarm(ctx, reason, attrs...) },
	})
	secrets := make([]string, len(cfg.StripeWebhookSecrets))
	for i, s := range cfg.StripeWebhookSecrets {
		secrets[i] = s.Reveal()
	}
	d.stripe, err = stripehook.New(stripehook.Config{
		Pool: pool, Stripe: api, Secrets: secrets, Livemode: cfg.Live(), AppEnv: cfg.AppEnv, Now: d.now, Log: log,
		ForgetStanding: d.accounts.ForgetStanding, Policy: policy(cfg), NoUpgradeCredits: cfg.UpgradeCredits == "none", Pace: stripehook.DefaultPace(),
	})
	if err != nil {
		return fmt.Errorf("webhooks: %w", err)
	}
	return nil
}

// newMailer returns nothing where no mail server is set: then the log is told.
func newMailer(cfg config.Config) (*outbox.Mailer, error) {
	if cfg.SMTPURL == "" {
		return nil, nil
	}
	templates, err := outbox.LoadTemplates(cfg.MailTemplates)
	if err != nil {
		return nil, fmt.Errorf("MAIL_TEMPLATES: %w", err)
	}
	mailer, err := outbox.NewMailer(cfg.SMTPURL.Reveal(), cfg.MailFrom, templates)
	if err != nil {
		return nil, fmt.Errorf("SMTP_URL, MAIL_FROM: %w", err)
	}
	return mailer, nil
}

// policy says what a subscription's status is worth.
func policy(cfg config.Config) account.Policy {
	p := account.DefaultPolicy()
	p.Grace, p.PauseEndsAccess = cfg.PastDueGrace, cfg.PauseEndsAccess
	return p
}

// cleaning makes the functions of package idempotency a worker.
type cleaning struct {
	pool *pgxpool.Pool
	now  func() time.Time
}

// AddWorkers registers the job that deletes old keys.
func (c cleaning) AddWorkers(w *river.Workers) { idempotency.AddWorkers(w, c.pool, c.now) }

// PeriodicJobs are what it does by the clock.
func (cleaning) PeriodicJobs() []*river.PeriodicJob { return idempotency.PeriodicJobs() }

func (d *domains) services() httpapi.Services {
	s := httpapi.Services{
		Auth: d.auth, Accounts: d.accounts, Keys: d.keys, Catalog: d.catalog, Billing: d.billing, Stripe: d.stripe,
		Credits: d.credits, Usage: d.usage, Audit: d.audit,
	}
	if d.clock != nil {
		s.Clock = worldClock{d.clock, d.credits, &sync.Mutex{}}
	}
	return s
}

// workers are the packages with background work.
func (d *domains) workers() []worker {
	return []worker{d.accounts, d.billing, d.stripe, d.credits, d.usage, d.outbox, d.cleaning}
}

// close flushes what is written in batches.
func (d *domains) close() {
	d.keys.Close()
	d.auth.Close()
}
