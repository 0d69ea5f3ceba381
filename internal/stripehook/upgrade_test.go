package stripehook_test

import (
	"fmt"
	"testing"
	"time"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/catalog/catalogtest"
	"example.com/saaskit/internal/credit"
)

// A plan is sub_1 with its one item si_1, as it changes.
type plan struct {
	*world
	credits                *credit.Service
	basic, pro             object // monthly
	basicYear, proYear     object
	periodStart, periodEnd time.Time
}

// newPlan has the first period of sub_1 paid by in_1, for a month or a year from now.
func newPlan(t *testing.T, yearly bool) *plan {
	t.Helper()
	w := newWorld(t)
	p := &plan{world: w, credits: credit.New(credit.Config{Pool: w.pool, Now: w.clock.Now, Policy: account.DefaultPolicy()})}
	p.basic, p.pro = w.basic(), w.price(catalogtest.PricePro, "month", 3000, "usd")
	p.basicYear, p.proYear = w.price(catalogtest.PriceBasicYear, "year", 10000, "usd"), w.price(catalogtest.PriceProYear, "year", 30000, "usd")
	first, amount := p.basic, int64(1000)
	p.periodStart = time.Date(2026, 3, 5, 12, 0, 0, 0, time.UTC)
	w.clock.Add(p.periodStart.Sub(w.clock.Now()))
	p.periodEnd = p.periodStart.AddDate(0, 1, 0)
	if yearly {
		first, amount, p.periodEnd = p.basicYear, 10000, p.periodStart.AddDate(1, 0, 0)
	}
	w.customer("cus_1")
	w.subscription("sub_1", object{"items": list("/v1/subscription_items?subscription=sub_1", w.item("si_1", "sub_1", first, 1))})
	p.is(first)
	p.bill("in_1", "subscription_create", p.full("il_1", first, amount))
	return p
}

// is lets the item have a price, in the period of the plan.
func (p *plan) is(price object) {
	p.t.Helper()
	p.patch("sub_1", object{"current_period_start": p.periodStart.Unix(), "current_period_end": p.periodEnd.Unix(),
		"items": list("/v1/subscription_items?subscription=sub_1", p.item("si_1", "sub_1", price, 1))})
	p.settled(p.about(updated, "sub_1"))
}

// full is the line of the plan's whole period.
func (p *plan) full(id string, price object, amount int64) object {
	return p.line(id, price, amount, object{"period": object{"start": p.periodStart.Unix(), "end": p.periodEnd.Unix()}})
}

// gives and takes are the lines of a change that is made now, for the rest of the period.
func (p *plan) takes(id string, price object, amount int64) object {
	return p.line(id, price, amount, object{"proration": true, "period": object{"start": p.clock.Now().Unix(), "end": p.periodEnd.Unix()}})
}

func (p *plan) gives(id string, price object, amount int64) object {
	l := p.takes(id, price, -amount)
	l["proration_details"] = object{"credited_items": object{"invoice": "in_1", "invoice_line_items": []any{"il_1"}}}
	return l
}

// bill has an invoice with a charge of its own, paid now and known.
func (p *plan) bill(id, reason string, lines ...object) {
	p.t.Helper()
	p.unknown(id, reason, lines...)
	p.settled(p.about("invoice.paid", id), p.about("charge.succeeded", "ch_"+id))
}

// unknown has a paid invoice of which no event has come yet.
func (p *plan) unknown(id, reason string, lines ...object) {
	p.t.Helper()
	var total int64
	data := make([]any, 0, len(lines))
	for _, l := range lines {
		total += l["amount"].(int64)
		data = append(data, l)
	}
	due := max(0, total)
	p.invoice(id, "sub_1", object{"billing_reason": reason, "subtotal": total, "total": total, "amount_due": due, "amount_paid": due,
		"lines": list("/v1/invoices/"+id+"/lines", data...)})
	p.intent("pi_"+id, object{"invoice": id, "latest_charge": "ch_" + id, "amount": max(due, 50)})
	p.charge("ch_"+id, object{"invoice": id, "payment_intent": "pi_" + id, "amount": max(due, 50), "amount_captured": max(due, 50)})
}

// back refunds an invoice, or a part of it.
func (p *plan) back(id string, amount int64) string {
	p.t.Helper()
	re := p.refund("ch_"+id, amount)
	p.settled(append(p.sent(), p.about("charge.refunded", "ch_"+id))...)
	return re
}

// on moves to noon of a day.
func (p *plan) on(year int, month time.Month, day int) {
	p.clock.Add(time.Date(year, month, day, 12, 0, 0, 0, time.UTC).Sub(p.clock.Now()))
}

func (p *plan) available(want int64) {
	p.t.Helper()
	b, err := p.credits.Balance(p.t.Context(), p.t1)
	if err != nil || b.Available != want {
		p.t.Errorf("%s: available %d, %v; want %d", p.clock.Now().Format(time.DateOnly), b.Available, err, want)
	}
	p.proven()
}

// Who goes from the month to the year pays for twelve months and gets twelve, at once and each month.
func TestUpgradeToAYear(t *testing.T) {
	t.Parallel()
	for _, discount := range []bool{false, true} {
		p := newPlan(t, false)
		p.available(10)
		p.on(2026, 3, 25)
		credited := p.gives("il_off", p.basic, 354)
		p.periodStart, p.periodEnd = p.clock.Now(), p.clock.Now().AddDate(1, 0, 0)
		p.is(p.basicYear)
		amount := int64(10000)
		if discount {
			amount = 0
		}
		p.bill("in_2", "subscription_update", credited, p.full("il_on", p.basicYear, amount))
		p.available(20) // what is left of the month stays until its end
		p.on(2026, 4, 6)
		p.available(10)
		for range 11 {
			p.clock.Add(p.clock.Now().AddDate(0, 1, 0).Sub(p.clock.Now()))
			p.available(10)
		}
		p.want("130", `SELECT sum(granted) FROM credit_lots`)
		if !discount {
			p.back("in_2", 10000-354)
			p.available(0)
		}
	}
}

// All of the old month is spent, and the new period is whole.
func TestUpgradeToAYearOfMore(t *testing.T) {
	t.Parallel()
	p := newPlan(t, false)
	p.spend(10)
	p.on(2026, 3, 25)
	credited := p.gives("il_off", p.basic, 354)
	p.periodStart, p.periodEnd = p.clock.Now(), p.clock.Now().AddDate(1, 0, 0)
	p.is(p.proYear)
	p.bill("in_2", "subscription_update", credited, p.full("il_on", p.proYear, 30000))
	p.available(30)
	p.back("in_2", 30000-354)
	p.available(0)
	p.on(2026, 4, 26)
	p.available(0) // nor does the clock bring a month
}

// up and down are changes in the middle of a period, paid at once.
func (p *plan) up(id string) {
	p.t.Helper()
	p.bill(id, "subscription_update", p.gives(id+"_off", p.basic, 500), p.takes(id+"_on", p.pro, 1500))
}

func (p *plan) down(id string) {
	p.t.Helper()
	p.bill(id, "subscription_update", p.gives(id+"_off", p.pro, 1500), p.takes(id+"_on", p.basic, 500))
}

func TestUpgradeRefundedAndBoughtAgain(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"in order", "refund told late", "spent"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			p := newPlan(t, false)
			p.on(2026, 3, 10)
			p.up("in_2")
			p.available(30)
			if step == "spent" {
				p.spend(30)
			}
			p.on(2026, 3, 12)
			if step == "refund told late" {
				p.refund("ch_in_2", 1000)
				p.down("in_3")
				p.on(2026, 3, 14)
				p.up("in_4")
				p.available(30) // as far as we know the first is paid
				p.settled(append(p.sent(), p.about("charge.refunded", "ch_in_2"))...)
				p.available(30)
				p.want("10", `SELECT granted FROM credit_lots WHERE natural_key LIKE 'invoice:in_1:%'`)
				return
			}
			p.back("in_2", 1000)
			if step == "spent" {
				p.up("in_4")
				p.available(20) // what nobody could take back stays a shortfall, and this has its own money
				return
			}
			p.available(10)
			p.down("in_3")
			p.on(2026, 3, 14)
			p.up("in_4")
			p.available(30)
			p.on(2026, 3, 15) // and without a second refund no more than that
			p.down("in_5")
			p.up("in_6")
			p.available(30)
		})
	}
}

// A year has twelve months: up in the second, down in the fourth, up in the seventh.
func TestUpgradesOfAYear(t *testing.T) {
	t.Parallel()
	p := newPlan(t, true)
	up := func(id string) {
		p.is(p.proYear)
		p.bill(id, "subscription_update", p.gives(id+"_off", p.basicYear, 5000), p.takes(id+"_on", p.proYear, 15000))
	}
	p.on(2026, 4, 20)
	p.available(10)
	up("in_2")
	p.available(30)
	p.on(2026, 5, 4)
	p.available(30)
	p.on(2026, 5, 6) // the change belongs to the month before, and this one is whole
	p.available(30)
	p.on(2026, 6, 20)
	p.available(30)
	p.is(p.basicYear)
	p.bill("in_3", "subscription_update", p.gives("in_3_off", p.proYear, 14000), p.takes("in_3_on", p.basicYear, 4000))
	p.available(30) // this month was paid for
	p.on(2026, 7, 6)
	p.available(10)
	p.on(2026, 9, 20)
	p.available(10)
	up("in_4")
	p.available(30)
	p.on(2026, 10, 6)
	p.available(30)
	p.want("10 20", `SELECT string_agg(granted::text, ' ' ORDER BY granted) FROM credit_lots WHERE natural_key LIKE 'clock:%2026-10-05%'`)
}

// What nobody has paid brings no months; what was paid and went back brings none any more, and takes its own.
func TestUpgradeOfAYearFollowsItsMoney(t *testing.T) {
	t.Parallel()
	p := newPlan(t, true)
	p.on(2026, 3, 20)
	p.is(p.proYear)
	p.unknown("in_2", "subscription_update", p.gives("in_2_off", p.basicYear, 9000), p.takes("in_2_on", p.proYear, 27000))
	p.patch("in_2", object{"status": "open", "paid": false, "amount_paid": 0})
	p.settled(p.about("invoice.finalized", "in_2"))
	p.available(10)
	p.on(2026, 4, 6)
	p.available(10)
	p.patch("in_2", object{"status": "paid", "paid": true, "amount_paid": 18000,
		"status_transitions": object{"finalized_at": p.clock.Now().Unix(), "marked_uncollectible_at": nil, "paid_at": p.clock.Now().Unix(), "voided_at": nil}})
	p.settled(p.about("invoice.paid", "in_2"), p.about("charge.succeeded", "ch_in_2"))
	p.available(50) // the month that was over when it was paid, and this one
	p.on(2026, 5, 6)
	p.available(30)
	p.back("in_2", 9000) // half of what the change has cost
	p.available(20)
	p.on(2026, 6, 6)
	p.available(20)
	re := p.back("in_2", 9000)
	p.available(10)
	p.on(2026, 7, 6)
	p.available(10)
	if err := p.emu.FailRefund(re); err != nil {
		t.Fatal(err)
	}
	p.settled(append(p.sent(), p.about("charge.updated", "ch_in_2"))...)
	p.available(20)
	p.back("in_1", 10000)
	p.available(10)
	p.on(2026, 8, 6)
	p.available(10)
}

// Under a discount of all of it both lines of a change are of nothing.
func TestUpgradeUnderAFullDiscount(t *testing.T) {
	t.Parallel()
	p := newPlan(t, false)
	p.on(2026, 3, 10)
	p.bill("in_2", "subscription_update", p.gives("il_off", p.basic, 0), p.takes("il_on", p.pro, 0))
	p.available(30)
	p.want("true false", `SELECT string_agg(credited::text, ' ' ORDER BY id) FROM invoice_lines WHERE invoice_id = 'in_2'`)
	p.bill("in_3", "subscription_update", p.gives("il_off", p.pro, 0), p.takes("il_on", p.basic, 0))
	p.available(30)
}

// Changes that the next invoice bills, whatever that is for.
func TestUpgradesBilledLater(t *testing.T) {
	t.Parallel()
	changes := func(p *plan) []object {
		p.on(2026, 3, 10)
		lines := []object{p.gives("a_off", p.basic, 800), p.line("a_on", p.basic, 1600, object{"quantity": 2, "proration": true,
			"period": object{"start": p.clock.Now().Unix(), "end": p.periodEnd.Unix()}})}
		p.on(2026, 3, 20)
		lines = append(lines, p.gives("b_off", p.basic, 1000), p.takes("b_on", p.pro, 1500))
		lines[2]["quantity"] = 2
		return []object{lines[3], lines[2], lines[1], lines[0]} // Stripe lists the newest first
	}
	t.Run("with another change", func(t *testing.T) {
		t.Parallel()
		p := newPlan(t, false)
		p.bill("in_2", "subscription_update", changes(p)...)
		p.available(30)
		p.want("invoice:in_2:a_on 10, invoice:in_2:b_on 10", `SELECT string_agg(natural_key || ' ' || granted, ', ' ORDER BY natural_key)
			FROM credit_lots WHERE natural_key LIKE 'invoice:in_2:%'`)
		p.on(2026, 4, 6)
		p.available(0)
	})
	t.Run("with the renewal", func(t *testing.T) {
		t.Parallel()
		p := newPlan(t, false)
		lines := changes(p)
		p.on(2026, 4, 5)
		p.periodStart, p.periodEnd = p.clock.Now(), p.clock.Now().AddDate(0, 1, 0)
		p.bill("in_2", "subscription_cycle", append(lines, p.full("il_2", p.pro, 3000))...)
		p.available(50)
		p.on(2026, 5, 6)
		p.available(0)
	})
	t.Run("with the renewal of a year", func(t *testing.T) {
		t.Parallel()
		p := newPlan(t, true)
		p.on(2026, 6, 20)
		off, on := p.gives("off", p.basicYear, 7000), p.takes("on", p.proYear, 21000)
		p.on(2027, 3, 5)
		p.periodStart, p.periodEnd = p.clock.Now(), p.clock.Now().AddDate(1, 0, 0)
		for range 2 {
			p.bill("in_2", "subscription_cycle", off, on, p.full("il_2", p.proYear, 30000))
			p.available(30)
		}
		if p.alarms("upgrade_billed_late") != 1 {
			t.Error("nobody was told once")
		}
		p.want("20 2026-06-20T12:00:00Z", `SELECT payload->>'monthly' || ' ' || (payload->>'from') FROM outbox WHERE kind = 'operator_alarm'`)
	})
}

// A change from nothing: an item that was added in the middle of a period.
func TestUpgradeByAnItem(t *testing.T) {
	t.Parallel()
	p := newPlan(t, false)
	p.on(2026, 3, 10)
	added := p.takes("il_on", p.pro, 2500)
	added["subscription_item"] = "si_2"
	p.bill("in_2", "subscription_update", added)
	p.available(40)
	p.want(fmt.Sprint(p.periodEnd.Unix()), `SELECT extract(epoch FROM expires_at)::bigint FROM credit_lots WHERE natural_key = 'invoice:in_2:il_on'`)
}
