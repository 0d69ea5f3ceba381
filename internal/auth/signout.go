package auth

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/problem"
)

// Scopes of signing out.
const (
	ScopeLocal  = "local"
	ScopeGlobal = "global"
	ScopeOthers = "others"
)

const (
	// denyPatience bounds writing a denial down, which happens even where the caller has gone.
	denyPatience = 5 * time.Second
	// unendedLife is how long a session stays denied that Supabase could not be told of: it may go on being refreshed there.
	unendedLife = 30 * 24 * time.Hour
)

// LogOut ends sessions of a user, at Supabase first and then here, whatever Supabase has said: from the answer on the tokens
// are refused by this instance, and within a second by all others.
//
//   - local: the session is denied until no token of it can live any more. A token issued up to now lives as long from now as
//     this one lives from its own issue.
//   - global: every token issued before a moment is denied.
//   - others: the same, and this session is exempt.
//
// Times in tokens are whole seconds, so that moment is the next whole second, and the answer waits for it: a token issued in the
// same second as the sign-out is denied, one issued after the answer is not. Supabase has ended the sessions by then, so none of
// them gets a later token.
//
// Where Supabase does not answer the denial stands, and the caller is told with [problem.SupabaseFailed] that the refresh tokens
// could not be ended.
func (s *Service) LogOut(ctx context.Context, p account.Principal, scope, ip string, actor audit.Actor) error {
	c, err := s.verifier.verify(ctx, string(p.Token))
	if err != nil {
		return err
	}
	if c.session == nil && scope == ScopeLocal {
		scope = ScopeGlobal // nothing less is named by the token; Supabase does the same
	}
	asked := s.supabase.do(ctx, call{
		method: http.MethodPost, path: "/logout", query: url.Values{"scope": {scope}}, token: string(p.Token), clientIP: ip,
	}, nil)
	if gone(asked) {
		asked = nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), denyPatience)
	defer cancel()
	if err := s.deny(ctx, c, scope, asked != nil, actor); err != nil {
		return err
	}
	if asked != nil {
		return problem.SupabaseFailed.Errorf(
			"the access tokens are refused from now on, but Supabase Auth could not be told to end the refresh tokens").Because(asked)
	}
	return nil
}

// gone tells whether Supabase refused because there is nothing left to sign out of.
func gone(err error) bool {
	return hasCode(err, "session_not_found") || hasCode(err, "user_not_found")
}

func (s *Service) deny(ctx context.Context, c *claims, scope string, unended bool, actor audit.Actor) error {
	switch scope {
	case ScopeGlobal:
		return s.denyIssued(ctx, c, nil, actor)
	case ScopeOthers:
		return s.denyIssued(ctx, c, c.session, actor)
	}
	until := c.ExpiresAt.Time
	if c.IssuedAt != nil {
		if latest := s.cfg.Now().Add(c.ExpiresAt.Sub(c.IssuedAt.Time)); latest.After(until) {
			until = latest
		}
	}
	if unended {
		until = until.Add(unendedLife)
	}
	// A second leeway for clocks that differ.
	return s.cfg.Accounts.SignOut(ctx, c.bearer(), *c.session, until.Add(2*leeway), actor)
}

// denyIssued denies what was issued up to now and returns when that moment has passed.
func (s *Service) denyIssued(ctx context.Context, c *claims, kept *uuid.UUID, actor audit.Actor) error {
	now := s.cfg.Now()
	validAfter := now.Truncate(time.Second).Add(time.Second)
	if err := s.cfg.Accounts.SignOutAll(ctx, c.bearer(), validAfter, kept, actor); err != nil {
		return err
	}
	timer := time.NewTimer(validAfter.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}
