package main

import (
	"regexp"
	"testing"

	"example.com/saaskit/internal/serve/servetest"
)

// What an operator does about Stripe's events, from the endpoint to a replay.
func TestStripeCommands(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{})
	env := w.Env(nil)
	const address = "https://app.example.com/v1/webhooks/stripe"
	saaskit(t, env, "stripe", "doctor", "-url", address).want(t, 1, "there is no webhook endpoint", "may not reach us")
	made := saaskit(t, env, "stripe", "setup", "-url", address).want(t, 0, "STRIPE_WEBHOOK_SECRET=whsec_", "")
	if !regexp.MustCompile(`Endpoint we_\w+ is made`).MatchString(made.stdout) {
		t.Error(made.stdout)
	}
	saaskit(t, env, "stripe", "setup", "-url", address).want(t, 0, "is up to date", "")
	saaskit(t, env, "stripe", "doctor", "-url", address).want(t, 0, "", "")

	p := w.Person(t)
	w.Buy(t, p, servetest.SmallPack())
	var id string
	if err := w.Pool.QueryRow(t.Context(), `SELECT id FROM stripe_events WHERE type = 'checkout.session.completed'`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	saaskit(t, env, "events", "list", "-type", "checkout.session.completed").want(t, 0, id, "")
	saaskit(t, env, "events", "show", id).want(t, 0, "checkout.session cs_", "")
	saaskit(t, env, "events", "replay", id).want(t, 0, id+"  pending", "")
	saaskit(t, env, "events", "replay", "-type", "checkout.session.completed").want(t, 0, "1 events wait", "")
	saaskit(t, env, "events", "replay", "evt_none").want(t, 1, "", "there is no such event")
	saaskit(t, env, "events", "sweep", "-dry-run").want(t, 0, "0 of them new", "")
	saaskit(t, env, "events", "sweep").want(t, 0, "0 of them new", "")
	saaskit(t, env, "events", "reconcile", "-all", "-dry-run").want(t, 0, " 0 failed", "")
	for _, args := range [][]string{{"events", "show"}, {"events", "replay"}, {"events", "sweep", "now"}, {"stripe"}, {"stripe", "setup"}} {
		saaskit(t, env, args...).want(t, 2, "", "usage: saaskit")
	}
}
