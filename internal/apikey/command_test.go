package apikey_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/apikey"
	"example.com/saaskit/internal/problem"
)

func TestCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	var stdout, stderr bytes.Buffer
	run := func(line string) error {
		stdout.Reset()
		stderr.Reset()
		return w.Command(t.Context(), strings.Fields(line), &stdout, &stderr)
	}
	if err := run("create --service --scope credits,usage --scope worker --name back --expires 90d --ip 192.0.2.0/24"); err != nil {
		t.Fatal(err)
	}
	secret, ok := strings.CutSuffix(stdout.String(), "\n")
	if !ok || !w.LooksLikeKey(secret) || strings.ContainsAny(secret, " \n") || strings.Contains(stderr.String(), secret) {
		t.Errorf("stdout is not the secret alone, or stderr has it: %q", stderr.String())
	}
	p, err := w.Authenticate(t.Context(), secret, from())
	if err != nil || p.Kind != account.KindService || p.AccountID != nil || p.Admin || len(p.Scopes) != 3 {
		t.Fatalf("got %+v, %v", p, err)
	}
	keys, err := w.ListService(t.Context())
	if err != nil || len(keys) != 1 || !keys[0].ExpiresAt.Equal(w.clock.now().Add(90*24*time.Hour)) {
		t.Fatalf("keys: %+v, %v", keys, err)
	}
	if err := run("list"); err != nil || !strings.Contains(stdout.String(), p.KeyID.String()) || strings.Contains(stdout.String(), secret) {
		t.Errorf("list: %v\n%s", err, stdout.String())
	}
	if err := run("revoke " + p.KeyID.String()); err != nil {
		t.Fatal(err)
	}
	w.want(w.Service, apikey.Secret(secret), problem.InvalidAPIKey)
	if n := w.number("SELECT count(*) FROM audit_log WHERE actor_kind = 'operator' AND target_kind = 'api_key' AND account_id IS NULL"); n != 2 {
		t.Errorf("%d audit entries, want 2", n)
	}
}

func TestCommandRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	for line, want := range map[string]error{
		"":                                  apikey.ErrUsage,
		"destroy":                           apikey.ErrUsage,
		"create --scope credits":            apikey.ErrUsage,
		"create --service":                  problem.InvalidRequest, // no scopes
		"create --service --scope root":     problem.InvalidRequest,
		"create --service --scope worker x": apikey.ErrUsage,
		"create --service --nonsense":       apikey.ErrUsage,
		"create --service --scope worker --expires soon":                 apikey.ErrUsage,
		"create --service --scope worker --expires -5d":                  apikey.ErrUsage,
		"create --service --scope worker --expires 2020-01-01T00:00:00Z": problem.InvalidRequest,
		"create --service --scope worker --ip home":                      problem.InvalidRequest,
		"revoke":    apikey.ErrUsage,
		"revoke x":  apikey.ErrUsage,
		"list more": apikey.ErrUsage,
		"revoke 019b0000-0000-7000-8000-000000000000": problem.NotFound,
	} {
		var stdout, stderr bytes.Buffer
		err := w.Command(t.Context(), strings.Fields(line), &stdout, &stderr)
		if !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", line, err, want)
		}
		if stdout.Len() > 0 {
			t.Errorf("%q: stdout has %q", line, stdout.String())
		}
	}
	if n := w.number("SELECT count(*) FROM api_keys"); n != 0 {
		t.Errorf("%d keys were made", n)
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
