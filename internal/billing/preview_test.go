package billing_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/billing"
)

// What the customer's balance pays is previewed as it is set off: never more than there is to pay, and nothing of a credit.
func TestBalanceIsPreviewedAsItIsSetOff(t *testing.T) {
	t.Parallel()
	for _, balance := range []int64{-1_000_000, -500, 0, 700} {
		t.Run(fmt.Sprint(balance), func(t *testing.T) {
			t.Parallel()
			w, sub := subscribed(t, nil)
			o, _ := w.emu.Get(sub)
			if _, err := w.emu.Patch(o["customer"].(string), map[string]any{"balance": balance}); err != nil {
				t.Fatal(err)
			}
			coupon, err := w.api().Coupons.New(&stripe.CouponParams{PercentOff: stripe.Float64(10), Duration: stripe.String("forever")})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.api().Subscriptions.Update(sub, &stripe.SubscriptionParams{Coupon: stripe.String(coupon.ID)}); err != nil {
				t.Fatal(err)
			}
			w.wait(aThird)
			p := w.preview(w.to("pro", "year"))
			if p.Charge.Discount == 0 {
				t.Errorf("no discount: %+v", p.Charge)
			}
			c := w.to("pro", "year")
			c.ProratedAt = p.ProratedAt
			w.change(c)
			w.sameCharge(p, w.latest())
			if due := p.Charge.Total + p.Charge.AppliedBalance; due != p.DueNow || due < 0 {
				t.Errorf("%d of %d: due %d", p.Charge.AppliedBalance, p.Charge.Total, p.DueNow)
			}
		})
	}
}

// The preview is what is charged, to the cent, however much later within the quarter of an hour.
func TestUpIsChargedAsPreviewed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, tier, interval string
		quantity             int64
		price                string
	}{
		{"tier", "pro", "", 0, "price_pro × 1"},
		{"interval", "", "year", 0, "price_basic_year × 1"},
		{"tier and interval", "pro", "year", 0, "price_pro_year × 1"},
		{"quantity", "", "", 3, "price_basic × 3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, sub := subscribed(t, nil)
			w.exec("UPDATE tiers SET max_quantity = 5")
			w.Catalog.Forget()
			w.wait(aThird + 7*time.Second)
			c := w.to(tt.tier, tt.interval)
			c.Quantity = tt.quantity
			p := w.preview(c)
			if p.Effective != "now" || p.DueNow <= 0 || p.ProratedAt == nil {
				t.Fatalf("preview: %+v", p)
			}
			w.wantPrice(sub, "price_basic × 1")
			w.wait(9 * time.Minute)
			c.ProratedAt = p.ProratedAt
			state := w.change(c)
			w.wantPrice(sub, tt.price)
			in := w.latest()
			w.sameCharge(p, in)
			if in["status"] != "paid" || fmt.Sprint(in["amount_paid"]) != fmt.Sprint(p.DueNow) {
				t.Errorf("invoice: %v, paid %v of %d", in["status"], in["amount_paid"], p.DueNow)
			}
			if state.Tier != p.Tier || state.Interval != p.Interval || state.Quantity != p.Quantity || state.Pending != nil || state.Scheduled != nil {
				t.Errorf("state: %+v; previewed %+v", state, p)
			}
			if n := w.count("SELECT count(*) FROM invoices WHERE billing_reason = 'subscription_update' AND status = 'paid'"); n != 1 {
				t.Errorf("%d invoices mirrored", n)
			}
			if n := w.count("SELECT count(*) FROM audit_log WHERE action = 'subscription.change' AND actor_kind = 'user'"); n != 1 {
				t.Errorf("%d audit entries", n)
			}
		})
	}
}

// Down costs nothing now and is charged at the period's end as previewed.
func TestDownIsChargedAsPreviewed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name                  string
		from                  func(*billing.Wish)
		tier, interval        string
		before, after         string
		untilEnd              time.Duration
		scheduled, scheduled2 string
	}{
		{"tier", func(v *billing.Wish) { v.Tier = "pro" }, "basic", "", "price_pro × 1", "price_basic × 1", 32 * 24 * time.Hour, "basic", "month"},
		{"interval", func(v *billing.Wish) { v.Interval = "year" }, "", "month", "price_basic_year × 1", "price_basic × 1", 366 * 24 * time.Hour, "basic", "month"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, sub := subscribed(t, tt.from)
			w.wait(aThird)
			p := w.preview(w.to(tt.tier, tt.interval))
			if p.Effective != "period_end" || p.DueNow != 0 {
				t.Fatalf("preview: %+v", p)
			}
			invoices := len(w.emu.Objects("invoice"))
			state := w.change(w.to(tt.tier, tt.interval))
			w.wantPrice(sub, tt.before)
			if len(w.emu.Objects("invoice")) != invoices {
				t.Error("something was billed")
			}
			f := state.Scheduled
			if f == nil || f.Tier != tt.scheduled || f.Interval != tt.scheduled2 || !f.At.Equal(p.At) || !f.At.Equal(*state.CurrentPeriodEnd) {
				t.Fatalf("scheduled: %+v; previewed %+v", f, p)
			}
			w.wait(tt.untilEnd - aThird)
			w.wantPrice(sub, tt.after)
			in := w.latest()
			w.sameCharge(p, in)
			line := in["lines"].(map[string]any)["data"].([]any)[0].(map[string]any)["period"].(map[string]any)
			if l := p.Charge.Lines[0]; fmt.Sprint(line["start"], line["end"]) != fmt.Sprint(l.From.Unix(), l.To.Unix()) {
				t.Errorf("period: billed %v, previewed %v to %v", line, l.From.Unix(), l.To.Unix())
			}
			w.sync("subscription", sub)
			if state := w.state(); state.Scheduled != nil || state.Tier != tt.scheduled {
				t.Errorf("afterwards: %+v", state)
			}
		})
	}
}

// A discount that is over when the change takes effect is not previewed: what is charged then is, with the discount of that day.
func TestDownIsPreviewedWithTheDiscountOfThen(t *testing.T) {
	t.Parallel()
	half := func(duration string) *stripe.CouponParams {
		return &stripe.CouponParams{PercentOff: stripe.Float64(50), Duration: stripe.String(duration)}
	}
	ending := half("repeating")
	ending.DurationInMonths = stripe.Int64(1)
	for name, tt := range map[string]struct {
		own, customers *stripe.CouponParams
		early          bool // given before the period began
		discount       int64
	}{
		"ends before":                         {own: ending, early: true, discount: 0},
		"for ever":                            {own: half("forever"), discount: 500},
		"once, to be used then":               {own: half("once"), discount: 500},
		"once, used":                          {own: half("once"), early: true, discount: 0},
		"the customer's, which ends":          {customers: ending, early: true, discount: 0},
		"the customer's after one that ends":  {own: ending, customers: half("forever"), early: true, discount: 500},
		"the customer's beside one for ever":  {own: half("forever"), customers: ending, discount: 500},
		"none":                                {discount: 0},
		"the customer's alone, and it lasts":  {customers: half("forever"), discount: 500},
		"both end before the change is due":   {own: ending, customers: ending, early: true, discount: 0},
		"the customer's, once, used long ago": {customers: half("once"), early: true, discount: 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, sub := subscribed(t, func(v *billing.Wish) { v.Tier = "pro" })
			w.wait(15 * 24 * time.Hour)
			w.discount(sub, tt.own, tt.customers)
			if tt.early {
				w.wait(18 * 24 * time.Hour)
				w.sync("subscription", sub)
			}
			w.wait(5 * 24 * time.Hour)
			p := w.preview(w.to("basic", ""))
			w.change(w.to("basic", ""))
			w.wait(32 * 24 * time.Hour)
			w.wantPrice(sub, "price_basic × 1")
			w.sameCharge(p, w.latest())
			if p.Charge.Discount != tt.discount {
				t.Errorf("a discount of %d", p.Charge.Discount)
			}
		})
	}
}

// discount gives the subscription and its customer a coupon, where there is one.
func (w *world) discount(sub string, own, customers *stripe.CouponParams) {
	w.t.Helper()
	api := w.api()
	o, _ := w.emu.Get(sub)
	for _, to := range []struct {
		coupon *stripe.CouponParams
		give   func(coupon *string) error
	}{
		{own, func(coupon *string) error {
			_, err := api.Subscriptions.Update(sub, &stripe.SubscriptionParams{Coupon: coupon})
			return err
		}},
		{customers, func(coupon *string) error {
			_, err := api.Customers.Update(o["customer"].(string), &stripe.CustomerParams{Coupon: coupon})
			return err
		}},
	} {
		if to.coupon == nil {
			continue
		}
		made, err := api.Coupons.New(to.coupon)
		if err == nil {
			err = to.give(stripe.String(made.ID))
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// Stripe embeds ten lines of an invoice to come; the preview has all of them.
func TestPreviewOfManyLines(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	w.wait(aThird)
	o, _ := w.emu.Get(sub)
	for i := range 120 {
		_, err := w.api().InvoiceItems.New(&stripe.InvoiceItemParams{
			Customer: stripe.String(o["customer"].(string)), Subscription: stripe.String(sub), Amount: stripe.Int64(int64(100 + i)),
			Currency: stripe.String("usd"), Description: stripe.String(fmt.Sprint("extra ", i)),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	p := w.preview(w.to("pro", ""))
	var sum int64
	seen := map[string]bool{}
	for _, l := range p.Charge.Lines {
		sum += l.Amount
		seen[fmt.Sprint(l.Description, l.Amount)] = true
	}
	if len(p.Charge.Lines) != 122 || len(seen) != 122 || sum != p.Charge.Subtotal {
		t.Errorf("%d lines, %d different ones, come to %d of %d", len(p.Charge.Lines), len(seen), sum, p.Charge.Subtotal)
	}
	w.change(w.to("pro", ""))
	w.sameCharge(p, w.latest())
}
