package httpapi_test

import (
	"maps"
	"net/http"
	"testing"

	"github.com/google/uuid"

	"example.com/saaskit/internal/serve/servetest"
	"example.com/saaskit/internal/stripeemu"
)

const checkout = "/v1/billing/checkout-sessions"

// changed is a wish with another value; nil takes the member out.
func changed(wish object, name string, value any) object {
	wish = maps.Clone(wish)
	wish[name] = value
	if value == nil {
		delete(wish, name)
	}
	return wish
}

func TestCheckoutSessions(t *testing.T) {
	t.Parallel()
	w := generous(t)
	me := by{token: w.Person(t).Token}
	open := func(wish object) object {
		t.Helper()
		return decoded(t, w.Do(t, me.post(checkout, wish)).Want(http.StatusCreated, nil))
	}
	first := open(servetest.Pro())
	if first["url"] == "" || first["expires_at"] == nil {
		t.Errorf("opened %v", first)
	}
	if again := open(servetest.Pro()); again["id"] != first["id"] || again["url"] != first["url"] {
		t.Errorf("the same wish opens %v beside %v", again, first)
	}
	yearly := open(changed(servetest.Pro(), "interval", "year"))
	if yearly["id"] == first["id"] {
		t.Errorf("another wish gets the same session")
	}
	if s, _ := w.Stripe.Get(first["id"].(string)); s["status"] != "expired" {
		t.Errorf("the first session is %v at Stripe", s["status"])
	}
	if pack := open(servetest.SmallPack()); pack["id"] == yearly["id"] {
		t.Error("a pack gets the session of a tier")
	}
	if s, _ := w.Stripe.Get(yearly["id"].(string)); s["status"] != "open" {
		t.Errorf("the session of the tier is %v since a pack was wished for", s["status"])
	}
	other := by{token: w.Person(t).Token}
	replays(t, w, other.post(checkout, servetest.Pro()), http.StatusCreated, changed(servetest.Pro(), "currency", "usd"))
}

func TestCheckoutRefused(t *testing.T) {
	t.Parallel()
	w := generous(t)
	p, other, paid := w.Person(t), w.Person(t), w.Person(t)
	w.Buy(t, paid, servetest.Pro())
	_, key := w.Key(t, p, "account:read")
	me, pro, pack := by{token: p.Token}, servetest.Pro(), servetest.SmallPack()
	post := func(body object) servetest.Request { return me.post(checkout, body) }
	refuses(t, w, []wrong{
		{"a tier and a pack", post(changed(pro, "credit_pack", "small")), 400, "invalid_request"},
		{"a tier without interval", post(changed(pro, "interval", nil)), 400, "invalid_request"},
		{"an interval without tier", post(changed(pro, "tier", nil)), 400, "invalid_request"},
		{"a pack by the month", post(changed(pack, "interval", "month")), 400, "invalid_request"},
		{"nothing", post(changed(pack, "credit_pack", nil)), 400, "invalid_request"},
		{"no currency", post(changed(pro, "currency", nil)), 400, "invalid_request"},
		{"no such interval", post(changed(pro, "interval", "week")), 400, "invalid_request"},
		{"no such tier", post(changed(pro, "tier", "platinum")), 422, "price_not_found"},
		{"a tier that costs nothing", post(changed(pro, "tier", "free")), 422, "price_not_found"},
		{"no such pack", post(changed(pack, "credit_pack", "huge")), 422, "price_not_found"},
		{"another currency", post(changed(pro, "currency", "gbp")), 422, "price_not_found"},
		{"back to a strange origin", post(changed(pro, "success_url", "https://evil.example.com/")), 422, "redirect_not_allowed"},
		{"back to an origin that looks like ours", post(changed(pro, "cancel_url", "https://app.example.com.evil.example/")), 422, "redirect_not_allowed"},
		{"back to a script", post(changed(pro, "cancel_url", "javascript:alert(1)")), 400, "invalid_request"},
		{"a second subscription", by{token: paid.Token}.post(checkout, pro), 409, "already_subscribed"},
		{"a program", by{key: key}.post(checkout, pro), 403, "credential_not_allowed"},
		{"another account", me.with("Saaskit-Account", other.AccountID.String()).post(checkout, pro), 403, "account_forbidden"},
	})
	for _, object := range w.Stripe.Objects("checkout.session") {
		if object["status"] == "open" {
			t.Errorf("a refusal has opened %v", object["id"])
		}
	}
	w.Do(t, by{token: paid.Token}.post(checkout, pack)).Want(http.StatusCreated, nil)
}

// Stripe is down: the caller hears it, and the same request with the same key goes on where it stopped.
func TestCheckoutWithoutStripe(t *testing.T) {
	t.Parallel()
	w := generous(t)
	me := by{token: w.Person(t).Token}.with("Idempotency-Key", uuid.NewString())
	remove := w.Stripe.Inject(stripeemu.Fault{Method: http.MethodPost, Path: "/v1/checkout/sessions", Status: http.StatusServiceUnavailable})
	w.Do(t, me.post(checkout, servetest.Pro())).WantProblem(http.StatusServiceUnavailable, "stripe_unavailable")
	remove()
	w.Do(t, me.post(checkout, servetest.Pro())).Want(http.StatusCreated, nil)
	if n := len(w.Stripe.Objects("checkout.session")); n != 1 {
		t.Errorf("%d sessions at Stripe", n)
	}
}

func TestSubscription(t *testing.T) {
	t.Parallel()
	w := generous(t)
	p := w.Person(t)
	_, key := w.Key(t, p, "account:read")
	_, narrow := w.Key(t, p, "credits:read")
	service := by{key: w.ServiceKey(t, "account")}.with("Saaskit-Account", p.AccountID.String())
	me := by{token: p.Token}
	read := func(who by) object {
		t.Helper()
		return decoded(t, w.Do(t, who.get("/v1/subscription")).Want(http.StatusOK, nil))
	}
	if s := read(me); s["tier"] != "free" || s["status"] != "none" || s["access"] != false || s["id"] != nil {
		t.Errorf("without a subscription: %v", s)
	}
	w.Do(t, by{key: narrow}.get("/v1/subscription")).WantProblem(http.StatusForbidden, "insufficient_scope")
	w.Buy(t, p, servetest.Pro())
	for name, who := range map[string]by{"a person": me, "a key": {key: key}, "a service key": service} {
		s := read(who)
		if s["tier"] != "pro" || s["status"] != "active" || s["access"] != true || s["interval"] != "month" || s["currency"] != "eur" ||
			s["quantity"] != 1.0 || s["current_period_end"] == nil || s["cancel_at"] != nil || s["cancel_at_period_end"] != false {
			t.Errorf("%s reads %v", name, s)
		}
	}
	if a := decoded(t, w.Do(t, me.get("/v1/account")).Want(http.StatusOK, nil)); a["tier"] != "pro" || a["access"] != true || a["role"] != "owner" {
		t.Errorf("the account is %v", a)
	}
	if s := read(by{token: w.Person(t).Token}); s["status"] != "none" {
		t.Errorf("another account has %v", s)
	}
}

func TestInvoicesAndTransactions(t *testing.T) {
	t.Parallel()
	w := generous(t)
	p, other := w.Person(t), w.Person(t)
	me := by{token: p.Token}
	w.Buy(t, p, servetest.Pro())
	w.Buy(t, p, servetest.SmallPack())
	w.Buy(t, other, servetest.SmallPack())
	servetest.Eventually(t, patience, func() bool {
		var n int
		if err := w.Pool.QueryRow(t.Context(), "SELECT count(*) FROM transactions WHERE status = 'succeeded'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == 3
	}, "the payments do not arrive")
	in := walk(t, w, me, "/v1/invoices", 1)[0] // a pack comes without
	if total := in["total"].(object); in["status"] != "paid" || total["amount"] != 2700.0 || total["currency"] != "eur" ||
		in["amount_paid"].(object)["amount"] != 2700.0 || in["paid_at"] == nil || in["subscription_id"] == nil {
		t.Errorf("the invoice is %v", in)
	}
	payments := map[any]bool{}
	for _, tx := range walk(t, w, me, "/v1/transactions", 2) {
		payments[tx["amount"].(object)["amount"]] = true
		if tx["kind"] != "payment" || tx["status"] != "succeeded" || tx["charge_id"] == nil {
			t.Errorf("a payment is %v", tx)
		}
	}
	for _, amount := range []any{2700.0, 1400.0} {
		if !payments[amount] {
			t.Errorf("%v is not among the payments %v", amount, payments)
		}
	}
	walk(t, w, by{token: other.Token}, "/v1/invoices", 0)
	if rows := walk(t, w, by{token: other.Token}, "/v1/transactions", 1); rows[0]["amount"].(object)["amount"] != 1400.0 {
		t.Errorf("the other account sees %v", rows)
	}
	w.Do(t, me.with("Saaskit-Account", other.AccountID.String()).get("/v1/invoices")).WantProblem(http.StatusForbidden, "account_forbidden")

	// More than a page, with rows of the same moment.
	if _, err := w.Pool.Exec(t.Context(), `INSERT INTO invoices (id, account_id, customer_id, status, currency, subtotal, total, amount_due, amount_paid, amount_remaining, created_at, updated_at)
		SELECT 'in_test' || n, $1, 'cus_test', CASE n WHEN 1 THEN 'draft' ELSE 'paid' END, 'eur', n, n, n, n, 0, '2025-01-01T00:00Z', now() FROM generate_series(1, 6) n`, p.AccountID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Pool.Exec(t.Context(), `INSERT INTO transactions (id, account_id, kind, natural_key, status, amount, currency, occurred_at, updated_at)
		SELECT gen_random_uuid(), $1, 'refund', 'test' || n, 'succeeded', -n, 'eur', '2025-01-01T00:00Z', now() FROM generate_series(1, 5) n`, p.AccountID); err != nil {
		t.Fatal(err)
	}
	walk(t, w, me, "/v1/invoices", 6) // the draft is left out
	walk(t, w, me, "/v1/transactions", 7)
}
