package supabase_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"example.com/saaskit/internal/devstack/supabase"
)

const (
	secret   = "a-shared-secret-of-at-least-32-bytes"
	issuer   = "https://auth.example.com/auth/v1"
	password = "correct horse"
)

// start is when the clock of each test begins.
func start() time.Time { return time.Unix(1795415794, 0).UTC() }

// A clock stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A project is a running stand-in.
type project struct {
	*supabase.Server
	*clock
	url string // with the prefix
}

// newProject starts a stand-in; shape changes its configuration.
func newProject(t *testing.T, shape ...func(*supabase.Config)) project {
	t.Helper()
	c := &clock{now: start()}
	cfg := supabase.Config{Issuer: issuer, JWTSecret: secret, BcryptCost: bcrypt.MinCost, AutoConfirm: true, Now: c.Now}
	for _, f := range shape {
		f(&cfg)
	}
	s, err := supabase.New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return project{Server: s, clock: c, url: srv.URL + "/auth/v1"}
}

func mailed(c *supabase.Config)    { c.AutoConfirm = false }
func anonymous(c *supabase.Config) { c.Anonymous = true }

func inMode(m supabase.Mode) func(*supabase.Config) {
	return func(c *supabase.Config) { c.Mode = m }
}

// user signs somebody up without the API.
func (p project) user(t *testing.T, email string) (string, supabase.Session) {
	t.Helper()
	id, sess, err := p.SignUp(email, password, supabase.SignUpOptions{})
	if err != nil {
		t.Fatalf("SignUp: %v", err)
	}
	return id, sess
}

// A reply is an answer with its body read.
type reply struct {
	status int
	header http.Header
	raw    []byte
	body   map[string]any
}

// do sends one request. body is sent as it is where it is a string, else as
// JSON; token is the bearer token.
func (p project) do(t *testing.T, method, path, token string, body any) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.url+path, reader(t, body))
	if err != nil {
		t.Fatalf("make request: %v", err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return send(t, req)
}

func reader(t *testing.T, body any) io.Reader {
	t.Helper()
	switch b := body.(type) {
	case nil:
		return nil
	case string:
		return bytes.NewBufferString(b)
	}
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatalf("encode body: %v", err)
	}
	return bytes.NewReader(data)
}

func send(t *testing.T, req *http.Request) reply {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read body: %v", err)
	}
	r := reply{status: resp.StatusCode, header: resp.Header, raw: raw}
	if len(raw) > 0 {
		// Not every body is an object; those tests look at raw.
		_ = json.Unmarshal(raw, &r.body)
	}
	return r
}

// want fails the test unless the reply has the status and, where code is not
// empty, is an error of that code in body and header.
func (r reply) want(t *testing.T, status int, code string) reply {
	t.Helper()
	if r.status != status {
		t.Fatalf("status: got %d, want %d; body %s", r.status, status, r.raw)
	}
	if code == "" {
		return r
	}
	if r.body["error_code"] != code || r.header.Get("X-Sb-Error-Code") != code {
		t.Fatalf("error code: got %v and header %q, want %q; body %s", r.body["error_code"], r.header.Get("X-Sb-Error-Code"), code, r.raw)
	}
	if r.body["code"] != float64(status) {
		t.Fatalf("code: got %v, want %d", r.body["code"], status)
	}
	if msg, _ := r.body["msg"].(string); msg == "" {
		t.Fatalf("msg is empty: %s", r.raw)
	}
	return r
}

// text returns a member that must be a string with something in it.
func (r reply) text(t *testing.T, name string) string {
	t.Helper()
	s, _ := r.body[name].(string)
	if s == "" {
		t.Fatalf("%s is missing: %s", name, r.raw)
	}
	return s
}

// object returns a member that must be an object.
func (r reply) object(t *testing.T, name string) map[string]any {
	t.Helper()
	o, isObject := r.body[name].(map[string]any)
	if !isObject {
		t.Fatalf("%s is missing: %s", name, r.raw)
	}
	return o
}

type m = map[string]any
