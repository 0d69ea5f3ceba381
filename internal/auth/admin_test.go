package auth_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/auth"
	"example.com/saaskit/internal/devstack/supabase"
	"example.com/saaskit/internal/problem"
)

func TestAdmin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ctx := t.Context()
	id, session := w.person("root@example.com", supabase.SignUpOptions{AppMetadata: map[string]any{"saaskit_role": "admin"}})
	_, liar := w.person("liar@example.com", supabase.SignUpOptions{UserMetadata: map[string]any{"saaskit_role": "admin", "app_metadata": map[string]any{"saaskit_role": "admin"}}})
	admin, other := w.admitted(session.AccessToken), w.admitted(liar.AccessToken)
	if !admin.Admin || other.Admin {
		t.Fatalf("admin: got %t and %t, want true and false", admin.Admin, other.Admin)
	}
	if err := w.ConfirmAdmin(ctx, admin); err != nil {
		t.Errorf("ConfirmAdmin: %v", err)
	}
	if err := w.ConfirmAdmin(ctx, other); !errors.Is(err, problem.AdminRequired) {
		t.Errorf("ConfirmAdmin of a user: got %v, want %v", err, problem.AdminRequired)
	}
	w.SetFault("/user", supabase.Fault{Status: 502})
	if err := w.ConfirmAdmin(ctx, admin); !errors.Is(err, problem.SupabaseFailed) {
		t.Errorf("ConfirmAdmin while Supabase is gone: got %v, want %v", err, problem.SupabaseFailed)
	}
	w.SetFault("/user", supabase.Fault{})
	if err := w.SetAppMetadata(id, map[string]any{"saaskit_role": nil}); err != nil {
		t.Fatal(err)
	}
	if err := w.ConfirmAdmin(ctx, w.admitted(session.AccessToken)); !errors.Is(err, problem.AdminRequired) {
		t.Errorf("ConfirmAdmin of a former administrator, whose token says otherwise: got %v, want %v", err, problem.AdminRequired)
	}
	key := uuid.New()
	if err := w.ConfirmAdmin(ctx, account.Principal{Kind: account.KindService, KeyID: &key, Admin: true}); err != nil {
		t.Errorf("ConfirmAdmin of a service key: %v", err)
	}
	for _, p := range []account.Principal{{}, {Kind: account.KindService}, {Kind: account.KindAPIKey, Admin: true}} {
		if err := w.ConfirmAdmin(ctx, p); !errors.Is(err, problem.AdminRequired) {
			t.Errorf("ConfirmAdmin of %+v: got %v, want %v", p, err, problem.AdminRequired)
		}
	}
}

func TestAdminByAnotherClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, func(c *auth.Config) { c.AdminClaim, c.AdminValue = "app_metadata.acme.role", "boss" })
	_, boss := w.person("boss@example.com", supabase.SignUpOptions{AppMetadata: map[string]any{"acme": map[string]any{"role": "boss"}}})
	_, root := w.person("root@example.com", supabase.SignUpOptions{AppMetadata: map[string]any{"saaskit_role": "admin", "acme": "boss"}})
	if !w.admitted(boss.AccessToken).Admin || w.admitted(root.AccessToken).Admin {
		t.Error("the configured claim does not decide")
	}
}

func TestDeleteIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *supabase.Config) { c.ServiceRoleKey = "service-key" }, func(c *auth.Config) { c.ServiceRoleKey = "service-key" })
	id, session := w.person("ana@example.com", supabase.SignUpOptions{})
	w.SetFault("/admin/users/{id}", supabase.Fault{Status: 500})
	if err := w.DeleteIdentity(t.Context(), id); !errors.Is(err, problem.SupabaseFailed) {
		t.Errorf("DeleteIdentity while Supabase fails: got %v, want %v", err, problem.SupabaseFailed)
	}
	w.SetFault("/admin/users/{id}", supabase.Fault{})
	for range 2 {
		if err := w.DeleteIdentity(t.Context(), id); err != nil {
			t.Errorf("DeleteIdentity: %v", err)
		}
	}
	if _, err := w.LogIn(t.Context(), ip, "ana@example.com", password); !errors.Is(err, problem.InvalidCredentials) {
		t.Errorf("LogIn after: got %v, want %v", err, problem.InvalidCredentials)
	}
	if _, err := w.Refresh(t.Context(), ip, session.RefreshToken); !errors.Is(err, problem.InvalidRefreshToken) {
		t.Errorf("Refresh after: got %v, want %v", err, problem.InvalidRefreshToken)
	}
}

func TestTokensArePrintedNowhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	_, session := w.person("ana@example.com", supabase.SignUpOptions{})
	p := w.admitted(session.AccessToken)
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{string(raw), sprint(p)} {
		if strings.Contains(shown, session.AccessToken) {
			t.Errorf("the token shows in %s", shown)
		}
	}
}
