package billing_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/problem"
	"example.com/saaskit/internal/stripeemu"
)

// dearer puts another price of basic on sale, here and at Stripe, as applying a catalogue does.
func (w *world) dearer() {
	w.t.Helper()
	w.exec("UPDATE tier_prices SET archived_at = now() WHERE stripe_price_id = 'price_basic'")
	w.exec(`INSERT INTO tier_prices (lookup_key, tier_id, interval, currency, amount, stripe_price_id, created_at)
		VALUES ('basic_month_usd_2', 'basic', 'month', 'usd', 1200, 'price_basic_2', now())`)
	w.create("price", map[string]any{
		"id": "price_basic_2", "active": true, "currency": "usd", "unit_amount": 1200, "product": "prod_basic", "type": "recurring",
		"recurring": map[string]any{"interval": "month", "interval_count": 1, "usage_type": "licensed", "aggregate_usage": nil},
	})
	w.Catalog.Forget()
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	w.dearer()
	w.wait(aThird)
	for names, want := range map[[2]string]error{
		{"nothing", "price_basic_2"}:         problem.PriceNotFound,
		{"price_basic", "price_pack"}:        problem.PriceNotFound,
		{"price_basic", "price_basic"}:       problem.InvalidRequest,
		{"price_basic", "price_basic_year"}:  problem.InvalidRequest,
		{"price_basic", "price_basic_eur"}:   problem.InvalidRequest,
		{"price_basic_2", "basic_month_usd"}: problem.PriceNotFound,
	} {
		if _, err := w.PlanMigration(t.Context(), names[0], names[1]); !errors.Is(err, want) {
			t.Errorf("%v: %v, want %v", names, err, want)
		}
	}
	m, err := w.PlanMigration(t.Context(), "basic_month_usd", "price_basic_2")
	if err != nil || len(m.Subscribers) != 1 || m.Subscribers[0].ID != sub || m.Subscribers[0].Ending {
		t.Fatalf("plan: %+v, %v", m, err)
	}
	w.wantPrice(sub, "price_basic × 1")
	invoices := len(w.emu.Objects("invoice"))
	remove := w.emu.Inject(stripeemu.Fault{
		Method: http.MethodPost, Path: subscriptionPath, Status: 500, After: true, Header: http.Header{"Stripe-Should-Retry": {"false"}},
	})
	if err := w.Migrate(t.Context(), m, m.Subscribers[0]); !errors.Is(err, problem.StripeFailed) {
		t.Errorf("interrupted: %v", err)
	}
	remove()
	for range 2 { // what is moved stays moved
		if err := w.Migrate(t.Context(), m, m.Subscribers[0]); err != nil {
			t.Fatal(err)
		}
	}
	w.wantPrice(sub, "price_basic_2 × 1")
	if n := len(w.emu.Objects("invoice")) - invoices; n != 0 {
		t.Errorf("%d invoices: nobody is charged for a migration", n)
	}
	if s := w.state(); s.Tier != "basic" {
		t.Errorf("state: %+v", s)
	}
	w.wait(25 * 24 * time.Hour)
	if in := w.latest(); fmt.Sprint(in["amount_paid"]) != "1200" || in["billing_reason"] != "subscription_cycle" {
		t.Errorf("the renewal: %v %v", in["amount_paid"], in["billing_reason"])
	}
	if n := w.count("SELECT count(*) FROM audit_log WHERE action = 'subscription.migrate' AND actor_kind = 'operator'"); n != 1 {
		t.Errorf("%d audit entries", n)
	}
	if again, err := w.PlanMigration(t.Context(), "basic_month_usd", "price_basic_2"); err != nil || len(again.Subscribers) != 0 {
		t.Errorf("left: %+v, %v", again.Subscribers, err)
	}
}

// What is to end stays at its price, and what follows a schedule is told to the operator.
func TestMigrateLeavesAlone(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, func(v *billing.Wish) { v.Quantity = 1 })
	w.dearer()
	w.cancel(false)
	m, err := w.PlanMigration(t.Context(), "price_basic", "price_basic_2")
	if err != nil || !m.Subscribers[0].Ending {
		t.Fatalf("plan: %+v, %v", m, err)
	}
	if err := w.Migrate(t.Context(), m, m.Subscribers[0]); err != nil {
		t.Error(err)
	}
	w.wantPrice(sub, "price_basic × 1")
	if _, _, err := w.ResumeSubscription(t.Context(), w.to("", "")); err != nil {
		t.Fatal(err)
	}
	w.exec("UPDATE tiers SET rank = -1 WHERE id = 'pro'")
	w.Catalog.Forget()
	w.change(w.to("pro", ""))
	if err := w.Migrate(t.Context(), m, m.Subscribers[0]); !errors.Is(err, problem.Conflict) {
		t.Errorf("with a schedule: %v", err)
	}
	w.wantPrice(sub, "price_basic × 1")
}

func TestEmailReachesStripe(t *testing.T) {
	t.Parallel()
	w, _ := subscribed(t, nil)
	email := func() any { return w.emu.Objects("customer")[0]["email"] }
	tell := func(want int) {
		t.Helper()
		if n, err := w.TellEmails(t.Context()); err != nil || n != want {
			t.Errorf("told %d, %v; want %d", n, err, want)
		}
	}
	tell(0)
	old := email().(string)
	for i, address := range []string{"new@example.com", old, "new@example.com"} { // back and forth within a day
		w.exec("UPDATE users SET email = $1, email_as_of = now() + $2 * interval '1 second' WHERE id = $3", address, i+1, w.userID)
		remove := w.emu.Inject(stripeemu.Fault{
			Path: "/v1/customers/*", Status: 500, After: i%2 == 0, Header: http.Header{"Stripe-Should-Retry": {"false"}},
		})
		if n, err := w.TellEmails(t.Context()); n != 0 || !errors.Is(err, problem.StripeFailed) {
			t.Errorf("interrupted: %d, %v", n, err)
		}
		remove()
		tell(1)
		tell(0)
		if email() != address {
			t.Errorf("Stripe has %v, want %s", email(), address)
		}
	}
	// An address that the customer has given Stripe stays.
	customer := w.emu.Objects("customer")[0]["id"].(string)
	if _, err := w.emu.Patch(customer, map[string]any{"email": "billing@example.com"}); err != nil {
		t.Fatal(err)
	}
	w.sync("customer", customer)
	tell(0)
	w.exec("UPDATE users SET email = 'gone@example.com', status = 'deleting' WHERE id = $1", w.userID)
	tell(0)
	if email() != "billing@example.com" {
		t.Errorf("Stripe has %v", email())
	}
}
