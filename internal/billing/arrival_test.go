package billing_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/page"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/problem"
)

func TestCheckoutWithQuantityAndTrial(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("UPDATE tiers SET max_quantity = 5, trial_days = 14 WHERE id = 'basic'")
	wish := w.tier("basic")
	wish.Quantity = 6
	w.refused(wish, problem.InvalidRequest)
	one := w.open(w.tier("basic"))
	wish.Quantity = 3
	three := w.open(wish)
	if one.ID == three.ID || w.statuses() != "expired open" {
		t.Errorf("another quantity is another session: %s", w.statuses())
	}
	w.pay(three)
	w.sync("checkout.session", three.ID)
	s := w.state()
	if s.Status != "trialing" || s.Quantity != 3 || !s.Access || s.TrialEnd == nil || s.TrialEnd.Sub(w.Now()) < 13*24*time.Hour {
		t.Errorf("state: %+v", s)
	}
	w.cancel(true)
	again := w.open(w.tier("basic"))
	w.pay(again)
	w.sync("checkout.session", again.ID)
	if s := w.state(); s.Status != "active" || s.TrialEnd != nil {
		t.Errorf("a second trial: %+v", s)
	}
}

func TestPacksByTheDozen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wish := w.pack()
	wish.Quantity = 101
	w.refused(wish, problem.InvalidRequest)
	wish.Quantity, wish.Currency = 12, "eur"
	session := w.open(wish)
	w.pay(session)
	w.sync("checkout.session", session.ID)
	if n := w.count("SELECT sum(granted) FROM credit_lots"); n != 600 {
		t.Errorf("%d credits", n)
	}
	if o, _ := w.emu.Get(session.ID); fmt.Sprintln(o["amount_total"], o["currency"]) != "5400 eur\n" {
		t.Errorf("session: %v", o)
	}
}

func TestCheckoutOffersCodesAndTax(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tax := range []bool{false, true} {
		s := w.instance(w.api(), func(c *billing.Config) { c.AutomaticTax = tax })
		wish := w.tier("basic")
		if tax {
			wish = w.pack()
		}
		session, _, err := s.OpenCheckout(t.Context(), wish)
		if err != nil {
			t.Fatal(err)
		}
		o, _ := w.emu.Get(session.ID)
		ids, _ := o["tax_id_collection"].(map[string]any)
		if o["allow_promotion_codes"] != true || o["automatic_tax"].(map[string]any)["enabled"] != tax || tax != (ids["enabled"] == true) {
			t.Errorf("tax %t: codes %v, tax %v, ids %v", tax, o["allow_promotion_codes"], o["automatic_tax"], ids)
		}
	}
}

// C85: the page that the customer comes back to, the webhook, and a second tab at once: one subscription, one grant.
func TestC85SuccessPageRacesTheWebhook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	session := w.open(w.tier("basic"))
	if a, err := w.Checkout(t.Context(), w.accountID, session.ID); err != nil || a.Status != "open" {
		t.Errorf("before it is paid: %s, %v", a.Status, err)
	}
	w.pay(session)
	other := pgtest.Account(t, w.pool)
	for _, id := range []string{session.ID, "cs_test_unknown"} {
		if _, err := w.Checkout(t.Context(), other, id); !errors.Is(err, problem.AccountForbidden) {
			t.Errorf("another account looks at %s: %v", id, err)
		}
	}
	if n := w.count("SELECT count(*) FROM subscriptions"); n != 0 {
		t.Error("the stranger has brought something about")
	}
	ended := make(chan error)
	for i := range 6 {
		go func() {
			ctx := context.WithoutCancel(t.Context())
			if i%2 == 0 {
				ended <- w.Sync(ctx, "checkout.session", session.ID)
				return
			}
			_, err := w.Checkout(ctx, w.accountID, session.ID)
			ended <- err
		}()
	}
	for range 6 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if a, err := w.Checkout(t.Context(), w.accountID, session.ID); err != nil || a.Status != "complete" {
		t.Errorf("afterwards: %s, %v", a.Status, err)
	}
	got := fmt.Sprint(w.count("SELECT count(*) FROM subscriptions"), w.count("SELECT count(*) FROM credit_lots WHERE natural_key NOT LIKE 'clock:%'"))
	if s := w.state(); got != "1 1" || s.Tier != "basic" || !s.Access {
		t.Errorf("subscriptions and grants: %s; %+v", got, s)
	}
}

// What is due is told: where to pay, when Stripe tries again, and how long there is access without.
func TestDunningIsVisible(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	w.card(sub, "pm_card_chargeCustomerFail")
	w.wait(31*24*time.Hour + 2*time.Hour)
	invoice := w.latest()["id"].(string)
	w.sync("subscription", sub)
	w.sync("invoice", invoice)
	s := w.state()
	if s.Status != "past_due" || !s.Access || s.AccessUntil == nil || s.Due == nil {
		t.Fatalf("state: %+v", s)
	}
	if d := s.Due; d.InvoiceID != invoice || d.Amount != 1000 || d.Currency != "usd" || d.Attempts == 0 || d.NextPaymentAttempt == nil ||
		d.NextPaymentAttempt.Before(w.Now()) || d.HostedInvoiceURL == "" || d.Remedy != billing.UpdatePaymentMethod {
		t.Errorf("due: %+v", d)
	}
	w.changeRefused(w.to("pro", ""), problem.PaymentOverdue)
	w.Add(8 * 24 * time.Hour) // without Stripe noticing
	if s := w.state(); s.Access {
		t.Errorf("after the grace: %+v", s)
	}
	list, err := w.Invoices(t.Context(), w.accountID, page.Request{Limit: 10})
	if err != nil || len(list.Data) != 2 || len(list.Data[0].Lines) != 1 || list.Data[0].HostedInvoiceURL == nil || list.Data[0].InvoicePDF == nil {
		t.Errorf("invoices: %+v, %v", list.Data, err)
	}
	w.card(sub, "pm_card_visa")
	if _, err := w.api().Invoices.Pay(invoice, nil); err != nil {
		t.Fatal(err)
	}
	w.sync("subscription", sub)
	w.sync("invoice", invoice)
	if s := w.state(); s.Status != "active" || s.Due != nil || !s.Access {
		t.Errorf("after it was paid: %+v", s)
	}
}

// Currencies are never added up.
func TestTotals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, row := range []string{"'payment', 'succeeded', 100, 'usd'", "'payment', 'succeeded', 20, 'eur'", "'payment', 'failed', 7, 'usd'",
		"'refund', 'succeeded', -30, 'usd'", "'payment', 'succeeded', 50, 'usd'"} {
		w.exec(`INSERT INTO transactions (id, account_id, natural_key, occurred_at, updated_at, kind, status, amount, currency)
			VALUES (gen_random_uuid(), $1, $2, now(), now(), `+row+`)`, w.accountID, fmt.Sprint("charge:", i))
	}
	totals, err := w.Totals(t.Context(), w.accountID)
	if got := fmt.Sprint(totals); err != nil || got != "[{eur payment 20 1} {usd payment 150 2} {usd refund -30 1}]" {
		t.Errorf("totals: %s, %v", got, err)
	}
}
