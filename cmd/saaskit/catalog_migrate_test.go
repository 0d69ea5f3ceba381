package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"example.com/saaskit/internal/serve/servetest"
	"example.com/saaskit/internal/stripeemu"
)

// Who was moved is shown the new price at once, though no event of it has come yet.
func TestMigrationIsMirroredAtOnce(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{})
	env := w.Env(nil)
	w.Buy(t, w.Person(t), servetest.Pro())
	text := func(query string) (s string) {
		t.Helper()
		if err := w.Pool.QueryRow(t.Context(), query).Scan(&s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	old := text(`SELECT price_id FROM subscriptions`)

	source, err := os.ReadFile("../../catalog.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dearer.yaml")
	if err := os.WriteFile(file, bytes.Replace(source, []byte("eur: 2700}"), []byte("eur: 2900}"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	w.Stripe.SetDeliveryFaults(stripeemu.DeliveryFaults{Drop: func(string) bool { return true }})
	saaskit(t, env, "catalog", "apply", "-f", file).want(t, 0, "The catalogue is applied.", "")
	now := text(`SELECT stripe_price_id FROM tier_prices WHERE tier_id = 'pro' AND interval = 'month' AND currency = 'eur' AND archived_at IS NULL`)
	saaskit(t, env, "catalog", "migrate", "--from", old, "--to", now).want(t, 0, "Nothing was changed", "")
	if got := text(`SELECT price_id FROM subscriptions`); got != old {
		t.Errorf("a dry run has moved to %s", got)
	}
	saaskit(t, env, "catalog", "migrate", "--from", old, "--to", now, "--apply").want(t, 0, "1 moved, 0 not.", "")
	if got := text(`SELECT price_id FROM subscriptions`); got != now || got == old {
		t.Errorf("the mirror has %s, want %s", got, now)
	}
}
