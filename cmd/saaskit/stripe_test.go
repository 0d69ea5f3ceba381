package main

import (
	"regexp"
	"strings"
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
	for args, want := range map[string]string{
		"-dry-run " + id: "1 events would be replayed",
		"-dry-run -type checkout.session.completed":          "1 events would be replayed",
		"-dry-run -status done -limit 1":                     "1 events would be replayed",
		"-dry-run -type checkout.session.completed -limit 7": id,
	} {
		before := replays(t, w)
		saaskit(t, env, append([]string{"events", "replay"}, strings.Fields(args)...)...).want(t, 0, want, "")
		if after := replays(t, w); after != before {
			t.Errorf("events replay %s has replayed %d events", args, after-before)
		}
	}
	saaskit(t, env, "events", "replay", "evt_none").want(t, 1, "", "there is no such event")
	saaskit(t, env, "events", "sweep", "-dry-run").want(t, 0, "0 of them new", "")
	saaskit(t, env, "events", "sweep").want(t, 0, "0 of them new", "")
	saaskit(t, env, "events", "reconcile", "-all", "-dry-run").want(t, 0, " 0 failed", "")
	before := replays(t, w)
	if before < 2 {
		t.Fatalf("%d replays so far; this test counts nothing", before)
	}
	saaskit(t, env, "events", "replay", "-object", "evt_none", "-limit", "1").want(t, 0, "0 events wait", "")
	if _, err := w.Pool.Exec(t.Context(), `UPDATE stripe_events SET status = 'done', reason = '', done_at = now()`); err != nil {
		t.Fatal(err)
	}
	saaskit(t, env, "events", "replay", "-status", "done", "-limit", "1").want(t, 0, "", "")
	if after := replays(t, w); after != before+1 {
		t.Errorf("with -limit 1 it has replayed %d events", after-before)
	}
	for _, args := range [][]string{{"events", "show"}, {"events", "replay"}, {"events", "sweep", "now"}, {"stripe"}, {"stripe", "setup"}} {
		saaskit(t, env, args...).want(t, 2, "", "usage: saaskit")
	}
}

func replays(t *testing.T, w *servetest.World) (n int) {
	t.Helper()
	if err := w.Pool.QueryRow(t.Context(), `SELECT count(*) FROM audit_log WHERE action = 'stripe_event.replay'`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
