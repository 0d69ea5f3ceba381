// Command demo walks through the main job against a running `make dev`: sign up, buy a plan, see the webhook become a
// subscription and credits, make an API key, spend credits with it, meter usage; upgrade for what the preview said, fail to pay
// a renewal and recover, get a refund, cancel; revoke the key, sign out. Time moves on by a month in seconds. It prints each
// request and what came back, and ends with an error where anything is not as it should be.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	saaskit "example.com/saaskit/sdk/go"
)

func main() {
	envFile := flag.String("env", ".saaskit/dev.env", "settings that `make dev` wrote")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	err := run(ctx, *envFile)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "\nThe demo failed:", err)
		os.Exit(1)
	}
	fmt.Println("\nEverything is as it should be.")
}

func run(ctx context.Context, envFile string) error {
	env, err := readEnv(envFile)
	if err != nil {
		return err
	}
	d := &demo{
		ctx: ctx, base: env["BASE_URL"], email: "demo-" + strings.ToLower(rand.Text()[:8]) + "@example.com",
		stripe: stripe{address: env["STRIPE_API_BASE"], key: env["STRIPE_API_KEY"]},
	}
	if d.operator, err = d.client(saaskit.WithAPIKey(env["SERVICE_KEY"])); err != nil {
		return err
	}
	steps := []struct {
		title string
		do    func() error
	}{
		{"The server is ready", d.ready},
		{"Sign up", d.signUp},
		{"A new user has the free tier and its credits", d.freeTier},
		{"What is on sale", d.catalogue},
		{"Buy the pro plan, first with a card that is declined", d.buyPlan},
		{"The webhook became a subscription, an invoice, a payment and credits", d.subscribed},
		{"Make an API key", d.makeKey},
		{"Spend credits, twice with the same Idempotency-Key", d.spend},
		{"Meter usage", d.meter},
		{"Buy a credit pack", d.buyPack},
		{"Upgrade, for exactly what the preview says", d.upgrade},
		{"A month later the renewal is declined: the grace begins", d.declinedRenewal},
		{"The card pays again when Stripe retries", d.recovery},
		{"The pack is refunded, and its credits are taken back", d.refund},
		{"Cancel at once", d.cancel},
		{"Revoke the key", d.revoke},
		{"Sign out", d.signOut},
	}
	for i, step := range steps {
		fmt.Printf("\n%d. %s\n", i+1, step.title)
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.title, err)
		}
	}
	return nil
}

// readEnv reads lines of the form NAME=value or NAME='value'.
func readEnv(name string) (map[string]string, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w: is `make dev` running?", err)
	}
	defer file.Close()
	env := map[string]string{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if key, value, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "export "), "="); ok {
			env[key] = strings.Trim(value, `'"`)
		}
	}
	for _, setting := range []string{"BASE_URL", "SERVICE_KEY", "STRIPE_API_BASE", "STRIPE_API_KEY"} {
		if env[setting] == "" {
			return nil, errors.New(name + " has no " + setting)
		}
	}
	return env, nil
}

// client returns a client that prints what it sends and gets.
func (d *demo) client(options ...saaskit.Option) (*saaskit.Client, error) {
	return saaskit.New(d.base, append(options, saaskit.WithTransport(printer{http.DefaultTransport}))...)
}

// want is nil where the condition holds.
func want(holds bool, format string, args ...any) error {
	if holds {
		return nil
	}
	return fmt.Errorf("it is not so that "+format, args...)
}

// eventually asks until the answer is as it should be, for at most fifteen seconds.
func eventually(ctx context.Context, ask func() error) error {
	var err error
	for range 75 {
		if err = ask(); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	return err
}
