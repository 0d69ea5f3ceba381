package credit

import (
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/db"
)

// Sources of lots.
const (
	SourceAllowance = "allowance" // comes with a tier, by invoice or by the clock
	SourcePack      = "pack"      // bought
	SourceGrant     = "grant"     // given
)

// Priorities of lots; lower is spent first. What expires anyway goes before what was paid for by itself.
const (
	PriorityAllowance = 10
	PriorityPack      = 20
)

// Kinds of entries.
const (
	KindGrant   = "grant"
	KindConsume = "consume"
	KindExpire  = "expire"
	KindRevoke  = "revoke"  // a refund or dispute took it
	KindRestore = "restore" // and gave it back
)

// An Entry is one row of the ledger.
type Entry = db.CreditEntry

// Config is what a Service needs.
type Config struct {
	Pool *pgxpool.Pool
	Now  func() time.Time
	// Policy says what a subscription's status is worth, and with that who gets the free tier's allowance.
	Policy account.Policy
}

// A Service reads and spends credits.
type Service struct {
	pool *pgxpool.Pool
	now  func() time.Time

	policy account.Policy
}

// New returns a service.
func New(c Config) *Service { return &Service{pool: c.Pool, now: c.Now, policy: c.Policy} }
