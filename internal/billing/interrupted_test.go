package billing_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/problem"
	"example.com/saaskit/internal/stripeemu"
)

// fails lets requests to a path at Stripe fail, before or after their effect, until they are mended.
func (w *world) fails(method, path string, after bool) (mend func()) {
	return w.emu.Inject(stripeemu.Fault{
		Method: method, Path: path, Status: 500, After: after, Header: http.Header{"Stripe-Should-Retry": {"false"}},
	})
}

// finish runs the job that takes up interrupted changes, some time later.
func (w *world) finish(later time.Duration) {
	w.t.Helper()
	w.wait(later)
	if _, err := w.FinishChanges(context.WithoutCancel(w.t.Context())); err != nil {
		w.t.Errorf("FinishChanges: %v", err)
	}
}

func (w *world) wantChanges(want string) {
	w.t.Helper()
	if got := w.changes(); got != want {
		w.t.Errorf("changes: %s, want %s", got, want)
	}
}

// audited counts what the audit log has of an action and a kind of actor.
func (w *world) audited(action, actor string) int {
	return w.count(fmt.Sprintf("SELECT count(*) FROM audit_log WHERE action = '%s' AND actor_kind = '%s'", action, actor))
}

func (w *world) activeSchedules() (n int) {
	for _, o := range w.emu.Objects("subscription_schedule") {
		if o["status"] == "active" {
			n++
		}
	}
	return n
}

// Whatever was interrupted at whichever call is carried to its end, though nobody asks for it again: once, and told of as theirs.
func TestInterruptedChangeIsFinished(t *testing.T) {
	t.Parallel()
	interruptedAt(t, writes, func(i *interrupted) billing.State {
		i.finish(10 * time.Second) // left to whoever asked
		if got := i.changes(); !strings.HasSuffix(got, "running") {
			i.t.Errorf("after ten seconds: %s", got)
		}
		for range 2 {
			i.finish(time.Minute)
		}
		if n := i.count(ofUsers) - i.audited; n != 1 {
			i.t.Errorf("%d audit entries", n)
		}
		return i.state()
	})
}

// What was never planned asked nothing of Stripe, and is given up.
func TestUnplannedChangeIsGivenUp(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	mend := w.fails(http.MethodGet, subscriptionPath, false)
	w.changeRefused(w.to("pro", ""), problem.StripeFailed)
	mend()
	w.finish(time.Minute)
	w.wantChanges("abandoned")
	w.wantPrice(sub, "price_basic × 1")
}

// An upgrade beside a scheduled downgrade that dies after the charge: the downgrade is dropped, by whoever comes next and however late.
func TestPaidUpgradeDropsWhatWasScheduled(t *testing.T) {
	t.Parallel()
	next := map[string]func(*world){
		"the job": func(w *world) { w.finish(time.Minute) },
		"the job a day later, when Stripe has forgotten the keys": func(w *world) {
			w.finish(25 * time.Hour)
		},
		"a request for something else": func(w *world) {
			w.wait(2 * time.Second)
			if _, _, err := w.ResumeSubscription(w.t.Context(), w.to("", "")); err != nil {
				w.t.Error(err)
			}
		},
		"the same request a day later": func(w *world) {
			w.wait(25 * time.Hour)
			c := w.to("", "")
			c.Quantity = 3
			w.change(c)
		},
	}
	for name, then := range next {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, sub := subscribed(t, func(v *billing.Wish) { v.Tier = "pro" })
			w.exec("UPDATE tiers SET max_quantity = 5")
			w.Catalog.Forget()
			w.change(w.to("basic", "")) // at the period's end
			w.wait(aThird)
			invoices := len(w.emu.Objects("invoice"))
			mend := w.fails(http.MethodPost, "/v1/subscription_schedules/*/release", false)
			c := w.to("", "")
			c.Quantity = 3
			w.changeRefused(c, problem.StripeFailed)
			mend()
			then(w)
			if n := w.activeSchedules(); n != 0 {
				t.Errorf("%d schedules", n)
			}
			if n := len(w.emu.Objects("invoice")) - invoices; n != 1 {
				t.Errorf("%d invoices", n)
			}
			if n := w.audited("subscription.change", "user"); n != 2 {
				t.Errorf("%d audit entries", n)
			}
			if got := w.changes(); !strings.HasPrefix(got, "done done") || strings.Contains(got, "running") {
				t.Errorf("changes: %s", got)
			}
			if s := w.state(); s.Scheduled != nil || s.Quantity != 3 {
				t.Errorf("state: %+v", s)
			}
			w.wait(32 * 24 * time.Hour)
			w.wantPrice(sub, "price_pro × 3")
		})
	}
}

// The same where the process was killed between the charge and the release: what it still does when it wakes up changes nothing.
func TestKilledUpgradeDropsWhatWasScheduled(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, func(v *billing.Wish) { v.Tier = "pro" })
	w.change(w.to("basic", ""))
	w.wait(aThird)
	invoices := len(w.emu.Objects("invoice"))
	there, let := w.hold(http.MethodPost, subscriptionPath, true)
	dead := make(chan error, 1)
	go func() {
		_, _, err := w.ChangeSubscription(context.WithoutCancel(t.Context()), w.to("pro", "year"))
		dead <- err
	}()
	<-there
	w.finish(20 * time.Second) // its lease lasts
	w.wantChanges("done running")
	w.finish(time.Minute)
	w.wantChanges("done done")
	let()
	if err := <-dead; err != nil && !errors.Is(err, problem.ChangeRunning) {
		t.Errorf("the slow one: %v", err)
	}
	w.wantPrice(sub, "price_pro_year × 1")
	if n := len(w.emu.Objects("invoice")) - invoices; n != 1 || w.activeSchedules() != 0 {
		t.Errorf("%d invoices, %d schedules", n, w.activeSchedules())
	}
	if n := w.audited("subscription.change", "user"); n != 2 {
		t.Errorf("%d audit entries", n)
	}
}

// A charge that was not made is not made much later. A cancellation still is, while Stripe remembers its keys.
func TestLateJobChargesNobody(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind    string
		later   time.Duration
		want    string
		price   string
		cancels bool
	}{
		{"up", 14 * time.Minute, "done", "price_pro_year × 1", false},
		{"up", 16 * time.Minute, "abandoned", "price_pro × 1", false},
		{"cancel", 3 * time.Hour, "done done", "price_pro × 1", true},
		{"cancel", 24 * time.Hour, "done abandoned", "price_pro × 1", false},
	} {
		t.Run(fmt.Sprint(tt.kind, " after ", tt.later), func(t *testing.T) {
			t.Parallel()
			w, sub := subscribed(t, func(v *billing.Wish) { v.Tier = "pro" })
			w.wait(24 * time.Hour)
			do := w.doing(tt.kind)
			mend := w.fails(http.MethodPost, subscriptionPath, false)
			if _, err := do(); !errors.Is(err, problem.StripeFailed) {
				t.Fatalf("interrupted: %v", err)
			}
			mend()
			w.finish(tt.later)
			w.wantChanges(tt.want)
			w.wantPrice(sub, tt.price)
			if s := w.state(); (s.CancelAt != nil) != tt.cancels {
				t.Errorf("state: %+v", s)
			}
		})
	}
}

// The answer to a resumption is lost, and before it is asked for again the customer has canceled elsewhere: that is another cancellation.
func TestStaleResumeIsPlannedAnew(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	w.cancel(false)
	mend := w.fails(http.MethodPost, subscriptionPath, true)
	if _, _, err := w.ResumeSubscription(t.Context(), w.to("", "")); !errors.Is(err, problem.StripeFailed) {
		t.Fatalf("interrupted: %v", err)
	}
	mend()
	w.wait(3 * time.Hour)
	if _, err := w.api().Subscriptions.Update(sub, &stripe.SubscriptionParams{CancelAtPeriodEnd: stripe.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	s, _, err := w.ResumeSubscription(t.Context(), w.to("", ""))
	if err != nil || s.CancelAt != nil {
		t.Errorf("resumed: %+v, %v", s, err)
	}
	if o, _ := w.emu.Get(sub); o["cancel_at_period_end"] != false {
		t.Error("at Stripe it is still to end")
	}
	w.wantChanges("done abandoned done")
}

// The answer to an upgrade is lost, and half a month later it is asked for again, from another price: the charge is that of the day.
func TestStaleUpgradeIsPlannedAnew(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	w.wait(24 * time.Hour)
	mend := w.fails(http.MethodPost, subscriptionPath, true)
	w.changeRefused(w.to("pro", ""), problem.StripeFailed)
	mend()
	w.wait(time.Hour)
	o, _ := w.emu.Get(sub)
	item := o["items"].(map[string]any)["data"].([]any)[0].(map[string]any)["id"].(string)
	_, err := w.api().Subscriptions.Update(sub, &stripe.SubscriptionParams{
		ProrationBehavior: stripe.String("always_invoice"),
		Items:             []*stripe.SubscriptionItemsParams{{ID: stripe.String(item), Price: stripe.String("price_basic")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.sync("subscription", sub)
	w.wait(15 * 24 * time.Hour)
	w.change(w.to("pro", ""))
	w.wantPrice(sub, "price_pro × 1")
	for _, o := range w.latest()["lines"].(map[string]any)["data"].([]any) {
		from := time.Unix(number(o.(map[string]any)["period"].(map[string]any), "start"), 0)
		if w.Now().Sub(from) > time.Hour {
			t.Errorf("charged from %v on", from)
		}
	}
	w.wantChanges("abandoned done")
}

// The job and a request, and two jobs: one is at work, and the other finds what has come of it.
func TestJobAndItsRivals(t *testing.T) {
	t.Parallel()
	for _, rival := range []string{"request", "job"} {
		t.Run(rival, func(t *testing.T) {
			t.Parallel()
			w, sub := subscribed(t, nil)
			w.wait(aThird)
			invoices := len(w.emu.Objects("invoice"))
			mend := w.fails(http.MethodPost, subscriptionPath, false)
			w.changeRefused(w.to("pro", ""), problem.StripeFailed)
			mend()
			w.wait(time.Minute)
			there, let := w.hold(http.MethodPost, subscriptionPath, false)
			ended := make(chan error, 2)
			go func() {
				_, err := w.FinishChanges(context.WithoutCancel(t.Context()))
				ended <- err
			}()
			<-there
			go func() {
				var err error
				if rival == "job" {
					_, err = w.FinishChanges(context.WithoutCancel(t.Context()))
				} else {
					_, _, err = w.ChangeSubscription(context.WithoutCancel(t.Context()), w.to("pro", ""))
				}
				ended <- err
			}()
			time.Sleep(200 * time.Millisecond) // the rival looks at the lease
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
			if n := w.audited("subscription.change", "user"); n != 1 {
				t.Errorf("%d audit entries", n)
			}
		})
	}
}

// The job takes a change up under the lock of the account: what a rival has leased there is left to them.
func TestJobTakesTheAccountsLock(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	w.wait(aThird)
	mend := w.fails(http.MethodPost, subscriptionPath, false)
	w.changeRefused(w.to("pro", ""), problem.StripeFailed)
	mend()
	w.wait(time.Minute)
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
		_, err := w.FinishChanges(context.Background())
		ended <- err
	}()
	pgtest.AwaitLock(t, w.pool)
	if _, err := holder.Exec(t.Context(), "UPDATE subscription_changes SET lease_until = $1", w.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := holder.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	w.wantChanges("running")
	w.wantPrice(sub, "price_basic × 1")
}

// What Stripe refuses when it is asked again has ended, and keeps no other change from its end.
func TestRefusedChangeEnds(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	w.wait(aThird)
	mend := w.fails(http.MethodPost, subscriptionPath, false)
	w.changeRefused(w.to("pro", ""), problem.StripeFailed)
	mend()
	w.card(sub, "pm_card_chargeCustomerFail")
	w.finish(time.Minute)
	w.wantChanges("failed")
	w.wantPrice(sub, "price_basic × 1")
}

// Of an account that has been closed nothing is begun.
func TestChangeOfAClosedAccountIsGivenUp(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	w.wait(aThird)
	mend := w.fails(http.MethodPost, subscriptionPath, false)
	w.changeRefused(w.to("pro", ""), problem.StripeFailed)
	mend()
	w.exec("UPDATE accounts SET status = 'disabled'")
	w.finish(time.Minute)
	w.wantChanges("abandoned")
	w.wantPrice(sub, "price_basic × 1")
}

// A migration that was interrupted is carried on as the operator's.
func TestInterruptedMigrationIsFinished(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprintf("after=%v", after), func(t *testing.T) {
			t.Parallel()
			w, sub := subscribed(t, nil)
			w.dearer()
			m, err := w.PlanMigration(t.Context(), "price_basic", "price_basic_2")
			if err != nil {
				t.Fatal(err)
			}
			mend := w.fails(http.MethodPost, subscriptionPath, after)
			if err := w.Migrate(t.Context(), m, m.Subscribers[0]); !errors.Is(err, problem.StripeFailed) {
				t.Fatalf("interrupted: %v", err)
			}
			mend()
			w.finish(time.Minute)
			w.wantPrice(sub, "price_basic_2 × 1")
			w.wantChanges("done")
			if n := w.audited("subscription.migrate", "operator"); n != 1 {
				t.Errorf("%d audit entries", n)
			}
		})
	}
}
