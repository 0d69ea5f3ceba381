package billing_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

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

// A schedule takes away what its phases do not name: the discount, and what else is sold by the same subscription.
func TestDownKeepsEverythingElse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		coupon *stripe.CouponParams
		kept   bool
	}{
		"a coupon for ever":  {&stripe.CouponParams{PercentOff: stripe.Float64(10), Duration: stripe.String("forever")}, true},
		"one that ends then": {&stripe.CouponParams{PercentOff: stripe.Float64(10), Duration: stripe.String("repeating"), DurationInMonths: stripe.Int64(1)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, sub := subscribed(t, func(v *billing.Wish) { v.Tier = "pro" })
			w.addOn(sub)
			coupon, err := w.api().Coupons.New(c.coupon)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.api().Subscriptions.Update(sub, &stripe.SubscriptionParams{Coupon: stripe.String(coupon.ID)}); err != nil {
				t.Fatal(err)
			}
			if !c.kept {
				w.endDiscount(sub, w.Now().Add(time.Hour))
			}
			w.wait(time.Minute)
			w.sync("subscription", sub)
			previewed := w.preview(w.to("basic", ""))
			w.change(w.to("basic", ""))
			before, _ := w.emu.Get(sub)
			if before["discount"] == nil || len(w.items(sub)) != 2 {
				t.Errorf("until then: discount %v, items %v", before["discount"], w.items(sub))
			}
			phases := w.emu.Objects("subscription_schedule")[0]["phases"].([]any)
			if kept := phases[1].(map[string]any)["coupon"] != nil; kept != c.kept {
				t.Errorf("coupon of the next phase: %t", kept)
			}
			w.wait(31 * 24 * time.Hour)
			if got, want := w.items(sub), []string{"price_addon × 3", "price_basic × 1"}; !slices.Equal(got, want) {
				t.Errorf("items: %v, want %v", got, want)
			}
			after, _ := w.emu.Get(sub)
			if kept := after["discount"] != nil; kept != c.kept {
				t.Errorf("discount kept: %t", kept)
			}
			if c.kept {
				w.sameCharge(previewed, w.latest())
			}
		})
	}
}

// addOn lets the subscription have a second item, which is no tier of ours.
func (w *world) addOn(sub string) {
	w.t.Helper()
	w.create("price", map[string]any{
		"id": "price_addon", "active": true, "currency": "usd", "unit_amount": 300, "product": "prod_basic", "type": "recurring",
		"recurring": map[string]any{"interval": "month", "interval_count": 1, "usage_type": "licensed", "aggregate_usage": nil},
	})
	_, err := w.api().Subscriptions.Update(sub, &stripe.SubscriptionParams{
		Items: []*stripe.SubscriptionItemsParams{{Price: stripe.String("price_addon"), Quantity: stripe.Int64(3)}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// endDiscount lets the discount of the subscription end at a time.
func (w *world) endDiscount(sub string, at time.Time) {
	w.t.Helper()
	o, _ := w.emu.Get(sub)
	shown := o["discount"].(map[string]any)
	shown["end"] = at.Unix()
	for id, fields := range map[string]map[string]any{shown["id"].(string): {"end": at.Unix()}, sub: {"discount": shown}} {
		if _, err := w.emu.Patch(id, fields); err != nil {
			w.t.Fatal(err)
		}
	}
}

// items are the prices and quantities of the subscription, sorted.
func (w *world) items(id string) []string {
	sub, _ := w.emu.Get(id)
	var items []string
	for _, o := range sub["items"].(map[string]any)["data"].([]any) {
		item := o.(map[string]any)
		items = append(items, fmt.Sprint(item["price"].(map[string]any)["id"], " × ", item["quantity"]))
	}
	slices.Sort(items)
	return items
}

// What is sold beside the tier has its own interval, and all of a subscription have one.
func TestOtherItemsForbidAnotherInterval(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	w.addOn(sub)
	w.sync("subscription", sub)
	for _, tier := range []string{"basic", "pro"} {
		w.changeRefused(w.to(tier, "year"), problem.Conflict)
		if _, err := w.PreviewChange(t.Context(), w.to(tier, "year")); !errors.Is(err, problem.Conflict) {
			t.Errorf("preview: %v", err)
		}
	}
	w.change(w.to("pro", ""))
	if got, want := w.items(sub), []string{"price_addon × 3", "price_pro × 1"}; !slices.Equal(got, want) {
		t.Errorf("items: %v, want %v", got, want)
	}
}
