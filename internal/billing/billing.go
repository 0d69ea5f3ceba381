// Package billing sells: it keeps one customer at Stripe for each account, opens checkout pages, and shows what came of them.
//
// Nothing here calls Stripe inside a transaction. What is about to be asked of Stripe is written down first, as a row whose id
// is part of the idempotency key; the answer is recorded afterwards. A process that dies in between leaves a row with a lease:
// whoever comes after the lease asks Stripe the same again and gets the same answer.
//
// Subscriptions, invoices and payments are mirrored by package stripehook; this package only reads them.
package billing

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stripe/stripe-go/v76/client"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/origin"
)

// Config is what a [Service] needs.
type Config struct {
	Pool     *pgxpool.Pool
	Stripe   *client.API
	Catalog  *catalog.Service
	Accounts *account.Service
	Origins  origin.List // where customers may be sent back to
	AppEnv   string      // stamped on everything that is made at Stripe
	// AutomaticTax lets Stripe add the tax to what is sold by Checkout, and asks business customers for their tax id.
	AutomaticTax bool
	// Sync looks at an object of Stripe's now and stores it, by the way that events take. Without it our rows follow by events alone.
	Sync func(ctx context.Context, kind, id string) error
	// Alarm tells the operator of something that no retry repairs, in the log and as a metric. Without it the log alone is told.
	Alarm func(ctx context.Context, reason string, attrs ...any)
	Now   func() time.Time
	Log   *slog.Logger
}

// A Service sells tiers and credit packs.
type Service struct{ Config }

// New returns a service.
func New(c Config) *Service { return &Service{Config: c} }

func (s *Service) queries() *db.Queries { return db.New(s.Pool) }

// now is the time as PostgreSQL gives it back.
func (s *Service) now() time.Time { return s.Now().UTC().Truncate(time.Microsecond) }

func (s *Service) alarm(ctx context.Context, reason string, attrs ...any) {
	if s.Alarm != nil {
		s.Alarm(ctx, reason, attrs...)
		return
	}
	s.Log.ErrorContext(ctx, "stripe alarm", append([]any{"reason", reason}, attrs...)...)
}

// Keys of the metadata that Stripe carries for us. Package stripehook reads them as hints.
const (
	metaAccount = "account_id"
	metaAttempt = "attempt_id"
	metaEnv     = "app_env"
	metaTier    = "tier"
	metaPack    = "credit_pack"
)
