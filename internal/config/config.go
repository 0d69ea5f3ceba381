// Package config reads the settings of the server from the environment: one line a setting, all mistakes at once.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Off is the value of an address at which nothing listens.
const Off = "off"

// A Config is every setting of the server.
type Config struct {
	Addr            string
	MetricsAddr     string
	ShutdownDelay   time.Duration
	ShutdownTimeout time.Duration
	LogFormat       string
	LogLevel        string
	AppEnv          string
	DevMode         bool

	DatabaseURL      Secret
	DatabaseMaxConns int
	RedisURL         Secret
	RedisPrefix      string

	SupabaseURL            string
	SupabaseIssuer         string
	SupabaseAudience       string
	SupabaseJWTSecret      Secret
	SupabaseAnonKey        Secret
	SupabaseServiceRoleKey Secret
	AllowAnonymous         bool
	AdminClaim             string
	AdminClaimValue        string
	RequireAAL2            bool

	StripeAPIKey         Secret
	StripeAPIBase        string
	StripeWebhookSecrets []Secret
	PastDueGrace         time.Duration
	PauseEndsAccess      []string
	AutomaticTax         bool
	UpgradeCredits       string

	SMTPURL       Secret
	MailFrom      string
	MailTemplates string

	CORSOrigins     []string
	RedirectOrigins []string
	TrustedProxies  []string
	APIKeyPrefix    string
	AuthPerMinute   int
	PublicPerMinute int

	rows []Row
}

// Load reads the settings through getenv, which is os.Getenv outside tests. The error names every mistake.
func Load(getenv func(string) string) (Config, error) {
	r := &reader{getenv: getenv}
	c := Config{
		Addr: r.address("ADDR", "127.0.0.1:8080", "where to listen; :8080 for all addresses"),
		MetricsAddr: r.address("METRICS_ADDR", "127.0.0.1:9464",
			"where to serve /metrics: one address that the public does not reach, such as $(POD_IP):9464; off for none", Off),
		ShutdownDelay: r.duration("SHUTDOWN_DELAY", "5s", 0, time.Minute,
			"how long the server goes on answering when it is told to stop, with /readyz at 503, until load balancers have noticed"),
		ShutdownTimeout: r.duration("SHUTDOWN_TIMEOUT", "20s", time.Second, 5*time.Minute, "how long requests, and after them jobs, may finish then"),
		LogFormat:       r.oneOf("LOG_FORMAT", "auto", "auto is text on a terminal and json elsewhere", "auto", "json", "text"),
		LogLevel:        r.oneOf("LOG_LEVEL", "info", "least level that is logged", "debug", "info", "warn", "error"),
		AppEnv: r.label("APP_ENV", "production",
			"name of this environment, stamped on Stripe customers so that environments on one Stripe account keep apart"),
		DevMode: r.flag("DEV_MODE", "test routes and lax origins; never in production. Known secrets only with a loopback ADDR"),

		DatabaseURL:      r.parsed("DATABASE_URL", "postgres://user:password@host/database", readsDatabase),
		DatabaseMaxConns: r.number("DATABASE_MAX_CONNS", 16, 4, 1000, "connections that the server opens at the most"),
		RedisURL:         r.parsed("REDIS_URL", "redis://host:6379/0", readsRedis),
		RedisPrefix:      r.text("REDIS_PREFIX", "saaskit:", "beginning of every key in Redis"),

		SupabaseURL:            r.requiredURL("SUPABASE_URL", "https://<ref>.supabase.co"),
		SupabaseIssuer:         r.text("SUPABASE_JWT_ISSUER", "", "iss of access tokens; SUPABASE_URL/auth/v1 where it is left out"),
		SupabaseAudience:       r.text("SUPABASE_JWT_AUDIENCE", "authenticated", "aud of access tokens"),
		SupabaseJWTSecret:      r.secret("SUPABASE_JWT_SECRET", "the project's JWT secret; left out where only asymmetric keys sign"),
		SupabaseAnonKey:        r.secret("SUPABASE_ANON_KEY", "publishable key, sent as apikey with sign-in flows"),
		SupabaseServiceRoleKey: r.secret("SUPABASE_SERVICE_ROLE_KEY", "lets a deleted user be deleted at Supabase too"),
		AllowAnonymous:         r.flag("ALLOW_ANONYMOUS", "admit Supabase's anonymous users"),
		AdminClaim: strings.TrimPrefix(r.text("ADMIN_CLAIM", "saaskit_role",
			"field of app_metadata that makes an administrator"), "app_metadata."),
		AdminClaimValue: r.text("ADMIN_CLAIM_VALUE", "admin", "its value"),
		RequireAAL2:     r.flag("REQUIRE_AAL2", "ask a second factor for keys, plans and deletion"),

		StripeAPIKey:  r.required("STRIPE_API_KEY", "sk_live_…, sk_test_… or a restricted key"),
		StripeAPIBase: r.webURL("STRIPE_API_BASE", "address of the Stripe emulator; loopback and a test key only"),
		PastDueGrace:  r.duration("PAST_DUE_GRACE", "168h", 0, 90*24*time.Hour, "how long an overdue subscription still gives access"),
		UpgradeCredits: r.oneOf("UPGRADE_CREDITS", "difference",
			"what an upgrade in the middle of a period grants: the difference of the two allowances, or none until the next month of the allowance",
			"difference", "none"),

		PauseEndsAccess: r.list("PAUSE_ENDS_ACCESS", "void",
			"ways of pausing collection (void, keep_as_draft, mark_uncollectible) under which access ends with the paid period, by comma"),
		AutomaticTax: r.flag("AUTOMATIC_TAX", "let Stripe add the tax in Checkout, and ask for tax ids; Stripe Tax has to be set up"),
		SMTPURL: r.secret("SMTP_URL",
			"mail server, smtp://user:password@host:port (STARTTLS where offered) or smtps://…; left out: what would be mailed is logged"),
		MailFrom:      r.text("MAIL_FROM", "", "sender of mails: Example <billing@example.com>"),
		MailTemplates: r.text("MAIL_TEMPLATES", "", "directory whose files replace the texts of mails: receipt.txt and so on"),

		CORSOrigins:     r.origins("CORS_ORIGINS", "origins of front ends that may call, by comma"),
		RedirectOrigins: r.origins("REDIRECT_ORIGINS", "origins that success_url, cancel_url and redirect_to may have, by comma"),
		TrustedProxies:  r.networks("TRUSTED_PROXIES", "networks whose X-Forwarded-For is believed, by comma; none wider than 10.0.0.0/8 and fc00::/7"),
		APIKeyPrefix:    r.text("API_KEY_PREFIX", "sk", "beginning of every API key"),
		AuthPerMinute:   r.number("AUTH_PER_MINUTE", 30, 1, 100000, "sign-in requests a minute per address; three times as many per e-mail address"),
		PublicPerMinute: r.number("PUBLIC_PER_MINUTE", 600, 1, 10000000, "requests a minute of operations without sign-in, per address"),
	}
	for _, s := range split(r.raw("STRIPE_WEBHOOK_SECRET", "", "whsec_…; several by comma while one is replaced", true)) {
		c.StripeWebhookSecrets = append(c.StripeWebhookSecrets, Secret(s))
	}
	if c.SupabaseIssuer == "" && c.SupabaseURL != "" {
		c.SupabaseIssuer = c.SupabaseURL + "/auth/v1"
		r.show("SUPABASE_JWT_ISSUER", c.SupabaseIssuer)
	}
	c.refuseUnsafe(r)
	c.rows = r.rows
	return c, errors.Join(r.errs...)
}

// Rows lists the effective settings in the order of the documentation; secrets show as stars.
func (c Config) Rows() []Row { return c.rows }

// Live tells whether real money moves.
func (c Config) Live() bool { return strings.Contains(c.StripeAPIKey.Reveal(), "_live_") }

// refuseUnsafe adds an error for each setting with which the server must not start.
func (c Config) refuseUnsafe(r *reader) {
	c.refuseUnsafeStripe(r)
	c.refuseUnsafeSupabase(r)
	c.refuseHalfMail(r)
	if everywhere(c.MetricsAddr) {
		r.fail("METRICS_ADDR", "is every address of the machine: name one that the public does not reach; in Kubernetes the pod's own, $(POD_IP)")
	}
	if !c.DevMode {
		for _, list := range [][]string{c.CORSOrigins, c.RedirectOrigins} {
			for _, origin := range list {
				if origin == "*" {
					r.fail("CORS_ORIGINS and REDIRECT_ORIGINS", "may be * in DEV_MODE only; name the origins")
				}
			}
		}
	}
	if c.DevMode && c.Live() {
		r.fail("DEV_MODE", "does not go with a live Stripe key")
	}
	if !validPrefix(c.APIKeyPrefix) {
		r.fail("API_KEY_PREFIX", "is 1 to 16 lower-case letters, digits and single underscores, and begins with a letter")
	}
}

func (c Config) refuseUnsafeStripe(r *reader) {
	if len(c.StripeWebhookSecrets) == 0 {
		r.fail("STRIPE_WEBHOOK_SECRET", "is required: without it anybody could post events")
	}
	for _, s := range c.StripeWebhookSecrets {
		if !strings.HasPrefix(s.Reveal(), "whsec_") || len(s) < 16 {
			r.fail("STRIPE_WEBHOOK_SECRET", "has a value that does not begin with whsec_ or is too short")
		}
	}
	for _, behavior := range c.PauseEndsAccess {
		if behavior != "void" && behavior != "keep_as_draft" && behavior != "mark_uncollectible" {
			r.fail("PAUSE_ENDS_ACCESS", "takes void, keep_as_draft and mark_uncollectible")
		}
	}
	key := c.StripeAPIKey.Reveal()
	if key != "" && !hasAnyPrefix(key, "sk_live_", "sk_test_", "rk_live_", "rk_test_") {
		r.fail("STRIPE_API_KEY", "does not begin with sk_live_, sk_test_, rk_live_ or rk_test_")
	}
	if c.StripeAPIBase == "" {
		return
	}
	if !hasAnyPrefix(key, "sk_test_", "rk_test_") {
		r.fail("STRIPE_API_BASE", "goes with a test key only")
	}
	if !loopback(c.StripeAPIBase) {
		r.fail("STRIPE_API_BASE", "has to be on this machine (127.0.0.1 or localhost)")
	}
	if c.reachable() && !c.DevMode {
		r.fail("STRIPE_API_BASE", "goes with a loopback ADDR or DEV_MODE only, for the emulator's money is not real: set ADDR=127.0.0.1:8080")
	}
}

func (c Config) refuseUnsafeSupabase(r *reader) {
	if c.SupabaseURL == "" {
		return // said already
	}
	if !strings.HasPrefix(c.SupabaseURL, "https://") && !loopback(c.SupabaseURL) {
		r.fail("SUPABASE_URL", "has to be https: passwords go there")
	}
	secret := c.SupabaseJWTSecret.Reveal()
	if secret != "" && len(secret) < 32 {
		r.fail("SUPABASE_JWT_SECRET", "is shorter than 32 characters")
	}
	// The Supabase CLI has one that begins so, the .env.example of self-hosting one with your- in front.
	if !strings.Contains(strings.ToLower(secret), "super-secret-jwt-token") {
		return
	}
	switch {
	case !c.DevMode:
		r.fail("SUPABASE_JWT_SECRET", "is a default that everybody knows: make another with openssl rand -base64 48")
	case c.reachable():
		r.fail("SUPABASE_JWT_SECRET", "is a default that everybody knows, which goes with a loopback ADDR only: set ADDR=127.0.0.1:8080, or another secret")
	}
}

func (c Config) refuseHalfMail(r *reader) {
	if c.SMTPURL == "" {
		return
	}
	if !hasAnyPrefix(c.SMTPURL.Reveal(), "smtp://", "smtps://") {
		r.fail("SMTP_URL", "does not begin with smtp:// or smtps://")
	}
	if c.MailFrom == "" {
		r.fail("MAIL_FROM", "is required with SMTP_URL")
	}
}

func hasAnyPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// reachable tells whether others than this machine may reach the server.
func (c Config) reachable() bool {
	host, _, err := net.SplitHostPort(c.Addr)
	return err == nil && !loopbackHost(host) // one that cannot be read is said already
}

// everywhere tells whether a listener at addr would listen on all addresses.
func everywhere(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false // off, or said already
	}
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.Unmap().WithZone("").IsUnspecified()
}

func loopback(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && loopbackHost(u.Hostname())
}

func loopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func validPrefix(p string) bool {
	if p == "" || len(p) > 16 || p[0] < 'a' || p[0] > 'z' || strings.HasSuffix(p, "_") || strings.Contains(p, "__") {
		return false
	}
	for _, c := range p {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

// String never shows a secret: Config is full of them, and somebody will print it.
func (c Config) String() string { return fmt.Sprintf("config of %s", c.AppEnv) }
