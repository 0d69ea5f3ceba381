package auth_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"example.com/saaskit/internal/auth"
	"example.com/saaskit/internal/devstack/supabase"
	"example.com/saaskit/internal/problem"
)

func TestLogOut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		scope string
		out   []string // which of the sessions are out
	}{
		{auth.ScopeLocal, []string{"mine"}},
		{auth.ScopeOthers, []string{"phone", "desk"}},
		{auth.ScopeGlobal, []string{"mine", "phone", "desk"}},
	} {
		t.Run(tt.scope, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, both)
			other, _ := w.instance()
			_, mine := w.person("ana@example.com", supabase.SignUpOptions{})
			tokens := map[string]string{"mine": mine.AccessToken}
			for _, name := range []string{"phone", "desk"} {
				session, err := w.LogIn(t.Context(), ip, "ana@example.com", password)
				if err != nil {
					t.Fatal(err)
				}
				tokens[name] = session.AccessToken
			}
			for _, token := range tokens {
				w.admitted(token)
				if _, err := other.Authenticate(t.Context(), token); err != nil {
					t.Fatal(err)
				}
			}
			p := w.admitted(mine.AccessToken)
			if err := w.LogOut(t.Context(), p, tt.scope, ip, p.Actor("r", ip)); err != nil {
				t.Fatalf("LogOut: %v", err)
			}
			for name, token := range tokens {
				out := false
				for _, n := range tt.out {
					out = out || n == name
				}
				if !out {
					w.admitted(token)
					continue
				}
				w.refuses(token, problem.SessionRevoked)
				eventually(t, time.Second, name+" is out at the other instance", func() bool {
					_, err := other.Authenticate(t.Context(), token)
					return errors.Is(err, problem.SessionRevoked)
				})
			}
			// A sign-in right after the answer is good.
			session, err := w.LogIn(t.Context(), ip, "ana@example.com", password)
			if err != nil {
				t.Fatal(err)
			}
			w.admitted(session.AccessToken)
			// A refreshed token of a session that is still in is good as well.
			if tt.scope == auth.ScopeOthers {
				fresh, err := w.Refresh(t.Context(), ip, mine.RefreshToken)
				if err != nil {
					t.Fatal(err)
				}
				w.admitted(fresh.AccessToken)
			}
		})
	}
}

// Whatever Supabase says, the session is denied here; only where it could not be told the caller learns that.
func TestLogOutWhateverSupabaseSays(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fault supabase.Fault
		want  error
	}{
		{"session gone already", supabase.Fault{Status: 403, Code: "session_not_found"}, nil},
		{"user gone already", supabase.Fault{Status: 403, Code: "user_not_found"}, nil},
		{"failure", supabase.Fault{Status: 500}, problem.SupabaseFailed},
		{"limit", supabase.Fault{Status: 429, Code: "over_request_rate_limit"}, problem.SupabaseFailed},
		{"token not taken", supabase.Fault{Status: 403, Code: "bad_jwt"}, problem.SupabaseFailed},
	} {
		for _, scope := range []string{auth.ScopeLocal, auth.ScopeGlobal} {
			t.Run(tt.name+" "+scope, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, nil)
				_, session := w.person("ana@example.com", supabase.SignUpOptions{})
				p := w.admitted(session.AccessToken)
				w.SetFault("/logout", tt.fault)
				err := w.LogOut(t.Context(), p, scope, ip, p.Actor("r", ip))
				if (tt.want == nil && err != nil) || (tt.want != nil && !errors.Is(err, tt.want)) {
					t.Errorf("LogOut: got %v, want %v", err, tt.want)
				}
				w.refuses(session.AccessToken, problem.SessionRevoked)
				if tt.want == nil || scope != auth.ScopeLocal {
					return
				}
				// Supabase goes on refreshing the session; its tokens are refused all the same.
				fresh, err := w.Refresh(t.Context(), ip, session.RefreshToken)
				if err != nil {
					t.Fatal(err)
				}
				w.refuses(fresh.AccessToken, problem.SessionRevoked)
			})
		}
	}
}

// The denial is written down though the caller has gone.
func TestLogOutOfACallerWhoHasGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	_, session := w.person("ana@example.com", supabase.SignUpOptions{})
	p := w.admitted(session.AccessToken)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = w.LogOut(ctx, p, auth.ScopeLocal, ip, p.Actor("r", ip))
	w.refuses(session.AccessToken, problem.SessionRevoked)
}

// The denial outlives every token of the session, also one issued after the token that signed out.
func TestDenialOutlivesTheSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	_, session := w.person("ana@example.com", supabase.SignUpOptions{})
	old := w.admitted(session.AccessToken)
	w.Add(50 * time.Minute)
	fresh, err := w.Refresh(t.Context(), ip, session.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	w.admitted(fresh.AccessToken)
	if err := w.LogOut(t.Context(), old, auth.ScopeLocal, ip, old.Actor("r", ip)); err != nil {
		t.Fatal(err)
	}
	w.Add(59 * time.Minute) // the old token has expired, the new one has not
	if err := w.accounts.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.refuses(fresh.AccessToken, problem.SessionRevoked)
	w.Add(2 * time.Minute)
	w.refuses(fresh.AccessToken, problem.TokenExpired)
}
