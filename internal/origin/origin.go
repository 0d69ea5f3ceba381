// Package origin decides which addresses a browser may be sent back to. Sign-in mails and payment pages carry an address that
// the caller chose: without this check they would lead our users wherever a stranger likes.
package origin

import (
	"fmt"
	"net/url"
	"strings"

	"example.com/saaskit/internal/problem"
)

// A List holds the allowed origins. The zero List allows none.
type List struct {
	origins map[string]struct{}
	any     bool
}

// Parse reads origins as they stand in the configuration: scheme, host and port, as in https://app.example.com. A `*` allows
// every http and https address; the configuration takes it in development mode only.
func Parse(origins []string) (List, error) {
	l := List{origins: make(map[string]struct{}, len(origins))}
	for _, text := range origins {
		if text == "*" {
			l.any = true
			continue
		}
		u, err := url.Parse(text)
		if err != nil || !web(u) || u.User != nil || strings.TrimSuffix(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return List{}, fmt.Errorf("origin %q is not scheme://host[:port]", text)
		}
		l.origins[of(u)] = struct{}{}
	}
	return l, nil
}

// Allows refuses a target that is not an absolute http or https address of an allowed origin, with
// [problem.RedirectNotAllowed] about the field that it stands in. User names are refused as well: browsers and people read
// https://good.example@bad.example differently.
func (l List) Allows(field, target string) error {
	u, err := url.Parse(target)
	if err != nil || !web(u) || u.User != nil || strings.ContainsAny(target, "\\\t\r\n ") {
		return problem.RedirectNotAllowed.Errorf("the address to return to has to be absolute, with http or https").
			In("body."+field, "is not an absolute http or https address")
	}
	if l.any {
		return nil
	}
	if _, ok := l.origins[of(u)]; !ok {
		return problem.RedirectNotAllowed.Errorf("the origin %s is not allowed here", of(u)).
			In("body."+field, "is not of an allowed origin")
	}
	return nil
}

func web(u *url.URL) bool { return (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" }

// of writes the origin of u as browsers do: lower case, without the port that goes without saying.
func of(u *url.URL) string {
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == "" || port == map[string]string{"http": "80", "https": "443"}[u.Scheme] {
		return u.Scheme + "://" + host
	}
	return u.Scheme + "://" + host + ":" + port
}
