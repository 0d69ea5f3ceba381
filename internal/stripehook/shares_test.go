package stripehook_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/catalog/catalogtest"
	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/stripehook"
)

func times(n int64, line object) object { line["quantity"] = n; return line }

func ofItem(item string, line object) object { line["subscription_item"] = item; return line }

// renewed has a period of pro begin on 5 April.
func (p *plan) renewed() {
	p.t.Helper()
	p.on(2026, 4, 5)
	p.periodStart, p.periodEnd = p.clock.Now(), p.clock.Now().AddDate(0, 1, 0)
	p.is(p.pro)
	p.bill("in_pro", "subscription_cycle", p.full("il_pro", p.pro, 3000))
	p.available(30)
}

// Who has paid for a month of pro has all of it: going down and up again adds nothing, whatever is told first.
func TestDownAndUpAgainAddsNothing(t *testing.T) {
	t.Parallel()
	for _, order := range [][]string{{"in_down", "in_up"}, {"in_up", "in_down"}} {
		p := newPlan(t, false)
		p.renewed()
		p.on(2026, 4, 10)
		p.unknown("in_down", "subscription_update", p.gives("d_off", p.pro, 2500), p.takes("d_on", p.basic, 800))
		p.clock.Add(time.Hour)
		p.unknown("in_up", "subscription_update", p.gives("u_off", p.basic, 800), p.takes("u_on", p.pro, 2500))
		for _, id := range order {
			p.settled(p.about("invoice.paid", id))
		}
		p.available(30)
	}
}

// Of a year the month counts that the clock has brought, with what was bought before it.
func TestDownAndUpAgainInALaterMonthAddsNothing(t *testing.T) {
	t.Parallel()
	p := newPlan(t, true)
	p.on(2026, 3, 20)
	p.is(p.proYear)
	p.bill("in_2", "subscription_update", p.gives("in_2_off", p.basicYear, 9000), p.takes("in_2_on", p.proYear, 27000))
	p.on(2026, 4, 10)
	p.available(30)
	p.bill("in_3", "subscription_update", p.gives("in_3_off", p.proYear, 27000), p.takes("in_3_on", p.basicYear, 9000))
	p.clock.Add(time.Minute)
	p.bill("in_4", "subscription_update", p.gives("in_4_off", p.basicYear, 9000), p.takes("in_4_on", p.proYear, 27000))
	p.available(30)
}

// Seats count as tiers do.
func TestSeatsDownAndUpAgainAddNothing(t *testing.T) {
	t.Parallel()
	p := newPlan(t, false)
	p.on(2026, 4, 5)
	p.periodStart, p.periodEnd = p.clock.Now(), p.clock.Now().AddDate(0, 1, 0)
	p.bill("in_2", "subscription_cycle", times(5, p.full("il_2", p.basic, 5000)))
	for i := range 2 {
		p.clock.Add(time.Hour)
		p.bill(fmt.Sprint("in_down", i), "subscription_update", times(5, p.gives("off", p.basic, 5000)), p.takes("on", p.basic, 1000))
		p.clock.Add(time.Hour)
		p.bill(fmt.Sprint("in_up", i), "subscription_update", p.gives("off", p.basic, 1000), times(5, p.takes("on", p.basic, 5000)))
		p.available(50)
	}
}

// Money of the first way up comes back after the second was taken: both together have bought the way once.
func TestUpgradeThatComesBackCountsOnce(t *testing.T) {
	t.Parallel()
	for name, back := range map[string]func(*plan){
		"a dispute won, seen before": func(p *plan) {
			dispute := p.dispute("ch_in_2", false)
			p.settled(p.sent()...)
			p.available(30)
			p.decide(dispute, "won")
		},
		"a dispute won": func(p *plan) { p.decide(p.dispute("ch_in_2", false), "won") },
		"a refund that fails": func(p *plan) {
			refund := p.back("in_2", 1000)
			p.available(30)
			p.must(p.emu.FailRefund(refund))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlan(t, false)
			p.on(2026, 3, 10)
			p.up("in_2")
			p.down("in_3")
			p.on(2026, 3, 12)
			p.up("in_4")
			p.available(30)
			back(p)
			p.settled(append(p.sent(), p.about("charge.updated", "ch_in_2"))...)
			p.available(30)
			p.back("in_2", 500) // and half of it goes back at last: what is missing the second has bought
			p.available(30)
			p.back("in_4", 500) // which has bought half of what it was granted, and loses half of that
			p.available(25)
		})
	}
}

// In two halves or at once, before the next way up or after it: what is refunded can be bought again, and no more.
func TestRefundedUpgradeIsBoughtAgainInAnyOrder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		seats, want   int64
		before, after []int64
	}{
		"at once, after":    {1, 30, nil, []int64{1000}},
		"in halves, after":  {1, 30, nil, []int64{500, 500}},
		"before, further":   {2, 60, []int64{1000}, nil},
		"after, further":    {2, 60, nil, []int64{1000}},
		"a half, and later": {2, 60, []int64{500}, []int64{500}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlan(t, false)
			p.on(2026, 3, 10)
			p.up("in_2")
			p.down("in_3")
			p.on(2026, 3, 12)
			for _, amount := range c.before {
				p.back("in_2", amount)
			}
			p.bill("in_4", "subscription_update", p.gives("in_4_off", p.basic, 500), times(c.seats, p.takes("in_4_on", p.pro, 4500)))
			for _, amount := range c.after {
				p.clock.Add(time.Second)
				p.back("in_2", amount)
			}
			p.available(c.want)
		})
	}
}

// An item that takes another's place, as by the dashboard, is the same way.
func TestReplacedItemAddsTheDifference(t *testing.T) {
	t.Parallel()
	p, s := atEmulator(t, catalogtest.PriceBasic)
	p.available(10)
	p.clock.Add(3 * day)
	for _, price := range []string{catalogtest.PricePro, catalogtest.PriceBasic, catalogtest.PricePro} {
		s = p.update(s, &stripe.SubscriptionItemsParams{ID: &s.Items.Data[0].ID, Deleted: stripe.Bool(true)},
			&stripe.SubscriptionItemsParams{Price: stripe.String(price)})
		p.available(30)
	}
}

// An item that was added goes up within the same month; both are told in either order.
func TestAddedItemGoesUp(t *testing.T) {
	t.Parallel()
	for _, order := range [][]string{{"in_2", "in_3"}, {"in_3", "in_2"}} {
		p := newPlan(t, false)
		p.on(2026, 3, 10)
		p.unknown("in_2", "subscription_update", ofItem("si_2", p.takes("a_on", p.basic, 800)))
		p.on(2026, 3, 12)
		p.unknown("in_3", "subscription_update", ofItem("si_2", p.gives("b_off", p.basic, 700)), ofItem("si_2", p.takes("b_on", p.pro, 2100)))
		for _, id := range order {
			p.settled(p.about("invoice.paid", id))
		}
		p.available(40)
	}
}

// Two changes of one second are one.
func TestTwoChangesOfASecond(t *testing.T) {
	t.Parallel()
	p := newPlan(t, false)
	p.on(2026, 3, 10)
	p.bill("in_2", "subscription_update",
		p.gives("a_off", p.basic, 800), times(2, p.takes("a_on", p.basic, 1600)),
		times(2, p.gives("b_off", p.basic, 1600)), p.takes("b_on", p.pro, 2400))
	p.available(30)
}

// The months of a year that begins on a leap day are counted from its beginning.
func TestUpgradeOfAYearFromALeapDay(t *testing.T) {
	t.Parallel()
	p := newPlan(t, true)
	p.on(2028, 2, 29)
	p.periodStart, p.periodEnd = p.clock.Now(), time.Date(2029, 2, 28, 12, 0, 0, 0, time.UTC)
	p.is(p.basicYear)
	p.bill("in_y", "subscription_cycle", p.full("il_y", p.basicYear, 10000))
	p.on(2028, 3, 28)
	p.clock.Add(time.Hour)
	p.is(p.proYear)
	p.bill("in_2", "subscription_update", p.gives("in_2_off", p.basicYear, 5000), p.takes("in_2_on", p.proYear, 15000))
	p.available(30)
	p.on(2028, 3, 30)
	p.available(30) // the new month; what the change has added to the old one is over
}

// How much a change adds to a price that nobody knows, nobody can tell until the catalogue knows it.
func TestUpgradeFromAnUnknownPriceWaits(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		p := newPlan(t, false)
		legacy := p.price("price_old", "month", 900, "usd")
		learn := func() {
			p.exec(`INSERT INTO tier_prices (lookup_key, tier_id, interval, currency, amount, stripe_price_id, archived_at, created_at)
				VALUES ('basic_old', 'basic', 'month', 'usd', 900, 'price_old', now(), now())`)
			p.clock.Add(2 * time.Hour)
			p.reconcile(false)
		}
		p.on(2026, 4, 5)
		p.periodStart, p.periodEnd = p.clock.Now(), p.clock.Now().AddDate(0, 1, 0)
		p.is(legacy)
		p.bill("in_2", "subscription_cycle", p.full("il_2", legacy, 900))
		if known {
			learn()
			p.available(10)
		}
		p.on(2026, 4, 8)
		p.is(p.pro)
		p.bill("in_3", "subscription_update", p.gives("in_3_off", legacy, 800), p.takes("in_3_on", p.pro, 2700))
		if !known {
			p.available(0)
			if p.alarms("unknown_price") == 0 {
				t.Error("nobody was told")
			}
			learn()
		}
		p.available(30)
	}
}

// What is changed beside it does not matter, known or not.
func TestUpgradeBesideAnUnknownPrice(t *testing.T) {
	t.Parallel()
	p := newPlan(t, false)
	p.on(2026, 3, 10)
	foreign := p.price("price_zzz", "month", 700, "usd")
	p.bill("in_2", "subscription_update", p.gives("a_off", p.basic, 500), p.takes("a_on", p.pro, 1500), ofItem("si_9", p.gives("z_off", foreign, 100)))
	p.available(30)
}

// Cancelled at once with proration, the money of the month goes back, and its credits with it, by the second.
func TestProratedCancellationTakesTheRestOfTheMonth(t *testing.T) {
	t.Parallel()
	p, s := atEmulator(t, catalogtest.PricePro)
	p.available(30)
	for n := range 3 {
		p.clock.Add(day / 2)
		_, err := p.api.Subscriptions.Cancel(s.ID, &stripe.SubscriptionCancelParams{Prorate: stripe.Bool(true), InvoiceNow: stripe.Bool(true)})
		p.must(err)
		p.settled(p.sent()...)
		p.available(int64(n + 1)) // of each half day that was paid for
		s, err = p.api.Subscriptions.New(&stripe.SubscriptionParams{
			Customer: &s.Customer.ID, Items: []*stripe.SubscriptionItemsParams{{Price: stripe.String(catalogtest.PricePro)}},
		})
		p.must(err)
		p.settled(p.sent()...)
		p.available(int64(n + 31))
	}
}

// An item that is taken out again gives the rest of what it has added back, and may come back for that.
func TestRemovedItemGivesTheRestBack(t *testing.T) {
	t.Parallel()
	for _, order := range [][]string{{"in_2", "in_3", "in_4"}, {"in_4", "in_3", "in_2"}} {
		p := newPlan(t, false)
		p.on(2026, 3, 10)
		p.unknown("in_2", "subscription_update", ofItem("si_2", p.takes("a_on", p.pro, 2600)))
		half := p.clock.Now().Add(p.periodEnd.Sub(p.clock.Now()) / 2)
		p.clock.Add(half.Sub(p.clock.Now()))
		p.unknown("in_3", "subscription_update", ofItem("si_2", p.gives("a_off", p.pro, 1300)))
		p.clock.Add(time.Hour)
		p.unknown("in_4", "subscription_update", ofItem("si_3", p.takes("b_on", p.pro, 1295)))
		for i, id := range order {
			p.settled(p.about("invoice.paid", id))
			if i == 1 && order[0] == "in_2" {
				p.available(25) // 10, and half of 30
			}
		}
		p.available(40)
	}
}

// A replay grants nothing that the catalogue or a setting has learned to give since.
func TestReplayKeepsWhatWasSold(t *testing.T) {
	t.Parallel()
	replay := func(p *plan, id string) {
		p.replay(p.text(`SELECT id FROM stripe_events WHERE object_id = $1 LIMIT 1`, id))
		p.drain()
	}
	t.Run("the setting", func(t *testing.T) {
		t.Parallel()
		p := newPlan(t, false)
		p.service = p.newService(with(func(c *stripehook.Config) { c.NoUpgradeCredits = true }))
		p.on(2026, 3, 10)
		p.up("in_2")
		p.service = p.newService()
		replay(p, "in_2")
		p.available(10)
	})
	t.Run("the catalogue", func(t *testing.T) {
		t.Parallel()
		p := newPlan(t, false)
		p.exec(`UPDATE tiers SET allowance_amount = 0 WHERE id = 'pro'`)
		p.on(2026, 4, 5)
		p.periodStart, p.periodEnd = p.clock.Now(), p.clock.Now().AddDate(0, 1, 0)
		p.is(p.pro)
		p.bill("in_2", "subscription_cycle", p.full("il_2", p.pro, 3000))
		p.exec(`UPDATE tiers SET allowance_amount = 30 WHERE id = 'pro'`)
		replay(p, "in_2")
		p.available(0)
	})
}

// Ways up and down with their refunds, told in any order, come to the same end. SAASKIT_SEED leads one again.
func TestSharesWhateverTheOrder(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	if text := os.Getenv("SAASKIT_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", seed)
	var ends []string
	for order := range 3 {
		p := newPlan(t, false)
		events := p.wander(rand.New(rand.NewPCG(seed, 1)))
		if order > 0 {
			rand.New(rand.NewPCG(seed, uint64(order+1))).Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		}
		for _, e := range events {
			p.settled(e)
		}
		p.proven()
		ends = append(ends, p.text(`SELECT balance || ': ' || (SELECT string_agg(natural_key || ' ' || kept, ', ' ORDER BY natural_key) FROM (
			SELECT l.natural_key, l.granted - coalesce((SELECT sum(c.claimed) FROM credit_clawbacks c WHERE c.lot_id = l.id), 0) AS kept FROM credit_lots l
		) s WHERE kept > 0) FROM credit_accounts`))
	}
	for _, end := range ends[1:] {
		if balance(end) != balance(ends[0]) {
			t.Errorf("seed %d: it ends with\n%s\nand in another order with\n%s", seed, ends[0], end)
		}
	}
}

func balance(end string) (n int64) {
	_, _ = fmt.Sscan(end, &n)
	return n
}

// wander lets the item go through random tiers and seats, each paid by an invoice of its own, and refunds some of them. It returns what
// Stripe tells of it, in order.
func (p *plan) wander(random *rand.Rand) (events []object) {
	p.t.Helper()
	price, seats := p.basic, int64(1)
	p.on(2026, 3, 8)
	ids := []string{"in_1"}
	for n := range 6 {
		p.clock.Add(time.Duration(1+random.IntN(50)) * time.Hour)
		next, more := p.basic, 1+random.Int64N(4)
		if random.IntN(2) == 0 {
			next = p.pro
		}
		id := fmt.Sprint("in_x", n)
		cost := func(price object, seats int64) int64 { return price["unit_amount"].(int64) * seats / 2 }
		p.unknown(id, "subscription_update", times(seats, p.gives(id+"_off", price, cost(price, seats))), times(more, p.takes(id+"_on", next, cost(next, more))))
		if cost(next, more) > cost(price, seats) {
			ids = append(ids, id)
		}
		price, seats = next, more
		events = append(events, p.about("invoice.paid", id), p.about("charge.succeeded", "ch_"+id))
	}
	for _, id := range ids {
		if random.IntN(3) > 0 {
			continue
		}
		refund := p.refund("ch_"+id, 1+random.Int64N(400))
		if random.IntN(3) == 0 {
			p.must(p.emu.FailRefund(refund))
		}
		events = append(events, p.about("charge.refunded", "ch_"+id))
	}
	p.sent()
	return events
}

// atEmulator has a subscription to a price that the emulator itself has made and bills.
func atEmulator(t *testing.T, price string) (*plan, *stripe.Subscription) {
	t.Helper()
	w := newWorld(t)
	p := &plan{world: w, credits: credit.New(credit.Config{Pool: w.pool, Now: w.clock.Now, Policy: account.DefaultPolicy()})}
	w.exec(`DELETE FROM stripe_customers`)
	for _, c := range catalogtest.Catalogue().Prices {
		o := w.price(c.StripePriceID, c.Interval, c.Amount, c.Currency)
		w.put("product", object{"id": o["product"], "name": c.LookupKey, "active": true})
	}
	card := "pm_card_visa"
	c, err := w.api.Customers.New(&stripe.CustomerParams{Email: stripe.String("one@example.com"), PaymentMethod: &card,
		InvoiceSettings: &stripe.CustomerInvoiceSettingsParams{DefaultPaymentMethod: &card}})
	w.must(err)
	w.exec(`INSERT INTO stripe_customers (id, account_id, stripe_id, created_at, updated_at) VALUES ($1, $2, $3, now(), now())`, postgres.NewID(), w.t1, c.ID)
	s, err := w.api.Subscriptions.New(&stripe.SubscriptionParams{Customer: &c.ID, Items: []*stripe.SubscriptionItemsParams{{Price: &price}}})
	w.must(err)
	w.settled(w.sent()...)
	return p, s
}

// update changes the items, billed at once.
func (p *plan) update(s *stripe.Subscription, items ...*stripe.SubscriptionItemsParams) *stripe.Subscription {
	p.t.Helper()
	p.clock.Add(time.Hour)
	s, err := p.api.Subscriptions.Update(s.ID, &stripe.SubscriptionParams{Items: items, ProrationBehavior: stripe.String("always_invoice")})
	p.must(err)
	p.settled(p.sent()...)
	return s
}

// What a refund has found spent it takes from what another gives back into the same lot: the end is the same, whether the other was seen
// before it failed or not.
func TestShortfallTakesWhatAFailedRefundGivesBack(t *testing.T) {
	t.Parallel()
	for _, seen := range []bool{true, false} {
		w := newWorld(t)
		w.paid()
		w.spend(5)
		first := w.refund("ch_in_1", 300)
		w.clock.Add(time.Second)
		w.refund("ch_in_1", 400)
		if seen {
			w.settled(w.sent()...)
			w.want("0", `SELECT balance FROM credit_accounts`)
		}
		w.must(w.emu.FailRefund(first))
		w.settled(append(w.sent(), w.about("charge.updated", "ch_in_1"))...)
		w.want("1", `SELECT balance FROM credit_accounts`)
		w.proven()
	}
}
