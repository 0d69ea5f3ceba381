package stripehook_test

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/cache"
	"example.com/saaskit/internal/cache/redistest"
	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/catalog/catalogtest"
	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/origin"
	"example.com/saaskit/internal/stripeemu"
	"example.com/saaskit/internal/stripehook"
)

// A life is two accounts from the first payment to the end, with Stripe's events about them arriving as badly as they may: in any
// order, twice, late, never, and with a server that dies or stalls at each step. It is drawn from one seed.
type life struct {
	*world
	random  *rand.Rand
	billing *billing.Service
	credits *credit.Service
	// prompt lives settle what has happened before more happens, so that they end the same to the last word. In the others events
	// come when their time is over: what depends on the day on which one comes may differ then, and nothing else.
	prompt  bool
	waiting []object // made by Stripe and not yet here
	lost    []object // never delivered
	calm    bool     // nothing dies or stalls
	stalled []*attempt
	running *attempt
	kills   map[string]int
	began   time.Time
	order   map[string]int // events in the order in which Stripe made them
}

// An attempt at an event by a server that may die or stall in it.
type attempt struct {
	over    chan struct{} // closed where it has ended, in death, too
	stopped chan struct{} // it stalls
	resume  chan struct{}
}

func newLife(t *testing.T, seed uint64, prompt bool) *life {
	t.Helper()
	l := &life{random: rand.New(rand.NewPCG(seed, 51)), prompt: prompt, kills: map[string]int{}, order: map[string]int{}}
	l.world = newWorld(t, with(l.endanger))
	l.exec(`DELETE FROM stripe_customers`)
	for _, p := range catalogtest.Catalogue().Prices {
		o := l.price(p.StripePriceID, p.Interval, p.Amount, p.Currency)
		l.put("product", object{"id": o["product"], "name": p.LookupKey, "active": true})
	}
	l.began = l.clock.Now()
	log := slog.New(slog.DiscardHandler)
	c, err := cache.Open(t.Context(), redistest.New(t), "life", log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	accounts, err := account.New(account.Config{Pool: l.pool, Cache: c, Log: log, Now: l.clock.Now, Policy: account.DefaultPolicy()})
	if err != nil {
		t.Fatal(err)
	}
	origins, err := origin.Parse([]string{"https://app.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	l.billing = billing.New(billing.Config{
		Pool: l.pool, Stripe: l.api, Catalog: catalog.New(l.pool), Accounts: accounts, Origins: origins,
		AppEnv: appEnv, Now: l.clock.Now, Log: log,
	})
	l.credits = credit.New(credit.Config{Pool: l.pool, Now: l.clock.Now, Policy: account.DefaultPolicy()})
	return l
}

// endanger sets every failpoint: at each the server may die, and where it holds no lock it may stall.
func (l *life) endanger(c *stripehook.Config) {
	point := func(step string, stalls bool) func(string) error {
		return func(string) error {
			if l.calm {
				return nil
			}
			switch n := l.random.IntN(100); {
			case n < 4:
				l.kills[step]++
				runtime.Goexit() // as in death: what is deferred ends the connection, and nobody records a failure
			case n < 8 && stalls:
				l.kills["stalled "+step]++
				own := l.running
				close(own.stopped)
				<-own.resume
			}
			return nil
		}
	}
	c.Failpoints = stripehook.Failpoints{
		BeforeInsert: point("BeforeInsert", false), BeforeStored: point("BeforeStored", false), AfterStored: point("AfterStored", false),
		AfterSequence: point("AfterSequence", true), AfterFetch: point("AfterFetch", true),
		BeforeCommit: point("BeforeCommit", false), AfterCommit: point("AfterCommit", false),
	}
}

// live runs a step of the server until it ends, dies or stalls. One at a time draws from the seed: what is resumed runs calmly.
func (l *life) live(step func()) {
	own := &attempt{over: make(chan struct{}), stopped: make(chan struct{}), resume: make(chan struct{})}
	l.running = own
	go func() {
		defer close(own.over)
		step()
	}()
	select {
	case <-own.over:
	case <-own.stopped:
		l.stalled = append(l.stalled, own)
	}
}

// wake lets the attempt go on that has stalled for the longest time.
func (l *life) wake() {
	own := l.stalled[0]
	l.stalled = l.stalled[1:]
	calm := l.calm
	l.calm = true
	close(own.resume)
	<-own.over
	l.calm = calm
}

// deliver brings one event, some of them more than once. Where nobody answers it waits to be sent again.
func (l *life) deliver(event object) {
	for range 1 + l.random.IntN(5)/3 {
		answered := false
		body := encode(l.t, event)
		l.live(func() {
			if err := l.service.Receive(context.Background(), sign(body, secret, time.Now()), body); err != nil {
				l.t.Errorf("receive %v: %v", event["type"], err)
			}
			answered = true
		})
		if !answered {
			l.waiting = append(l.waiting, event)
		}
	}
}

// work makes one attempt at one event that waits in the inbox.
func (l *life) work() bool {
	pending := l.texts(`SELECT id FROM stripe_events WHERE status = 'pending'`)
	if len(pending) == 0 {
		return false
	}
	slices.SortFunc(pending, func(a, b string) int { return l.order[a] - l.order[b] }) // ids are random, the seed is not
	id := pending[l.random.IntN(len(pending))]
	l.live(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := l.service.Work(ctx, id, false); err != nil && !snoozed(err) {
			l.t.Errorf("work on %s: %v", id, err)
		}
	})
	return true
}

// happened takes what Stripe has made since the last call, and lets some of it arrive and be worked on. Sometimes a letter is lost:
// it comes with a sweep.
func (l *life) happened() {
	l.t.Helper()
	l.emu.Advance(0)
	for _, event := range l.sent() {
		l.order[event["id"].(string)] = len(l.order)
		if !l.prompt && l.random.IntN(8) == 0 {
			l.lost = append(l.lost, event)
			continue
		}
		l.waiting = append(l.waiting, event)
	}
	l.random.Shuffle(len(l.waiting), func(i, j int) { l.waiting[i], l.waiting[j] = l.waiting[j], l.waiting[i] })
	arrives := len(l.waiting)
	if !l.prompt {
		arrives = l.random.IntN(arrives + 1)
	}
	for _, event := range l.take(arrives) {
		l.deliver(event)
		for range l.random.IntN(3) {
			l.work()
		}
		if len(l.stalled) > 0 && l.random.IntN(40) == 0 { // long enough for Stripe to have moved on
			l.wake()
		}
	}
	switch {
	case l.prompt:
		l.settle()
	case l.random.IntN(6) == 0:
		l.sweep()
	}
}

// sweep takes in what Stripe lists and no delivery has brought, unless the server dies in it.
func (l *life) sweep() (done bool) {
	l.live(func() {
		if _, err := l.service.Sweep(context.Background(), false); err != nil {
			l.t.Errorf("sweep: %v", err)
		}
		done = true
	})
	return done
}

func (l *life) take(n int) []object {
	taken := slices.Clone(l.waiting[:n])
	l.waiting = slices.Clone(l.waiting[n:])
	return taken
}

// settle delivers and works until there is nothing left.
func (l *life) settle() {
	l.t.Helper()
	for rounds := 0; len(l.waiting) > 0 || l.work(); rounds++ {
		for _, event := range l.take(len(l.waiting)) {
			l.deliver(event)
		}
		if rounds > 2000 {
			l.t.Fatalf("never settled: %v", l.texts(`SELECT id || ' ' || type || ' ' || last_error FROM stripe_events WHERE status = 'pending'`))
		}
	}
	for len(l.stalled) > 0 {
		l.wake()
	}
	if l.work() {
		l.settle()
	}
}

func (l *life) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// buy opens a checkout session by our own service and pays for it on Stripe's page.
func (l *life) buy(accountID uuid.UUID, wish billing.Wish) {
	l.t.Helper()
	wish.AccountID, wish.Currency = accountID, "usd"
	wish.SuccessURL, wish.CancelURL = "https://app.example.com/ok", "https://app.example.com/no"
	wish.Actor = audit.Operator("life")
	session, _, err := l.billing.OpenCheckout(l.t.Context(), wish)
	l.must(err)
	req, err := http.NewRequestWithContext(l.t.Context(), http.MethodPost, session.URL, strings.NewReader(url.Values{"action": {"pay"}, "email": {"one@example.com"}}.Encode()))
	l.must(err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	browser := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := browser.Do(req)
	l.must(err)
	page, err := io.ReadAll(res.Body)
	l.must(err)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusSeeOther {
		l.t.Fatalf("paying is answered with %d: %s", res.StatusCode, page)
	}
}

// pass moves the time of Stripe and of the server.
func (l *life) pass(d time.Duration) { l.clock.Add(d) }

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
	var sub, trial, pack, renewal, dispute string
	steps := []func(){
		func() { l.buy(l.t1, billing.Wish{Tier: "basic", Interval: "month"}) },
		func() { // the other one tries first
			card(other)
			s, err := l.api.Subscriptions.New(&stripe.SubscriptionParams{Customer: stripe.String(other), TrialPeriodDays: stripe.Int64(14),
				Items: []*stripe.SubscriptionItemsParams{{Price: stripe.String(catalogtest.PriceBasic)}}})
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
			s, ok := l.emu.Get(sub)
			if !ok {
				l.t.Fatal("no subscription")
			}
			item := s["items"].(object)["data"].([]any)[0].(object)["id"].(string)
			l.pass(5 * day)
			_, err := l.api.Subscriptions.Update(sub, &stripe.SubscriptionParams{ProrationBehavior: stripe.String("always_invoice"),
				Items: []*stripe.SubscriptionItemsParams{{ID: stripe.String(item), Price: stripe.String(catalogtest.PricePro)}}})
			l.must(err)
		},
		func() { l.pass(7 * day) },                                  // the trial will end
		func() { l.pass(4 * day) },                                  // and has ended
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
			`SELECT 'audit ' || account_id || ' ' || action || ' ' || target_id || ' ' || count(*) FROM audit_log WHERE target_kind <> 'checkout_session' GROUP BY account_id, action, target_id`)
	}
	names := []string{l.t1.String(), "first", l.t2.String(), "second"}
	for _, kind := range []string{"customer", "subscription", "subscription_item", "invoice", "line_item", "charge", "refund", "dispute", "checkout.session", "payment_intent"} {
		all := l.emu.Objects(kind)
		for i, o := range all {
			names = append(names, o["id"].(string), kind+"#"+strconv.Itoa(len(all)-i))
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
			row = replace.Replace(row)
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
