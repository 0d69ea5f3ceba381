package billing_test

import (
	"errors"
	"testing"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/problem"
)

// schedule puts a subscription on a schedule that somebody makes by hand: basic for a while, and then what is given.
func (w *world) schedule(sub, now, then, end string) string {
	w.t.Helper()
	api := w.api()
	made, err := api.SubscriptionSchedules.New(&stripe.SubscriptionScheduleParams{FromSubscription: stripe.String(sub)})
	if err != nil {
		w.t.Fatal(err)
	}
	phase := func(price string) *stripe.SubscriptionSchedulePhaseParams {
		return &stripe.SubscriptionSchedulePhaseParams{
			Items: []*stripe.SubscriptionSchedulePhaseItemParams{{Price: stripe.String(price), Quantity: stripe.Int64(1)}},
		}
	}
	first := phase(now)
	first.StartDate, first.EndDate = stripe.Int64(made.CurrentPhase.StartDate), stripe.Int64(made.CurrentPhase.EndDate)
	phases := []*stripe.SubscriptionSchedulePhaseParams{first}
	if then != "" {
		second := phase(then)
		second.Iterations = stripe.Int64(1)
		phases = append(phases, second)
	}
	if _, err := api.SubscriptionSchedules.Update(made.ID, &stripe.SubscriptionScheduleParams{Phases: phases, EndBehavior: stripe.String(end)}); err != nil {
		w.t.Fatal(err)
	}
	w.sync("subscription", sub)
	return made.ID
}

// A schedule that somebody else has made is not touched, whatever is asked for.
func TestScheduleOfOthersIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, then := range map[string]string{"a change to come": "price_basic_year", "an end to come": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, sub := subscribed(t, func(v *billing.Wish) { v.Tier = "pro" })
			end := "release"
			if then == "" {
				end = "cancel"
			}
			schedule := w.schedule(sub, "price_pro", then, end)
			asked := map[string]billing.Change{"up": w.to("pro", "year"), "down": w.to("basic", "")}
			if then != "" {
				asked["back"] = w.to("pro", "month")
			}
			for kind, c := range asked {
				if _, _, err := w.ChangeSubscription(t.Context(), c); !errors.Is(err, problem.Conflict) && !errors.Is(err, problem.SubscriptionEnding) {
					t.Errorf("%s: %v", kind, err)
				}
				if _, err := w.PreviewChange(t.Context(), c); !errors.Is(err, problem.Conflict) && !errors.Is(err, problem.SubscriptionEnding) {
					t.Errorf("preview of %s: %v", kind, err)
				}
			}
			if then != "" {
				if _, _, err := w.CancelSubscription(t.Context(), w.to("", ""), false); !errors.Is(err, problem.Conflict) {
					t.Errorf("cancel: %v", err)
				}
			}
			if _, err := w.emu.Patch(sub, map[string]any{"cancel_at_period_end": true}); err != nil {
				t.Fatal(err)
			}
			if _, _, err := w.ResumeSubscription(t.Context(), w.to("", "")); !errors.Is(err, problem.Conflict) {
				t.Errorf("resume: %v", err)
			}
			if o, _ := w.emu.Get(schedule); o["status"] != "active" {
				t.Errorf("the schedule is %v", o["status"])
			}
			w.wantPrice(sub, "price_pro × 1")
		})
	}
}

// An upgrade that the bank wants confirmed cannot wait beside a scheduled change, and does not drop it.
func TestUpThatWouldWaitKeepsWhatIsScheduled(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, func(v *billing.Wish) { v.Tier = "pro" })
	w.wait(aThird)
	w.change(w.to("basic", ""))
	w.card(sub, "pm_card_authenticationRequired")
	up := w.keyedChange(w.to("pro", "year"), "k")
	for range 2 {
		w.changeRefused(up, problem.ChangePending)
		if s := w.state(); s.Scheduled == nil || s.Scheduled.Tier != "basic" || s.Pending != nil || s.Interval != "month" {
			t.Fatalf("state: %+v, scheduled %+v, pending %+v", s, s.Scheduled, s.Pending)
		}
	}
	if s := w.change(w.to("pro", "month")); s.Scheduled != nil {
		t.Fatalf("taken back: %+v", s.Scheduled)
	}
	if s := w.change(up); s.Pending == nil || s.Pending.Interval != "year" {
		t.Errorf("pending: %+v", s.Pending)
	}
}
