package servetest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Pro is the wish for the tier pro by the month.
func Pro() map[string]any { return wish("tier", "pro", "interval", "month") }

// SmallPack is the wish for 1,000 credits.
func SmallPack() map[string]any { return wish("credit_pack", "small") }

func wish(pairs ...string) map[string]any {
	w := map[string]any{"currency": "eur", "success_url": "https://app.example.com/ok", "cancel_url": "https://app.example.com/no"}
	for i := 0; i < len(pairs); i += 2 {
		w[pairs[i]] = pairs[i+1]
	}
	return w
}

// Checkout opens a page at Stripe for a wish, and returns its address.
func (w *World) Checkout(t testing.TB, p Person, wish map[string]any) string {
	t.Helper()
	var session struct{ URL string }
	w.Do(t, Request{Method: http.MethodPost, Path: "/v1/billing/checkout-sessions", Token: p.Token, Body: wish}).
		Want(http.StatusCreated, &session)
	return session.URL
}

// Pay pays on a page at Stripe with a card that works. What comes of it comes by webhook.
func (w *World) Pay(t testing.TB, page string) {
	t.Helper()
	form := url.Values{"action": {"pay"}, "name": {"Ana"}, "email": {"ana@example.com"}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, page, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client := http.Client{Timeout: requestTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusSeeOther {
		t.Fatalf("paying is answered with %d", res.StatusCode)
	}
}

// Buy pays for a wish and waits until it has arrived: until the account has a lot of credits more.
func (w *World) Buy(t testing.TB, p Person, wish map[string]any) {
	t.Helper()
	before := w.Lots(t, p)
	w.Pay(t, w.Checkout(t, p, wish))
	Eventually(t, requestTimeout, func() bool { return w.Lots(t, p) > before }, "nothing has come of the payment")
}

// Lots counts the lots of credits that somebody has paid for.
func (w *World) Lots(t testing.TB, p Person) (n int) {
	t.Helper()
	err := w.Pool.QueryRow(t.Context(),
		`SELECT count(*) FROM credit_lots WHERE account_id = $1 AND natural_key NOT LIKE 'clock:%'`, p.AccountID).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
