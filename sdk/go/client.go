package saaskit

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"time"
)

// A Client talks to one server with one credential. It is safe for concurrent use.
type Client struct {
	*ClientWithResponses
}

type settings struct {
	http      http.Client
	retries   int
	timeout   time.Duration
	headers   http.Header
	userAgent string
}

// An Option changes how a [Client] works.
type Option func(*settings)

// WithToken sends the access token of a signed-in user.
func WithToken(token string) Option {
	return func(s *settings) { s.headers.Set("Authorization", "Bearer "+token) }
}

// WithAPIKey sends an API key or a service key.
func WithAPIKey(key string) Option {
	return func(s *settings) { s.headers.Set("X-Api-Key", key) }
}

// WithAccount acts for another account than the credential's own. A service key needs it.
func WithAccount(id string) Option {
	return func(s *settings) { s.headers.Set("Saaskit-Account", id) }
}

// WithRetries sets how often a request is tried again; 2 by default, 0 for never.
func WithRetries(n int) Option {
	return func(s *settings) { s.retries = n }
}

// WithTimeout bounds each try of a request, its answer read to the end. It is a minute by default, and for [Client.ExportMe] as long as
// the server takes at the most. What all tries together may take is bounded by the context of the call.
func WithTimeout(d time.Duration) Option {
	return func(s *settings) { s.timeout = d }
}

// WithTransport sends requests through t in place of [http.DefaultTransport].
func WithTransport(t http.RoundTripper) Option {
	return func(s *settings) { s.http.Transport = t }
}

// New returns a client of the server at the address, such as https://api.example.com.
func New(server string, options ...Option) (*Client, error) {
	s := settings{retries: 2, headers: http.Header{}, userAgent: "saaskit-go/0.1"}
	for _, option := range options {
		option(&s)
	}
	if s.http.Transport == nil {
		s.http.Transport = http.DefaultTransport
	}
	s.http.Transport = &retrier{next: s.http.Transport, retries: s.retries, timeout: s.timeout}
	// A redirect would carry the credential to another place.
	s.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c, err := NewClientWithResponses(server, WithHTTPClient(&s.http), WithRequestEditorFn(s.edit))
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return &Client{c}, nil
}

func (s *settings) edit(_ context.Context, req *http.Request) error {
	for name, values := range s.headers {
		if req.Header.Get(name) == "" {
			req.Header[name] = values
		}
	}
	req.Header.Set("User-Agent", s.userAgent)
	return nil
}

// NewIdempotencyKey returns a random key, to be used for one request and all its retries.
func NewIdempotencyKey() *string {
	key := rand.Text()
	return &key
}
