package stripehook_test

import (
	"testing"
	"time"
)

// A year that its invoice brings no first month of has no further ones either.
func TestMonthsOfAYearFollowTheFirst(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   object // what differs of the invoice
		want int64
	}{
		{"renewal", object{}, 30},
		{"another currency than the price's", object{"currency": "eur"}, 0},
		{"billing_reason unknown", object{"billing_reason": "made_up"}, 0},
		{"billing_reason of what is no period", object{"billing_reason": "manual"}, 0},
		{"billing_reason of what gives nothing", object{"billing_reason": "subscription_threshold"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPlan(t, false)
			p.on(2026, 4, 6)
			p.periodStart, p.periodEnd = p.clock.Now(), p.clock.Now().AddDate(1, 0, 0)
			p.is(p.proYear)
			p.unknown("in_2", "subscription_cycle", p.full("il_2", p.proYear, 30000))
			whole, _ := p.emu.Get("in_2")
			defer p.emu.Inject(faultBody("/v1/invoices/in_2", 200, laid(object{}, whole, tt.in)))()
			p.settled(p.about("invoice.paid", "in_2"))
			p.available(tt.want)
			p.on(2026, 5, 16)
			p.available(tt.want)
		})
	}
}

// Each of two subscriptions brings the months of its year, and does as long as it gives access itself.
func TestMonthsOfTwoYears(t *testing.T) {
	t.Parallel()
	p := newPlan(t, true)
	p.subscription("sub_2", object{"current_period_start": p.periodStart.Unix(), "current_period_end": p.periodEnd.Unix(),
		"items": list("/v1/subscription_items?subscription=sub_2", p.item("si_2", "sub_2", p.proYear, 1))})
	line := p.full("il_2", p.proYear, 30000)
	line["subscription_item"] = "si_2"
	p.invoice("in_2", "sub_2", object{"total": 30000, "amount_paid": 30000, "lines": list("/v1/invoices/in_2/lines", line)})
	p.settled(p.about(updated, "sub_2"), p.about("invoice.paid", "in_2"))
	p.available(40)
	p.on(2026, 4, 6)
	p.available(40)
	p.patch("sub_1", object{"status": "canceled", "canceled_at": p.clock.Now().Unix(), "ended_at": p.clock.Now().Unix()})
	p.settled(p.about(updated, "sub_1"))
	p.on(2026, 5, 6)
	p.available(30)
}

// The items have periods of their own, and have none any more: the subscription's holds as soon as it is another one.
func TestItemsWithoutPeriodsAnyMore(t *testing.T) {
	t.Parallel()
	for _, renewed := range []time.Time{
		time.Date(2027, 3, 5, 12, 0, 0, 0, time.UTC),  // at the end of the year
		time.Date(2026, 7, 20, 12, 0, 0, 0, time.UTC), // begun anew within it
	} {
		p := newPlan(t, true)
		p.exec(`UPDATE subscription_items SET current_period_start = $1, current_period_end = $2`, p.periodStart, p.periodEnd)
		p.is(p.basicYear)
		p.want("true", `SELECT current_period_start = $1 AND current_period_end = $2 FROM subscription_items`, p.periodStart, p.periodEnd)
		p.clock.Add(renewed.Sub(p.clock.Now()))
		p.periodStart, p.periodEnd = renewed, renewed.AddDate(1, 0, 0)
		p.is(p.proYear)
		p.bill("in_2", "subscription_cycle", p.full("il_2", p.proYear, 30000))
		p.clock.Add(renewed.AddDate(0, 1, 1).Sub(renewed))
		p.available(30)
	}
}
