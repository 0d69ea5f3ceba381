package supabase_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/saaskit/internal/devstack/supabase"
)

func kept(path string) func(*supabase.Config) {
	return func(c *supabase.Config) { c.Path = path; c.Mode = supabase.Both; c.AutoConfirm = false }
}

// TestSnapshot restarts a server in the middle of everything it remembers.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "auth.json")
	p := newProject(t, kept(path))
	id, sess := p.user(t, "ana@example.com")
	second := p.refresh(t, sess.RefreshToken).want(t, 200, "").text(t, "refresh_token")
	third := p.refresh(t, second).want(t, 200, "").text(t, "refresh_token")
	p.do(t, "POST", "/signup", "", m{"email": "new@example.com", "password": password}).want(t, 200, "")
	mail := p.last(t, "new@example.com", "signup")
	key, user := p.ServiceRoleKey(), p.do(t, "GET", "/admin/users/"+id, p.ServiceRoleKey(), nil).want(t, 200, "")
	if _, err := p.RotateKey(); err != nil {
		t.Fatal(err)
	}
	kid, _ := p.SigningKey()

	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("snapshot: mode %v, %v, want 0600", info.Mode(), err)
	}
	q := newProject(t, kept(path))
	if got, _ := q.SigningKey(); got != kid {
		t.Errorf("kid after the restart: got %s, want %s", got, kid)
	}
	if q.ServiceRoleKey() != key {
		t.Error("the service key changed with the restart")
	}
	if d := cmp.Diff(user.body, q.do(t, "GET", "/admin/users/"+id, key, nil).want(t, 200, "").body); d != "" {
		t.Errorf("user (-before +after):\n%s", d)
	}
	q.do(t, "GET", "/user", sess.AccessToken, nil).want(t, 200, "") // signed by the key before the rotation
	if again := q.refresh(t, second).want(t, 200, "").text(t, "refresh_token"); again != third {
		t.Errorf("parent: got %s, want %s", again, third)
	}
	q.login(t, "ana@example.com", password).want(t, 200, "")
	q.do(t, "POST", "/signup", "", m{"email": "new@example.com", "password": password}).want(t, 429, "over_email_send_rate_limit")
	q.do(t, "POST", "/verify", "", m{"type": "signup", "token_hash": mail.TokenHash}).want(t, 200, "")
}

// TestRevocationOutlivesARestart checks that a refusal is written as well.
func TestRevocationOutlivesARestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "auth.json")
	p := newProject(t, kept(path))
	_, sess := p.user(t, "ana@example.com")
	second := p.refresh(t, sess.RefreshToken).want(t, 200, "").text(t, "refresh_token")
	newest := p.refresh(t, second).want(t, 200, "").text(t, "refresh_token")
	p.Add(11 * time.Second)
	p.refresh(t, sess.RefreshToken).want(t, 400, "refresh_token_already_used")
	q := newProject(t, kept(path))
	q.refresh(t, newest).want(t, 400, "refresh_token_already_used")
}

// TestUnwritableSnapshot checks that what would be lost is not answered as done.
func TestUnwritableSnapshot(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p := newProject(t, kept(filepath.Join(dir, "auth.json")))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	p.do(t, "POST", "/signup", "", m{"email": "ana@example.com", "password": password}).want(t, 500, "unexpected_failure")
	p.refresh(t, "abcdefghijkl").want(t, 500, "unexpected_failure")
	if _, err := supabase.New(supabase.Config{Issuer: issuer, JWTSecret: secret, Path: filepath.Join(dir, "auth.json")}); err == nil {
		t.Error("New: got no error where the snapshot cannot be written")
	}
}

func TestDamagedSnapshot(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "auth.json")
	p := newProject(t, kept(path))
	id, _ := p.user(t, "ana@example.com")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(state m){
		"no users":            func(s m) { delete(s, "users") },
		"null user":           func(s m) { s["users"].(m)[id] = nil },
		"other id":            func(s m) { s["users"].(m)[id].(m)["id"] = "x" },
		"no codes":            func(s m) { delete(s["users"].(m)[id].(m), "codes") },
		"session of nobody":   func(s m) { s["users"] = m{} },
		"null session":        func(s m) { s["sessions"] = m{"x": nil} },
		"key without a key":   func(s m) { s["keys"] = []any{m{"kid": "x"}} },
		"key that is null":    func(s m) { s["keys"] = []any{nil} },
		"sessions are a list": func(s m) { s["sessions"] = []any{} },
	} {
		var state m
		if err := json.Unmarshal(good, &state); err != nil {
			t.Fatal(err)
		}
		damage(state)
		data, err := json.Marshal(state)
		if err != nil {
			t.Fatal(err)
		}
		checkDamaged(t, name, data)
	}
	checkDamaged(t, "cut short", good[:len(good)/2])
	checkDamaged(t, "empty", nil)
}

func checkDamaged(t *testing.T, name string, data []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "auth.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := supabase.New(supabase.Config{Issuer: issuer, JWTSecret: secret, Path: path})
	if err == nil || !strings.Contains(err.Error(), "load supabase snapshot") {
		t.Errorf("%s: got %v, want an error", name, err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(data) {
		t.Errorf("%s: the damaged file was changed", name)
	}
}

// TestSnapshotHasNoSecretsInClear looks for passwords and the shared secret.
func TestSnapshotHasNoSecretsInClear(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "auth.json")
	p := newProject(t, kept(path))
	p.user(t, "ana@example.com")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{password, secret} {
		if strings.Contains(string(data), text) {
			t.Errorf("the snapshot has %q", text)
		}
	}
}
