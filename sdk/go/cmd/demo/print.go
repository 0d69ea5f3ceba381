package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// A printer shows each request and its answer, secrets left out.
type printer struct{ next http.RoundTripper }

var secret = regexp.MustCompile(`("(?:access_token|refresh_token|secret|password)":\s*")[^"]{6,}"`)

// RoundTrip prints and passes on.
func (p printer) RoundTrip(req *http.Request) (*http.Response, error) {
	body := ""
	if req.Body != nil && req.GetBody != nil {
		if copied, err := req.GetBody(); err == nil {
			text, _ := io.ReadAll(copied)
			body = string(text)
		}
	}
	fmt.Printf("   → %s %s %s\n", req.Method, req.URL.RequestURI(), shorten(body))
	res, err := p.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	res.Body.Close()
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(text))
	shown := string(text)
	if strings.Contains(res.Header.Get("Content-Type"), "html") {
		shown = "(a page)"
	}
	fmt.Printf("   ← %d %s\n", res.StatusCode, shorten(shown))
	return res, nil
}

func shorten(s string) string {
	s = secret.ReplaceAllString(strings.Join(strings.Fields(s), " "), `$1…"`)
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return s
}

func postForm(ctx context.Context, c *http.Client, address string, form url.Values) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.Do(req)
}
