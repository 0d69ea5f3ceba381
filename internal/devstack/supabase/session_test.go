package supabase_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/saaskit/internal/devstack/supabase"
)

func (p project) refresh(t *testing.T, token string) reply {
	t.Helper()
	return p.do(t, "POST", "/token?grant_type=refresh_token", "", m{"refresh_token": token})
}

func (p project) login(t *testing.T, email, password string) reply {
	t.Helper()
	return p.do(t, "POST", "/token?grant_type=password", "", m{"email": email, "password": password})
}

func TestSignup(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	r := p.do(t, "POST", "/signup", "", m{"email": "Ana@Example.com", "password": password, "data": m{"name": "Ana"}}).want(t, 200, "")
	want := []string{"access_token", "expires_at", "expires_in", "refresh_token", "token_type", "user"}
	if d := cmp.Diff(want, members(r.body)); d != "" {
		t.Errorf("session (-want +got):\n%s", d)
	}
	if r.body["token_type"] != "bearer" || r.body["expires_in"] != 3600.0 || r.body["expires_at"] != 1795419394.0 {
		t.Errorf("session: got %s", r.raw)
	}
	if token := r.text(t, "refresh_token"); !regexp.MustCompile(`^[a-z0-9]{12}$`).MatchString(token) {
		t.Errorf("refresh token: got %q", token)
	}
	claims := claimsOf(t, r.text(t, "access_token"))
	for header, want := range map[string]any{
		"Sb-Auth-User-Id": claims["sub"], "Sb-Auth-Session-Id": claims["session_id"],
		"Sb-Auth-Refresh-Token-Prefix": r.text(t, "refresh_token")[:5],
	} {
		if got := r.header.Get(header); got != want {
			t.Errorf("%s: got %q, want %v", header, got, want)
		}
	}
	checkUser(t, r.object(t, "user"))
}

// checkUser compares a confirmed user with the observed shape.
func checkUser(t *testing.T, user m) {
	t.Helper()
	id := user["id"]
	identities, _ := user["identities"].([]any)
	if len(identities) != 1 {
		t.Fatalf("identities: got %v, want one", user["identities"])
	}
	data := m{"email": "ana@example.com", "email_verified": true, "name": "Ana", "phone_verified": false, "sub": id}
	want := m{
		"id": id, "aud": "authenticated", "role": "authenticated", "email": "ana@example.com", "phone": "",
		"email_confirmed_at": user["created_at"], "confirmed_at": user["created_at"], "last_sign_in_at": user["created_at"],
		"app_metadata":  m{"provider": "email", "providers": []any{"email"}},
		"user_metadata": data,
		"identities": []any{m{
			"identity_id": identities[0].(m)["identity_id"], "id": id, "user_id": id, "identity_data": data, "provider": "email",
			"last_sign_in_at": user["created_at"], "created_at": user["created_at"], "updated_at": user["created_at"],
			"email": "ana@example.com",
		}},
		"created_at": start().Format(time.RFC3339), "updated_at": user["created_at"], "is_anonymous": false,
	}
	if d := cmp.Diff(want, user); d != "" {
		t.Errorf("user (-want +got):\n%s", d)
	}
}

// TestSignupDataIsNoIdentity sends the members that only the server may set.
func TestSignupDataIsNoIdentity(t *testing.T) {
	t.Parallel()
	p := newProject(t, mailed)
	r := p.do(t, "POST", "/signup", "", m{
		"email": "ana@example.com", "password": password,
		"data": m{"email": "eve@example.com", "email_verified": true, "sub": "x", "name": "Ana"},
	}).want(t, 200, "")
	want := m{"email": "ana@example.com", "email_verified": false, "phone_verified": false, "sub": r.text(t, "id"), "name": "Ana"}
	if d := cmp.Diff(want, r.object(t, "user_metadata")); d != "" {
		t.Errorf("user_metadata (-want +got):\n%s", d)
	}
	if d := cmp.Diff(want, r.body["identities"].([]any)[0].(m)["identity_data"]); d != "" {
		t.Errorf("identity_data (-want +got):\n%s", d)
	}
}

func TestPasswordLogin(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	id, first := p.user(t, "ana@example.com")
	r := p.login(t, "ANA@example.com", password).want(t, 200, "")
	if weak, has := r.body["weak_password"]; !has || weak != nil {
		t.Errorf("weak_password: got %v, %v, want null", weak, has)
	}
	claims := claimsOf(t, r.text(t, "access_token"))
	if claims["sub"] != id || claims["session_id"] == claimsOf(t, first.AccessToken)["session_id"] {
		t.Errorf("claims: got %v, want another session of %s", claims, id)
	}
	if r.header.Get("Sb-Auth-Session-Id") != claims["session_id"] {
		t.Errorf("Sb-Auth-Session-Id: got %q", r.header.Get("Sb-Auth-Session-Id"))
	}
}

func TestRefreshKeepsTheSession(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	id, sess := p.user(t, "ana@example.com")
	if err := p.SetAppMetadata(id, m{"plan": "pro"}); err != nil {
		t.Fatal(err)
	}
	p.Add(time.Minute)
	r := p.refresh(t, sess.RefreshToken).want(t, 200, "")
	before, after := claimsOf(t, sess.AccessToken), claimsOf(t, r.text(t, "access_token"))
	for _, name := range []string{"sub", "session_id", "amr", "aal"} {
		if !cmp.Equal(before[name], after[name]) {
			t.Errorf("%s: got %v, want %v", name, after[name], before[name])
		}
	}
	if after["iat"] != before["iat"].(float64)+60 {
		t.Errorf("iat: got %v", after["iat"])
	}
	if before["app_metadata"].(m)["plan"] != nil || after["app_metadata"].(m)["plan"] != "pro" {
		t.Errorf("plan: got %v then %v, want none then pro", before["app_metadata"], after["app_metadata"])
	}
	if r.text(t, "refresh_token") == sess.RefreshToken {
		t.Error("the refresh token was not rotated")
	}
}

// TestParentMayBeUsedAgain is the safe retry of a client that lost the answer.
func TestParentMayBeUsedAgain(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	_, sess := p.user(t, "ana@example.com")
	current := p.refresh(t, sess.RefreshToken).want(t, 200, "").text(t, "refresh_token")
	p.Add(24 * time.Hour) // however late
	again := p.refresh(t, sess.RefreshToken).want(t, 200, "").text(t, "refresh_token")
	if again != current {
		t.Errorf("parent: got %q, want the current token %q", again, current)
	}
	p.refresh(t, current).want(t, 200, "")
}

// TestOldTokenRevokesTheFamily checks both sides of the reuse interval.
func TestOldTokenRevokesTheFamily(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		wait   time.Duration
		status int
		code   string
	}{{10 * time.Second, 200, ""}, {11 * time.Second, 400, "refresh_token_already_used"}} {
		t.Run(tt.wait.String(), func(t *testing.T) {
			t.Parallel()
			p := newProject(t)
			_, sess := p.user(t, "ana@example.com")
			other := p.login(t, "ana@example.com", password).want(t, 200, "")
			second := p.refresh(t, sess.RefreshToken).want(t, 200, "").text(t, "refresh_token")
			newest := p.refresh(t, second).want(t, 200, "").text(t, "refresh_token")
			p.Add(tt.wait)
			p.refresh(t, sess.RefreshToken).want(t, tt.status, tt.code)
			p.refresh(t, newest).want(t, tt.status, tt.code)
			p.refresh(t, other.text(t, "refresh_token")).want(t, 200, "") // another family
		})
	}
}

func TestLogoutScopes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		scope       string
		mine, other int
	}{{"", 403, 403}, {"?scope=global", 403, 403}, {"?scope=local", 403, 200}, {"?scope=others", 200, 403}} {
		t.Run("scope"+tt.scope, func(t *testing.T) {
			t.Parallel()
			p := newProject(t)
			_, mine := p.user(t, "ana@example.com")
			_, bystander := p.user(t, "bob@example.com")
			other := p.login(t, "ana@example.com", password).want(t, 200, "")
			r := p.do(t, "POST", "/logout"+tt.scope, mine.AccessToken, nil).want(t, 204, "")
			if len(r.raw) != 0 {
				t.Errorf("body: got %q, want none", r.raw)
			}
			for token, status := range map[string]int{mine.AccessToken: tt.mine, other.text(t, "access_token"): tt.other, bystander.AccessToken: 200} {
				code := ""
				if status == 403 {
					code = "session_not_found"
				}
				p.do(t, "GET", "/user", token, nil).want(t, status, code)
			}
			if tt.mine == 403 {
				p.refresh(t, mine.RefreshToken).want(t, 400, "refresh_token_not_found")
			}
		})
	}
}

// TestSessionOfAnother names a session that is not the subject's own.
func TestSessionOfAnother(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	_, ana := p.user(t, "ana@example.com")
	bob, _ := p.user(t, "bob@example.com")
	token := p.Mint(m{"sub": bob, "session_id": claimsOf(t, ana.AccessToken)["session_id"]})
	p.do(t, "GET", "/user", token, nil).want(t, 403, "session_not_found")
}

func TestBan(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	id, sess := p.user(t, "ana@example.com")
	r := p.do(t, "PUT", "/admin/users/"+id, p.ServiceRoleKey(), m{"ban_duration": "24h"}).want(t, 200, "")
	if until := r.text(t, "banned_until"); until != start().Add(24*time.Hour).Format(time.RFC3339) {
		t.Errorf("banned_until: got %s", until)
	}
	p.login(t, "ana@example.com", password).want(t, 400, "user_banned")
	p.refresh(t, sess.RefreshToken).want(t, 400, "user_banned")
	p.Add(24 * time.Hour)
	p.login(t, "ana@example.com", password).want(t, 200, "")
	if err := p.Ban(id, time.Hour); err != nil {
		t.Fatal(err)
	}
	p.do(t, "PUT", "/admin/users/"+id, p.ServiceRoleKey(), m{"ban_duration": "none"}).want(t, 200, "")
	p.refresh(t, sess.RefreshToken).want(t, 200, "")
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	_, sess := p.user(t, "ana@example.com")
	other := p.login(t, "ana@example.com", password).want(t, 200, "")
	p.do(t, "POST", "/recover", "", m{"email": "ana@example.com"}).want(t, 200, "")
	p.do(t, "PUT", "/user", sess.AccessToken, m{"password": "battery staple"}).want(t, 200, "")
	stale, _ := p.LastMail("ana@example.com")
	p.do(t, "POST", "/verify", "", m{"type": "recovery", "token_hash": stale.TokenHash}).want(t, 403, "otp_expired")
	p.login(t, "ana@example.com", password).want(t, 400, "invalid_credentials")
	p.login(t, "ana@example.com", "battery staple").want(t, 200, "")
	p.do(t, "GET", "/user", sess.AccessToken, nil).want(t, 200, "")
	p.do(t, "GET", "/user", other.text(t, "access_token"), nil).want(t, 403, "session_not_found")
}

func TestChangeData(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	_, sess := p.user(t, "ana@example.com")
	p.do(t, "PUT", "/user", sess.AccessToken, m{"data": m{"name": "Ana", "email_verified": false}}).want(t, 200, "")
	r := p.do(t, "PUT", "/user", sess.AccessToken, m{"data": m{"name": nil, "city": "Rome"}}).want(t, 200, "")
	meta := r.object(t, "user_metadata")
	if _, has := meta["name"]; has || meta["city"] != "Rome" || meta["email_verified"] != false {
		t.Errorf("user_metadata: got %v", meta)
	}
	if r.text(t, "email_confirmed_at") == "" {
		t.Error("user_metadata changed the confirmation")
	}
}

func TestReauthentication(t *testing.T) {
	t.Parallel()
	p := newProject(t, func(c *supabase.Config) { c.RequireReauthentication = true; c.TokenTTL = 100 * time.Hour })
	_, sess := p.user(t, "ana@example.com")
	p.do(t, "PUT", "/user", sess.AccessToken, m{"password": "battery staple"}).want(t, 200, "")
	p.Add(24 * time.Hour)
	change := m{"password": "another one"}
	p.do(t, "PUT", "/user", sess.AccessToken, change).want(t, 400, "reauthentication_needed")
	r := p.do(t, "GET", "/reauthenticate", sess.AccessToken, nil).want(t, 200, "")
	if strings.TrimSpace(string(r.raw)) != "{}" {
		t.Errorf("body: got %s, want {}", r.raw)
	}
	p.do(t, "GET", "/reauthenticate", sess.AccessToken, nil).want(t, 429, "over_email_send_rate_limit")
	mail, _ := p.LastMail("ana@example.com")
	if mail.Type != "reauthentication" || mail.Link != "" {
		t.Fatalf("mail: got %+v", mail)
	}
	change["nonce"] = "x" + mail.Code
	p.do(t, "PUT", "/user", sess.AccessToken, change).want(t, 422, "reauthentication_not_valid")
	change["nonce"] = mail.Code
	p.do(t, "PUT", "/user", sess.AccessToken, change).want(t, 200, "")
	change["password"] = "and one more"
	p.do(t, "PUT", "/user", sess.AccessToken, change).want(t, 422, "reauthentication_not_valid") // spent
}
