package billing_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/problem"
)

// What is scheduled can be replaced, taken back, and gives way to a change at once.
func TestScheduledChangeGivesWay(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, func(v *billing.Wish) { v.Tier, v.Interval = "pro", "year" })
	if s := w.change(w.to("basic", "")).Scheduled; s == nil || s.Tier != "basic" || s.Interval != "year" {
		t.Fatalf("scheduled: %+v", s)
	}
	p := w.preview(w.to("basic", "month"))
	if p.Effective != "period_end" || p.Charge.AmountDue != 1000 {
		t.Errorf("preview: %+v", p)
	}
	if s := w.change(w.to("basic", "month")).Scheduled; s == nil || s.Interval != "month" {
		t.Fatalf("replaced: %+v", s)
	}
	if p := w.preview(w.to("pro", "year")); p.Effective != "nothing" {
		t.Errorf("preview of what there is: %+v", p)
	}
	if s := w.change(w.to("pro", "year")); s.Scheduled != nil || s.Tier != "pro" {
		t.Errorf("taken back: %+v", s)
	}
	w.change(w.to("basic", ""))
	w.exec("UPDATE tiers SET max_quantity = 5")
	w.Catalog.Forget()
	up := w.to("", "")
	up.Quantity = 2
	if s := w.change(up); s.Scheduled != nil || s.Quantity != 2 {
		t.Errorf("overruled: %+v", s)
	}
	w.wantPrice(sub, "price_pro_year × 2")
	for _, schedule := range w.emu.Objects("subscription_schedule") {
		if schedule["status"] != "released" {
			t.Errorf("a schedule is %v", schedule["status"])
		}
	}
}

// A declined card leaves everything as it was, at Stripe and here, and the same request goes through with a better card.
func TestUpIsRolledBackWhereThePaymentFails(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	w.wait(aThird)
	w.card(sub, "pm_card_chargeCustomerFail")
	invoices := len(w.emu.Objects("invoice"))
	c := w.keyedChange(w.to("pro", ""), "k")
	err := w.changeRefused(c, problem.PaymentFailed)
	if p := problem.Of(err); p.Kind.Status != http.StatusPaymentRequired || !strings.Contains(p.Detail, "declined") {
		t.Errorf("the caller is told %v", p)
	}
	w.wantPrice(sub, "price_basic × 1")
	if o, _ := w.emu.Get(sub); o["pending_update"] != nil || o["status"] != "active" || len(w.emu.Objects("invoice")) != invoices {
		t.Errorf("left behind: %v, %v, %d invoices", o["pending_update"], o["status"], len(w.emu.Objects("invoice"))-invoices)
	}
	if s := w.state(); s.Tier != "basic" || s.Pending != nil || s.Due != nil {
		t.Errorf("state: %+v", s)
	}
	w.card(sub, "pm_card_visa")
	w.change(c)
	w.wantPrice(sub, "price_pro × 1")
	if got := w.changes(); got != "failed done" {
		t.Errorf("changes: %s", got)
	}
}

func TestChangeRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.changeRefused(w.to("pro", ""), problem.NoSubscription)
	if _, err := w.PreviewChange(t.Context(), w.to("pro", "")); !errors.Is(err, problem.NoSubscription) {
		t.Errorf("preview: %v", err)
	}
	w, sub := subscribed(t, nil)
	w.changeRefused(w.to("free", ""), problem.PriceNotFound)
	w.changeRefused(w.to("nothing", ""), problem.PriceNotFound)
	many := w.to("", "")
	many.Quantity = 2
	w.changeRefused(many, problem.InvalidRequest)
	for _, at := range []time.Duration{time.Minute, -16 * time.Minute} {
		c := w.to("pro", "")
		c.ProratedAt = new(w.Now().Add(at))
		w.changeRefused(c, problem.InvalidRequest)
	}
	if _, err := w.emu.Patch(sub, map[string]any{"status": "past_due"}); err != nil {
		t.Fatal(err)
	}
	w.changeRefused(w.to("pro", ""), problem.PaymentOverdue)
	if _, err := w.emu.Patch(sub, map[string]any{"status": "active"}); err != nil {
		t.Fatal(err)
	}
	w.cancel(false)
	w.changeRefused(w.to("pro", ""), problem.SubscriptionEnding)
	w.exec("UPDATE accounts SET status = 'disabled'")
	w.changeRefused(w.to("pro", ""), problem.AccountClosed)
	w.wantPrice(sub, "price_basic × 1")
	if n := w.count("SELECT count(*) FROM subscription_changes WHERE status = 'running'"); n != 0 {
		t.Errorf("%d changes go on", n)
	}
}

// A quantity that the other tier is not sold at does not come along: it has to be said. That of the same tier stays as it was sold.
func TestQuantityOfAnotherTier(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	w.exec("UPDATE tiers SET max_quantity = 5 WHERE id = 'basic'")
	w.exec("UPDATE tiers SET max_quantity = 2 WHERE id = 'pro'")
	w.Catalog.Forget()
	c := w.to("", "")
	c.Quantity = 4
	w.change(c)
	w.wait(aThird)
	err := w.changeRefused(w.to("pro", ""), problem.InvalidRequest)
	if fields := problem.Of(err).Fields; len(fields) != 1 || fields[0].Location != "body.quantity" {
		t.Errorf("fields: %+v", fields)
	}
	if _, err := w.PreviewChange(t.Context(), w.to("pro", "")); !errors.Is(err, problem.InvalidRequest) {
		t.Errorf("preview: %v", err)
	}
	w.wantPrice(sub, "price_basic × 4")
	w.exec("UPDATE tiers SET max_quantity = 3 WHERE id = 'basic'")
	w.Catalog.Forget()
	w.change(w.to("", "year"))
	c = w.to("pro", "")
	c.Quantity = 2
	w.change(c)
	w.wantPrice(sub, "price_pro_year × 2")
}

func TestChangeInATrial(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, func(v *billing.Wish) { v.Tier = "pro" })
	trial := &stripe.SubscriptionParams{TrialEnd: stripe.Int64(w.Now().Add(aThird).Unix()), ProrationBehavior: stripe.String("none")}
	if _, err := w.api().Subscriptions.Update(sub, trial); err != nil {
		t.Fatal(err)
	}
	w.sync("subscription", sub)
	for _, tier := range []string{"basic", "pro"} {
		p := w.preview(w.to(tier, ""))
		if p.Effective != "now" || p.DueNow != 0 || p.Charge == nil || p.Charge.AmountDue == 0 {
			t.Errorf("preview: %+v, %+v", p, p.Charge)
		}
		if s := w.change(w.to(tier, "")); s.Tier != tier || s.Status != "trialing" {
			t.Errorf("state: %+v", s)
		}
	}
}

func TestPortal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	url, err := w.OpenPortal(t.Context(), w.accountID, "https://app.example.com/account")
	if err != nil || !strings.HasPrefix(url, w.url) {
		t.Fatalf("portal: %s, %v", url, err)
	}
	old := w.emu.Objects("customer")[0]["id"].(string)
	if _, err := w.api().Customers.Del(old, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.OpenPortal(t.Context(), w.accountID, "https://app.example.com/account"); err != nil {
		t.Errorf("after its customer was deleted: %v", err)
	}
	if _, err := w.OpenPortal(t.Context(), w.accountID, "https://evil.example.com/"); !errors.Is(err, problem.RedirectNotAllowed) {
		t.Errorf("elsewhere: %v", err)
	}
}
