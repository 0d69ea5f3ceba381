package billing_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/problem"
	"example.com/saaskit/internal/stripeemu"
)

const sessionsPath = "/v1/checkout/sessions"

func TestOpenCheckoutForATier(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	session := w.open(w.tier("basic"))
	if left := session.ExpiresAt.Sub(w.Now()); left < 55*time.Minute || left > 65*time.Minute {
		t.Errorf("the session lives for %v", left)
	}
	at, ok := w.emu.Get(session.ID)
	if !ok || at["url"] != session.URL || at["mode"] != "subscription" || at["client_reference_id"] != w.accountID.String() ||
		at["success_url"] != success || at["cancel_url"] != cancel || at["currency"] != "usd" || fmt.Sprint(at["amount_total"]) != "1000" {
		t.Errorf("session at Stripe: %v", at)
	}
	meta := at["metadata"].(map[string]any)
	if meta["account_id"] != w.accountID.String() || meta["app_env"] != "test" || meta["attempt_id"] == nil || meta["tier"] != "basic" {
		t.Errorf("metadata: %v", meta)
	}
	customer, ok := w.emu.Get(at["customer"].(string))
	if !ok || customer["email"] != w.userID.String()+"@example.com" {
		t.Errorf("customer: %v", customer)
	}
	stamp := customer["metadata"].(map[string]any)
	if stamp["account_id"] != w.accountID.String() || stamp["app_env"] != "test" {
		t.Errorf("stamp: %v", stamp)
	}
	w.pay(session)
	sub := w.emu.Objects("subscription")[0]
	if sub["metadata"].(map[string]any)["account_id"] != w.accountID.String() || sub["customer"] != at["customer"] {
		t.Errorf("subscription: %v", sub)
	}
	if n := w.count("SELECT count(*) FROM audit_log WHERE action = 'checkout.open'"); n != 1 {
		t.Errorf("%d audit entries", n)
	}
}

func TestOpenCheckoutForAPack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	session := w.open(w.pack())
	w.pay(session)
	intent := w.emu.Objects("payment_intent")[0]
	meta := intent["metadata"].(map[string]any)
	if meta["credit_pack"] != "small" || meta["account_id"] != w.accountID.String() || fmt.Sprint(intent["amount"]) != "500" {
		t.Errorf("payment intent: %v", intent)
	}
	if n := w.count("SELECT count(*) FROM checkout_attempts WHERE credits = 50 AND pack_id = 'small' AND stripe_price_id = 'price_pack'"); n != 1 {
		t.Error("the attempt does not tell what is sold")
	}
}

func TestOpenCheckoutRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tests := []struct {
		name   string
		change func(*billing.Wish)
		want   error
	}{
		{"nothing", func(v *billing.Wish) { v.Tier, v.Interval = "", "" }, problem.InvalidRequest},
		{"both", func(v *billing.Wish) { v.CreditPack = "small" }, problem.InvalidRequest},
		{"pack with an interval", func(v *billing.Wish) { v.Tier, v.CreditPack = "", "small" }, problem.InvalidRequest},
		{"tier without an interval", func(v *billing.Wish) { v.Interval = "" }, problem.InvalidRequest},
		{"interval without a tier", func(v *billing.Wish) { v.Tier = "" }, problem.InvalidRequest},
		{"free tier", func(v *billing.Wish) { v.Tier = "free" }, problem.PriceNotFound},
		{"unknown tier", func(v *billing.Wish) { v.Tier = "gold" }, problem.PriceNotFound},
		{"unknown pack", func(v *billing.Wish) { v.Tier, v.Interval, v.CreditPack = "", "", "huge" }, problem.PriceNotFound},
		{"other currency", func(v *billing.Wish) { v.Currency = "gbp" }, problem.PriceNotFound},
		{"other interval", func(v *billing.Wish) { v.Interval = "week" }, problem.PriceNotFound},
		{"foreign success_url", func(v *billing.Wish) { v.SuccessURL = "https://evil.example/" }, problem.RedirectNotAllowed},
		{"foreign cancel_url", func(v *billing.Wish) { v.CancelURL = "https://app.example.com@evil.example/" }, problem.RedirectNotAllowed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wish := w.tier("basic")
			tt.change(&wish)
			w.refused(w.keyed(wish, tt.name), tt.want)
		})
	}
	if n := len(w.emu.Requests()); n != 0 {
		t.Errorf("refusals made %d calls to Stripe", n)
	}
	if w.attempts() != "" || w.count("SELECT count(*) FROM stripe_customers")+w.count("SELECT count(*) FROM idempotency_keys") != 0 {
		t.Error("a refusal left something behind")
	}
}

func TestOpenCheckoutOfAClosedAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("UPDATE accounts SET status = 'disabled'")
	w.refused(w.tier("basic"), problem.AccountClosed)
}

func TestAlreadySubscribed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status  string
		ended   bool
		refused bool
	}{
		{"active", false, true},
		{"trialing", false, true},
		{"past_due", false, true},
		{"unpaid", false, true},
		{"paused", false, true},
		{"from_the_future", false, true}, // rather a refusal than paying twice
		{"incomplete", false, false},
		{"incomplete_expired", false, false},
		{"canceled", true, false},
	}
	for _, tt := range tests {
		t.Run(tt.status, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.subscribe("sub_1", tt.status, tt.ended)
			if !tt.refused {
				w.open(w.tier("pro"))
				return
			}
			w.refused(w.tier("pro"), problem.AlreadySubscribed)
			if w.attempts() != "" || len(w.emu.Requests()) != 0 {
				t.Error("a refusal left something behind")
			}
			w.open(w.pack()) // packs are for everybody
		})
	}
}

// The customer has paid, but no event has told us yet: Stripe is asked.
func TestAlreadySubscribedAtStripeOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.open(w.tier("basic"))
	w.pay(first)
	w.refused(w.tier("pro"), problem.AlreadySubscribed) // taking back finds it complete
	if got := w.attempts(); got != "complete" {
		t.Errorf("attempts: %s", got)
	}
	w.refused(w.tier("pro"), problem.AlreadySubscribed) // the list of subscriptions finds it
	if got := w.attempts(); got != "complete failed" {
		t.Errorf("attempts: %s", got)
	}
	if got := w.statuses(); got != "complete" {
		t.Errorf("sessions: %s", got)
	}
}

func TestSameWishSameSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.open(w.tier("basic"))
	w.emu.ResetRequests()
	if second := w.open(w.tier("basic")); second != first {
		t.Errorf("got %+v, want %+v", second, first)
	}
	if n := len(w.emu.Requests()); n != 0 {
		t.Errorf("%d calls to Stripe", n)
	}
	pack := w.open(w.pack()) // another kind does not disturb
	if again := w.open(w.tier("basic")); again != first || pack == first {
		t.Errorf("got %+v, want %+v", again, first)
	}
	if got := w.statuses(); got != "open open" {
		t.Errorf("sessions: %s", got)
	}
	if n := len(w.emu.Objects("customer")); n != 1 {
		t.Errorf("%d customers", n)
	}
}

func TestAnotherWishTakesTheFirstBack(t *testing.T) {
	t.Parallel()
	change := map[string]func(*billing.Wish){
		"tier":        func(v *billing.Wish) { v.Tier = "pro" },
		"interval":    func(v *billing.Wish) { v.Interval = "year" },
		"currency":    func(v *billing.Wish) { v.Currency = "eur" },
		"success_url": func(v *billing.Wish) { v.SuccessURL += "&x=1" },
		"cancel_url":  func(v *billing.Wish) { v.CancelURL += "/x" },
	}
	for name, f := range change {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			first := w.open(w.tier("basic"))
			wish := w.tier("basic")
			f(&wish)
			if second := w.open(wish); second.ID == first.ID {
				t.Error("the session of the first wish was handed out")
			}
			if got := w.statuses(); got != "expired open" {
				t.Errorf("sessions: %s", got)
			}
			if got := w.attempts(); got != "expired open" {
				t.Errorf("attempts: %s", got)
			}
		})
	}
}

// A pack that was paid in the meantime does not stand in the way of the next one.
func TestAnotherPackAfterThePaidOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pay(w.open(w.pack()))
	wish := w.pack()
	wish.Currency = "eur"
	w.open(wish)
	if got := w.attempts(); got != "complete open" {
		t.Errorf("attempts: %s", got)
	}
}

// The event that tells of the payment is late: the same wish does not get the paid session again.
func TestSamePackOnceMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.open(w.pack())
	w.pay(first)
	w.exec("UPDATE checkout_attempts SET status = 'complete'") // as the event does
	if second := w.open(w.pack()); second.ID == first.ID {
		t.Error("the paid session was handed out")
	}
}

func TestSessionThatRanOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.open(w.tier("basic"))
	w.Add(time.Hour - 30*time.Second) // too short to pay in
	second := w.open(w.tier("basic"))
	w.Add(2 * time.Hour) // expired at Stripe by itself
	third := w.open(w.tier("basic"))
	if first.ID == second.ID || second.ID == third.ID {
		t.Error("a session without time was handed out")
	}
	if got := w.attempts(); got != "expired expired open" {
		t.Errorf("attempts: %s", got)
	}
	if got := w.statuses(); got != "expired expired open" {
		t.Errorf("sessions: %s", got)
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.open(w.keyed(w.tier("basic"), "k"))
	w.open(w.tier("pro"))
	again, replayed, err := w.OpenCheckout(t.Context(), w.keyed(w.tier("basic"), "k"))
	if err != nil || !replayed || again != first {
		t.Errorf("replay: %+v, %v, %v; want %+v", again, replayed, err, first)
	}
	w.refused(w.keyed(w.tier("pro"), "k"), problem.IdempotencyMismatch)
	if got := w.attempts(); got != "expired open" {
		t.Errorf("attempts: %s", got)
	}
}

// A key whose request was refused is judged anew; an open session is stored under the key that found it.
func TestIdempotencyKeyAfterARefusal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribe("sub_1", "active", false)
	w.refused(w.keyed(w.tier("basic"), "k"), problem.AlreadySubscribed)
	w.exec("UPDATE subscriptions SET status = 'canceled', ended_at = now()")
	first := w.open(w.tier("basic"))
	if second := w.open(w.keyed(w.tier("basic"), "k")); second != first {
		t.Errorf("got %+v, want %+v", second, first)
	}
	again, replayed, err := w.OpenCheckout(t.Context(), w.keyed(w.tier("basic"), "k"))
	if err != nil || !replayed || again != first {
		t.Errorf("replay: %+v, %v, %v", again, replayed, err)
	}
}

// hold stops the first request to a path at Stripe until let go, and tells when it is there.
func (w *world) hold(method, path string, after bool) (there <-chan struct{}, let func()) {
	arrived, gate := make(chan struct{}), make(chan struct{})
	w.emu.Inject(stripeemu.Fault{Method: method, Path: path, Times: 1, After: after, Do: func(*http.Request) {
		close(arrived)
		<-gate
	}})
	var once sync.Once
	let = func() { once.Do(func() { close(gate) }) }
	w.t.Cleanup(let)
	return arrived, let
}

type outcome struct {
	session billing.Session
	err     error
}

func (w *world) begin(wish billing.Wish) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		session, _, err := w.OpenCheckout(context.WithoutCancel(w.t.Context()), wish)
		done <- outcome{session, err}
	}()
	return done
}

// A double click: the second request waits for the first, and both get the one session.
func TestDoubleClick(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	there, let := w.hold(http.MethodPost, sessionsPath, false)
	first := w.begin(w.tier("basic"))
	<-there
	second := w.begin(w.tier("basic"))
	time.Sleep(300 * time.Millisecond) // the second one looks several times
	let()
	a, b := <-first, <-second
	if a.err != nil || b.err != nil || a.session != b.session {
		t.Errorf("got %+v and %+v", a, b)
	}
	if got := w.statuses() + "; " + w.attempts(); got != "open; open" {
		t.Errorf("sessions; attempts: %s", got)
	}
}

// Where the first click takes too long, the second is told to come back, and changes nothing.
func TestDoubleClickGivesUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	there, let := w.hold(http.MethodPost, sessionsPath, false)
	first := w.begin(w.tier("basic"))
	<-there
	err := w.refused(w.tier("pro"), problem.CheckoutRunning)
	if p := problem.Of(err); p.RetryAfter <= 0 {
		t.Error("no time to wait")
	}
	let()
	if a := <-first; a.err != nil {
		t.Error(a.err)
	}
	if got := w.attempts(); got != "open" {
		t.Errorf("attempts: %s", got)
	}
}

// Two requests come to the account at the same moment: only one begins an attempt. Without the lock of the account both would
// find none.
func TestDecisionWaitsForTheAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tx, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), "SELECT 1 FROM accounts WHERE id = $1 FOR UPDATE", w.accountID); err != nil {
		t.Fatal(err)
	}
	rival := w.begin(w.tier("basic"))
	pgtest.AwaitLock(t, w.pool)
	// What the winner writes: a subscription.
	_, err = tx.Exec(t.Context(), `INSERT INTO subscriptions (id, account_id, customer_id, status, livemode, created_at, updated_at)
		VALUES ('sub_1', $1, 'cus_1', 'active', false, now(), now())`, w.accountID)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-rival; !errors.Is(got.err, problem.AlreadySubscribed) {
		t.Errorf("the rival: %+v", got)
	}
}

// Many clicks at once open one session for one customer.
func TestManyClicks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const clicks = 6
	var all [clicks]<-chan outcome
	for i := range all {
		all[i] = w.begin(w.tier("basic"))
	}
	var ids = map[string]bool{}
	for _, one := range all {
		got := <-one
		if got.err != nil && !errors.Is(got.err, problem.CheckoutRunning) {
			t.Error(got.err)
		}
		if got.err == nil {
			ids[got.session.ID] = true
		}
	}
	if len(ids) != 1 || w.statuses() != "open" || len(w.emu.Objects("customer")) != 1 {
		t.Errorf("%d sessions handed out; at Stripe: %s, %d customers", len(ids), w.statuses(), len(w.emu.Objects("customer")))
	}
}

// C92: what somebody has archived or deleted in Stripe's dashboard is not sold: the refusal is clear, the operator is told, and what was
// tried leaves nothing in the way of the next try. Who has it keeps it.
func TestC92ArchivedAtStripe(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		id    string
		patch map[string]any
	}{
		"price archived":   {"price_pro", map[string]any{"active": false}},
		"price deleted":    {"price_pro", nil},
		"product archived": {"prod_pro", map[string]any{"active": false}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, sub := subscribed(t, func(v *billing.Wish) { v.Tier = "pro" })
			before := w.remember(tt.id)
			if tt.patch == nil {
				w.emu.Remove(tt.id)
			} else if _, err := w.emu.Patch(tt.id, tt.patch); err != nil {
				t.Fatal(err)
			}
			w.sync("subscription", sub)
			if s := w.state(); s.Tier != "pro" || !s.Access {
				t.Errorf("who has it: %+v", s)
			}
			w.cancel(true)

			var told []string
			s := w.instance(w.api(), func(c *billing.Config) {
				c.Alarm = func(_ context.Context, reason string, attrs ...any) { told = append(told, fmt.Sprint(reason, attrs)) }
			})
			for range 2 {
				_, _, err := s.OpenCheckout(t.Context(), w.keyed(w.tier("pro"), "k"))
				p := problem.Of(err)
				if !errors.Is(err, problem.PriceNotFound) || !strings.Contains(p.Detail, "GET /v1/tiers") {
					t.Errorf("the caller is told %v", err)
				}
			}
			if got := fmt.Sprint(told); got != "[catalog_drift[ours pro_month_usd price price_pro] catalog_drift[ours pro_month_usd price price_pro]]" {
				t.Errorf("the operator is told %s", got)
			}
			if got := w.attempts(); got != "complete failed failed" {
				t.Errorf("attempts: %s", got)
			}
			w.open(w.tier("basic")) // nothing stands in the way of another price
			if err := w.emu.Put(before); err != nil {
				t.Fatal(err)
			}
			w.open(w.keyed(w.tier("pro"), "k")) // nor of the same one, once it is back
		})
	}
}

// The same of a change: neither its preview nor itself ends in a fault of ours.
func TestC92ChangeToWhatIsArchived(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	w.wait(aThird)
	if _, err := w.emu.Patch("price_pro", map[string]any{"active": false}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.PreviewChange(t.Context(), w.to("pro", "")); !errors.Is(err, problem.PriceNotFound) {
		t.Errorf("preview: %v", err)
	}
	w.changeRefused(w.to("pro", ""), problem.PriceNotFound)
	w.wantPrice(sub, "price_basic × 1")
	if got := w.changes(); got != "failed" {
		t.Errorf("changes: %s", got)
	}
}

func (w *world) remember(id string) map[string]any {
	w.t.Helper()
	o, ok := w.emu.Get(id)
	if !ok {
		w.t.Fatalf("no object %s", id)
	}
	return o
}
