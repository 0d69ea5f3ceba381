package supabase_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/saaskit/internal/devstack/supabase"
)

func TestAdminUser(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	key := p.ServiceRoleKey()
	r := p.do(t, "POST", "/admin/users", key, m{
		"email": "Ana@example.com", "password": password, "email_confirm": true,
		"app_metadata": m{"plan": "pro"}, "user_metadata": m{"name": "Ana"},
	}).want(t, 200, "")
	path := "/admin/users/" + r.text(t, "id")
	if d := cmp.Diff(m{"provider": "email", "providers": []any{"email"}, "plan": "pro"}, r.object(t, "app_metadata")); d != "" {
		t.Errorf("app_metadata (-want +got):\n%s", d)
	}
	if d := cmp.Diff(m{"name": "Ana", "email_verified": true}, r.object(t, "user_metadata")); d != "" {
		t.Errorf("user_metadata (-want +got):\n%s", d)
	}
	p.login(t, "ana@example.com", password).want(t, 200, "")

	r = p.do(t, "PUT", path, key, m{"app_metadata": m{"saaskit_role": "admin", "plan": nil}}).want(t, 200, "")
	if meta := r.object(t, "app_metadata"); meta["saaskit_role"] != "admin" || meta["plan"] != nil || meta["provider"] != "email" {
		t.Errorf("app_metadata: got %v, want it merged", meta)
	}
	r = p.do(t, "PUT", path, key, m{"email": "eve@example.com", "role": "editor", "phone": "+4912345", "phone_confirm": true}).want(t, 200, "")
	if r.text(t, "email") != "eve@example.com" || r.text(t, "role") != "editor" || r.text(t, "phone_confirmed_at") == "" {
		t.Errorf("user: got %s", r.raw)
	}
	if d := cmp.Diff(r.body, p.do(t, "GET", path, key, nil).want(t, 200, "").body); d != "" {
		t.Errorf("get (-put +get):\n%s", d)
	}
	empty(t, p.do(t, "DELETE", path, key, nil).want(t, 200, ""))
	p.do(t, "GET", path, key, nil).want(t, 404, "user_not_found")
	p.login(t, "eve@example.com", password).want(t, 400, "invalid_credentials")
}

func TestAdminPasswordEndsSessions(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	id, sess := p.user(t, "ana@example.com")
	p.do(t, "PUT", "/admin/users/"+id, p.ServiceRoleKey(), m{"password": "battery staple"}).want(t, 200, "")
	p.do(t, "GET", "/user", sess.AccessToken, nil).want(t, 403, "session_not_found")
	p.login(t, "ana@example.com", "battery staple").want(t, 200, "")
}

func TestUnconfirmedAdminUser(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	r := p.do(t, "POST", "/admin/users", p.ServiceRoleKey(), m{"email": "ana@example.com", "password": password}).want(t, 200, "")
	p.login(t, "ana@example.com", password).want(t, 400, "email_not_confirmed")
	p.do(t, "PUT", "/admin/users/"+r.text(t, "id"), p.ServiceRoleKey(), m{"email_confirm": true}).want(t, 200, "")
	p.login(t, "ana@example.com", password).want(t, 200, "")
	phone := p.do(t, "POST", "/admin/users", p.ServiceRoleKey(), m{"phone": "+4912345"}).want(t, 200, "")
	if phone.text(t, "phone") != "+4912345" || phone.body["email"] != "" {
		t.Errorf("user: got %s", phone.raw)
	}
}

func TestSoftDelete(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	id, sess := p.user(t, "ana@example.com")
	p.do(t, "DELETE", "/admin/users/"+id, p.ServiceRoleKey(), m{"should_soft_delete": true}).want(t, 200, "")
	r := p.do(t, "GET", "/admin/users/"+id, p.ServiceRoleKey(), nil).want(t, 200, "")
	if r.text(t, "deleted_at") == "" || r.body["email"] != "" {
		t.Errorf("user: got %s, want a tombstone", r.raw)
	}
	p.do(t, "GET", "/user", sess.AccessToken, nil).want(t, 403, "session_not_found")
	p.user(t, "ana@example.com") // the address is free
}

func TestAdminList(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	for i := range 7 {
		p.user(t, fmt.Sprintf("user%d@example.com", i))
		p.Add(time.Second)
	}
	list := func(query string) (emails []string, r reply) {
		t.Helper()
		r = p.do(t, "GET", "/admin/users"+query, p.ServiceRoleKey(), nil).want(t, 200, "")
		for _, u := range r.body["users"].([]any) {
			user := u.(m)
			if ids, has := user["identities"]; !has || ids != nil {
				t.Errorf("identities: got %v, want null", ids)
			}
			emails = append(emails, strings.TrimSuffix(user["email"].(string), "@example.com"))
		}
		return emails, r
	}
	emails, r := list("?page=2&per_page=3")
	if d := cmp.Diff([]string{"user3", "user2", "user1"}, emails); d != "" {
		t.Errorf("page 2 (-want +got):\n%s", d)
	}
	wantLink := `</auth/v1/admin/users?page=3&per_page=3>; rel="next", </auth/v1/admin/users?page=3&per_page=3>; rel="last"`
	if r.header.Get("Link") != wantLink || r.header.Get("X-Total-Count") != "7" || r.body["aud"] != "authenticated" {
		t.Errorf("got Link %s, X-Total-Count %s, aud %v", r.header.Get("Link"), r.header.Get("X-Total-Count"), r.body["aud"])
	}
	if emails, r := list("?page=3&per_page=3"); len(emails) != 1 || strings.Contains(r.header.Get("Link"), "next") {
		t.Errorf("page 3: got %v, Link %s", emails, r.header.Get("Link"))
	}
	if emails, _ := list("?page=9&per_page=1000000000"); len(emails) != 0 {
		t.Errorf("page 9: got %v, want none", emails)
	}
	if emails, _ := list(""); len(emails) != 7 {
		t.Errorf("all: got %v", emails)
	}
	if emails, _ := list("?filter=USER5"); !cmp.Equal(emails, []string{"user5"}) {
		t.Errorf("filter: got %v", emails)
	}
}

func TestGenerateLink(t *testing.T) {
	t.Parallel()
	p := newProject(t, mailed)
	p.user(t, "ana@example.com")
	for _, tt := range []struct {
		in          m
		kind, email string // verification type, and the address its code goes with
	}{
		{m{"type": "signup", "email": "a@example.com", "password": password}, "signup", "a@example.com"},
		{m{"type": "magiclink", "email": "b@example.com"}, "signup", "b@example.com"},
		{m{"type": "invite", "email": "c@example.com"}, "invite", "c@example.com"},
		{m{"type": "magiclink", "email": "ana@example.com"}, "magiclink", "ana@example.com"},
		{m{"type": "recovery", "email": "ana@example.com"}, "recovery", "ana@example.com"},
		{m{"type": "email_change_new", "email": "ana@example.com", "new_email": "d@example.com"}, "email_change_new", "d@example.com"},
	} {
		r := p.do(t, "POST", "/admin/generate_link", p.ServiceRoleKey(), tt.in).want(t, 200, "")
		if got := r.text(t, "verification_type"); got != tt.kind {
			t.Errorf("%v: verification_type %s, want %s", tt.in, got, tt.kind)
		}
		verifies := strings.TrimSuffix(tt.kind, "_new")
		v := p.do(t, "POST", "/verify", "", m{"type": verifies, "token": r.text(t, "email_otp"), "email": tt.email}).want(t, 200, "")
		if got := v.object(t, "user")["email"]; got != tt.email {
			t.Errorf("%v: signed in as %v, want %s", tt.in, got, tt.email)
		}
		if _, fragment := p.open(t, r.text(t, "action_link")); fragment.Get("error_code") != "otp_expired" {
			t.Errorf("%v: the link is good for a second sign-in: %v", tt.in, fragment)
		}
	}
	if mail := p.Mail(); len(mail) != 0 {
		t.Errorf("mail: got %v, want none", mail)
	}
}

func TestInvite(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	r := p.do(t, "POST", "/invite", p.ServiceRoleKey(), m{"email": "ana@example.com", "data": m{"name": "Ana"}}).want(t, 200, "")
	if r.text(t, "invited_at") == "" || r.body["email_confirmed_at"] != nil {
		t.Errorf("user: got %s", r.raw)
	}
	mail := p.last(t, "ana@example.com", "invite")
	p.do(t, "POST", "/verify", "", m{"type": "invite", "token_hash": mail.TokenHash}).want(t, 200, "")
}

func TestScriptOfUnknownUser(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	for name, err := range map[string]error{
		"SetAppMetadata":    p.SetAppMetadata("x", nil),
		"SetEmailConfirmed": p.SetEmailConfirmed("x", true),
		"Ban":               p.Ban("x", time.Hour),
		"DeleteUser":        p.DeleteUser("x"),
	} {
		if err == nil {
			t.Errorf("%s: got no error for an unknown user", name)
		}
	}
	p.user(t, "ana@example.com")
	if _, _, err := p.SignUp("ANA@example.com", password, supabase.SignUpOptions{}); err == nil {
		t.Error("SignUp: got no error for a taken address")
	}
	if _, _, err := p.SignUp("bob@example.com", "123", supabase.SignUpOptions{}); err == nil {
		t.Error("SignUp: got no error for a weak password")
	}
}

func TestScript(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	id, sess, err := p.SignUp("ana@example.com", password, supabase.SignUpOptions{
		UserMetadata: m{"name": "Ana"}, AppMetadata: m{"saaskit_role": "admin"},
	})
	if err != nil {
		t.Fatal(err)
	}
	claims := claimsOf(t, sess.AccessToken)
	if claims["app_metadata"].(m)["saaskit_role"] != "admin" || claims["user_metadata"].(m)["name"] != "Ana" {
		t.Errorf("claims: got %v", claims)
	}
	if err := p.SetEmailConfirmed(id, false); err != nil {
		t.Fatal(err)
	}
	p.login(t, "ana@example.com", password).want(t, 400, "email_not_confirmed")
	r := p.do(t, "GET", "/user", sess.AccessToken, nil).want(t, 200, "")
	if r.object(t, "user_metadata")["email_verified"] != false || r.body["confirmed_at"] != nil {
		t.Errorf("user: got %s, want it unconfirmed", r.raw)
	}
	if err := p.SetEmailConfirmed(id, true); err != nil {
		t.Fatal(err)
	}
	p.login(t, "ana@example.com", password).want(t, 200, "")
	if err := p.DeleteUser(id); err != nil {
		t.Fatal(err)
	}
	p.do(t, "GET", "/user", sess.AccessToken, nil).want(t, 403, "user_not_found")
}
