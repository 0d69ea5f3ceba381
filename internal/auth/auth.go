// Package auth verifies the access tokens of Supabase Auth and passes the sign-in flows on to it.
//
// Tokens are verified here, not by asking: HS256 with the project's secret, RS256 and ES256 with the keys of its JWKS, side by
// side, for projects live in between for months. An algorithm is pinned to its key, so that a public key is never taken for a
// secret. Where keys and API are is configuration; nothing in a token leads anywhere.
//
// Signing out at Supabase does not stop a token that still lives, so the session is denied here as well: see [Service.LogOut].
// What Supabase says in its own words never reaches a caller; its error codes become our problems.
package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/origin"
	"example.com/saaskit/internal/problem"
)

// Defaults of a [Config].
const (
	DefaultAudience   = "authenticated"
	DefaultAdminClaim = "app_metadata.saaskit_role"
	DefaultAdminValue = "admin"
)

// Config is what a [Service] needs.
type Config struct {
	// URL is the base of Supabase Auth: https://<ref>.supabase.co/auth/v1.
	URL string
	// Issuer is the iss of its tokens. By default the URL.
	Issuer string
	// Audience is the aud of its tokens. By default [DefaultAudience].
	Audience string
	// JWTSecret verifies HS256; empty where the project signs with key pairs only.
	JWTSecret string
	// AnonKey is sent as apikey, where the gateway of a hosted project asks for one.
	AnonKey string
	// ServiceRoleKey lets us delete users at Supabase; may be empty.
	ServiceRoleKey string
	// AdminClaim and AdminValue say who is an administrator: a path below app_metadata, which users cannot write.
	AdminClaim, AdminValue string
	// AllowAnonymous admits anonymous users.
	AllowAnonymous bool
	// Origins are where mails may lead.
	Origins origin.List

	Accounts *account.Service
	Log      *slog.Logger
	Now      func() time.Time
}

// A Service authenticates users.
type Service struct {
	cfg      Config
	verifier *verifier
	supabase *client
	admin    claimRule

	asking  sync.WaitGroup // background questions to Supabase
	askCtx  context.Context
	stop    context.CancelFunc
	askings *flights
}

// New makes a service. It fails where the configuration would verify nothing, or the wrong thing. Close it after use.
func New(cfg Config) (*Service, error) {
	cfg.URL = strings.TrimRight(cfg.URL, "/")
	cfg.Issuer = orDefault(cfg.Issuer, cfg.URL)
	cfg.Audience = orDefault(cfg.Audience, DefaultAudience)
	u, err := url.Parse(cfg.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the address of Supabase Auth is not an absolute http or https URL")
	}
	if strings.ContainsAny(cfg.Issuer, " \t\r\n") {
		return nil, errors.New("the issuer has a space in it")
	}
	if cfg.JWTSecret != "" && len(cfg.JWTSecret) < minSecret {
		return nil, fmt.Errorf("the JWT secret has less than %d characters", minSecret)
	}
	admin, err := newClaimRule(orDefault(cfg.AdminClaim, DefaultAdminClaim), orDefault(cfg.AdminValue, DefaultAdminValue))
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, admin: admin, supabase: newClient(cfg), askings: newFlights()}
	keys := newKeySet(s.supabase, cfg.Now, cfg.Log)
	s.verifier = newVerifier(cfg, keys, admin)
	s.askCtx, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Close ends questions to Supabase that are under way and waits for them.
func (s *Service) Close() {
	s.stop()
	s.asking.Wait()
	s.supabase.http.CloseIdleConnections()
}

// Authenticate verifies an access token and returns its user acting for the personal account, both of which first sight makes.
// It fails with a problem that says what is wrong with the token or the user.
func (s *Service) Authenticate(ctx context.Context, token string) (account.Principal, error) {
	in, err := s.admit(ctx, token)
	if err != nil {
		return account.Principal{}, err
	}
	if in.user.EmailCheckDue(s.cfg.Now()) {
		s.askEmail(ctx, token, in.claims.bearer(), in.user)
	}
	return account.Principal{
		Kind: account.KindUser, UserID: &in.user.ID, AccountID: &in.user.AccountID, Role: account.RoleOwner,
		SessionID: in.claims.session, AAL: in.claims.AAL, Admin: in.claims.admin, Token: account.Token(token),
	}, nil
}

// An admitted token is one that is good, of a user who may come in.
type admitted struct {
	claims *claims
	user   account.Identity
}

func (s *Service) admit(ctx context.Context, token string) (admitted, error) {
	c, err := s.verifier.verify(ctx, token)
	if err != nil {
		return admitted{}, err
	}
	if c.IsAnonymous && !s.cfg.AllowAnonymous {
		return admitted{}, problem.AnonymousUser.Errorf("sign up with an e-mail address")
	}
	user, err := s.cfg.Accounts.Admit(ctx, c.bearer())
	return admitted{c, user}, err
}

func orDefault(value, def string) string {
	if value == "" {
		return def
	}
	return value
}

// sum names a token without keeping it.
func sum(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }
