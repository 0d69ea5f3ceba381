package billing_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.com/saaskit/internal/page"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/problem"
	"example.com/saaskit/internal/stripeemu"
)

// Whatever goes wrong at Stripe, before or after it has done what was asked: the caller is told to come back, and the next
// request ends with one customer and one session.
func TestStripeFails(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/v1/customers", sessionsPath, "/v1/subscriptions"} {
		for _, status := range []int{429, 500, 503} {
			for _, after := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %d after=%v", strings.TrimPrefix(path, "/v1/"), status, after), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t)
					// Stripe tells the client itself not to try again, which makes the test quick.
					header := http.Header{"Stripe-Should-Retry": {"false"}}
					remove := w.emu.Inject(stripeemu.Fault{Path: path, Status: status, After: after, Header: header})
					err := w.refused(w.keyed(w.tier("basic"), "k"), problem.StripeFailed)
					if p := problem.Of(err); p.RetryAfter <= 0 || strings.Contains(p.Detail, "injected") {
						t.Errorf("the caller is told %q, %v", p.Detail, p.RetryAfter)
					}
					if got := w.attempts(); got != "creating" {
						t.Errorf("attempts: %s", got)
					}
					remove()
					w.open(w.keyed(w.tier("basic"), "k"))
					if got := w.attempts() + "; " + w.statuses(); got != "open; open" || len(w.emu.Objects("customer")) != 1 {
						t.Errorf("attempts; sessions: %s; %d customers", got, len(w.emu.Objects("customer")))
					}
				})
			}
		}
	}
}

// An answer that gets lost on its way is asked for again by the client, under the same key.
func TestAnswerGetsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.emu.Inject(stripeemu.Fault{Method: http.MethodPost, Path: sessionsPath, Times: 1, After: true, Abort: true})
	w.open(w.tier("basic"))
	if got := w.statuses(); got != "open" {
		t.Errorf("sessions: %s", got)
	}
}

// A refusal of Stripe that no retry changes is ours to explain, and its words stay with us.
func TestStripeRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	remove := w.emu.Inject(stripeemu.Fault{Method: http.MethodPost, Path: sessionsPath, Status: 400, Body: map[string]any{
		"error": map[string]any{"type": "invalid_request_error", "message": "injected"},
	}})
	_, _, err := w.OpenCheckout(t.Context(), w.tier("basic"))
	if p := problem.Of(err); p.Kind != problem.StripeRefused || strings.Contains(p.Detail, "injected") || p.Cause == nil {
		t.Errorf("the caller is told %v", p)
	}
	if got := w.attempts(); got != "failed" {
		t.Errorf("attempts: %s", got)
	}
	remove()
	w.open(w.tier("basic"))
}

// A process that dies after Stripe has made the session leaves its lease; the next one gets that very session.
func TestKilledBeforeTheRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	there, let := w.hold(http.MethodPost, sessionsPath, false)
	dead := w.begin(w.tier("basic"))
	<-there
	w.Add(31 * time.Second)
	next := w.open(w.tier("basic"))
	let()
	if got := <-dead; got.err == nil && got.session != next {
		t.Errorf("two sessions were handed out: %+v and %+v", got.session, next)
	}
	if got := w.statuses() + "; " + w.attempts(); got != "open; open" {
		t.Errorf("sessions; attempts: %s", got)
	}
}

// The lease is over and somebody else wished for something different: the slow process must not hand its session out.
func TestSlowProcessLosesItsAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	there, let := w.hold(http.MethodPost, sessionsPath, false)
	slow := w.begin(w.tier("basic"))
	<-there
	w.Add(31 * time.Second)
	next := w.open(w.tier("pro"))
	let()
	if got := <-slow; !errors.Is(got.err, problem.CheckoutRunning) {
		t.Errorf("the slow one: %+v", got)
	}
	if got := w.attempts(); got != "failed open" {
		t.Errorf("attempts: %s", got)
	}
	if again := w.open(w.tier("pro")); again != next {
		t.Errorf("got %+v, want %+v", again, next)
	}
}

// Taking back was interrupted: the next request ends it.
func TestKilledWhileTakingBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.open(w.tier("basic"))
	remove := w.emu.Inject(stripeemu.Fault{
		Path: sessionsPath + "/" + first.ID + "/expire", After: true, Status: 500, Header: http.Header{"Stripe-Should-Retry": {"false"}},
	})
	w.refused(w.tier("pro"), problem.StripeFailed)
	if got := w.attempts(); got != "expiring" {
		t.Errorf("attempts: %s", got)
	}
	remove()
	if again := w.open(w.tier("basic")); again.ID == first.ID {
		t.Error("an expired session was handed out")
	}
	if got := w.attempts() + "; " + w.statuses(); got != "expired open; expired open" {
		t.Errorf("attempts; sessions: %s", got)
	}
}

// A customer that was deleted at Stripe is replaced, though its event has not come.
func TestCustomerDeletedAtStripe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old, err := w.Customer(t.Context(), w.accountID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.api().Customers.Del(old, nil); err != nil {
		t.Fatal(err)
	}
	w.open(w.pack())
	now, err := w.Customer(t.Context(), w.accountID)
	if err != nil || now == old {
		t.Errorf("customer %s after %s, %v", now, old, err)
	}
	if n := w.count("SELECT count(*) FROM stripe_customers"); n != 2 {
		t.Errorf("%d rows: the old one has to stay", n)
	}
}

func TestCloseBilling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pay(w.open(w.tier("basic")))
	w.exec("UPDATE checkout_attempts SET status = 'complete'")
	w.open(w.pack())
	w.exec("UPDATE accounts SET status = 'disabled'")
	fault := stripeemu.Fault{Method: http.MethodDelete, After: true, Status: 500, Header: http.Header{"Stripe-Should-Retry": {"false"}}, Times: 1}
	w.emu.Inject(fault)
	if err := w.CloseBilling(t.Context(), w.accountID); !errors.Is(err, problem.StripeFailed) {
		t.Errorf("interrupted: %v", err)
	}
	for range 2 {
		if err := w.CloseBilling(t.Context(), w.accountID); err != nil {
			t.Fatal(err)
		}
	}
	for _, sub := range w.emu.Objects("subscription") {
		if sub["status"] != "canceled" {
			t.Errorf("subscription: %v", sub["status"])
		}
	}
	if got := w.attempts() + "; " + w.statuses(); got != "complete expired; complete expired" {
		t.Errorf("attempts; sessions: %s", got)
	}
	if n := len(w.emu.Objects("customer")); n != 1 {
		t.Errorf("%d customers: it deletes nothing", n)
	}
}

func TestCloseBillingWaitsForACheckout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	there, let := w.hold(http.MethodPost, sessionsPath, false)
	slow := w.begin(w.tier("basic"))
	<-there
	w.exec("UPDATE accounts SET status = 'disabled'")
	if err := w.CloseBilling(t.Context(), w.accountID); !errors.Is(err, problem.CheckoutRunning) {
		t.Errorf("while it is made: %v", err)
	}
	let()
	if got := <-slow; got.err != nil {
		t.Fatal(got.err)
	}
	if err := w.CloseBilling(t.Context(), w.accountID); err != nil {
		t.Fatal(err)
	}
	if got := w.statuses(); got != "expired" {
		t.Errorf("sessions: %s", got)
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := pgtest.Account(t, w.pool)
	for i := range 5 {
		for _, owner := range []any{w.accountID, other} {
			w.exec(`INSERT INTO invoices (id, account_id, customer_id, status, currency, subtotal, total, amount_due, amount_paid, amount_remaining, created_at, updated_at)
				VALUES ('in_' || ($1::int)::text || '_' || ($2::uuid)::text, $2::uuid, 'cus', CASE WHEN $1::int = 4 THEN 'draft' ELSE 'paid' END, 'usd', 1, 1, 1, 1, 0, '2026-03-01'::timestamptz + ($1::int / 2) * interval '1 day', now())`, i, owner)
			w.exec(`INSERT INTO transactions (id, account_id, kind, natural_key, status, amount, currency, occurred_at, updated_at)
				VALUES (gen_random_uuid(), $2::uuid, 'payment', 'charge:' || ($1::int)::text || ($2::uuid)::text, 'succeeded', $1::int, 'usd', '2026-03-01'::timestamptz + ($1::int / 2) * interval '1 day', now())`, i, owner)
		}
	}
	var invoices []string
	for r := (page.Request{Limit: 3}); ; {
		got, err := w.Invoices(t.Context(), w.accountID, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range got.Data {
			invoices = append(invoices, i.ID[:4])
			if i.AccountID != w.accountID {
				t.Error("an invoice of another account")
			}
		}
		if r.Cursor = got.Next; r.Cursor == "" {
			break
		}
	}
	if got := strings.Join(invoices, " "); got != "in_3 in_2 in_1 in_0" {
		t.Errorf("invoices: %s", got)
	}
	seen := map[int64]bool{}
	for r := (page.Request{Limit: 2}); ; {
		got, err := w.Transactions(t.Context(), w.accountID, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range got.Data {
			if seen[tx.Amount] || tx.AccountID != w.accountID {
				t.Errorf("transaction: %+v", tx)
			}
			seen[tx.Amount] = true
		}
		if r.Cursor = got.Next; r.Cursor == "" {
			break
		}
	}
	if len(seen) != 5 {
		t.Errorf("%d transactions", len(seen))
	}
	if _, err := w.Invoices(t.Context(), w.accountID, page.Request{Limit: 1, Cursor: "x"}); !errors.Is(err, problem.InvalidCursor) {
		t.Errorf("bad cursor: %v", err)
	}
}

func TestSubscription(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if none := w.state(); none.Status != "none" || none.Tier != "free" || none.Access {
		t.Errorf("none: %+v", none)
	}
	w.subscribe("sub_1", "active", false)
	now, err := w.instance(w.api()).State(t.Context(), w.accountID)
	if err != nil || now.ID != "sub_1" || now.Tier != "basic" || !now.Access {
		t.Errorf("active: %+v, %v", now, err)
	}
}
