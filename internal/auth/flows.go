package auth

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"example.com/saaskit/internal/problem"
)

// A NewUser is what a sign-up asks for.
type NewUser struct {
	Email, Password string
	Data            map[string]any // user_metadata
	RedirectTo      string         // where the mail leads
}

// SignUp creates a user. It returns nil where the address has to be confirmed first: the answer for an address that is taken
// looks the same then. ip is whom we call for, here and below.
func (s *Service) SignUp(ctx context.Context, ip string, in NewUser) (*Session, error) {
	query, err := s.redirect(in.RedirectTo)
	if err != nil {
		return nil, err
	}
	body := map[string]any{"email": in.Email, "password": in.Password}
	if in.Data != nil {
		body["data"] = in.Data
	}
	var session Session
	if err := s.supabase.do(ctx, call{method: http.MethodPost, path: "/signup", query: query, clientIP: ip, body: body}, &session); err != nil {
		return nil, err
	}
	if session.AccessToken == "" {
		return nil, nil
	}
	return &session, s.welcome(ctx, &session)
}

// LogIn exchanges e-mail and password for a session.
func (s *Service) LogIn(ctx context.Context, ip, email, password string) (*Session, error) {
	return s.session(ctx, call{
		method: http.MethodPost, path: "/token", query: url.Values{"grant_type": {"password"}}, clientIP: ip,
		body: map[string]any{"email": email, "password": password},
	})
}

// Refresh exchanges a refresh token for a new session. What Supabase cannot read as one is no valid one.
func (s *Service) Refresh(ctx context.Context, ip, refreshToken string) (*Session, error) {
	session, err := s.session(ctx, call{
		method: http.MethodPost, path: "/token", query: url.Values{"grant_type": {"refresh_token"}}, clientIP: ip,
		body: map[string]any{"refresh_token": refreshToken},
	})
	for _, kind := range []*problem.Kind{problem.InvalidRequest, problem.SessionRevoked, problem.InvalidToken} {
		if errors.Is(err, kind) {
			return nil, problem.InvalidRefreshToken.Errorf("sign in again").Because(err)
		}
	}
	return session, err
}

// A Code is a code or link from a mail: Token with Email, or TokenHash alone.
type Code struct {
	Type, Token, TokenHash, Email string
}

// Verify redeems a code and signs its user in.
func (s *Service) Verify(ctx context.Context, ip string, in Code) (*Session, error) {
	body := map[string]any{"type": in.Type}
	switch {
	case in.TokenHash != "" && in.Token == "" && in.Email == "":
		body["token_hash"] = in.TokenHash
	case in.Token != "" && in.Email != "" && in.TokenHash == "":
		body["token"], body["email"] = in.Token, in.Email
	default:
		return nil, problem.InvalidRequest.Errorf("send token with email, or token_hash alone").
			In("body.token", "comes with email and without token_hash")
	}
	session, err := s.sessionOrNone(ctx, call{method: http.MethodPost, path: "/verify", clientIP: ip, body: body})
	if err == nil && session.AccessToken == "" { // the first of two addresses that a change of address asks
		return nil, problem.EmailNotConfirmed.Errorf("the code is taken; the code sent to the other address is needed as well")
	}
	return session, err
}

// Resend sends the mail of a sign-up or of a change of address again, if the address is known.
func (s *Service) Resend(ctx context.Context, ip, kind, email, redirectTo string) error {
	query, err := s.redirect(redirectTo)
	if err != nil {
		return err
	}
	return s.supabase.do(ctx, call{
		method: http.MethodPost, path: "/resend", query: query, clientIP: ip, body: map[string]any{"type": kind, "email": email},
	}, nil)
}

// ResetPassword sends a mail for a new password, if the address is known.
func (s *Service) ResetPassword(ctx context.Context, ip, email, redirectTo string) error {
	query, err := s.redirect(redirectTo)
	if err != nil {
		return err
	}
	return s.supabase.do(ctx, call{
		method: http.MethodPost, path: "/recover", query: query, clientIP: ip, body: map[string]any{"email": email},
	}, nil)
}

func (s *Service) redirect(to string) (url.Values, error) {
	if to == "" {
		return nil, nil
	}
	if err := s.cfg.Origins.Allows("redirect_to", to); err != nil {
		return nil, err
	}
	return url.Values{"redirect_to": {to}}, nil
}

func (s *Service) session(ctx context.Context, in call) (*Session, error) {
	session, err := s.sessionOrNone(ctx, in)
	if err == nil && session.AccessToken == "" {
		return nil, unavailable(errors.New(in.path + " answers no session"))
	}
	return session, err
}

func (s *Service) sessionOrNone(ctx context.Context, in call) (*Session, error) {
	var session Session
	if err := s.supabase.do(ctx, in, &session); err != nil {
		return nil, err
	}
	return &session, s.welcome(ctx, &session)
}

// welcome makes user and account of a new session here and now, so that an operator sees who has signed up before they call
// anything else, and who is disabled or deleted here is told so. Otherwise signing in does not depend on it: the first request
// would do the same.
func (s *Service) welcome(ctx context.Context, session *Session) error {
	if session.AccessToken != "" {
		_, err := s.admit(ctx, session.AccessToken)
		if errors.Is(err, problem.UserDisabled) || errors.Is(err, problem.UserDeleted) {
			return err
		}
		if err != nil {
			s.cfg.Log.WarnContext(ctx, "a new session is not admitted", "subject", session.User.ID, "error", reason(err))
		}
	}
	s.recordEmail(ctx, session.User)
	return nil
}
