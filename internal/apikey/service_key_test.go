package apikey_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/apikey"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/problem"
)

func TestServiceKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	operator := audit.Operator("keys create")
	created, err := w.CreateService(t.Context(), apikey.Wish{Name: "back", Scopes: []string{"credits", "worker"}, AllowedIPs: []string{"192.0.2.0/24"}}, operator)
	if err != nil {
		t.Fatal(err)
	}
	w.create(apikey.Wish{}) // an account's, which is not listed
	p, err := w.Authenticate(t.Context(), string(created.Secret), from())
	if err != nil || p.Kind != account.KindService || p.AccountID != nil || p.Admin || len(p.Scopes) != 2 {
		t.Fatalf("got %+v, %v", p, err)
	}
	keys, err := w.ListService(t.Context())
	if err != nil || len(keys) != 1 || keys[0].ID != created.ID {
		t.Fatalf("keys: %+v, %v", keys, err)
	}
	if err := w.RevokeAny(t.Context(), created.ID, operator); err != nil {
		t.Fatal(err)
	}
	w.want(w.Service, created.Secret, problem.InvalidAPIKey)
	if keys, err := w.ListService(t.Context()); err != nil || len(keys) != 0 {
		t.Errorf("after the end: %+v, %v", keys, err)
	}
	if n := w.number("SELECT count(*) FROM audit_log WHERE actor_kind = 'operator' AND target_kind = 'api_key' AND account_id IS NULL"); n != 2 {
		t.Errorf("%d audit entries, want 2", n)
	}
}

func TestServiceKeyRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	past := w.clock.now()
	for name, wish := range map[string]apikey.Wish{
		"no scopes":           {Name: "x"},
		"unknown scope":       {Name: "x", Scopes: []string{"root"}},
		"scope of an account": {Name: "x", Scopes: []string{"credits:read"}},
		"past expiry":         {Name: "x", Scopes: []string{"worker"}, ExpiresAt: &past},
		"no address":          {Name: "x", Scopes: []string{"worker"}, AllowedIPs: []string{"home"}},
	} {
		if _, err := w.CreateService(t.Context(), wish, w.actor()); !errors.Is(err, problem.InvalidRequest) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if n := w.number("SELECT count(*) FROM api_keys"); n != 0 {
		t.Errorf("%d keys were made", n)
	}
	if err := w.RevokeAny(t.Context(), uuid.New(), w.actor()); !errors.Is(err, problem.NotFound) {
		t.Errorf("unknown: got %v", err)
	}
}

func TestAdminServiceKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	created, err := w.CreateService(t.Context(), apikey.Wish{Name: "ops", Scopes: []string{"admin"}}, w.actor())
	if err != nil {
		t.Fatal(err)
	}
	if p, err := w.Authenticate(t.Context(), string(created.Secret), from()); err != nil || !p.Admin {
		t.Errorf("got %+v, %v", p, err)
	}
	// No account sees it.
	if err := w.Revoke(t.Context(), w.account, created.ID, w.actor()); !errors.Is(err, problem.NotFound) {
		t.Errorf("Revoke through an account: %v", err)
	}
}

func TestAllows(t *testing.T) {
	t.Parallel()
	key := account.Principal{Kind: account.KindAPIKey, Scopes: []string{"credits:read"}}
	service := account.Principal{Kind: account.KindService, Scopes: []string{"credits"}}
	tests := []struct {
		who   account.Principal
		scope string
		want  bool
	}{
		{key, "credits:read", true},
		{key, "credits:write", false},
		{key, "credits", false},
		{key, apikey.ScopeNone, true},
		{account.Principal{Kind: account.KindAPIKey, Scopes: []string{"credits"}}, "credits:read", false},
		{account.Principal{Kind: account.KindAPIKey}, "credits:read", false},
		{service, "credits:read", true},
		{service, "credits:write", true},
		{service, "credits", true},
		{service, "usage:read", false},
		{service, "creditsx:read", false},
		{service, "admin", false},
		{account.Principal{Kind: account.KindService, Scopes: []string{"admin"}}, "credits:read", false},
		{account.Principal{Kind: account.KindUser}, "credits:write", true},
		{account.Principal{}, "credits:read", false},
	}
	for _, tt := range tests {
		if got := apikey.Allows(tt.who, tt.scope); got != tt.want {
			t.Errorf("%s %v, %q: got %v", tt.who.Kind, tt.who.Scopes, tt.scope, got)
		}
	}
}
