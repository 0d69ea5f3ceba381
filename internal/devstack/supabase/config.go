package supabase

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// A Mode says which keys sign and verify access tokens.
type Mode string

// The three states a real project can be in.
const (
	// HS256 signs and verifies with the shared secret. The JWKS is empty.
	HS256 Mode = "HS256"
	// ES256 signs and verifies with key pairs. Every HS256 token is refused,
	// those of service keys included.
	ES256 Mode = "ES256"
	// Both signs with a key pair and still verifies with the shared secret:
	// a project in the middle of its migration. The secret is not published.
	Both Mode = "both"
)

// Config configures a [Server]. Issuer and JWTSecret are required.
type Config struct {
	// Issuer is the iss of every token and the base of links in mails, the
	// public address of the server with its prefix:
	// "http://127.0.0.1:9999/auth/v1".
	Issuer string
	// JWTSecret is the shared secret of HS256.
	JWTSecret string
	// Prefix stands before every path. "" means "/auth/v1", as on a hosted
	// project; "/" means none, as on a self-hosted server.
	Prefix string
	// Mode is HS256 by default.
	Mode Mode
	// KeyID is the kid of HS256 tokens. By default they have none.
	KeyID string
	// ServiceRoleKey is accepted as a service key besides those that are
	// signed. By default there is none.
	ServiceRoleKey string

	// SiteURL is where links of mails lead. Default "http://localhost:3000".
	SiteURL string
	// RedirectURLs are further targets allowed as redirect_to, compared by
	// prefix. Addresses on the host of SiteURL are always allowed.
	RedirectURLs []string

	// AutoConfirm confirms an address at sign-up without a mail.
	AutoConfirm bool
	// Anonymous allows sign-ups without an address.
	Anonymous bool
	// DisableSignup refuses every sign-up.
	DisableSignup bool
	// RequireReauthentication asks for a mailed code before a password is
	// changed in a session older than a day.
	RequireReauthentication bool
	// RequireAPIKey asks for the header apikey, as the gateway of a hosted
	// project does; see [Server.AnonKey].
	RequireAPIKey bool

	// TokenTTL is the life of an access token. Default one hour.
	TokenTTL time.Duration
	// CodeTTL is the life of a mailed code or link. Default one hour.
	CodeTTL time.Duration
	// MailInterval must pass between two mails of a kind to one user.
	// Default one minute; negative means none.
	MailInterval time.Duration
	// ReuseInterval is how long a spent refresh token that is not the parent
	// of the current one may be used again. Default ten seconds.
	ReuseInterval time.Duration
	// BcryptCost is the cost of password hashes. Default [bcrypt.DefaultCost].
	BcryptCost int

	// Path is the file of the snapshot. "" keeps the state in memory only.
	Path string
	// Log gets a line for each mail. Default: none.
	Log *slog.Logger
	// Now is the clock. Default [time.Now].
	Now func() time.Time
}

const minPasswordLength = 6

func (c Config) withDefaults() Config {
	orDefault(&c.Prefix, "/auth/v1")
	c.Prefix = strings.TrimRight(c.Prefix, "/")
	c.Issuer = strings.TrimRight(c.Issuer, "/")
	orDefault(&c.Mode, HS256)
	orDefault(&c.SiteURL, "http://localhost:3000")
	orDefault(&c.TokenTTL, time.Hour)
	orDefault(&c.CodeTTL, time.Hour)
	orDefault(&c.MailInterval, time.Minute)
	orDefault(&c.ReuseInterval, 10*time.Second)
	orDefault(&c.BcryptCost, bcrypt.DefaultCost)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	if c.Issuer == "" {
		errs = append(errs, errors.New("issuer is missing"))
	}
	if c.JWTSecret == "" {
		errs = append(errs, errors.New("JWT secret is missing"))
	}
	if c.Prefix != "" && !strings.HasPrefix(c.Prefix, "/") {
		errs = append(errs, fmt.Errorf("prefix %q does not begin with a slash", c.Prefix))
	}
	if strings.ContainsAny(c.Prefix, "{} ") {
		errs = append(errs, fmt.Errorf("prefix %q is not a plain path", c.Prefix))
	}
	if c.Mode != HS256 && c.Mode != ES256 && c.Mode != Both {
		errs = append(errs, fmt.Errorf("there is no mode %q", c.Mode))
	}
	if c.BcryptCost < bcrypt.MinCost || c.BcryptCost > bcrypt.MaxCost {
		errs = append(errs, fmt.Errorf("bcrypt cost %d is out of range", c.BcryptCost))
	}
	return errors.Join(errs...)
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
