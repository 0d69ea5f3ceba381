package supabase_test

import (
	"bytes"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/saaskit/internal/devstack/supabase"
)

// last returns the last mail to an address, which must be of a type.
func (p project) last(t *testing.T, to, kind string) supabase.Message {
	t.Helper()
	mail, found := p.LastMail(to)
	if !found || mail.Type != kind {
		t.Fatalf("mail to %s: got %+v, want one of type %s", to, mail, kind)
	}
	return mail
}

// open follows the link of a mail and returns the fragment it redirects to.
func (p project) open(t *testing.T, link string) (target string, fragment url.Values) {
	t.Helper()
	path, found := strings.CutPrefix(link, issuer)
	if !found {
		t.Fatalf("link: got %q, want one below %s", link, issuer)
	}
	r := p.do(t, "GET", path, "", nil).want(t, 303, "")
	target, encoded, _ := strings.Cut(r.header.Get("Location"), "#")
	fragment, err := url.ParseQuery(encoded)
	if err != nil {
		t.Fatalf("fragment of %s: %v", r.header.Get("Location"), err)
	}
	return target, fragment
}

func empty(t *testing.T, r reply) {
	t.Helper()
	if strings.TrimSpace(string(r.raw)) != "{}" {
		t.Errorf("body: got %s, want {}", r.raw)
	}
}

// TestSignupWithMail goes from sign-up to sign-in by the code of the mail.
func TestSignupWithMail(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	p := newProject(t, mailed, func(c *supabase.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	r := p.do(t, "POST", "/signup", "", m{"email": "Ana@example.com", "password": password}).want(t, 200, "")
	if _, has := r.body["access_token"]; has {
		t.Fatalf("an unconfirmed user got a session: %s", r.raw)
	}
	if at := r.text(t, "confirmation_sent_at"); at != start().Format(time.RFC3339) {
		t.Errorf("confirmation_sent_at: got %s", at)
	}
	for _, name := range []string{"email_confirmed_at", "confirmed_at", "last_sign_in_at"} {
		if v, has := r.body[name]; has {
			t.Errorf("%s: got %v, want it left out", name, v)
		}
	}
	p.login(t, "ana@example.com", password).want(t, 400, "email_not_confirmed")

	mail := p.last(t, "ana@example.com", "signup")
	if !regexp.MustCompile(`^\d{6}$`).MatchString(mail.Code) || !mail.SentAt.Equal(start()) {
		t.Errorf("mail: got %+v", mail)
	}
	if !strings.Contains(log.String(), mail.Code) || !strings.Contains(log.String(), mail.TokenHash) {
		t.Errorf("the log shows neither code nor link: %s", log.String())
	}
	p.do(t, "POST", "/verify", "", m{"type": "recovery", "token": mail.Code, "email": "ana@example.com"}).want(t, 403, "otp_expired")
	p.do(t, "POST", "/verify", "", m{"type": "signup", "token": mail.Code, "email": "bob@example.com"}).want(t, 403, "otp_expired")
	v := p.do(t, "POST", "/verify", "", m{"type": "signup", "token": mail.Code, "email": "ANA@example.com"}).want(t, 200, "")
	claims := claimsOf(t, v.text(t, "access_token"))
	if method := claims["amr"].([]any)[0].(m)["method"]; method != "otp" {
		t.Errorf("amr: got %v, want otp", method)
	}
	if claims["user_metadata"].(m)["email_verified"] != true || v.object(t, "user")["email_confirmed_at"] == nil {
		t.Errorf("the address is not confirmed: %s", v.raw)
	}
	p.do(t, "POST", "/verify", "", m{"type": "signup", "token": mail.Code, "email": "ana@example.com"}).want(t, 403, "otp_expired")
	p.login(t, "ana@example.com", password).want(t, 200, "")
}

func TestRepeatedSignupWithMail(t *testing.T) {
	t.Parallel()
	p := newProject(t, mailed)
	in := m{"email": "ana@example.com", "password": password}
	id := p.do(t, "POST", "/signup", "", in).want(t, 200, "").text(t, "id")
	first := p.last(t, "ana@example.com", "signup")
	p.Add(59 * time.Second)
	r := p.do(t, "POST", "/signup", "", in).want(t, 429, "over_email_send_rate_limit")
	if !strings.Contains(r.text(t, "msg"), "after 1 seconds") {
		t.Errorf("msg: got %q, want the seconds left", r.body["msg"])
	}
	p.Add(time.Second)
	// Somebody else who signs up with the address must not choose its password.
	again := p.do(t, "POST", "/signup", "", m{"email": "ana@example.com", "password": "of a stranger"}).want(t, 200, "")
	if again.text(t, "id") != id {
		t.Errorf("id: got %s, want %s", again.text(t, "id"), id)
	}
	p.do(t, "POST", "/verify", "", m{"type": "signup", "token_hash": first.TokenHash}).want(t, 403, "otp_expired")
	p.do(t, "POST", "/verify", "", m{"type": "signup", "token_hash": p.last(t, "ana@example.com", "signup").TokenHash}).want(t, 200, "")
	p.login(t, "ana@example.com", "of a stranger").want(t, 400, "invalid_credentials")
	p.login(t, "ana@example.com", password).want(t, 200, "")

	// Now the address is taken, which the answer must not tell.
	count := len(p.Mail())
	fake := p.do(t, "POST", "/signup", "", in).want(t, 200, "")
	if fake.text(t, "id") == id || !cmp.Equal(fake.body["identities"], []any{}) || fake.text(t, "confirmation_sent_at") == "" {
		t.Errorf("got %s, want a made-up user", fake.raw)
	}
	if len(p.Mail()) != count {
		t.Error("a mail went to somebody who has an account")
	}
}

func TestLinkSignsIn(t *testing.T) {
	t.Parallel()
	p := newProject(t, mailed)
	p.do(t, "POST", "/signup?redirect_to=http://localhost:5173/welcome", "", m{"email": "ana@example.com", "password": password}).want(t, 200, "")
	link := p.last(t, "ana@example.com", "signup").Link
	target, got := p.open(t, link)
	if target != "http://localhost:5173/welcome" {
		t.Errorf("target: got %q", target)
	}
	want := []string{"access_token", "expires_at", "expires_in", "refresh_token", "token_type", "type"}
	if names := valueNames(got); !cmp.Equal(names, want) {
		t.Errorf("fragment: got %v, want %v", names, want)
	}
	p.do(t, "GET", "/user", got.Get("access_token"), nil).want(t, 200, "")
	p.refresh(t, got.Get("refresh_token")).want(t, 200, "")

	_, again := p.open(t, link)
	if again.Get("error") != "access_denied" || again.Get("error_code") != "otp_expired" || again.Get("error_description") == "" {
		t.Errorf("second use: got %v", again)
	}
}

func valueNames(v url.Values) []string {
	o := m{}
	for name := range v {
		o[name] = nil
	}
	return members(o)
}

func TestCodeExpires(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		wait   time.Duration
		status int
		code   string
	}{{time.Hour, 200, ""}, {time.Hour + time.Second, 403, "otp_expired"}} {
		p := newProject(t, mailed)
		p.do(t, "POST", "/signup", "", m{"email": "ana@example.com", "password": password}).want(t, 200, "")
		p.Add(tt.wait)
		p.do(t, "POST", "/verify", "", m{"type": "email", "token_hash": p.last(t, "ana@example.com", "signup").TokenHash}).want(t, tt.status, tt.code)
	}
}

func TestRedirectTargets(t *testing.T) {
	t.Parallel()
	p := newProject(t, func(c *supabase.Config) {
		c.SiteURL = "https://app.example.com/home"
		c.RedirectURLs = []string{"https://other.example.com/ok", "myapp://callback"}
	})
	p.user(t, "ana@example.com")
	for wish, want := range map[string]string{
		"":                                         "https://app.example.com/home",
		"https://app.example.com/deep?x=1":         "https://app.example.com/deep?x=1",
		"https://other.example.com/ok/deep":        "https://other.example.com/ok/deep",
		"myapp://callback":                         "myapp://callback",
		"https://other.example.com/no":             "https://app.example.com/home",
		"https://other.example.com.evil/ok":        "https://app.example.com/home",
		"https://evil.example.com/":                "https://app.example.com/home",
		"javascript://app.example.com/%0aalert(1)": "https://app.example.com/home",
		"//app.example.com":                        "https://app.example.com/home",
		"%zz":                                      "https://app.example.com/home",
	} {
		r := p.do(t, "POST", "/admin/generate_link", p.ServiceRoleKey(),
			m{"type": "magiclink", "email": "ana@example.com", "redirect_to": wish}).want(t, 200, "")
		if got := r.text(t, "redirect_to"); got != want {
			t.Errorf("%q: got %q, want %q", wish, got, want)
		}
		if target, _ := p.open(t, r.text(t, "action_link")); target != want {
			t.Errorf("%q: the link leads to %q, want %q", wish, target, want)
		}
	}
}

func TestRecovery(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	_, sess := p.user(t, "ana@example.com")
	empty(t, p.do(t, "POST", "/recover", "", m{"email": "nobody@example.com"}).want(t, 200, ""))
	if mail := p.Mail(); len(mail) != 0 {
		t.Fatalf("mail: got %v, want none", mail)
	}
	empty(t, p.do(t, "POST", "/recover", "", m{"email": "ana@example.com"}).want(t, 200, ""))
	p.do(t, "POST", "/recover", "", m{"email": "ana@example.com"}).want(t, 429, "over_email_send_rate_limit")
	r := p.do(t, "POST", "/verify", "", m{"type": "recovery", "token": p.last(t, "ana@example.com", "recovery").Code, "email": "ana@example.com"}).want(t, 200, "")
	p.do(t, "PUT", "/user", r.text(t, "access_token"), m{"password": "battery staple"}).want(t, 200, "")
	p.login(t, "ana@example.com", "battery staple").want(t, 200, "")
	p.refresh(t, sess.RefreshToken).want(t, 400, "refresh_token_not_found")
}

func TestMagicLink(t *testing.T) {
	t.Parallel()
	for name, shape := range map[string]func(*supabase.Config){"mailed": mailed, "autoconfirm": func(*supabase.Config) {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t, shape)
			empty(t, p.do(t, "POST", "/otp", "", m{"email": "New@example.com", "data": m{"name": "New"}}).want(t, 200, ""))
			p.do(t, "POST", "/otp", "", m{"email": "new@example.com"}).want(t, 429, "over_email_send_rate_limit")
			mail, _ := p.LastMail("new@example.com")
			r := p.do(t, "POST", "/verify", "", m{"type": "email", "token": mail.Code, "email": "new@example.com"}).want(t, 200, "")
			if meta := r.object(t, "user")["user_metadata"].(m); meta["name"] != "New" || meta["email_verified"] != true {
				t.Errorf("user_metadata: got %v", meta)
			}
			p.login(t, "new@example.com", "").want(t, 400, "invalid_credentials") // there is no password
			p.Add(time.Minute)
			empty(t, p.do(t, "POST", "/otp", "", m{"email": "new@example.com", "create_user": false}).want(t, 200, ""))
			p.last(t, "new@example.com", "magiclink")
		})
	}
}

func TestResend(t *testing.T) {
	t.Parallel()
	p := newProject(t, mailed)
	p.user(t, "ana@example.com")
	in := m{"type": "signup", "email": "new@example.com"}
	empty(t, p.do(t, "POST", "/resend", "", in).want(t, 200, "")) // unknown
	empty(t, p.do(t, "POST", "/resend", "", m{"type": "signup", "email": "ana@example.com"}).want(t, 200, ""))
	empty(t, p.do(t, "POST", "/resend", "", m{"type": "email_change", "email": "ana@example.com"}).want(t, 200, ""))
	if mail := p.Mail(); len(mail) != 0 {
		t.Fatalf("mail: got %v, want none", mail)
	}
	p.do(t, "POST", "/signup", "", m{"email": "new@example.com", "password": password}).want(t, 200, "")
	p.do(t, "POST", "/resend", "", in).want(t, 429, "over_email_send_rate_limit")
	p.Add(time.Minute)
	empty(t, p.do(t, "POST", "/resend", "", in).want(t, 200, ""))
	if got := len(p.Mail()); got != 2 {
		t.Errorf("mails: got %d, want 2", got)
	}
}

func TestChangeEmail(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	_, sess := p.user(t, "ana@example.com")
	r := p.do(t, "PUT", "/user", sess.AccessToken, m{"email": "Eve@example.com"}).want(t, 200, "")
	if r.text(t, "email") != "ana@example.com" || r.text(t, "new_email") != "eve@example.com" {
		t.Errorf("user: got %s, want the old address for now", r.raw)
	}
	p.do(t, "PUT", "/user", sess.AccessToken, m{"email": "eve@example.com"}).want(t, 429, "over_email_send_rate_limit")
	p.Add(time.Minute)
	empty(t, p.do(t, "POST", "/resend", "", m{"type": "email_change", "email": "ana@example.com"}).want(t, 200, ""))
	mail := p.last(t, "eve@example.com", "email_change")
	v := p.do(t, "POST", "/verify", "", m{"type": "email_change", "token": mail.Code, "email": "eve@example.com"}).want(t, 200, "")
	user := v.object(t, "user")
	if user["email"] != "eve@example.com" || user["new_email"] != nil || user["identities"].([]any)[0].(m)["email"] != "eve@example.com" {
		t.Errorf("user: got %v", user)
	}
	p.login(t, "eve@example.com", password).want(t, 200, "")
	p.login(t, "ana@example.com", password).want(t, 400, "invalid_credentials")
	p.user(t, "ana@example.com") // free again
}

// TestChangeEmailTakenMeanwhile lets somebody take the address before the code
// comes back.
func TestChangeEmailTakenMeanwhile(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	_, sess := p.user(t, "ana@example.com")
	p.do(t, "PUT", "/user", sess.AccessToken, m{"email": "eve@example.com"}).want(t, 200, "")
	mail := p.last(t, "eve@example.com", "email_change")
	p.user(t, "eve@example.com")
	p.do(t, "POST", "/verify", "", m{"type": "email_change", "token_hash": mail.TokenHash}).want(t, 422, "email_exists")
	p.login(t, "ana@example.com", password).want(t, 200, "")
}

func TestAnonymousUserBecomesPermanent(t *testing.T) {
	t.Parallel()
	p := newProject(t, anonymous)
	id, sess, err := p.SignUpAnonymous()
	if err != nil {
		t.Fatal(err)
	}
	p.do(t, "PUT", "/user", sess.AccessToken, m{"password": password}).want(t, 422, "validation_failed")
	p.do(t, "GET", "/reauthenticate", sess.AccessToken, nil).want(t, 422, "validation_failed")
	r := p.do(t, "PUT", "/user", sess.AccessToken, m{"email": "ana@example.com", "password": password}).want(t, 200, "")
	if r.body["is_anonymous"] != false || r.text(t, "email_confirmed_at") == "" || len(r.body["identities"].([]any)) != 1 {
		t.Errorf("user: got %s", r.raw)
	}
	login := p.login(t, "ana@example.com", password).want(t, 200, "")
	if claims := claimsOf(t, login.text(t, "access_token")); claims["sub"] != id || claims["is_anonymous"] != false {
		t.Errorf("claims: got %v", claims)
	}
}

func TestMailIsBounded(t *testing.T) {
	t.Parallel()
	p := newProject(t, func(c *supabase.Config) { c.MailInterval = -1 })
	_, sess := p.user(t, "ana@example.com")
	for range 1001 {
		p.do(t, "GET", "/reauthenticate", sess.AccessToken, nil).want(t, 200, "")
	}
	if got := len(p.Mail()); got != 1000 {
		t.Errorf("mails: got %d, want 1000", got)
	}
}
