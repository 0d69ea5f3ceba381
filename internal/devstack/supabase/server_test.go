package supabase_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"example.com/saaskit/internal/devstack/supabase"
)

func TestPrefix(t *testing.T) {
	t.Parallel()
	for prefix, path := range map[string]string{"": "/auth/v1/health", "/": "/health", "/x/": "/x/health"} {
		s, err := supabase.New(supabase.Config{Issuer: issuer, JWTSecret: secret, Prefix: prefix})
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			path   string
			status int
		}{{path, 200}, {"/other" + path, 404}} {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, tt.path, nil))
			if w.Code != tt.status {
				t.Errorf("prefix %q, GET %s: got %d, want %d", prefix, tt.path, w.Code, tt.status)
			}
		}
	}
}

func TestMeta(t *testing.T) {
	t.Parallel()
	p := newProject(t, mailed)
	r := p.do(t, "GET", "/health", "", nil).want(t, 200, "")
	if r.body["name"] != "GoTrue" || r.text(t, "version") == "" || r.text(t, "description") == "" {
		t.Errorf("health: got %s", r.raw)
	}
	r = p.do(t, "GET", "/settings", "", nil).want(t, 200, "")
	if r.body["mailer_autoconfirm"] != false || r.body["disable_signup"] != false || r.object(t, "external")["email"] != true {
		t.Errorf("settings: got %s", r.raw)
	}
	r = p.do(t, "GET", "/.well-known/openid-configuration", "", nil).want(t, 200, "")
	if r.body["issuer"] != issuer || r.body["jwks_uri"] != issuer+"/.well-known/jwks.json" {
		t.Errorf("discovery: got %s", r.raw)
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	r := p.do(t, "OPTIONS", "/signup", "", nil).want(t, 204, "")
	if r.header.Get("Access-Control-Allow-Origin") != "*" || r.header.Get("Access-Control-Allow-Headers") == "" {
		t.Errorf("preflight: got %v", r.header)
	}
	if r := p.do(t, "GET", "/health", "", nil); r.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("answer: got %v", r.header)
	}
}

// TestAPIKey checks the rule of the gateway in front of hosted projects.
func TestAPIKey(t *testing.T) {
	t.Parallel()
	p := newProject(t, func(c *supabase.Config) { c.RequireAPIKey = true; c.ServiceRoleKey = "sb_secret_1" })
	_, sess := p.user(t, "ana@example.com")
	for key, status := range map[string]int{
		"": 401, "garbage": 401, sess.AccessToken: 401, p.AnonKey(): 200, "sb_secret_1": 200, p.Mint(m{"role": "service_role"}): 200,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/health", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("apikey", key)
		send(t, req).want(t, status, "")
	}
	p.do(t, "GET", "/health?apikey="+p.AnonKey(), "", nil).want(t, 200, "")
	for _, open := range []string{"/.well-known/jwks.json", "/.well-known/openid-configuration"} {
		p.do(t, "GET", open, "", nil).want(t, 200, "")
	}
	p.do(t, "GET", "/verify?type=signup&token=x", "", nil).want(t, 303, "")
}

func TestFaults(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.SetJWKSFault(supabase.Fault{Status: 503})
	p.do(t, "GET", "/.well-known/jwks.json", "", nil).want(t, 503, "")
	p.SetJWKSFault(supabase.Fault{Delay: time.Millisecond})
	p.jwks(t)
	p.SetJWKSFault(supabase.Fault{})
	p.jwks(t)
	if got := p.JWKSFetches(); got != 3 {
		t.Errorf("fetches: got %d, want 3", got)
	}
	p.SetFault("/token", supabase.Fault{Status: 429, Code: "over_request_rate_limit"})
	p.login(t, "ana@example.com", password).want(t, 429, "over_request_rate_limit")
	p.do(t, "GET", "/health", "", nil).want(t, 200, "")
	if got := p.JWKSFetches(); got != 3 {
		t.Errorf("fetches: got %d, want 3: other requests are no fetches", got)
	}
}

// TestHeldJWKS holds a fetch, sees that it is counted and not answered, and
// lets it go.
func TestHeldJWKS(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	hold := make(chan struct{})
	p.SetJWKSFault(supabase.Fault{Hold: hold})

	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/.well-known/jwks.json", nil)
		if err == nil {
			_, err = http.DefaultClient.Do(req) //nolint:bodyclose // there is no body: the client leaves
		}
		gone <- err
	}()
	for deadline := time.Now().Add(10 * time.Second); p.JWKSFetches() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the fetch did not arrive")
		}
	}
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Fatalf("held fetch: got %v, want it to wait until its client leaves", err)
	}
	close(hold)
	p.jwks(t)
}

// TestConcurrentRefresh lets a client race itself: each call must succeed, and
// there is one token afterwards, for all but the first came with the parent.
func TestConcurrentRefresh(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	_, sess := p.user(t, "ana@example.com")
	got := make([]string, 8)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() { got[i], _ = p.refresh(t, sess.RefreshToken).body["refresh_token"].(string) })
	}
	wg.Wait()
	for _, token := range got {
		if token == "" || token != got[0] {
			t.Fatalf("tokens: got %v, want the same one each time", got)
		}
	}
}

// TestConcurrentUse is for the race detector: every kind of request at once.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	p := newProject(t, inMode(supabase.Both), func(c *supabase.Config) { c.MailInterval = -1 })
	id, sess := p.user(t, "ana@example.com")
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			p.do(t, "POST", "/signup", "", m{"email": fmt.Sprintf("u%d@example.com", i), "password": password})
			p.do(t, "PUT", "/user", sess.AccessToken, m{"data": m{"n": i}})
			p.do(t, "GET", "/user", sess.AccessToken, nil)
			p.do(t, "PUT", "/admin/users/"+id, p.ServiceRoleKey(), m{"app_metadata": m{"n": i}})
			p.do(t, "GET", "/admin/users", p.ServiceRoleKey(), nil)
			p.do(t, "POST", "/recover", "", m{"email": "ana@example.com"})
			p.do(t, "GET", "/.well-known/jwks.json", "", nil)
			if _, err := p.RotateKey(); err != nil {
				t.Error(err)
			}
			p.Mail()
		})
	}
	wg.Wait()
}

// ExampleNew shows how a test starts a project of its own: the address must be
// known before the server is, for it is the issuer of the tokens.
func ExampleNew() {
	srv := httptest.NewUnstartedServer(nil)
	base := "http://" + srv.Listener.Addr().String()
	auth, err := supabase.New(supabase.Config{
		Issuer: base + "/auth/v1", JWTSecret: "a secret for tests", AutoConfirm: true, BcryptCost: bcrypt.MinCost,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	srv.Config.Handler = auth
	srv.Start()
	defer srv.Close()

	_, session, err := auth.SignUp("ana@example.com", "correct horse", supabase.SignUpOptions{})
	fmt.Println(session.TokenType, session.User.Email, err)
	// Output: bearer ana@example.com <nil>
}
