package apikey

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/problem"
)

// A credential is what has to be known of a key to judge a request. It is what is cached.
type credential struct {
	ID            uuid.UUID
	AccountID     *uuid.UUID
	Scopes        []string
	AllowedIPs    []netip.Prefix
	ExpiresAt     *time.Time
	Revoked       bool
	AccountStatus string // empty for a service key
	UserStatus    string // of the user whose personal account it is
}

func (s *Service) loadCredential(ctx context.Context, key string) (credential, bool, error) {
	hash, err := hashFrom(key)
	if err != nil {
		return credential{}, false, err
	}
	row, err := s.queries().GetCredential(ctx, hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return credential{}, false, nil
	}
	if err != nil {
		return credential{}, false, fmt.Errorf("read key: %w", err)
	}
	c := credential{
		ID: row.ID, AccountID: row.AccountID, Scopes: row.Scopes, AllowedIPs: row.AllowedIps,
		ExpiresAt: row.ExpiresAt, Revoked: row.RevokedAt != nil,
	}
	if row.AccountStatus != nil {
		c.AccountStatus = *row.AccountStatus
	}
	if row.UserStatus != nil {
		c.UserStatus = *row.UserStatus
	}
	return c, true, nil
}

// LooksLikeKey tells whether a Bearer token is meant as a key: whether it begins like one.
func (s *Service) LooksLikeKey(token string) bool {
	_, ok := digitsOf(s.cfg.Prefix, token)
	return ok
}

// Authenticate returns who calls with a secret from an address. It fails with [problem.InvalidAPIKey], [problem.APIKeyExpired],
// [problem.AddressNotAllowed], [problem.UserDisabled] and [problem.AccountClosed]. What it returns is shared: do not change it.
func (s *Service) Authenticate(ctx context.Context, secret string, ip netip.Addr) (account.Principal, error) {
	if !wellFormed(s.cfg.Prefix, secret) {
		return account.Principal{}, problem.InvalidAPIKey.Errorf("the key is mistyped or not one of ours")
	}
	c, found, err := s.credentials.Get(ctx, cacheKey(hashOf(secret)))
	if err != nil {
		return account.Principal{}, fmt.Errorf("look up key: %w", err)
	}
	if !found {
		return account.Principal{}, problem.InvalidAPIKey.Errorf("there is no such key")
	}
	now := s.cfg.Now()
	if err := c.refuse(now, ip); err != nil {
		return account.Principal{}, err
	}
	s.uses.note(c.ID, now)
	return c.principal(), nil
}

// refuse says why a request with the key is not let in.
func (c credential) refuse(now time.Time, ip netip.Addr) error {
	switch {
	case c.Revoked:
		return problem.InvalidAPIKey.Errorf("the key has been revoked")
	case c.ExpiresAt != nil && !now.Before(*c.ExpiresAt):
		return problem.APIKeyExpired.Errorf("the key has expired; rotate a key before it does")
	case c.AccountID != nil && c.AccountStatus == account.StatusDisabled, c.UserStatus == account.StatusDisabled:
		return problem.UserDisabled.Errorf("the account of the key is disabled")
	case c.AccountID != nil && c.AccountStatus != account.StatusActive:
		return problem.AccountClosed.Errorf("the account of the key is closed")
	case c.UserStatus != "" && c.UserStatus != account.StatusActive:
		return problem.AccountClosed.Errorf("the account of the key is being closed")
	case !admits(c.AllowedIPs, ip):
		return problem.AddressNotAllowed.Errorf("the key may not be used from %s", ip)
	}
	return nil
}

func (c credential) principal() account.Principal {
	id := c.ID
	if c.AccountID == nil {
		return account.Principal{Kind: account.KindService, Scopes: c.Scopes, KeyID: &id, Admin: slices.Contains(c.Scopes, ScopeAdmin)}
	}
	owner := *c.AccountID
	return account.Principal{Kind: account.KindAPIKey, AccountID: &owner, Scopes: c.Scopes, KeyID: &id}
}
