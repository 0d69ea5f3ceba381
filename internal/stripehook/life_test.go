package stripehook_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"github.com/google/go-cmp/cmp"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/catalog/catalogtest"
	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/stripeemu"
)

// play is one whole life. Each step is followed by what comes of it.
func (l *life) play() {
	l.t.Helper()
	ctx := l.t.Context()
	customer, err := l.billing.Customer(ctx, l.t1)
	l.must(err)
	other, err := l.billing.Customer(ctx, l.t2)
	l.must(err)
	newest := func(kind, customer string) string {
		l.t.Helper()
		for _, o := range l.emu.Objects(kind) {
			if o["customer"] == customer {
				return o["id"].(string)
			}
		}
		l.t.Fatalf("no %s of %s", kind, customer)
		return ""
	}
	card := func(customer string) string {
		pm, err := l.api.PaymentMethods.Attach("pm_card_visa", &stripe.PaymentMethodAttachParams{Customer: stripe.String(customer)})
		l.must(err)
		_, err = l.api.Customers.Update(customer, &stripe.CustomerParams{
			InvoiceSettings: &stripe.CustomerInvoiceSettingsParams{DefaultPaymentMethod: stripe.String(pm.ID)}})
		l.must(err)
		return pm.ID
	}
	up := func(subscription, price string) {
		s, ok := l.emu.Get(subscription)
		if !ok {
			l.t.Fatal("no subscription")
		}
		item := s["items"].(object)["data"].([]any)[0].(object)["id"].(string)
		_, err := l.api.Subscriptions.Update(subscription, &stripe.SubscriptionParams{ProrationBehavior: stripe.String("always_invoice"),
			Items: []*stripe.SubscriptionItemsParams{{ID: stripe.String(item), Price: stripe.String(price)}}})
		l.must(err)
	}
	var sub, trial, pack, renewal, dispute string
	steps := []func(){
		func() { l.buy(l.t1, billing.Wish{Tier: "basic", Interval: "month"}) },
		func() { // the other one tries first
			card(other)
			s, err := l.api.Subscriptions.New(&stripe.SubscriptionParams{Customer: stripe.String(other), TrialPeriodDays: stripe.Int64(14),
				Items: []*stripe.SubscriptionItemsParams{{Price: stripe.String(catalogtest.PriceBasicYear)}}})
			l.must(err)
			trial = s.ID
		},
		func() {
			l.buy(l.t1, billing.Wish{CreditPack: "small"})
			pack = newest("charge", customer)
		},
		func() { l.spend(12) },
		func() { // up at once, for the difference
			sub = newest("subscription", customer)
			l.pass(5 * day)
			up(sub, catalogtest.PricePro)
		},
		func() { l.pass(7 * day) }, // the trial will end
		func() { l.pass(4 * day) }, // and has ended, and a year has begun
		func() { up(trial, catalogtest.PriceProYear) },
		func() { l.pass(18 * day) },                                 // a renewal
		func() { renewal = newest("charge", customer); l.spend(3) }, // paid
		func() {
			_, err := l.api.Refunds.New(&stripe.RefundParams{Charge: stripe.String(renewal), Amount: stripe.Int64(1000)})
			l.must(err)
		},
		func() { // the card stops working
			l.must(l.emu.DeclineCard(newest("payment_method", customer), "insufficient_funds"))
			l.pass(28 * day)
		},
		func() { l.pass(4 * day) }, // a second try
		func() { l.must(l.emu.DeclineCard(newest("payment_method", customer), "")); l.pass(6 * day) }, // and it pays again
		func() { dispute, err = l.emu.Dispute(pack, stripeemu.DisputeOptions{}); l.must(err) },
		func() { l.must(l.emu.DecideDispute(dispute, "won")) },
		func() {
			r, err := l.api.Refunds.New(&stripe.RefundParams{Charge: stripe.String(newest("charge", customer))})
			l.must(err)
			l.happened()
			l.must(l.emu.FailRefund(r.ID))
		},
		func() { // a part goes back to the balance, another one to the card
			paid, _ := l.emu.Get(renewal)
			_, err := l.api.CreditNotes.New(&stripe.CreditNoteParams{Invoice: stripe.String(paid["invoice"].(string)),
				Amount: stripe.Int64(800), CreditAmount: stripe.Int64(500), RefundAmount: stripe.Int64(300)})
			l.must(err)
		},
		func() {
			_, err := l.api.Customers.Update(other, &stripe.CustomerParams{Email: stripe.String("new@example.com")})
			l.must(err)
			d, err := l.emu.Dispute(newest("charge", other), stripeemu.DisputeOptions{})
			l.must(err)
			l.must(l.emu.DecideDispute(d, "lost"))
		},
		func() {
			_, err := l.api.Subscriptions.Update(sub, &stripe.SubscriptionParams{CancelAtPeriodEnd: stripe.Bool(true)})
			l.must(err)
			_, err = l.api.Subscriptions.Cancel(trial, nil)
			l.must(err)
		},
		func() { l.pass(35 * day) },
	}
	for _, step := range steps {
		step()
		l.happened()
		if l.prompt { // the clock brings what is owed that day
			_, err := l.credits.GrantAllowances(ctx)
			l.must(err)
		}
	}
	// What never came is found in Stripe's list, and what is not listed any more somebody has sent again.
	for !l.sweep() { // until nobody dies in it
	}
	for _, event := range l.lost {
		if l.text(`SELECT id FROM stripe_events WHERE id = $1`, event["id"]) == "" {
			l.waiting = append(l.waiting, event)
		}
	}
	l.settle()
	l.must(l.credits.Sweep(ctx))
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

// moment is a time in a natural key.
var moment = regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z`)

// outcome is what the two accounts have in the end, in words that are the same in every life.
func (l *life) outcome() []string {
	l.t.Helper()
	queries := []string{
		`SELECT 'lot ' || account_id || ' ' || natural_key || ' ' || source || ' ' || granted || ' ' || coalesce(extract(epoch FROM expires_at)::bigint::text, '-') FROM credit_lots`,
		`SELECT 'claim ' || l.natural_key || ' ' || c.cause || ' ' || c.claimed FROM credit_clawbacks c JOIN credit_lots l ON l.id = c.lot_id WHERE c.claimed > 0`,
		`SELECT 'attempt ' || account_id || ' ' || kind || ' ' || status FROM checkout_attempts`,
		`SELECT 'event ' || status || ' ' || count(*) FROM stripe_events GROUP BY status`,
	}
	if l.prompt {
		queries = append(queries,
			`SELECT 'balance ' || account_id || ' ' || balance FROM credit_accounts`,
			`SELECT 'entry ' || account_id || ' ' || kind || ' ' || sum(amount) FROM credit_entries GROUP BY account_id, kind`,
			`SELECT 'taken ' || l.natural_key || ' ' || c.cause || ' ' || c.taken FROM credit_clawbacks c JOIN credit_lots l ON l.id = c.lot_id WHERE c.claimed > 0`,
			`SELECT 'message ' || coalesce(account_id::text, '-') || ' ' || natural_key FROM outbox`,
			`SELECT 'audit ' || account_id || ' ' || action || ' ' || target_id || ' ' || count(*) FROM audit_log WHERE action <> 'checkout.open' GROUP BY account_id, action, target_id`)
	}
	names := []string{l.t1.String(), "first", l.t2.String(), "second"}
	for _, kind := range []string{"customer", "subscription", "invoice", "line_item", "charge", "refund", "dispute", "checkout.session", "payment_intent",
		"payment_method", "credit_note"} {
		all := l.emu.Objects(kind)
		for i, o := range all {
			names = append(names, o["id"].(string), kind+"#"+strconv.Itoa(len(all)-i))
		}
	}
	subscriptions := l.emu.Objects("subscription")
	for i, s := range subscriptions {
		for _, item := range s["items"].(object)["data"].([]any) {
			names = append(names, item.(object)["id"].(string), "item#"+strconv.Itoa(len(subscriptions)-i))
		}
	}
	for _, in := range l.emu.Objects("invoice") {
		for i, line := range in["lines"].(object)["data"].([]any) {
			names = append(names, line.(object)["id"].(string), "line#"+strconv.Itoa(i))
		}
	}
	replace := strings.NewReplacer(names...)
	var all []string
	start := l.began.Unix()
	for _, query := range queries {
		for _, row := range l.texts(query) {
			row = moment.ReplaceAllStringFunc(replace.Replace(row), func(at string) string {
				parsed, err := time.Parse(time.RFC3339Nano, at)
				l.must(err)
				return "+" + parsed.Sub(l.began).String()
			})
			words := strings.Split(row, " ")
			for i, word := range words { // times count from the beginning
				last := word[strings.LastIndex(word, ":")+1:]
				if at, err := strconv.ParseInt(last, 10, 64); err == nil && at > 1_000_000_000 {
					words[i] = strings.TrimSuffix(word, last) + "+" + (time.Duration(at-start) * time.Second).String()
				}
			}
			all = append(all, strings.Join(words, " "))
		}
	}
	slices.Sort(all)
	return all
}

// lives is how many are led: 1,000 with SAASKIT_LIVES=1000, and otherwise some, for as long as a test of every day may take.
func lives(t testing.TB) (n int, until time.Time) {
	t.Helper()
	text := os.Getenv("SAASKIT_LIVES")
	if text == "" {
		return 5, time.Now().Add(5 * time.Second)
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("SAASKIT_LIVES is no number: %q", text)
	}
	return n, time.Now().AddDate(1, 0, 0)
}

// ends are how lives end where nothing goes wrong: prompt ones and late ones, each led once.
var ends struct {
	sync.Mutex
	of map[bool][]string
}

func quiet(t *testing.T, prompt bool) []string {
	t.Helper()
	ends.Lock()
	defer ends.Unlock()
	if known := ends.of[prompt]; known != nil {
		return known
	}
	l := newLife(t, 0, prompt)
	l.calm = true
	l.play()
	l.check()
	if ends.of == nil {
		ends.of = map[bool][]string{}
	}
	ends.of[prompt] = l.outcome()
	return ends.of[prompt]
}

// check wants our side to equal Stripe's, and the ledger to add up.
func (l *life) check() {
	l.t.Helper()
	for _, row := range l.texts(`SELECT concat_ws(' ', id, type, status, reason, last_error) FROM stripe_events WHERE status <> 'done' AND reason <> 'not_kept'`) {
		l.t.Errorf("an event did not end well: %s", row)
	}
	l.equalsStripe()
	l.wantCredits()
	l.proven()
}

func lead(t *testing.T, seed uint64, prompt bool, want []string) map[string]int {
	t.Helper()
	l := newLife(t, seed, prompt)
	l.play()
	l.check()
	if diff := cmp.Diff(want, l.outcome()); diff != "" {
		t.Errorf("another order, another end (-quiet +this):\n%s", diff)
	}
	if t.Failed() {
		t.Fatalf("seed %d, prompt %t: run it again with SAASKIT_SEED=%d", seed, prompt, seed)
	}
	return l.kills
}

func firstSeed(t testing.TB) uint64 {
	t.Helper()
	if text := os.Getenv("SAASKIT_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return seed
	}
	return uint64(time.Now().UnixNano())
}

// Whole lives: whatever comes in whatever order, however often, and whatever dies in between, the end is Stripe's.
func TestC51Lives(t *testing.T) {
	t.Parallel()
	for _, prompt := range []bool{true, false} {
		t.Run(map[bool]string{true: "prompt", false: "late"}[prompt], func(t *testing.T) {
			t.Parallel()
			seed, kills := firstSeed(t), map[string]int{}
			t.Logf("seed %d", seed)
			want := quiet(t, prompt)
			n, until := lives(t)
			for i := uint64(0); i < uint64(n) && (i == 0 || time.Now().Before(until)); i++ {
				// Each is a test of its own: what it holds goes with it.
				t.Run(strconv.FormatUint(seed+i, 10), func(t *testing.T) {
					for step, n := range lead(t, seed+i, prompt, want) {
						kills[step] += n
					}
				})
				if t.Failed() {
					return
				}
			}
			t.Logf("deaths and stalls: %v", kills)
		})
	}
}

// FuzzC51Lives looks for an order that ends otherwise.
func FuzzC51Lives(f *testing.F) {
	f.Add(uint64(2), false)
	f.Fuzz(func(t *testing.T, seed uint64, prompt bool) { lead(t, seed, prompt, quiet(t, prompt)) })
}
