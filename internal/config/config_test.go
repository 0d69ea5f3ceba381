package config_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"

	"example.com/saaskit/internal/config"
)

func valid() map[string]string {
	return map[string]string{
		"DATABASE_URL": "postgres://u:hunter2@h/d", "REDIS_URL": "redis://h", "SUPABASE_URL": "https://ref.supabase.co",
		"STRIPE_API_KEY": "sk_live_0123456789", "STRIPE_WEBHOOK_SECRET": " whsec_0123456789abc\n",
	}
}

func load(env map[string]string) (config.Config, error) {
	return config.Load(func(name string) string { return env[name] })
}

func TestLoadDefaults(t *testing.T) {
	t.Parallel()
	c, err := load(valid())
	if err != nil {
		t.Fatal(err)
	}
	if c.Addr != "127.0.0.1:8080" || c.SupabaseIssuer != "https://ref.supabase.co/auth/v1" || !c.Live() {
		t.Errorf("got %q %q %v", c.Addr, c.SupabaseIssuer, c.Live())
	}
	if got := c.StripeWebhookSecrets[0].Reveal(); got != "whsec_0123456789abc" {
		t.Errorf("the secret is not trimmed: %q", got)
	}
}

const knownSecret = "super-secret-jwt-token-with-at-least-32-characters-long"

// dev is a setting for dev mode, where no money moves.
func dev(env map[string]string) map[string]string {
	env["DEV_MODE"], env["STRIPE_API_KEY"] = "true", "sk_test_1"
	return env
}

func TestLoadTakes(t *testing.T) {
	t.Parallel()
	for name, changes := range map[string]map[string]string{
		"a known secret for this machine alone":  dev(map[string]string{"SUPABASE_JWT_SECRET": knownSecret, "ADDR": "localhost:8080"}),
		"an emulator for this machine alone":     dev(map[string]string{"STRIPE_API_BASE": "http://127.0.0.1:1", "ADDR": "[::1]:0"}),
		"every address":                          {"ADDR": ":8080"},
		"every address in dev mode":              dev(map[string]string{"ADDR": "0.0.0.0:8080"}),
		"an emulator in dev mode, on every one":  dev(map[string]string{"STRIPE_API_BASE": "http://127.0.0.1:1", "ADDR": "[::]:8080"}),
		"metrics on the address of a pod":        {"METRICS_ADDR": "10.1.2.3:9464"},
		"metrics on the IPv6 address of a pod":   {"METRICS_ADDR": "[2001:db8::7]:9464"},
		"metrics on a name":                      {"METRICS_ADDR": "metrics.internal:9464"},
		"no metrics":                             {"METRICS_ADDR": "off"},
		"the widest private networks as proxies": {"TRUSTED_PROXIES": "10.0.0.0/8,fc00::/7,::ffff:10.0.0.0/104"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := valid()
			maps.Copy(env, changes)
			if _, err := load(env); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		env  map[string]string
		want string // beginning of a line of the error
	}{
		{"no webhook secret", map[string]string{"STRIPE_WEBHOOK_SECRET": ""}, "STRIPE_WEBHOOK_SECRET is required"},
		{"blank webhook secret", map[string]string{"STRIPE_WEBHOOK_SECRET": " \n"}, "STRIPE_WEBHOOK_SECRET is required"},
		{"one bad webhook secret of two", map[string]string{"STRIPE_WEBHOOK_SECRET": "whsec_0123456789abc,x"}, "STRIPE_WEBHOOK_SECRET has"},
		{"emulator with a live key", map[string]string{"STRIPE_API_BASE": "http://127.0.0.1:1"}, "STRIPE_API_BASE goes with a test key"},
		{"emulator elsewhere", map[string]string{"STRIPE_API_BASE": "http://stripe.example.com", "STRIPE_API_KEY": "sk_test_1"}, "STRIPE_API_BASE has to be on this machine"},
		{"emulator on a host that only looks local",
			map[string]string{"STRIPE_API_BASE": "http://127.0.0.1.example.com", "STRIPE_API_KEY": "sk_test_1"}, "STRIPE_API_BASE has to be on this machine"},
		{"known JWT secret", map[string]string{"SUPABASE_JWT_SECRET": "super-secret-jwt-token-with-at-least-32-characters-long"}, "SUPABASE_JWT_SECRET is a default"},
		{"known JWT secret of self-hosting", map[string]string{"SUPABASE_JWT_SECRET": "your-super-secret-jwt-token-with-at-least-32-characters-long"}, "SUPABASE_JWT_SECRET is a default"},
		{"known JWT secret, a little changed", map[string]string{"SUPABASE_JWT_SECRET": "My-Super-Secret-JWT-token-with-at-least-32-characters-long!"}, "SUPABASE_JWT_SECRET is a default"},
		{"known JWT secret in dev mode, for everybody to reach", dev(map[string]string{"SUPABASE_JWT_SECRET": knownSecret, "ADDR": ":8080"}), "SUPABASE_JWT_SECRET is a default"},
		{"known JWT secret in dev mode, for the network to reach", dev(map[string]string{"SUPABASE_JWT_SECRET": knownSecret, "ADDR": "192.168.1.2:8080"}), "SUPABASE_JWT_SECRET is a default"},
		{"emulator for everybody to reach", map[string]string{"STRIPE_API_BASE": "http://127.0.0.1:1", "STRIPE_API_KEY": "sk_test_1", "ADDR": "0.0.0.0:8080"}, "STRIPE_API_BASE goes with a loopback ADDR"},
		{"metrics for everybody", map[string]string{"METRICS_ADDR": ":9464"}, "METRICS_ADDR is every address"},
		{"metrics on every IPv4 address", map[string]string{"METRICS_ADDR": "0.0.0.0:9464"}, "METRICS_ADDR is every address"},
		{"metrics on every IPv6 address", map[string]string{"METRICS_ADDR": "[::]:9464"}, "METRICS_ADDR is every address"},
		{"metrics on every address, in another spelling", map[string]string{"METRICS_ADDR": "[::ffff:0.0.0.0]:9464"}, "METRICS_ADDR is every address"},
		{"short JWT secret", map[string]string{"SUPABASE_JWT_SECRET": "short"}, "SUPABASE_JWT_SECRET is shorter"},
		{"passwords in clear", map[string]string{"SUPABASE_URL": "http://ref.supabase.co"}, "SUPABASE_URL has to be https"},
		{"a path, which we add ourselves", map[string]string{"SUPABASE_URL": "https://ref.supabase.co/auth/v1"}, "SUPABASE_URL is not of the form"},
		{"a password in an URL", map[string]string{"SUPABASE_URL": "https://u:hunter2@ref.supabase.co"}, "SUPABASE_URL is not of the form"},
		{"no Supabase", map[string]string{"SUPABASE_URL": ""}, "SUPABASE_URL is required"},
		{"address without a port", map[string]string{"ADDR": "localhost"}, "ADDR is"},
		{"address with too high a port", map[string]string{"METRICS_ADDR": ":70000"}, "METRICS_ADDR is"},
		{"no address to serve at", map[string]string{"ADDR": "off"}, "ADDR is"},
		{"any origin", map[string]string{"CORS_ORIGINS": "*"}, "CORS_ORIGINS and REDIRECT_ORIGINS may be *"},
		{"any redirect", map[string]string{"REDIRECT_ORIGINS": "*"}, "CORS_ORIGINS and REDIRECT_ORIGINS may be *"},
		{"dev mode with a live key", map[string]string{"DEV_MODE": "true"}, "DEV_MODE does not go"},
		{"environment that is no label", map[string]string{"APP_ENV": "prod_eu"}, "APP_ENV is"},
		{"number out of range", map[string]string{"DATABASE_MAX_CONNS": "1"}, "DATABASE_MAX_CONNS is"},
		{"duration without unit", map[string]string{"PAST_DUE_GRACE": "7"}, "PAST_DUE_GRACE is"},
		{"proxy that is no network", map[string]string{"TRUSTED_PROXIES": "10.0.0.1"}, "TRUSTED_PROXIES has"},
		{"everybody as a proxy", map[string]string{"TRUSTED_PROXIES": "10.0.0.0/8,0.0.0.0/0"}, "TRUSTED_PROXIES has \"0.0.0.0/0\""},
		{"every IPv6 address as a proxy", map[string]string{"TRUSTED_PROXIES": "::/0"}, "TRUSTED_PROXIES has \"::/0\""},
		{"everybody as a proxy, in another spelling", map[string]string{"TRUSTED_PROXIES": "::ffff:0.0.0.0/96"}, "TRUSTED_PROXIES has"},
		{"half of everybody as a proxy", map[string]string{"TRUSTED_PROXIES": "128.0.0.0/1"}, "TRUSTED_PROXIES has"},
		{"origin with a path", map[string]string{"CORS_ORIGINS": "https://a.example/x"}, "CORS_ORIGINS has"},
		{"origin that is a pattern", map[string]string{"CORS_ORIGINS": "https://*"}, "CORS_ORIGINS has"},
		{"origin with a password", map[string]string{"REDIRECT_ORIGINS": "https://u:hunter2@a.example"}, "REDIRECT_ORIGINS has"},
		{"database that cannot be read", map[string]string{"DATABASE_URL": "postgres://u:hunter2%zz@h/d"}, "DATABASE_URL cannot be read"},
		{"Redis that cannot be read", map[string]string{"REDIS_URL": "http://:hunter2@h"}, "REDIS_URL cannot be read"},
		{"key prefix", map[string]string{"API_KEY_PREFIX": "Sk-"}, "API_KEY_PREFIX is"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			env := valid()
			maps.Copy(env, tt.env)
			c, err := load(env)
			if err == nil {
				t.Fatal("it was taken")
			}
			if strings.Contains(fmt.Sprint(err, c.Rows()), "hunter2") {
				t.Errorf("a password shows: %v", c.Rows())
			}
			if lines := strings.Split(err.Error(), "\n"); len(lines) != 1 || !strings.HasPrefix(lines[0], tt.want) {
				t.Errorf("got %q, want one line that begins with %q", err, tt.want)
			}
		})
	}
}

func TestLoadNamesEveryMistakeAtOnce(t *testing.T) {
	t.Parallel()
	_, err := load(map[string]string{"LOG_LEVEL": "loud"})
	for _, name := range []string{"DATABASE_URL", "REDIS_URL", "SUPABASE_URL", "STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRET", "LOG_LEVEL"} {
		if err == nil || !strings.Contains(err.Error(), name+" ") {
			t.Errorf("%s is not named in %v", name, err)
		}
	}
}

func TestSecretsNeverShow(t *testing.T) {
	t.Parallel()
	c, err := load(valid())
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "url", c.DatabaseURL, "config", c)
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprintf("%v %+v %#v %s %q %x", c.DatabaseURL, c.DatabaseURL, c.DatabaseURL, c.DatabaseURL, c.DatabaseURL, c.DatabaseURL),
		fmt.Sprintf("%v %+v", c, c), log.String(), string(asJSON), fmt.Sprint(c.Rows()),
	} {
		for _, secret := range []string{"hunter2", "68756e74657232", "sk_live_0123456789", "whsec_0123456789abc"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in %q", secret, text)
			}
		}
	}
}
