package stripeemu_test

import (
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/stripeemu"
)

// TestDailyRenewals renews five daily subscriptions for a season in one step,
// which is some thousand things one after the other.
func TestDailyRenewals(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{Now: newClock(start).now})
	daily := a.price(t, 1000, "day")
	for range 5 {
		a.subscribe(t, a.cardholder(t, "pm_card_visa"), daily, nil)
	}
	a.Advance(90*days + time.Hour)
	paid := 0
	for _, i := range a.Objects("invoice") {
		if i["status"] == "paid" {
			paid++
		}
	}
	if paid != 5*91 {
		t.Errorf("%d invoices are paid", paid)
	}
}

// TestClockHasBounds refuses what runs over and what goes too far at once.
func TestClockHasBounds(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{Now: newClock(start).now})
	for _, body := range []string{
		`{"advance": "1e300d"}`, `{"advance": "NaNd"}`, `{"advance": "3650d"}`, `{"advance": "2000000h"}`,
		`{"to": "2200-01-01T00:00:00Z"}`, `{"to": "9999-12-31T00:00:00Z"}`,
	} {
		if status, answer := a.steer(t, "POST", "/clock", body); status != 400 || answer["error"] == "" {
			t.Errorf("%s: %d, %v", body, status, answer)
		}
	}
	if now := a.Time().Unix(); now != at(t, start) {
		t.Errorf("the clock stands at %d", now)
	}
	if status, _ := a.steer(t, "POST", "/clock", `{"advance": "1825d"}`); status != 200 {
		t.Errorf("five years: %d", status)
	}
	for _, frozen := range []int64{-1, 1 << 60} {
		_, err := a.api.TestHelpersTestClocks.New(&stripe.TestHelpersTestClockParams{FrozenTime: stripe.Int64(frozen)})
		if err == nil {
			t.Errorf("a clock is frozen at %d", frozen)
		}
	}
}
