package supabase_test

import (
	"net/http"
	"strings"
	"testing"

	"example.com/saaskit/internal/devstack/supabase"
)

// TestErrors asks each endpoint for each of its documented refusals.
func TestErrors(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	banned, _ := p.user(t, "banned@example.com")
	_, ana := p.user(t, "ana@example.com")
	if _, _, err := p.SignUp("new@example.com", password, supabase.SignUpOptions{Unconfirmed: true}); err != nil {
		t.Fatal(err)
	}
	if err := p.Ban(banned, 1<<40); err != nil {
		t.Fatal(err)
	}
	service := p.ServiceRoleKey()
	const nobody = "/admin/users/00000000-0000-4000-8000-000000000000"
	tests := []struct {
		name, method, path, token string
		body                      any
		status                    int
		code                      string
	}{
		{"signup: taken", "POST", "/signup", "", m{"email": "ANA@example.com", "password": password}, 422, "user_already_exists"},
		{"signup: weak", "POST", "/signup", "", m{"email": "b@example.com", "password": "12345"}, 422, "weak_password"},
		{"signup: too long", "POST", "/signup", "", m{"email": "b@example.com", "password": strings.Repeat("a", 73)}, 400, "validation_failed"},
		{"signup: no password", "POST", "/signup", "", m{"email": "b@example.com"}, 400, "validation_failed"},
		{"signup: bad email", "POST", "/signup", "", m{"email": "b@", "password": password}, 400, "validation_failed"},
		{"signup: long email", "POST", "/signup", "", m{"email": strings.Repeat("a", 256) + "@example.com", "password": password}, 400, "validation_failed"},
		{"signup: bad json", "POST", "/signup", "", "{", 400, "bad_json"},
		{"signup: no body", "POST", "/signup", "", nil, 400, "bad_json"},
		{"signup: wrong type", "POST", "/signup", "", m{"email": 1}, 400, "bad_json"},
		{"signup: too much", "POST", "/signup", "", `"` + strings.Repeat("a", 1<<20) + `"`, 413, "bad_json"},
		{"signup: phone", "POST", "/signup", "", m{"phone": "+4912345", "password": password}, 400, "phone_provider_disabled"},
		{"signup: anonymous is off", "POST", "/signup", "", m{}, 422, "anonymous_provider_disabled"},

		{"password: wrong", "POST", "/token?grant_type=password", "", m{"email": "ana@example.com", "password": "nope-nope"}, 400, "invalid_credentials"},
		{"password: unknown", "POST", "/token?grant_type=password", "", m{"email": "x@example.com", "password": password}, 400, "invalid_credentials"},
		{"password: unconfirmed", "POST", "/token?grant_type=password", "", m{"email": "new@example.com", "password": password}, 400, "email_not_confirmed"},
		{"password: banned", "POST", "/token?grant_type=password", "", m{"email": "banned@example.com", "password": password}, 400, "user_banned"},
		{"password: nobody", "POST", "/token?grant_type=password", "", m{}, 400, "validation_failed"},
		{"password: phone", "POST", "/token?grant_type=password", "", m{"phone": "+49123", "password": password}, 400, "phone_provider_disabled"},
		{"refresh: unknown", "POST", "/token?grant_type=refresh_token", "", m{"refresh_token": "abcdefghijkl"}, 400, "refresh_token_not_found"},
		{"refresh: malformed", "POST", "/token?grant_type=refresh_token", "", m{"refresh_token": "what?"}, 400, "validation_failed"},
		{"refresh: empty", "POST", "/token?grant_type=refresh_token", "", m{}, 400, "validation_failed"},
		{"pkce", "POST", "/token?grant_type=pkce", "", m{"auth_code": "a", "code_verifier": "b"}, 404, "flow_state_not_found"},
		{"pkce: empty", "POST", "/token?grant_type=pkce", "", m{}, 400, "validation_failed"},
		{"other grant", "POST", "/token?grant_type=magic", "", m{}, 400, "invalid_credentials"},
		{"no grant", "POST", "/token", "", m{}, 400, "invalid_credentials"},

		{"user: no token", "GET", "/user", "", nil, 401, "no_authorization"},
		{"user: garbage", "GET", "/user", "garbage", nil, 403, "bad_jwt"},
		{"user: service key", "GET", "/user", service, nil, 403, "bad_jwt"},
		{"user: sub is no uuid", "GET", "/user", p.Mint(m{"sub": "ana"}), nil, 403, "bad_jwt"},
		{"user: session is no uuid", "GET", "/user", p.Mint(m{"sub": ana.User.ID, "session_id": "x"}), nil, 403, "bad_jwt"},
		{"user: expired", "GET", "/user", p.Mint(m{"sub": ana.User.ID, "exp": start().Unix() - 1}), nil, 403, "bad_jwt"},
		{"user: unknown", "GET", "/user", p.Mint(m{"sub": nobody[len("/admin/users/"):]}), nil, 403, "user_not_found"},
		{"user: session gone", "GET", "/user", p.Mint(p.Claims(ana.User.ID)), nil, 403, "session_not_found"},
		{"change: no token", "PUT", "/user", "", m{}, 401, "no_authorization"},
		{"change: same password", "PUT", "/user", ana.AccessToken, m{"password": password}, 422, "same_password"},
		{"change: weak password", "PUT", "/user", ana.AccessToken, m{"password": "123"}, 422, "weak_password"},
		{"change: email taken", "PUT", "/user", ana.AccessToken, m{"email": "banned@example.com"}, 422, "email_exists"},
		{"change: bad email", "PUT", "/user", ana.AccessToken, m{"email": "@"}, 400, "validation_failed"},
		{"change: app_metadata", "PUT", "/user", ana.AccessToken, m{"app_metadata": m{"plan": "pro"}}, 403, "not_admin"},
		{"change: phone", "PUT", "/user", ana.AccessToken, m{"phone": "+49123"}, 400, "phone_provider_disabled"},
		{"change: bad json", "PUT", "/user", ana.AccessToken, "[", 400, "bad_json"},

		{"logout: garbage", "POST", "/logout", "garbage", nil, 403, "bad_jwt"},
		{"logout: scope", "POST", "/logout?scope=all", ana.AccessToken, nil, 400, "validation_failed"},
		{"recover: bad email", "POST", "/recover", "", m{"email": "x"}, 400, "validation_failed"},
		{"recover: no email", "POST", "/recover", "", m{}, 400, "validation_failed"},
		{"otp: no address", "POST", "/otp", "", m{}, 400, "validation_failed"},
		{"otp: phone", "POST", "/otp", "", m{"phone": "+49"}, 400, "phone_provider_disabled"},
		{"otp: unknown, not to be made", "POST", "/otp", "", m{"email": "x@example.com", "create_user": false}, 422, "otp_disabled"},
		{"resend: type", "POST", "/resend", "", m{"type": "sms", "email": "ana@example.com"}, 400, "validation_failed"},
		{"resend: no address", "POST", "/resend", "", m{"type": "signup"}, 400, "validation_failed"},
		{"reauthenticate: no token", "GET", "/reauthenticate", "", nil, 401, "no_authorization"},

		{"verify: wrong code", "POST", "/verify", "", m{"type": "signup", "token": "000000", "email": "new@example.com"}, 403, "otp_expired"},
		{"verify: wrong hash", "POST", "/verify", "", m{"type": "signup", "token_hash": "00"}, 403, "otp_expired"},
		{"verify: no type", "POST", "/verify", "", m{"token": "000000", "email": "new@example.com"}, 400, "validation_failed"},
		{"verify: other type", "POST", "/verify", "", m{"type": "x", "token": "0", "email": "new@example.com"}, 400, "validation_failed"},
		{"verify: no code", "POST", "/verify", "", m{"type": "signup", "email": "new@example.com"}, 400, "validation_failed"},
		{"verify: two codes", "POST", "/verify", "", m{"type": "signup", "token": "0", "token_hash": "0"}, 400, "validation_failed"},
		{"verify: no address", "POST", "/verify", "", m{"type": "signup", "token": "0"}, 400, "validation_failed"},
		{"verify: hash and address", "POST", "/verify", "", m{"type": "signup", "token_hash": "0", "email": "a@example.com"}, 400, "validation_failed"},
		{"link: no type", "GET", "/verify?token=0", "", nil, 400, "validation_failed"},
		{"link: no token", "GET", "/verify?type=signup", "", nil, 400, "validation_failed"},

		{"admin: no token", "GET", "/admin/users", "", nil, 401, "no_authorization"},
		{"admin: garbage", "GET", "/admin/users", "garbage", nil, 403, "bad_jwt"},
		{"admin: a user", "POST", "/admin/users", ana.AccessToken, m{"email": "c@example.com"}, 403, "not_admin"},
		{"admin: anon key", "GET", "/admin/users", p.AnonKey(), nil, 403, "not_admin"},
		{"admin: taken", "POST", "/admin/users", service, m{"email": "Ana@Example.com"}, 422, "email_exists"},
		{"admin: nobody", "POST", "/admin/users", service, m{}, 400, "validation_failed"},
		{"admin: weak", "POST", "/admin/users", service, m{"email": "c@example.com", "password": "1"}, 422, "weak_password"},
		{"admin: bad ban", "POST", "/admin/users", service, m{"email": "c@example.com", "ban_duration": "long"}, 400, "validation_failed"},
		{"admin: bad page", "GET", "/admin/users?page=0", service, nil, 400, "validation_failed"},
		{"admin: bad per_page", "GET", "/admin/users?per_page=x", service, nil, 400, "validation_failed"},
		{"admin: get nobody", "GET", nobody, service, nil, 404, "user_not_found"},
		{"admin: put nobody", "PUT", nobody, service, m{}, 404, "user_not_found"},
		{"admin: delete nobody", "DELETE", nobody, service, nil, 404, "user_not_found"},
		{"admin: no uuid", "GET", "/admin/users/ana", service, nil, 404, "validation_failed"},
		{"admin: put taken", "PUT", "/admin/users/" + banned, service, m{"email": "ana@example.com"}, 422, "email_exists"},
		{"admin: put bad json", "PUT", "/admin/users/" + banned, service, "{", 400, "bad_json"},
		{"admin: delete bad json", "DELETE", "/admin/users/" + banned, service, "{", 400, "bad_json"},
		{"generate: type", "POST", "/admin/generate_link", service, m{"type": "x", "email": "ana@example.com"}, 400, "validation_failed"},
		{"generate: unknown", "POST", "/admin/generate_link", service, m{"type": "recovery", "email": "x@example.com"}, 404, "user_not_found"},
		{"generate: confirmed", "POST", "/admin/generate_link", service, m{"type": "signup", "email": "ana@example.com", "password": password}, 422, "email_exists"},
		{"generate: no email", "POST", "/admin/generate_link", service, m{"type": "recovery"}, 400, "validation_failed"},
		{"generate: new email taken", "POST", "/admin/generate_link", service,
			m{"type": "email_change_new", "email": "ana@example.com", "new_email": "new@example.com"}, 422, "email_exists"},
		{"invite: confirmed", "POST", "/invite", service, m{"email": "ana@example.com"}, 422, "email_exists"},
		{"invite: a user", "POST", "/invite", ana.AccessToken, m{"email": "d@example.com"}, 403, "not_admin"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p.do(t, tt.method, tt.path, tt.token, tt.body).want(t, tt.status, tt.code)
		})
	}
}

func TestWeakPasswordSaysWhy(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	r := p.do(t, "POST", "/signup", "", m{"email": "ana@example.com", "password": "12345"}).want(t, 422, "weak_password")
	reasons, _ := r.object(t, "weak_password")["reasons"].([]any)
	if len(reasons) != 1 || reasons[0] != "length" {
		t.Errorf("reasons: got %v, want [length]", reasons)
	}
}

// TestVersionedErrors checks the shape that supabase-js asks for.
func TestVersionedErrors(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/user", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Supabase-Api-Version", "2024-01-01")
	r := send(t, req).want(t, 401, "")
	if r.body["code"] != "no_authorization" || r.text(t, "message") == "" || r.header.Get("X-Supabase-Api-Version") != "2024-01-01" {
		t.Errorf("got %s with version %q", r.raw, r.header.Get("X-Supabase-Api-Version"))
	}
}

func TestUnknownRoutes(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.do(t, "GET", "/nothing", "", nil).want(t, 404, "")
	p.do(t, "DELETE", "/user", "", nil).want(t, 405, "")
}

func TestDisabledSignup(t *testing.T) {
	t.Parallel()
	p := newProject(t, func(c *supabase.Config) { c.DisableSignup = true })
	p.do(t, "POST", "/signup", "", m{"email": "ana@example.com", "password": password}).want(t, 422, "signup_disabled")
	p.do(t, "POST", "/otp", "", m{"email": "ana@example.com"}).want(t, 422, "signup_disabled")
	if mail := p.Mail(); len(mail) != 0 {
		t.Errorf("mail: got %v, want none", mail)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	good := supabase.Config{Issuer: issuer, JWTSecret: secret}
	for name, spoil := range map[string]func(*supabase.Config){
		"no issuer":    func(c *supabase.Config) { c.Issuer = "" },
		"no secret":    func(c *supabase.Config) { c.JWTSecret = "" },
		"prefix":       func(c *supabase.Config) { c.Prefix = "auth" },
		"pattern":      func(c *supabase.Config) { c.Prefix = "/{x}" },
		"unknown mode": func(c *supabase.Config) { c.Mode = "RS256" },
		"cost":         func(c *supabase.Config) { c.BcryptCost = 99 },
	} {
		cfg := good
		spoil(&cfg)
		if _, err := supabase.New(cfg); err == nil {
			t.Errorf("%s: New accepts it", name)
		}
	}
	if _, err := supabase.New(good); err != nil {
		t.Errorf("New: %v", err)
	}
}
