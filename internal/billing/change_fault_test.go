package billing_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/problem"
	"example.com/saaskit/internal/stripeemu"
)

// keyedChange gives a change an Idempotency-Key.
func (w *world) keyedChange(c billing.Change, value string) billing.Change {
	w.t.Helper()
	key, err := idempotency.New("user:"+w.userID.String(), "updateSubscription", value, []any{c.Tier, c.Interval, c.Quantity})
	if err != nil {
		w.t.Fatal(err)
	}
	c.Key = key
	return c
}

func TestChangeIsReplayed(t *testing.T) {
	t.Parallel()
	w, _ := subscribed(t, nil)
	w.wait(aThird)
	c := w.keyedChange(w.to("pro", ""), "k")
	first := w.change(c)
	w.cancel(true)
	again, replayed, err := w.ChangeSubscription(t.Context(), c)
	if err != nil || !replayed || again.Status != "active" || again.Tier != first.Tier || again.ID != first.ID {
		t.Errorf("replayed %t: %+v, %v", replayed, again, err)
	}
	if _, _, err := w.ChangeSubscription(t.Context(), w.keyedChange(w.to("basic", ""), "k")); !errors.Is(err, problem.IdempotencyMismatch) {
		t.Errorf("other body: %v", err)
	}
}

// Whatever goes wrong at Stripe, before or after it has done what was asked, at whichever call: the caller is told to come back,
// and then one change has come about, and one charge.
func TestChangeIsResumed(t *testing.T) {
	t.Parallel()
	calls := map[string]string{"GET /v1/subscriptions/*": "up down"}
	maps.Copy(calls, writes)
	interruptedAt(t, calls, func(i *interrupted) billing.State {
		i.wait(3 * time.Minute)
		state, err := i.do()
		if err != nil {
			i.t.Fatal(err)
		}
		return state
	})
}

// writes are the calls that change something at Stripe, with the kinds of changes that make them.
var writes = map[string]string{
	"POST /v1/subscriptions/*":                  "up cancel",
	"POST /v1/subscription_schedules":           "down",
	"POST /v1/subscription_schedules/*":         "down",
	"POST /v1/subscription_schedules/*/release": "cancel over",
	"DELETE /v1/subscriptions/*":                "now",
}

// An interrupted world has a change that Stripe has failed at one of its calls, and is well again.
type interrupted struct {
	*world
	do                func() (billing.State, error)
	invoices, audited int // before it
}

const ofUsers = "SELECT count(*) FROM audit_log WHERE actor_kind = 'user'"

// interruptedAt lets each call fail, before and after its effect, of each kind of change that makes it, and wants the change to have come
// about once when it was brought to its end.
func interruptedAt(t *testing.T, calls map[string]string, end func(*interrupted) billing.State) {
	t.Helper()
	for call, kinds := range calls {
		for _, kind := range strings.Fields(kinds) {
			for _, after := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %s after=%v", kind, strings.ReplaceAll(call, "/", "."), after), func(t *testing.T) {
					t.Parallel()
					w, sub := subscribed(t, func(v *billing.Wish) { v.Tier = "pro"; v.Interval = "month" })
					w.wait(aThird)
					i := &interrupted{world: w, do: w.doing(kind), invoices: len(w.emu.Objects("invoice")), audited: w.count(ofUsers)}
					method, path, _ := strings.Cut(call, " ")
					mend := w.fails(method, path, after)
					if _, err := i.do(); !errors.Is(err, problem.StripeFailed) {
						t.Fatalf("interrupted: %v", err)
					}
					mend()
					state := end(i)
					w.wantOutcome(kind, sub, state, len(w.emu.Objects("invoice"))-i.invoices)
					if got := w.changes(); !strings.HasSuffix(got, "done") || strings.Contains(got, "running") || strings.Contains(got, "abandoned") {
						t.Errorf("changes: %s", got)
					}
				})
			}
		}
	}
}

// doing returns a way to bring a kind of change about.
func (w *world) doing(kind string) func() (billing.State, error) {
	c := w.to("", "")
	switch kind {
	case "cancel":
		w.change(w.to("basic", ""))
		return func() (billing.State, error) {
			s, _, err := w.CancelSubscription(context.WithoutCancel(w.t.Context()), c, false)
			return s, err
		}
	case "now":
		return func() (billing.State, error) {
			s, _, err := w.CancelSubscription(context.WithoutCancel(w.t.Context()), c, true)
			return s, err
		}
	case "over":
		w.change(w.to("basic", ""))
		c.Interval = "year"
	case "up":
		c.Interval = "year"
	case "down":
		c.Tier = "basic"
	}
	return func() (billing.State, error) {
		s, _, err := w.ChangeSubscription(context.WithoutCancel(w.t.Context()), c)
		return s, err
	}
}

func (w *world) wantOutcome(kind, sub string, s billing.State, invoices int) {
	w.t.Helper()
	schedules := 0
	for _, o := range w.emu.Objects("subscription_schedule") {
		if o["status"] == "active" {
			schedules++
		}
	}
	var ok bool
	switch kind {
	case "up", "over":
		ok = s.Interval == "year" && invoices == 1 && schedules == 0 && w.price(sub) == "price_pro_year × 1"
	case "down":
		ok = s.Scheduled != nil && s.Scheduled.Tier == "basic" && invoices == 0 && schedules == 1
	case "cancel":
		ok = s.CancelAt != nil && s.Scheduled == nil && invoices == 0 && schedules == 0
	case "now":
		ok = s.Status == "canceled" && invoices == 0
	}
	if !ok {
		w.t.Errorf("%s: %+v, %d invoices, %d schedules, %s", kind, s, invoices, schedules, w.price(sub))
	}
}

// A double click changes once: the twin waits and then finds that nothing is left to do.
func TestDoubleChange(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	w.wait(aThird)
	invoices := len(w.emu.Objects("invoice"))
	there, let := w.hold(http.MethodPost, subscriptionPath, false)
	ended := make(chan error, 2)
	run := func() {
		_, _, err := w.ChangeSubscription(context.WithoutCancel(t.Context()), w.to("pro", ""))
		ended <- err
	}
	go run()
	<-there
	go run()
	time.Sleep(200 * time.Millisecond) // the twin looks at the lease
	let()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	w.wantPrice(sub, "price_pro × 1")
	if n := len(w.emu.Objects("invoice")) - invoices; n != 1 {
		t.Errorf("%d invoices", n)
	}
}

// A change is taken under the lock of the account: the rival waits there, and finds it running.
func TestChangeTakesTheAccountsLock(t *testing.T) {
	t.Parallel()
	w, _ := subscribed(t, nil)
	holder, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Rollback(context.Background()) // ended below
	if _, err := holder.Exec(t.Context(), "SELECT FROM accounts WHERE id = $1 FOR UPDATE", w.accountID); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, _, err := w.ChangeSubscription(context.Background(), w.to("pro", ""))
		ended <- err
	}()
	pgtest.AwaitLock(t, w.pool)
	_, err = holder.Exec(t.Context(), `INSERT INTO subscription_changes (id, account_id, subscription_id, kind, wish, status, lease_until, created_at, updated_at)
		VALUES (gen_random_uuid(), $1, 'sub_x', 'cancel', '{}', 'running', $2, now(), now())`, w.accountID, w.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, problem.ChangeRunning) {
		t.Errorf("the rival: %v", err)
	}
	if got := w.changes(); got != "running" {
		t.Errorf("changes: %s", got)
	}
}

// A process that dies after Stripe has changed the subscription leaves its lease; the next one tells the same and is not charged
// again.
func TestKilledAfterTheCharge(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	w.wait(aThird)
	invoices := len(w.emu.Objects("invoice"))
	there, let := w.hold(http.MethodPost, subscriptionPath, true)
	dead := make(chan error, 1)
	go func() {
		_, _, err := w.ChangeSubscription(context.WithoutCancel(t.Context()), w.to("pro", ""))
		dead <- err
	}()
	<-there
	w.Add(31 * time.Second)
	w.change(w.to("pro", ""))
	let()
	if err := <-dead; err != nil && !errors.Is(err, problem.ChangeRunning) {
		t.Errorf("the slow one: %v", err)
	}
	w.wantPrice(sub, "price_pro × 1")
	if n := len(w.emu.Objects("invoice")) - invoices; n != 1 {
		t.Errorf("%d invoices", n)
	}
	if got := w.changes(); got != "done" {
		t.Errorf("changes: %s", got)
	}
}

// What was interrupted and is not wanted any more is not brought about.
func TestInterruptedChangeIsAbandoned(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	w.wait(aThird)
	remove := w.emu.Inject(stripeemu.Fault{
		Method: http.MethodPost, Path: subscriptionPath, Status: 500, Header: http.Header{"Stripe-Should-Retry": {"false"}},
	})
	w.changeRefused(w.to("pro", ""), problem.StripeFailed)
	remove()
	if s := w.cancel(false); s.Tier != "basic" || s.CancelAt == nil {
		t.Errorf("state: %+v", s)
	}
	w.wantPrice(sub, "price_basic × 1")
	if got := w.changes(); got != "abandoned done" {
		t.Errorf("changes: %s", got)
	}
}
