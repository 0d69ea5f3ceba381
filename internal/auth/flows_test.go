package auth_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/auth"
	"example.com/saaskit/internal/devstack/supabase"
	"example.com/saaskit/internal/problem"
)

func mailed(c *supabase.Config) { c.AutoConfirm = false }

func TestSignUpAndLogIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ctx := t.Context()
	session, err := w.Service.SignUp(ctx, ip, auth.NewUser{Email: "ana@example.com", Password: password, Data: map[string]any{"name": "Ana"}})
	if err != nil || session == nil {
		t.Fatalf("SignUp: got %v, %v", session, err)
	}
	p := w.admitted(session.AccessToken)
	if session.User.UserMetadata["name"] != "Ana" || session.TokenType != "bearer" || session.ExpiresIn != 3600 || p.AAL != "aal1" || p.SessionID == nil {
		t.Errorf("session: got %+v, principal %+v", session, p)
	}
	again, err := w.LogIn(ctx, ip, "ana@example.com", password)
	if err != nil {
		t.Fatalf("LogIn: %v", err)
	}
	if other := w.admitted(again.AccessToken); *other.UserID != *p.UserID || *other.SessionID == *p.SessionID {
		t.Errorf("second sign-in: got user %v session %v", other.UserID, other.SessionID)
	}
	fresh, err := w.Refresh(ctx, ip, again.RefreshToken)
	if err != nil || fresh.RefreshToken == again.RefreshToken {
		t.Errorf("Refresh: got %v, %v", fresh, err)
	}
	w.admitted(fresh.AccessToken)
}

func TestConfirmationByMail(t *testing.T) {
	t.Parallel()
	w := newWorld(t, mailed)
	ctx := t.Context()
	session, err := w.Service.SignUp(ctx, ip, auth.NewUser{Email: "ana@example.com", Password: password, RedirectTo: "https://app.example.com/welcome"})
	if err != nil || session != nil {
		t.Fatalf("SignUp: got %v, %v; want no session yet", session, err)
	}
	if _, err := w.LogIn(ctx, ip, "ana@example.com", password); !errors.Is(err, problem.EmailNotConfirmed) {
		t.Errorf("LogIn before: got %v, want %v", err, problem.EmailNotConfirmed)
	}
	if err := w.Resend(ctx, ip, "signup", "ana@example.com", ""); !errors.Is(err, problem.RateLimited) {
		t.Errorf("Resend at once: got %v, want %v", err, problem.RateLimited)
	} else if p := problem.Of(err); p.RetryAfter < 50*time.Second || p.RetryAfter > time.Minute {
		t.Errorf("Resend at once: retry after %v, want about a minute", p.RetryAfter)
	}
	w.Add(2 * time.Minute)
	if err := w.Resend(ctx, ip, "signup", "ana@example.com", ""); err != nil {
		t.Errorf("Resend: %v", err)
	}
	if err := w.Resend(ctx, ip, "signup", "nobody@example.com", ""); err != nil {
		t.Errorf("Resend to nobody: %v", err)
	}
	mail, ok := w.LastMail("ana@example.com")
	if !ok {
		t.Fatal("no mail")
	}
	if _, err := w.Verify(ctx, ip, auth.Code{Type: "signup", Token: "000000x", Email: "ana@example.com"}); !errors.Is(err, problem.CodeExpired) {
		t.Errorf("Verify of a wrong code: got %v, want %v", err, problem.CodeExpired)
	}
	verified, err := w.Verify(ctx, ip, auth.Code{Type: "signup", Token: mail.Code, Email: "ana@example.com"})
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	w.admitted(verified.AccessToken)
	if _, err := w.Verify(ctx, ip, auth.Code{Type: "signup", TokenHash: mail.TokenHash}); !errors.Is(err, problem.CodeExpired) {
		t.Errorf("Verify twice: got %v, want %v", err, problem.CodeExpired)
	}
	for _, code := range []auth.Code{{Type: "signup"}, {Type: "signup", Token: "1"}, {Type: "signup", Token: "1", TokenHash: "2", Email: "a@example.com"}, {Type: "signup", TokenHash: "2", Email: "a@example.com"}} {
		if _, err := w.Verify(ctx, ip, code); !errors.Is(err, problem.InvalidRequest) {
			t.Errorf("Verify of %+v: got %v, want %v", code, err, problem.InvalidRequest)
		}
	}
}

func TestPasswordReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ctx := t.Context()
	_, old := w.person("ana@example.com", supabase.SignUpOptions{})
	w.admitted(old.AccessToken)
	if err := w.ResetPassword(ctx, ip, "nobody@example.com", ""); err != nil {
		t.Errorf("ResetPassword of nobody: %v", err)
	}
	if err := w.ResetPassword(ctx, ip, "ana@example.com", "https://app.example.com/new-password"); err != nil {
		t.Fatalf("ResetPassword: %v", err)
	}
	mail, ok := w.LastMail("ana@example.com")
	if !ok {
		t.Fatal("no mail")
	}
	session, err := w.Verify(ctx, ip, auth.Code{Type: "recovery", TokenHash: mail.TokenHash})
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	p := w.admitted(session.AccessToken)
	if _, err := w.UpdateUser(ctx, p, ip, auth.UserChange{Password: password}, audit.Actor{}); !errors.Is(err, problem.SamePassword) {
		t.Errorf("same password: got %v, want %v", err, problem.SamePassword)
	}
	if _, err := w.UpdateUser(ctx, p, ip, auth.UserChange{Password: "12345"}, audit.Actor{}); !errors.Is(err, problem.WeakPassword) || len(problem.Of(err).Fields) != 1 {
		t.Errorf("weak password: got %v with %v, want %v and why", err, problem.Of(err).Fields, problem.WeakPassword)
	}
	if _, err := w.UpdateUser(ctx, p, ip, auth.UserChange{Password: "a much better one"}, p.Actor("r", ip)); err != nil {
		t.Fatalf("UpdateUser: %v", err)
	}
	// Whoever knew the old password is out; the one who changed it is not.
	w.refuses(old.AccessToken, problem.SessionRevoked)
	w.admitted(session.AccessToken)
	if _, err := w.LogIn(ctx, ip, "ana@example.com", password); !errors.Is(err, problem.InvalidCredentials) {
		t.Errorf("old password: got %v, want %v", err, problem.InvalidCredentials)
	}
	in, err := w.LogIn(ctx, ip, "ana@example.com", "a much better one")
	if err != nil {
		t.Fatalf("new password: %v", err)
	}
	w.admitted(in.AccessToken)
}

func TestRedirectTargets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, mailed)
	ctx := t.Context()
	for name, f := range map[string]func(to string) error{
		"signup": func(to string) error {
			_, err := w.Service.SignUp(ctx, ip, auth.NewUser{Email: "ana@example.com", Password: password, RedirectTo: to})
			return err
		},
		"resend": func(to string) error { return w.Resend(ctx, ip, "signup", "ana@example.com", to) },
		"reset":  func(to string) error { return w.ResetPassword(ctx, ip, "ana@example.com", to) },
	} {
		for _, to := range []string{"https://evil.example.com/", "https://app.example.com.evil.test/", "javascript:alert(1)", "/welcome"} {
			if err := f(to); !errors.Is(err, problem.RedirectNotAllowed) {
				t.Errorf("%s to %q: got %v, want %v", name, to, err, problem.RedirectNotAllowed)
			}
		}
	}
	if mail := w.Mail(); len(mail) != 0 {
		t.Errorf("mails: got %d, want none", len(mail))
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ctx := t.Context()
	id, session := w.person("ana@example.com", supabase.SignUpOptions{})
	sign := func(email, pass string) error {
		_, err := w.Service.SignUp(ctx, ip, auth.NewUser{Email: email, Password: pass})
		return err
	}
	login := func(email, pass string) error { _, err := w.LogIn(ctx, ip, email, pass); return err }
	refresh := func(token string) error { _, err := w.Refresh(ctx, ip, token); return err }
	tests := []struct {
		name string
		got  func() error
		want *problem.Kind
	}{
		{"address taken", func() error { return sign("ana@example.com", password) }, problem.UserExists},
		{"weak password", func() error { return sign("bob@example.com", "12345") }, problem.WeakPassword},
		{"address without form", func() error { return sign("bob", password) }, problem.InvalidRequest},
		{"wrong password", func() error { return login("ana@example.com", "wrong") }, problem.InvalidCredentials},
		{"nobody", func() error { return login("nobody@example.com", password) }, problem.InvalidCredentials},
		{"refresh token without form", func() error { return refresh("???") }, problem.InvalidRefreshToken},
		{"refresh token of nobody", func() error { return refresh("abcdefghijkl") }, problem.InvalidRefreshToken},
		{"banned at Supabase", func() error {
			if err := w.Ban(id, time.Hour); err != nil {
				t.Fatal(err)
			}
			return login("ana@example.com", password)
		}, problem.UserDisabled},
		{"refresh of a banned user", func() error { return refresh(session.RefreshToken) }, problem.UserDisabled},
		{"sign-up closed", func() error {
			w.SetFault("/signup", supabase.Fault{Status: 422, Code: "signup_disabled"})
			return sign("bob@example.com", password)
		}, problem.SignUpDisabled},
		{"a code that we do not know", func() error {
			w.SetFault("/signup", supabase.Fault{Status: 422, Code: "captcha_failed"})
			return sign("bob@example.com", password)
		}, problem.AuthRefused},
		{"limit", func() error {
			w.SetFault("/token", supabase.Fault{Status: 429, Code: "over_request_rate_limit"})
			return login("ana@example.com", password)
		}, problem.RateLimited},
		{"limit of the gateway", func() error {
			w.SetFault("/token", supabase.Fault{Status: 429})
			return login("ana@example.com", password)
		}, problem.RateLimited},
		{"failure", func() error {
			w.SetFault("/token", supabase.Fault{Status: 500, Code: "unexpected_failure"})
			return login("ana@example.com", password)
		}, problem.SupabaseFailed},
		{"the gateway does not take our key", func() error {
			w.SetFault("/token", supabase.Fault{Status: 401})
			return login("ana@example.com", password)
		}, problem.SupabaseFailed},
	}
	for _, tt := range tests {
		err := tt.got()
		p := problem.Of(err)
		if err == nil || p.Kind != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
		if p.Kind == problem.RateLimited && p.RetryAfter <= 0 {
			t.Errorf("%s: no time to wait", tt.name)
		}
	}
}

// What Supabase says in its own words stays with us.
func TestItsWordsAreNotPassedOn(t *testing.T) {
	t.Parallel()
	const words = "relation auth.users of host db-7 is broken"
	srv := httptest.NewServer(http.HandlerFunc(func(res http.ResponseWriter, req *http.Request) {
		code := map[string]string{"ana@example.com": "weak_password", "bob@example.com": "made_up<script>"}
		body, _ := io.ReadAll(req.Body)
		for email, c := range code {
			if strings.Contains(string(body), email) {
				res.WriteHeader(http.StatusUnprocessableEntity)
				_ = json.NewEncoder(res).Encode(map[string]any{"code": 422, "error_code": c, "msg": words, "weak_password": map[string]any{"reasons": []string{words}}})
			}
		}
	}))
	t.Cleanup(srv.Close)
	w := newWorld(t, nil, func(c *auth.Config) { c.URL = srv.URL })
	for email, want := range map[string]*problem.Kind{"ana@example.com": problem.WeakPassword, "bob@example.com": problem.AuthRefused} {
		_, err := w.LogIn(t.Context(), ip, email, password)
		p := problem.Of(err)
		if p.Kind != want {
			t.Fatalf("got %v, want %v", err, want)
		}
		shown, _ := json.Marshal([]any{p.Detail, p.Fields})
		if strings.Contains(string(shown), "relation") || strings.Contains(string(shown), "script") {
			t.Errorf("shown to the caller: %s", shown)
		}
		if p.Cause == nil || !strings.Contains(p.Cause.Error(), words) {
			t.Errorf("cause for the log: got %v, want the words of Supabase", p.Cause)
		}
	}
}

// A server that answers what no Supabase does: too much, nothing, a redirect, a session without a token.
func TestStrangeAnswers(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var headers http.Header
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		elsewhere++
	}))
	t.Cleanup(other.Close)
	srv := httptest.NewServer(http.HandlerFunc(func(res http.ResponseWriter, req *http.Request) {
		mu.Lock()
		headers = req.Header.Clone()
		mu.Unlock()
		body, _ := io.ReadAll(req.Body)
		switch {
		case strings.Contains(string(body), "long@"):
			_, _ = io.Copy(res, io.LimitReader(strings.NewReader(strings.Repeat(" ", 2<<20)), 2<<20))
		case strings.Contains(string(body), "redirect@"):
			http.Redirect(res, req, other.URL, http.StatusTemporaryRedirect)
		case strings.Contains(string(body), "cut@"):
			res.Header().Set("Content-Length", "100")
			_, _ = res.Write([]byte("{"))
		case strings.Contains(string(body), "html@"):
			_, _ = res.Write([]byte("<html>"))
		default:
			_, _ = res.Write([]byte("{}"))
		}
	}))
	t.Cleanup(srv.Close)
	w := newWorld(t, nil, func(c *auth.Config) { c.URL, c.AnonKey = srv.URL, "anon-key" })
	for _, email := range []string{"long@example.com", "redirect@example.com", "cut@example.com", "html@example.com", "empty@example.com"} {
		if _, err := w.LogIn(t.Context(), ip, email, password); !errors.Is(err, problem.SupabaseFailed) {
			t.Errorf("%s: got %v, want %v", email, err, problem.SupabaseFailed)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if elsewhere != 0 {
		t.Error("the password was sent to where a redirect led")
	}
	for name, want := range map[string]string{"Apikey": "anon-key", "X-Forwarded-For": ip, "Sb-Forwarded-For": ip, "Authorization": ""} {
		if got := headers.Get(name); got != want {
			t.Errorf("header %s: got %q, want %q", name, got, want)
		}
	}
}

func TestSupabaseIsGone(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	w := newWorld(t, nil, func(c *auth.Config) { c.Issuer, c.URL = c.URL, srv.URL })
	if _, err := w.LogIn(t.Context(), ip, "ana@example.com", password); !errors.Is(err, problem.SupabaseFailed) {
		t.Errorf("LogIn: got %v, want %v", err, problem.SupabaseFailed)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.LogIn(ctx, ip, "ana@example.com", password); !errors.Is(err, context.Canceled) {
		t.Errorf("LogIn of a caller who has gone: got %v, want %v", err, context.Canceled)
	}
	// Tokens that the secret verifies are admitted all the same.
	w.admitted(w.Mint(w.with(nil)))
}

// An operator sees who has signed up before they call anything else, and the address is known to be confirmed.
func TestSignUpMakesTheUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	session, err := w.Service.SignUp(t.Context(), ip, auth.NewUser{Email: "ana@example.com", Password: password})
	if err != nil {
		t.Fatalf("SignUp: %v", err)
	}
	var id uuid.UUID
	var confirmed bool
	err = w.pool.QueryRow(t.Context(), `SELECT u.id, u.email_confirmed_at IS NOT NULL FROM users u JOIN memberships m ON m.user_id = u.id
		WHERE u.email = 'ana@example.com'`).Scan(&id, &confirmed)
	if err != nil || !confirmed {
		t.Fatalf("after the sign-up: user %v, confirmed %v, %v", id, confirmed, err)
	}
	if p := w.admitted(session.AccessToken); *p.UserID != id {
		t.Errorf("the first request is of user %v, not %v", *p.UserID, id)
	}
}
