package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/rueidis"
)

// A reader reads settings and remembers every mistake, so that an operator sees all of them at once.
type reader struct {
	getenv func(string) string
	errs   []error
	rows   []Row
}

// A Row is one effective setting, for `saaskit config`. Value shows stars for a secret.
type Row struct {
	Name, Value, Default, Help string
	Limits                     string // in words; empty where the form of the value is all there is
}

func (r *reader) fail(name, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s %s", name, fmt.Sprintf(format, args...)))
}

// raw reads a setting and records its row. White space around a value is never meant: a secret with a trailing newline
// would refuse every webhook.
func (r *reader) raw(name, fallback, help string, secret bool) string {
	v := strings.TrimSpace(r.getenv(name))
	if v == "" {
		v = fallback
	}
	shown := v
	if secret {
		shown, fallback = Secret(v).String(), Secret(fallback).String()
	}
	r.rows = append(r.rows, Row{Name: name, Value: shown, Default: fallback, Help: help})
	return v
}

// show changes what is shown of a setting to what another one makes of it.
func (r *reader) show(name, value string) {
	for i := range r.rows {
		if r.rows[i].Name == name {
			r.rows[i].Value = value
		}
	}
}

// limited notes the limits of the setting that was read last.
func (r *reader) limited(format string, args ...any) {
	r.rows[len(r.rows)-1].Limits = fmt.Sprintf(format, args...)
}

func (r *reader) text(name, fallback, help string) string { return r.raw(name, fallback, help, false) }

func (r *reader) secret(name, help string) Secret { return Secret(r.raw(name, "", help, true)) }

func (r *reader) required(name, help string) Secret {
	s := r.secret(name, help)
	if s == "" {
		r.fail(name, "is required: %s", help)
	}
	return s
}

// parsed reads a required secret of a form. What is wrong with it is not said: an error of a parser repeats a part of the value.
func (r *reader) parsed(name, help string, reads func(string) bool) Secret {
	s := r.required(name, help)
	if s != "" && !reads(s.Reveal()) {
		r.fail(name, "cannot be read: write %s, with special characters of a password as %%40 and the like", help)
	}
	return s
}

func readsDatabase(v string) bool {
	_, err := pgx.ParseConfig(v)
	return err == nil
}

func readsRedis(v string) bool {
	_, err := rueidis.ParseURL(v)
	return err == nil
}

func (r *reader) list(name, fallback, help string) []string {
	return split(r.text(name, fallback, help))
}

func split(v string) []string {
	var list []string
	for part := range strings.SplitSeq(v, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

func (r *reader) flag(name string, help string) bool {
	v := r.text(name, "false", help)
	r.limited("true, false")
	b, err := strconv.ParseBool(v)
	if err != nil {
		r.fail(name, "is %q; write true or false", v)
	}
	return b
}

func (r *reader) number(name string, fallback, low, high int, help string) int {
	v := r.text(name, strconv.Itoa(fallback), help)
	r.limited("%d to %d", low, high)
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		r.fail(name, "is %q; write a number from %d to %d", v, low, high)
	}
	return n
}

func (r *reader) duration(name, fallback string, low, high time.Duration, help string) time.Duration {
	v := r.text(name, fallback, help)
	r.limited("%s to %s", short(low), short(high))
	d, err := time.ParseDuration(v)
	if err != nil || d < low || d > high {
		r.fail(name, "is %q; write a duration from %s to %s", v, short(low), short(high))
	}
	return d
}

// short writes a duration without its zeros: 5m, not 5m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func (r *reader) oneOf(name, fallback, help string, words ...string) string {
	v := r.text(name, fallback, help)
	r.limited("%s", strings.Join(words, ", "))
	for _, w := range words {
		if v == w {
			return v
		}
	}
	r.fail(name, "is %q; write one of %s", v, strings.Join(words, ", "))
	return v
}

// label reads a name that becomes a part of ids.
func (r *reader) label(name, fallback, help string) string {
	v := r.text(name, fallback, help)
	r.limited("1 to 32 of a-z, 0-9 and -")
	if !label.MatchString(v) {
		r.fail(name, "is %q; write up to 32 lower-case letters, digits and dashes", v)
	}
	return v
}

var label = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// address reads host:port, or one of the words.
func (r *reader) address(name, fallback, help string, words ...string) string {
	v := r.text(name, fallback, help)
	if slices.Contains(words, v) {
		return v
	}
	_, port, err := net.SplitHostPort(v)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		r.fail(name, "is %q; write host:port, such as 127.0.0.1:8080", v)
		return ""
	}
	return v
}

// webURL reads an http(s) URL without a path and returns it without a slash at the end. A password in it is refused, and is not
// shown either.
func (r *reader) webURL(name, help string) string {
	v := r.text(name, "", help)
	if v == "" {
		return ""
	}
	u, err := url.Parse(strings.TrimRight(v, "/"))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || *u != (url.URL{Scheme: u.Scheme, Host: u.Host}) {
		r.rows[len(r.rows)-1].Value = stars
		r.fail(name, "is not of the form https://host: no path, query or password")
		return ""
	}
	return u.String()
}

func (r *reader) requiredURL(name, help string) string {
	v := r.webURL(name, help)
	if r.rows[len(r.rows)-1].Value == "" {
		r.fail(name, "is required: %s", help)
	}
	return v
}

func (r *reader) networks(name, help string) []string {
	list := r.list(name, "", help)
	for _, text := range list {
		switch network, err := netip.ParsePrefix(text); {
		case err != nil:
			r.fail(name, "has %q, which is not a network such as 10.0.0.0/8", text)
		case wide(network):
			r.fail(name, "has %q, which is wider than any private network: whoever is in it may say who they are", text)
		}
	}
	return list
}

// wide tells whether a network is wider than the widest private ones, 10.0.0.0/8 and fc00::/7.
func wide(network netip.Prefix) bool {
	const v4, v6, mapped = 8, 7, 96
	switch {
	case network.Addr().Is4():
		return network.Bits() < v4
	case network.Addr().Is4In6():
		return network.Bits() < mapped+v4
	}
	return network.Bits() < v6
}

// origins reads a list of scheme://host[:port].
func (r *reader) origins(name, help string) []string {
	list := r.list(name, "", help)
	for _, text := range list {
		if text == "*" {
			continue
		}
		u, err := url.Parse(text)
		// A * within an origin would be a pattern for Echo's CORS middleware, and admit more than it says.
		if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" ||
			*u != (url.URL{Scheme: u.Scheme, Host: u.Host}) || strings.ContainsAny(text, "*?") {
			r.rows[len(r.rows)-1].Value = stars // it may have a password in it
			r.fail(name, "has a value that is not an origin such as https://app.example.com: no path, pattern or password")
		}
	}
	return list
}
