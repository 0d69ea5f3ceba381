package stripehook

import (
	"context"

	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/stripe/stripe-go/v76/client"

	"example.com/saaskit/internal/account"
)

// Config is what a [Service] needs.
type Config struct {
	Pool   *pgxpool.Pool
	Stripe *client.API
	// Secrets are the signing secrets of the endpoints; several while one is replaced. White space around them is dropped.
	Secrets []string
	// Livemode tells which mode our Stripe key is of: events of the other one are kept and not applied.
	Livemode bool
	// AppEnv is this environment's stamp on the customers that it creates. Other environments may share the Stripe account.
	AppEnv string
	Now    func() time.Time
	Log    *slog.Logger
	// ForgetStanding makes every instance derive an account's tier again. It is called in the transaction that changes its
	// subscriptions, before the commit, and again after it. It may be nil.
	ForgetStanding func(ctx context.Context, accountIDs ...uuid.UUID)
	// NoUpgradeCredits lets an upgrade in the middle of a period grant nothing until the next one.
	NoUpgradeCredits bool
	// Policy says what a subscription's status is worth; the zero one is the table of today's statuses.
	Policy account.Policy
	// Pace bounds the reads of one object; [DefaultPace] outside tests.
	Pace Pace
	// Failpoints are for tests.
	Failpoints Failpoints
}

// A Service takes in events and works on them. It is also the prometheus.Collector of what is to be watched.
type Service struct {
	pool    *pgxpool.Pool
	stripe  *client.API
	secrets []string
	live    bool
	appEnv  string
	now     func() time.Time
	log     *slog.Logger
	jobs    *river.Client[pgx.Tx]
	metrics *metrics
	circuit circuit
	pacing  pacing
	fail    Failpoints
	// noUpgrade is Config.NoUpgradeCredits.
	noUpgrade bool
	policy    account.Policy

	forgetStanding func(ctx context.Context, accountIDs ...uuid.UUID)
}

// New returns a service. It refuses to be without a signing secret: the signature under an empty one anybody can make.
func New(c Config) (*Service, error) {
	secrets := make([]string, 0, len(c.Secrets))
	for _, secret := range c.Secrets {
		if secret = strings.TrimSpace(secret); secret != "" {
			secrets = append(secrets, secret)
		}
	}
	if len(secrets) == 0 {
		return nil, errors.New("stripe webhooks: no signing secret")
	}
	if c.AppEnv == "" {
		return nil, errors.New("stripe webhooks: no name of the environment")
	}
	jobs, err := river.NewClient(riverpgxv5.New(c.Pool), &river.Config{Logger: c.Log})
	if err != nil {
		return nil, fmt.Errorf("make job client: %w", err)
	}
	return &Service{
		pool: c.Pool, stripe: c.Stripe, secrets: secrets, live: c.Livemode, appEnv: c.AppEnv,
		now: c.Now, log: c.Log, jobs: jobs, metrics: newMetrics(len(secrets)), fail: c.Failpoints, forgetStanding: c.ForgetStanding,
		noUpgrade: c.NoUpgradeCredits, policy: c.Policy, pacing: pacing{Pace: c.Pace},
	}, nil
}
