package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"example.com/saaskit/internal/serve/servetest"
)

// asProgram makes the test binary be the program.
const asProgram = "SAASKIT_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	main()
}

// A result is how the program ended and what it said.
type result struct {
	code           int
	stdout, stderr string
}

// saaskit runs the program as an operator does.
func saaskit(t *testing.T, env []string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append([]string{asProgram + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, env...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("saaskit %v: %v", args, err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// want fails the test where the program ended otherwise, or said less on standard output and standard error.
func (r result) want(t *testing.T, code int, stdout, stderr string) result {
	t.Helper()
	if r.code != code || !strings.Contains(r.stdout, stdout) || !strings.Contains(r.stderr, stderr) {
		t.Fatalf("exit code %d, want %d\nstdout, want %q:\n%s\nstderr, want %q:\n%s", r.code, code, stdout, r.stdout, stderr, r.stderr)
	}
	return r
}

// Wrong usage is told before anything is looked at: no settings are needed to hear of it.
func TestWrongUsage(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":                  "usage: saaskit <command>",
		"teleport":          "there is no command teleport",
		"serve now":         "serve takes no arguments",
		"migrate sideways":  "migrate takes up or status",
		"migrate up again":  "migrate takes up or status",
		"catalog":           "catalog takes plan, apply, show or migrate",
		"catalog sell":      "catalog takes plan, apply, show or migrate",
		"catalog plan -x":   "flag provided but not defined: -x",
		"catalog plan more": "catalog plan takes flags only, not more",
		"keys":              "keys takes create, list or revoke",
		"keys forge":        "keys takes create, list or revoke",
		"doctor":            "doctor looks at: ledger",
		"doctor teeth":      "doctor looks at: ledger",
		"config -x":         "config takes -markdown or nothing",
		"version 2":         "version takes no arguments",

		"events replay evt_1 --dry-run":        "flags come before ids: --dry-run",
		"events replay -limit 3 evt_1":         "-limit is how many of those that a filter finds",
		"events replay -status done evt_1":     "events replay takes ids, or -status",
		"events replay -limit -1 -status done": "-limit is how many of those that a filter finds",
		"events replay -status finished":       "-status is one of: pending, done,",
		"events list -status nonsense":         "-status is one of: pending, done,",
		"events list -dry-run":                 "flag provided but not defined: -dry-run",
		"events show -limit 3 evt_1":           "flag provided but not defined: -limit",
		"events sweep -limit 3 -status x":      "flag provided but not defined: -limit",
		"events sweep -all":                    "flag provided but not defined: -all",
		"events reconcile -type x":             "flag provided but not defined: -type",
		"catalog show -f nosuch":               "flag provided but not defined: -f",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			if r := saaskit(t, nil, strings.Fields(args)...).want(t, 2, "", want); r.stdout != "" || !strings.Contains(r.stderr, "usage: saaskit") {
				t.Errorf("stdout %q, stderr %q: the usage belongs on stderr", r.stdout, r.stderr)
			}
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	for _, arg := range []string{"help", "-h", "--help"} {
		saaskit(t, nil, arg).want(t, 0, usage, "")
	}
	saaskit(t, nil, "version").want(t, 0, "saaskit ", "")
}

func TestConfigShowsNoSecret(t *testing.T) {
	t.Parallel()
	env := []string{
		"DATABASE_URL=postgres://u:hunter2@h/d", "REDIS_URL=redis://:hunter2@h", "SUPABASE_URL=https://ref.supabase.co",
		"SUPABASE_JWT_SECRET=hunter2-hunter2-hunter2-hunter2-hunter2",
		"STRIPE_API_KEY=sk_live_hunter2hunter2", "STRIPE_WEBHOOK_SECRET=whsec_hunter2hunter2,whsec_hunter2hunter3", "APP_ENV=staging",
	}
	r := saaskit(t, env, "config").want(t, 0, "", "")
	for _, line := range []string{"APP_ENV staging", "DATABASE_URL ***", "STRIPE_WEBHOOK_SECRET ***", "SHUTDOWN_TIMEOUT 20s", "SUPABASE_JWT_ISSUER https://ref.supabase.co/auth/v1"} {
		if !strings.Contains(strings.Join(strings.Fields(r.stdout), " "), line) {
			t.Errorf("%q is missing in\n%s", line, r.stdout)
		}
	}
	if strings.Contains(r.stdout+r.stderr, "hunter2") {
		t.Errorf("a secret shows:\n%s%s", r.stdout, r.stderr)
	}
	saaskit(t, append(env, "LOG_LEVEL=loud", "STRIPE_API_KEY=hunter2"), "config").want(t, 1, "LOG_LEVEL", "LOG_LEVEL is \"loud\"").
		want(t, 1, "APP_ENV", "STRIPE_API_KEY does not begin with sk_live_")
}

// The table of settings in the README is what the program says.
func TestReadmeHasTheSettings(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	table := saaskit(t, nil, "config", "-markdown").want(t, 0, "| `ADDR` |", "").stdout
	var found strings.Builder
	_, after, _ := strings.Cut(string(readme), "| setting | default | limits | |\n|---|---|---|---|\n")
	for line := range strings.Lines(after) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		found.WriteString(line)
	}
	if found.String() != table {
		t.Errorf("README.md has another table of settings; write what `saaskit config -markdown` prints:\n%s", table)
	}
}

// The server does not start with settings that would make it unsafe, and says which.
func TestServeRefusesUnsafeSettings(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{NoServer: true})
	for name, tt := range map[string]struct {
		env  map[string]string
		want string
	}{
		"no webhook secret":            {map[string]string{"STRIPE_WEBHOOK_SECRET": ""}, "STRIPE_WEBHOOK_SECRET is required"},
		"an emulator with a live key":  {map[string]string{"STRIPE_API_KEY": "sk_live_0123456789", "DEV_MODE": "false"}, "STRIPE_API_BASE goes with a test key only"},
		"an emulator elsewhere":        {map[string]string{"STRIPE_API_BASE": "http://192.0.2.1:12111"}, "STRIPE_API_BASE has to be on this machine"},
		"the secret everybody knows":   {map[string]string{"SUPABASE_JWT_SECRET": "super-secret-jwt-token-with-at-least-32-characters-long", "DEV_MODE": "false"}, "SUPABASE_JWT_SECRET is a default"},
		"self-hosting's known secret":  {map[string]string{"SUPABASE_JWT_SECRET": "your-super-secret-jwt-token-with-at-least-32-characters-long", "DEV_MODE": "false"}, "SUPABASE_JWT_SECRET is a default"},
		"an emulator for everybody":    {map[string]string{"ADDR": "0.0.0.0:0", "DEV_MODE": "false"}, "STRIPE_API_BASE goes with a loopback ADDR"},
		"metrics for everybody":        {map[string]string{"METRICS_ADDR": ":0"}, "METRICS_ADDR is every address"},
		"everybody as a proxy":         {map[string]string{"TRUSTED_PROXIES": "0.0.0.0/0"}, "TRUSTED_PROXIES has"},
		"dev mode with a live key":     {map[string]string{"STRIPE_API_KEY": "sk_live_0123456789", "STRIPE_API_BASE": ""}, "DEV_MODE does not go with a live Stripe key"},
		"any origin outside dev mode":  {map[string]string{"CORS_ORIGINS": "*", "DEV_MODE": "false"}, "may be * in DEV_MODE only"},
		"passwords in clear":           {map[string]string{"SUPABASE_URL": "http://auth.example.com"}, "SUPABASE_URL has to be https"},
		"a secret that is easy to try": {map[string]string{"SUPABASE_JWT_SECRET": "short"}, "SUPABASE_JWT_SECRET is shorter than 32"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.env["ADDR"] == "" {
				tt.env["ADDR"] = "127.0.0.1:0"
			}
			r := saaskit(t, w.Env(tt.env), "serve").want(t, 1, "", tt.want)
			if strings.Contains(r.stderr, `"serving"`) {
				t.Errorf("it has served before it refused: %s", r.stderr)
			}
		})
	}
}
