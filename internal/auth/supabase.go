package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"example.com/saaskit/internal/problem"
)

const (
	// callPatience bounds one call. Supabase hashes passwords and sends mails while we wait.
	callPatience = 10 * time.Second
	// maxAnswer bounds what we read of an answer.
	maxAnswer = 1 << 20
)

// A Session is what a sign-in gives.
type Session struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	User         User   `json:"user"`
}

// A User is a user as Supabase Auth knows them. ID is the subject of access tokens.
type User struct {
	ID               string         `json:"id"`
	Email            string         `json:"email"`
	EmailConfirmedAt *time.Time     `json:"email_confirmed_at"`
	AppMetadata      map[string]any `json:"app_metadata"`
	UserMetadata     map[string]any `json:"user_metadata"`
	CreatedAt        *time.Time     `json:"created_at"`
}

// client speaks with Supabase Auth. Its errors are problems.
type client struct {
	base       string
	anonKey    string
	serviceKey string
	http       *http.Client
}

func newClient(cfg Config) *client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 32
	return &client{base: cfg.URL, anonKey: cfg.AnonKey, serviceKey: cfg.ServiceRoleKey, http: &http.Client{
		Transport: transport,
		Timeout:   callPatience,
		// A redirect would carry tokens and passwords to wherever it leads.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// A call is one request to Supabase Auth.
type call struct {
	method, path string
	query        url.Values
	token        string // of the user, or the service key
	clientIP     string // whom we call for
	body         any
}

// user answers what Supabase knows of the bearer of a token.
func (c *client) user(ctx context.Context, token string) (User, error) {
	var u User
	err := c.do(ctx, call{method: http.MethodGet, path: "/user", token: token}, &u)
	return u, err
}

// keys fetches the JWKS.
func (c *client) keys(ctx context.Context) ([]byte, error) {
	return c.send(ctx, call{method: http.MethodGet, path: "/.well-known/jwks.json"})
}

// do makes a call and decodes the answer into out, where there is one.
func (c *client) do(ctx context.Context, in call, out any) error {
	body, err := c.send(ctx, in)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(body, out); err != nil {
		return unavailable(fmt.Errorf("decode answer to %s: %w", in.path, err))
	}
	return nil
}

func (c *client) send(ctx context.Context, in call) ([]byte, error) {
	req, err := c.request(ctx, in)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		if cause := ctx.Err(); cause != nil && errors.Is(cause, context.Canceled) {
			return nil, fmt.Errorf("call Supabase Auth: %w", cause)
		}
		return nil, unavailable(fmt.Errorf("call %s: %w", in.path, err))
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = errors.New("it is too long")
	}
	if err != nil {
		return nil, unavailable(fmt.Errorf("read answer to %s: %w", in.path, err))
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return nil, refused(in.path, res, body)
	}
	return body, nil
}

func (c *client) request(ctx context.Context, in call) (*http.Request, error) {
	var body io.Reader
	if in.body != nil {
		raw, err := json.Marshal(in.body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	target := c.base + in.path
	if len(in.query) > 0 {
		target += "?" + in.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, in.method, target, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	h := req.Header
	h.Set("Accept", "application/json")
	if body != nil {
		h.Set("Content-Type", "application/json")
	}
	if in.token != "" {
		h.Set("Authorization", "Bearer "+in.token)
	}
	if key := orDefault(c.anonKey, c.serviceKeyFor(in)); key != "" {
		h.Set("apikey", key)
	}
	if in.clientIP != "" { // its own limits are per address: without this all our users would be one
		h.Set("X-Forwarded-For", in.clientIP)
		h.Set("Sb-Forwarded-For", in.clientIP)
	}
	return req, nil
}

// serviceKeyFor is the apikey of calls that are made with the service key.
func (c *client) serviceKeyFor(in call) string {
	if in.token == c.serviceKey {
		return c.serviceKey
	}
	return ""
}

func unavailable(cause error) error {
	return problem.SupabaseFailed.Errorf("sign-in is not available right now; try again in a moment").After(2 * time.Second).Because(cause)
}
