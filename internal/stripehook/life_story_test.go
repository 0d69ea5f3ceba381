package stripehook_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/catalog/catalogtest"
	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/stripeemu"
)

// A station is a step of the story, and what Stripe must have in the end of it: a story that does not come by proves nothing.
type station struct {
	do   func()
	then func()
}

// play is one whole life. Each station is followed by what comes of it.
func (l *life) play() {
	l.t.Helper()
	ctx := l.t.Context()
	customer, err := l.billing.Customer(ctx, l.t1)
	l.must(err)
	other, err := l.billing.Customer(ctx, l.t2)
	l.must(err)
	var sub, trial, pack, renewal, dispute, failing string
	stations := []station{
		{func() { l.buy(l.t1, billing.Wish{Tier: "basic", Interval: "month"}) }, func() {
			sub = l.newest("subscription", customer)
			l.stands("active", sub, "status")
		}},
		{func() { // the other one tries first
			l.card(other)
			s, err := l.api.Subscriptions.New(&stripe.SubscriptionParams{Customer: stripe.String(other), TrialPeriodDays: stripe.Int64(14),
				Items: []*stripe.SubscriptionItemsParams{{Price: stripe.String(catalogtest.PriceBasicYear)}}})
			l.must(err)
			trial = s.ID
		}, func() { l.stands("trialing", trial, "status") }},
		{func() { l.buy(l.t1, billing.Wish{CreditPack: "small"}) }, func() {
			pack = l.newest("charge", customer)
			l.stands("succeeded", pack, "status")
		}},
		{func() { l.spend(12) }, nil},
		{func() { // up at once, for the difference
			l.pass(5 * day)
			l.up(sub, catalogtest.PricePro)
		}, func() {
			l.stands(catalogtest.PricePro, sub, "items.data.0.price.id")
			l.stands("subscription_update", l.newest("invoice", customer), "billing_reason")
		}},
		{func() { l.pass(7 * day) }, func() { l.told("trial_will_end", 1) }},
		{func() { l.pass(4 * day) }, func() { l.stands("active", trial, "status") }}, // the trial has ended, and a year has begun
		{func() { l.up(trial, catalogtest.PriceProYear) }, func() { l.stands(catalogtest.PriceProYear, trial, "items.data.0.price.id") }},
		{func() { l.pass(18 * day) }, func() { // a renewal
			renewal = l.newest("charge", customer)
			l.stands("succeeded", renewal, "status")
			l.stands("subscription_cycle", l.newest("invoice", customer), "billing_reason")
			l.stands("paid", l.newest("invoice", customer), "status")
		}},
		{func() { l.spend(3) }, nil},
		{func() {
			_, err := l.api.Refunds.New(&stripe.RefundParams{Charge: stripe.String(renewal), Amount: stripe.Int64(1000)})
			l.must(err)
		}, func() {
			l.stands("1000", renewal, "amount_refunded")
			l.stands("3000", renewal, "amount")
		}},
		{func() { // the card stops working
			l.must(l.emu.DeclineCard(l.newest("payment_method", customer), "insufficient_funds"))
			l.pass(29 * day)
		}, func() {
			l.stands("past_due", sub, "status")
			l.stands("open", l.newest("invoice", customer), "status")
			l.told("payment_failed", 1)
		}},
		{func() { l.pass(4 * day) }, func() { // a second try
			l.stands("past_due", sub, "status")
			l.stands("2", l.newest("invoice", customer), "attempt_count")
			l.told("payment_failed", 2)
		}},
		{func() { l.must(l.emu.DeclineCard(l.newest("payment_method", customer), "")); l.pass(6 * day) }, func() { // and it pays again
			l.stands("active", sub, "status")
			l.stands("paid", l.newest("invoice", customer), "status")
			l.told("payment_failed", 2)
		}},
		{func() { dispute, err = l.emu.Dispute(pack, stripeemu.DisputeOptions{}); l.must(err) }, func() {
			l.stands("needs_response", dispute, "status")
			l.stands("true", pack, "disputed")
		}},
		{func() { l.must(l.emu.DecideDispute(dispute, "won")) }, func() { l.stands("won", dispute, "status") }},
		{func() {
			r, err := l.api.Refunds.New(&stripe.RefundParams{Charge: stripe.String(l.newest("charge", customer))})
			l.must(err)
			failing = r.ID
			l.happened()
			l.must(l.emu.FailRefund(failing))
		}, func() { l.stands("failed", failing, "status") }},
		{func() { // a part goes back to the balance, another one to the card
			paid, _ := l.emu.Get(renewal)
			_, err := l.api.CreditNotes.New(&stripe.CreditNoteParams{Invoice: stripe.String(paid["invoice"].(string)),
				Amount: stripe.Int64(800), CreditAmount: stripe.Int64(500), RefundAmount: stripe.Int64(300)})
			l.must(err)
		}, func() { l.stands("1300", renewal, "amount_refunded") }},
		{func() {
			_, err := l.api.Customers.Update(other, &stripe.CustomerParams{Email: stripe.String("new@example.com")})
			l.must(err)
			dispute, err = l.emu.Dispute(l.newest("charge", other), stripeemu.DisputeOptions{})
			l.must(err)
			l.must(l.emu.DecideDispute(dispute, "lost"))
		}, func() { l.stands("lost", dispute, "status") }},
		{func() {
			_, err := l.api.Subscriptions.Update(sub, &stripe.SubscriptionParams{CancelAtPeriodEnd: stripe.Bool(true)})
			l.must(err)
			_, err = l.api.Subscriptions.Cancel(trial, nil)
			l.must(err)
		}, func() {
			l.stands("true", sub, "cancel_at_period_end")
			l.stands("active", sub, "status")
			l.stands("canceled", trial, "status")
		}},
		{func() { l.pass(35 * day) }, func() { l.stands("canceled", sub, "status") }},
	}
	for _, s := range stations {
		s.do()
		l.happened()
		if l.prompt { // the clock brings what is owed that day
			_, err := l.credits.GrantAllowances(ctx)
			l.must(err)
			l.equalsStripe()
		}
		if s.then != nil {
			s.then()
		}
	}
	// What never came is found in Stripe's list, and what is not listed any more somebody has sent again.
	for !l.sweep(l.service) { // until nobody dies in it
	}
	l.resend()
	l.settle(false)
	l.must(l.credits.Sweep(ctx))
}

// newest is the object of a customer that Stripe has made last.
func (l *life) newest(kind, customer string) string {
	l.t.Helper()
	for _, o := range l.emu.Objects(kind) {
		if o["customer"] == customer {
			return o["id"].(string)
		}
	}
	l.t.Fatalf("no %s of %s", kind, customer)
	return ""
}

// stands wants a field of an object at Stripe. In a prompt life ours is compared with all of it, so there it is what we have, too.
func (l *life) stands(want, id, path string) {
	l.t.Helper()
	o, _ := l.emu.Get(id)
	if got := fmt.Sprint(plain(field(o, path))); got != want {
		l.t.Errorf("%s of %s is %s, want %s: the story has lost its way", path, id, got, want)
	}
}

// told wants so many messages of a kind to be there. Where events come late the day may be over on which one is due.
func (l *life) told(kind string, n int) {
	l.t.Helper()
	if l.prompt {
		l.want(fmt.Sprint(n), `SELECT count(*) FROM outbox WHERE kind = $1`, kind)
	}
}

func (l *life) card(customer string) {
	l.t.Helper()
	pm, err := l.api.PaymentMethods.Attach("pm_card_visa", &stripe.PaymentMethodAttachParams{Customer: stripe.String(customer)})
	l.must(err)
	_, err = l.api.Customers.Update(customer, &stripe.CustomerParams{
		InvoiceSettings: &stripe.CustomerInvoiceSettingsParams{DefaultPaymentMethod: stripe.String(pm.ID)}})
	l.must(err)
}

// up changes a subscription to a dearer price at once.
func (l *life) up(subscription, price string) {
	l.t.Helper()
	s, ok := l.emu.Get(subscription)
	if !ok {
		l.t.Fatal("no subscription")
	}
	item := field(s, "items.data.0.id").(string)
	_, err := l.api.Subscriptions.Update(subscription, &stripe.SubscriptionParams{ProrationBehavior: stripe.String("always_invoice"),
		Items: []*stripe.SubscriptionItemsParams{{ID: stripe.String(item), Price: stripe.String(price)}}})
	l.must(err)
}

// spend takes credits where it is the same in every life.
func (l *life) spend(amount int64) {
	l.t.Helper()
	if !l.prompt {
		return
	}
	_, err := l.credits.Consume(l.t.Context(), credit.Spending{AccountID: l.t1, Amount: amount, Description: "work", Actor: audit.Operator("life")})
	l.must(err)
}

// wantCredits wants the lots that this story pays for, as one would count them on one's fingers. Each is named by whose it is and
// what has brought it.
func (l *life) wantCredits() {
	l.t.Helper()
	want := []string{
		"first pack 50", "first subscription_create 10", "first subscription_update 20", "first subscription_cycle 30", "first subscription_cycle 30",
		"second subscription_create 10", "second subscription_cycle 10", "second subscription_update 20",
	}
	if l.prompt { // in the others nobody looks before all is over
		want = append(want, "second clock 10", "second clock 20") // the year's second month: what it was bought with, and what the change has added
	}
	reasons := l.atStripe("invoice")
	var got []string
	for _, row := range l.texts(`SELECT concat_ws(' ', CASE account_id WHEN $1 THEN 'first' WHEN $2 THEN 'second' END, granted, natural_key) FROM credit_lots`, l.t1, l.t2) {
		words := strings.SplitN(row, " ", 3)
		parts := strings.Split(words[2], ":")
		brought := map[string]string{"session": "pack", "clock": "clock"}[parts[0]]
		if parts[0] == "invoice" {
			brought = fmt.Sprint(reasons[parts[1]]["billing_reason"])
		}
		got = append(got, words[0]+" "+brought+" "+words[1])
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		l.t.Errorf("lots (-want +got):\n%s", diff)
	}
}

// wantClaims wants what the story takes back, and in a prompt life what is left, counted on one's fingers like the lots.
func (l *life) wantClaims() {
	l.t.Helper()
	want := []string{
		"first 30 credit_note 5", "first 30 refund 10", "first 30 refund 3", // of the renewal: 500, 1000 and 300 of 3000
		"second 20 dispute 20", // of what the change has added
	}
	if l.prompt {
		want = append(want, "second 20 dispute 20") // in the second month, too
		// The first has 48 of its pack, since 2 of the first 12 were not in the first month any more; all else is over.
		l.want("48 0", `SELECT string_agg(balance::text, ' ' ORDER BY account_id = $1 DESC) FROM credit_accounts WHERE account_id IN ($1, $2)`, l.t1, l.t2)
	}
	got := l.texts(`SELECT concat_ws(' ', CASE l.account_id WHEN $1 THEN 'first' WHEN $2 THEN 'second' END, l.granted, split_part(c.cause, ':', 1),
		c.claimed) FROM credit_clawbacks c JOIN credit_lots l ON l.id = c.lot_id WHERE c.claimed > 0`, l.t1, l.t2)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		l.t.Errorf("claims (-want +got):\n%s", diff)
	}
}
