// Package account holds people and what owns everything that costs.
//
// A user is an identity of Supabase Auth (issuer and subject, never an e-mail address) with an id of our own. First sight of a
// token makes the user and a personal account, exactly once however many requests come first. A deleted user stays as a
// tombstone, so that a token that still lives never makes a fresh account.
//
// What every request asks (status, account, signed-out sessions) is read through the cache: see [Service.Admit]. Each change of
// it is buried in the cache before its commit, so that every instance sees it within a second.
//
// What an account may use is never stored: [StandingOf] derives it from its subscriptions, the policy and the time.
package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"golang.org/x/sync/singleflight"

	"example.com/saaskit/internal/cache"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/problem"
)

// Kinds, states and roles as the database has them.
const (
	KindPersonal = "personal"

	StatusActive   = "active"
	StatusDisabled = "disabled"
	StatusDeleting = "deleting"
	StatusDeleted  = "deleted"

	RoleOwner  = "owner"
	RoleMember = "member"
)

// An Account is one row of accounts.
type Account = db.Account

// Config is what a [Service] needs. Pool, Cache, Log and Now are required.
type Config struct {
	Pool   *pgxpool.Pool
	Cache  *cache.Cache
	Log    *slog.Logger
	Now    func() time.Time
	Policy Policy

	// ForgetKeys makes every instance forget API keys, named by their hashes. It is called in the transaction that changes
	// them, before the commit, and again after it.
	ForgetKeys func(ctx context.Context, hashes [][]byte)
	// CloseBilling ends what an account pays for at Stripe. It may be called again after it has succeeded.
	CloseBilling func(ctx context.Context, accountID uuid.UUID) error
	// CloseIdentity deletes a subject at Supabase Auth. It may be called again after it has succeeded. Where it is nil
	// there is no right to: the identity stays there, refused here, until a process that has the right takes it up.
	CloseIdentity func(ctx context.Context, subject string) error
}

// A Service answers for users and accounts.
type Service struct {
	cfg        Config
	jobs       *river.Client[pgx.Tx]
	identities *cache.Table[Identity]
	accounts   *cache.Table[Account]
	standings  *cache.Table[facts]
	enrolling  singleflight.Group
}

// New makes a service.
func New(cfg Config) (*Service, error) {
	jobs, err := river.NewClient(riverpgxv5.New(cfg.Pool), &river.Config{})
	if err != nil {
		return nil, fmt.Errorf("make job client: %w", err)
	}
	if cfg.ForgetKeys == nil {
		cfg.ForgetKeys = func(context.Context, [][]byte) {}
	}
	s := &Service{cfg: cfg, jobs: jobs}
	s.identities = cache.NewTable(cfg.Cache, "identity", cache.GuardLife, s.loadIdentity)
	s.accounts = cache.NewTable(cfg.Cache, "account", cache.GuardLife, s.loadAccount)
	s.standings = cache.NewTable(cfg.Cache, "standing", cache.GuardLife, s.loadFacts)
	return s, nil
}

func (s *Service) queries() *db.Queries { return db.New(s.cfg.Pool) }

func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

// Lock takes the row lock of an account, behind which everything that counts or balances for it is serialised. It fails with
// [problem.NotFound] where there is none, and returns closed accounts as well.
func Lock(ctx context.Context, q *db.Queries, id uuid.UUID) (Account, error) {
	a, err := q.LockAccount(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return a, problem.NotFound.Errorf("there is no such account")
	}
	if err != nil {
		return a, fmt.Errorf("lock account: %w", err)
	}
	return a, nil
}

// Open takes the row lock of an account and fails with [problem.AccountClosed] where it is not active.
func Open(ctx context.Context, q *db.Queries, id uuid.UUID) (Account, error) {
	a, err := Lock(ctx, q, id)
	if err == nil && a.Status != StatusActive {
		err = problem.AccountClosed.Errorf("the account is %s", a.Status)
	}
	return a, err
}

// Get returns an account, read through the cache. It fails with [problem.NotFound].
func (s *Service) Get(ctx context.Context, id uuid.UUID) (Account, error) {
	a, found, err := s.accounts.Get(ctx, id.String())
	if err != nil {
		return a, err
	}
	if !found {
		return a, problem.NotFound.Errorf("there is no such account")
	}
	return a, nil
}

func (s *Service) loadAccount(ctx context.Context, key string) (Account, bool, error) {
	id, err := uuid.Parse(key)
	if err != nil {
		return Account{}, false, fmt.Errorf("read account id: %w", err)
	}
	return maybe(s.queries().GetAccount(ctx, id))
}

// ActFor returns p acting for an account: one that the user is a member of, the key's own, or any for a service key. It fails
// with [problem.AccountForbidden], which does not tell whether there is such an account, and with [problem.AccountClosed].
func (s *Service) ActFor(ctx context.Context, p Principal, accountID uuid.UUID) (Principal, error) {
	if p.Kind != KindService && p.AccountID != nil && *p.AccountID == accountID {
		return p, nil
	}
	role := ""
	switch p.Kind {
	case KindService:
	case KindUser:
		var err error
		if role, err = s.role(ctx, p, accountID); err != nil {
			return p, err
		}
	default:
		return p, forbidden()
	}
	a, err := s.Get(ctx, accountID)
	switch {
	case errors.Is(err, problem.NotFound):
		return p, forbidden()
	case err != nil:
		return p, err
	case a.Status != StatusActive:
		return p, problem.AccountClosed.Errorf("the account is %s", a.Status)
	}
	p.AccountID, p.Role = &accountID, role
	return p, nil
}

func (s *Service) role(ctx context.Context, p Principal, accountID uuid.UUID) (string, error) {
	if p.UserID == nil {
		return "", forbidden()
	}
	role, err := s.queries().GetMembership(ctx, accountID, *p.UserID)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", forbidden()
	}
	if err != nil {
		return "", fmt.Errorf("read membership: %w", err)
	}
	return role, nil
}

func forbidden() error {
	return problem.AccountForbidden.Errorf("the credential does not work for this account")
}

// maybe turns "no rows" into false.
func maybe[T any](row T, err error) (T, bool, error) {
	if errors.Is(err, pgx.ErrNoRows) {
		return row, false, nil
	}
	return row, err == nil, err
}
