package billing_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/problem"
)

// another makes a subscription of the same customer, by hand in Stripe's dashboard, and lets us see it.
func (w *world) another(sub, price string) string {
	w.t.Helper()
	w.wait(time.Minute)
	o, _ := w.emu.Get(sub)
	made, err := w.api().Subscriptions.New(&stripe.SubscriptionParams{
		Customer: stripe.String(o["customer"].(string)), DefaultPaymentMethod: stripe.String(o["default_payment_method"].(string)),
		Items: []*stripe.SubscriptionItemsParams{{Price: stripe.String(price)}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.sync("subscription", made.ID)
	return made.ID
}

// Of several subscriptions the one is changed that is shown.
func TestTheSubscriptionThatIsShownIsChanged(t *testing.T) {
	t.Parallel()
	w, basic := subscribed(t, nil)
	pro := w.another(basic, "price_pro")
	newest := w.another(basic, "price_basic")
	if s := w.state(); s.ID != pro {
		t.Fatalf("%s is shown, want %s", s.ID, pro)
	}
	if p := w.preview(w.to("pro", "year")); p.Effective != "now" || p.Tier != "pro" {
		t.Errorf("preview: %+v", p)
	}
	if p := w.preview(w.to("pro", "month")); p.Effective != "nothing" {
		t.Errorf("preview of what there is: %+v", p)
	}
	if s := w.change(w.to("", "year")); s.ID != pro || s.Tier != "pro" {
		t.Errorf("changed: %+v", s)
	}
	if s := w.cancel(false); s.ID != pro || s.CancelAt == nil {
		t.Errorf("canceled: %+v", s)
	}
	if s, _, err := w.ResumeSubscription(t.Context(), w.to("", "")); err != nil || s.ID != pro || s.CancelAt != nil {
		t.Errorf("resumed: %+v, %v", s, err)
	}
	w.wantPrice(pro, "price_pro_year × 1")
	for _, id := range []string{basic, newest} {
		w.wantPrice(id, "price_basic × 1")
		if o, _ := w.emu.Get(id); o["status"] != "active" || o["cancel_at_period_end"] != false {
			t.Errorf("%s: %v, ends %v", id, o["status"], o["cancel_at_period_end"])
		}
	}
	if s := w.cancel(true); s.Tier != "basic" || s.ID != newest {
		t.Errorf("what is left: %+v", s)
	}
}

// Where none gives access the one is shown and changed that has not ended.
func TestWithoutAccessTheOneIsShownThatHasNotEnded(t *testing.T) {
	t.Parallel()
	w, old := subscribed(t, nil)
	newest := w.another(old, "price_pro")
	if _, err := w.api().Subscriptions.Cancel(newest, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.emu.Patch(old, map[string]any{"status": "unpaid"}); err != nil {
		t.Fatal(err)
	}
	w.sync("subscription", newest)
	w.sync("subscription", old)
	if s := w.state(); s.ID != old || s.Access {
		t.Errorf("shown: %+v", s)
	}
	if s := w.cancel(true); s.Status != "canceled" {
		t.Errorf("canceled: %+v", s)
	}
	if o, _ := w.emu.Get(old); o["status"] != "canceled" {
		t.Errorf("at Stripe: %v", o["status"])
	}
	if _, err := w.PreviewChange(t.Context(), w.to("pro", "")); !errors.Is(err, problem.NoSubscription) {
		t.Errorf("preview: %v", err)
	}
}
