package apikey

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/cache"
	"example.com/saaskit/internal/db"
)

const (
	// DefaultPrefix begins every secret unless another is configured.
	DefaultPrefix = "sk"
	// MaxName is how many characters a name may have.
	MaxName = 100
	// MaxOverlap is how long a key may outlive its replacement.
	MaxOverlap = 7 * 24 * time.Hour

	defaultFlushEvery = 20 * time.Second
)

// A Key is a key without its secret.
type Key struct {
	ID         uuid.UUID
	AccountID  *uuid.UUID // nil for a service key
	Name       string
	Start      string // beginning of the secret
	Scopes     []string
	AllowedIPs []netip.Prefix // any where it is empty
	CreatedBy  *uuid.UUID     // the user
	CreatedAt  time.Time
	UpdatedAt  time.Time
	ExpiresAt  *time.Time
	LastUsedAt *time.Time
	RevokedAt  *time.Time
	ReplacedBy *uuid.UUID
}

func toKey(row db.APIKey) Key {
	return Key{
		ID: row.ID, AccountID: row.AccountID, Name: row.Name, Start: row.Start, Scopes: row.Scopes, AllowedIPs: row.AllowedIps,
		CreatedBy: row.CreatedBy, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt, ExpiresAt: row.ExpiresAt,
		LastUsedAt: row.LastUsedAt, RevokedAt: row.RevokedAt, ReplacedBy: row.ReplacedBy,
	}
}

// Live tells whether the key works at a time.
func (k Key) Live(now time.Time) bool {
	return k.RevokedAt == nil && (k.ExpiresAt == nil || k.ExpiresAt.After(now))
}

// A Created is a new key. Secret is empty where the answer is that of an earlier request.
type Created struct {
	Key
	Secret   Secret
	Replayed bool
}

// A Secret prints as stars; convert it to a string where it is handed to its owner.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString hides the secret.
func (s Secret) GoString() string { return s.String() }

// LogValue hides the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON hides the secret, wherever it would end up.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// Config is what a [Service] needs. Pool, Cache, Log and Now are required.
type Config struct {
	Pool   *pgxpool.Pool
	Cache  *cache.Cache
	Log    *slog.Logger
	Now    func() time.Time
	Policy account.Policy // says which tier is in effect, and by that how many keys there may be

	Prefix     string        // of secrets; [DefaultPrefix] where it is empty
	FlushEvery time.Duration // rhythm of last_used_at; 20 s where it is 0
}

// A Service issues and checks keys.
type Service struct {
	cfg         Config
	credentials *cache.Table[credential]
	uses        uses
	stop        chan struct{}
	work        sync.WaitGroup
	closing     sync.Once
}

// New makes a service. Close it before the pool.
func New(cfg Config) *Service {
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	if cfg.FlushEvery == 0 {
		cfg.FlushEvery = defaultFlushEvery
	}
	s := &Service{cfg: cfg, stop: make(chan struct{})}
	s.credentials = cache.NewTable(cfg.Cache, "apikey", cache.GuardLife, s.loadCredential)
	s.work.Go(s.flushUses)
	return s
}

// Close writes down what is still to be written. It may be called more than once.
func (s *Service) Close() {
	s.closing.Do(func() { close(s.stop) })
	s.work.Wait()
}

func (s *Service) queries() *db.Queries { return db.New(s.cfg.Pool) }

func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

// Forget makes every instance read keys again, named by their hashes. Call it in the transaction that changes what they may do,
// as the last thing before the commit, and again after it.
func (s *Service) Forget(ctx context.Context, hashes [][]byte) {
	keys := make([]string, len(hashes))
	for i, hash := range hashes {
		keys[i] = cacheKey(hash)
	}
	s.credentials.Invalidate(ctx, keys...)
}

// nameOf returns the name as it is kept.
func nameOf(name string) (string, error) {
	name = strings.TrimSpace(name)
	if name == "" || utf8.RuneCountInString(name) > MaxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return "", invalid("body.name", "a name has 1 to %d printable characters", MaxName)
	}
	return name, nil
}

// expiryOf returns an expiry as it is kept.
func expiryOf(at *time.Time, now time.Time) (*time.Time, error) {
	if at == nil {
		return nil, nil //nolint:nilnil // a key that does not expire
	}
	if !at.After(now) {
		return nil, invalid("body.expires_at", "expires_at is in the past")
	}
	kept := at.UTC().Truncate(time.Microsecond)
	return &kept, nil
}

// described is what the audit log keeps of a key.
func described(k Key) map[string]any {
	ips := make([]string, len(k.AllowedIPs))
	for i, network := range k.AllowedIPs {
		ips[i] = network.String()
	}
	return map[string]any{
		"name": k.Name, "start": k.Start, "scopes": slices.Clone(k.Scopes), "allowed_ips": ips, "expires_at": k.ExpiresAt,
	}
}
