package httpapi_test

import (
	"net/http"
	"testing"

	"example.com/saaskit/internal/serve/servetest"
)

const subscription = "/v1/subscription"

// The whole way: preview, change up, schedule a change down, cancel, resume, the portal.
func TestSubscriptionOperations(t *testing.T) {
	t.Parallel()
	w := generous(t)
	p := w.Person(t)
	me := by{token: p.Token}
	w.Buy(t, p, servetest.Pro())
	do := func(r servetest.Request) object {
		t.Helper()
		return decoded(t, w.Do(t, r).Want(http.StatusOK, nil))
	}
	preview := do(me.post(subscription+"/preview", object{"tier": "scale"}))
	due := preview["due_now"].(object)
	charge := preview["charge"].(object)
	if preview["effective"] != "now" || due["amount"].(float64) <= 0 || due["currency"] != "eur" || len(charge["lines"].([]any)) != 2 {
		t.Fatalf("the preview is %v", preview)
	}
	up := me.with("Idempotency-Key", "up").patch(subscription, object{"tier": "scale", "prorated_at": preview["prorated_at"]})
	if s := do(up); s["tier"] != "scale" || s["status"] != "active" || s["pending_change"] != nil {
		t.Errorf("after the change: %v", s)
	}
	if res := w.Do(t, up); res.Header.Get("Idempotent-Replayed") != "true" {
		t.Error("the same request is not replayed")
	}
	var paid int
	if err := w.Pool.QueryRow(t.Context(), "SELECT amount_paid FROM invoices WHERE account_id = $1 AND billing_reason = 'subscription_update'", p.AccountID).Scan(&paid); err != nil {
		t.Fatal(err)
	}
	if float64(paid) != due["amount"] {
		t.Errorf("charged %d, previewed %v", paid, due)
	}
	s := do(me.patch(subscription, object{"tier": "pro"}))
	if f, _ := s["scheduled_change"].(object); s["tier"] != "scale" || f["tier"] != "pro" || f["effective_at"] != s["current_period_end"] {
		t.Errorf("after scheduling: %v", s)
	}
	if s := do(me.post(subscription+"/cancel", object{})); s["cancel_at"] != s["current_period_end"] || s["scheduled_change"] != nil {
		t.Errorf("after canceling: %v", s)
	}
	w.Do(t, me.patch(subscription, object{"tier": "pro"})).WantProblem(http.StatusConflict, "subscription_ending")
	if s := do(me.post(subscription+"/resume", nil)); s["cancel_at"] != nil || s["cancel_at_period_end"] != false {
		t.Errorf("after resuming: %v", s)
	}
	if s := do(me.post(subscription+"/cancel", object{"when": "now"})); s["status"] != "canceled" || s["access"] != false {
		t.Errorf("after ending: %v", s)
	}
	if s := do(me.get(subscription)); s["status"] != "canceled" {
		t.Errorf("read again: %v", s)
	}
	portal := decoded(t, w.Do(t, me.post("/v1/billing/portal-sessions", object{"return_url": "https://app.example.com/account"})).Want(http.StatusCreated, nil))
	if portal["url"] == "" {
		t.Errorf("the portal is %v", portal)
	}
}

func TestSubscriptionRefused(t *testing.T) {
	t.Parallel()
	w := generous(t)
	p, other := w.Person(t), w.Person(t)
	_, key := w.Key(t, p, "account:read")
	me := by{token: p.Token}
	to := object{"tier": "scale"}
	refuses(t, w, []wrong{
		{"nothing to change", me.patch(subscription, to), 409, "no_subscription"},
		{"nothing to preview", me.post(subscription+"/preview", to), 409, "no_subscription"},
		{"nothing to cancel", me.post(subscription+"/cancel", object{}), 409, "no_subscription"},
		{"nothing to resume", me.post(subscription+"/resume", nil), 409, "no_subscription"},
		{"no wish", me.patch(subscription, object{}), 400, "invalid_request"},
		{"no quantity", me.patch(subscription, object{"quantity": 0}), 400, "invalid_request"},
		{"another time", me.post(subscription+"/cancel", object{"when": "never"}), 400, "invalid_request"},
		{"a program", by{key: key}.patch(subscription, to), 403, "credential_not_allowed"},
		{"another account", me.with("Saaskit-Account", other.AccountID.String()).patch(subscription, to), 403, "account_forbidden"},
		{"back to a strange origin", me.post("/v1/billing/portal-sessions", object{"return_url": "https://evil.example.com/"}), 422, "redirect_not_allowed"},
	})
}
