package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/stripeemu"
)

func TestApply(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plan, err := w.applier().Plan(t.Context(), load(t, small))
	if err != nil {
		t.Fatal(err)
	}
	want := `+ tier free: Free, rank 0
+ tier pro: Pro, rank 1
+ credit pack small: Small, 1000 credits
+ meter requests: Requests, in units of request
+ product saaskit_test_tier_pro at Stripe for tier pro
+ price pro_month_usd: usd 2900 a month
+ price pro_month_eur: eur 2700 a month
+ product saaskit_test_pack_small at Stripe for pack small
+ price pack_small_usd: usd 1500 for 1000 credits
+ price pack_small_eur: eur 1400 for 1000 credits
`
	check(t, "plan", want, plan.String())
	if n := w.writes.Load(); n != 0 {
		t.Errorf("the plan alone made %d writes at Stripe", n)
	}
	check(t, "what is applied", want, w.apply(small).String())
	check(t, "at Stripe", smallAtStripe(), w.atStripe())
	check(t, "on sale", map[string]int64{"pro_month_usd": 2900, "pro_month_eur": 2700, "pack_small_usd": 1500, "pack_small_eur": 1400}, w.onSale(w.pool))

	writes := w.writes.Load()
	if again := w.apply(small); !again.Empty() || again.String() != "Nothing to change.\n" {
		t.Errorf("the second run changed something:\n%s", again)
	}
	if w.writes.Load() != writes {
		t.Error("the second run wrote at Stripe")
	}
}

// Another amount is another price; the old one is archived and goes on being known.
func TestApplyNewAmount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(small)
	old, err := catalog.New(w.pool).TierPrice(t.Context(), "pro", catalog.Month, "usd")
	if err != nil {
		t.Fatal(err)
	}
	dearer := strings.NewReplacer("usd: 2900", "usd: 3900", "burst: 100", "burst: 200").Replace(small)
	plan := w.apply(dearer)
	check(t, "plan", `~ tier pro burst: 100 → 200
+ price pro_month_usd_v2: usd 3900 a month
- archive price pro_month_usd: usd 2900 a month
`, plan.String())
	want := smallAtStripe()
	want["pro_month_usd"] = "usd 2900 month saaskit_test_tier_pro active=false"
	want["pro_month_usd_v2"] = "usd 3900 month saaskit_test_tier_pro active=true"
	check(t, "at Stripe", want, w.atStripe())
	check(t, "on sale", map[string]int64{"pro_month_usd_v2": 3900, "pro_month_eur": 2700, "pack_small_usd": 1500, "pack_small_eur": 1400}, w.onSale(w.pool))
	p, ok, err := catalog.PriceByStripeID(t.Context(), db.New(w.pool), old.StripePriceID)
	if err != nil || !ok || p.ArchivedAt == nil || p.Amount != 2900 || p.TierID != "pro" {
		t.Errorf("the old price: %+v, %v, %v", p, ok, err)
	}
	if again := w.apply(dearer); !again.Empty() {
		t.Errorf("the second run changed something:\n%s", again)
	}
	// Back to the old amount: a third price, for the second was sold at its own.
	w.apply(small)
	check(t, "on sale again", map[string]int64{"pro_month_usd_v3": 2900, "pro_month_eur": 2700, "pack_small_usd": 1500, "pack_small_eur": 1400}, w.onSale(w.pool))
}

// More credits for the same money are another price, too: what was sold is kept with the price.
func TestApplyNewCredits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(small)
	old, err := catalog.New(w.pool).PackPrice(t.Context(), "small", "usd")
	if err != nil {
		t.Fatal(err)
	}
	w.apply(strings.Replace(small, "credits: 1000", "credits: 1200", 1))
	p, ok, err := catalog.PriceByStripeID(t.Context(), db.New(w.pool), old.StripePriceID)
	if err != nil || !ok || p.Credits != 1000 || p.ArchivedAt == nil {
		t.Errorf("the old price: %+v, %v, %v", p, ok, err)
	}
	now, err := catalog.New(w.pool).PackPrice(t.Context(), "small", "usd")
	if err != nil || now.Credits != 1200 || now.LookupKey != "pack_small_usd_v2" {
		t.Errorf("the new price: %+v, %v", now, err)
	}
}

func TestApplyRemovesAndRevives(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(small)
	i, j := strings.Index(small, "  - id: pro"), strings.Index(small, "meters:")
	without := small[:i] + small[j:]
	plan := w.apply(without)
	check(t, "plan", `- archive price pro_month_eur: eur 2700 a month
- archive price pro_month_usd: usd 2900 a month
- archive price pack_small_eur: eur 1400 for 1000 credits
- archive price pack_small_usd: usd 1500 for 1000 credits
- archive tier pro; who is subscribed to it keeps it
- archive product saaskit_test_tier_pro at Stripe
- archive credit pack small
- archive product saaskit_test_pack_small at Stripe
`, plan.String())
	for key, what := range w.atStripe() {
		if !strings.HasSuffix(what, "active=false") {
			t.Errorf("%s is on sale at Stripe: %s", key, what)
		}
	}
	check(t, "on sale", map[string]int64{}, w.onSale(w.pool))
	if again := w.apply(without); !again.Empty() {
		t.Errorf("the second run changed something:\n%s", again)
	}
	w.apply(small)
	check(t, "at Stripe again", smallAtStripe(), w.atStripe())
}

// A process killed at any write, before Stripe has done it or after, leaves an apply that the next run ends: with the same
// objects at Stripe as if nothing had happened.
func TestApplyResumes(t *testing.T) {
	t.Parallel()
	dearer := strings.NewReplacer("usd: 2900", "usd: 3900", "name: Small", "name: Tiny", "id: requests", "id: calls").Replace(small)
	calm := newWorld(t)
	calm.apply(small)
	before := calm.writes.Load()
	calm.apply(dearer)
	writes := calm.writes.Load() - before // create v2, rename the product, archive v1
	if writes != 3 {
		t.Fatalf("the second apply makes %d writes", writes)
	}
	want, wantSale := calm.atStripe(), calm.onSale(calm.pool)
	for _, late := range []bool{false, true} {
		for first := range before + writes {
			t.Run(fmt.Sprintf("late=%v write=%d", late, first+1), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.late = late
				source := small
				if first >= before {
					w.apply(small)
					source = dearer
				}
				w.cut.Store(first + 1)
				_, err := w.applier().Apply(t.Context(), load(t, source), yes)
				if !errors.Is(err, errCut) {
					t.Fatalf("the killed apply: %v", err)
				}
				w.cut.Store(0)
				if first < before {
					check(t, "on sale after the kill", map[string]int64{}, w.onSale(w.pool))
				}
				if plan := w.apply(source); !plan.Resumes {
					t.Errorf("the next run does not resume:\n%s", plan)
				}
				w.apply(dearer)
				check(t, "at Stripe", want, w.atStripe())
				check(t, "on sale", wantSale, w.onSale(w.pool))
				if again := w.apply(dearer); !again.Empty() {
					t.Errorf("another run changed something:\n%s", again)
				}
			})
		}
	}
}

// An interrupted apply of a catalogue that nobody wants any more does not stand in the way.
func TestApplySupersedes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(small)
	w.late = true
	w.cut.Store(w.writes.Load() + 1)
	dearer := strings.Replace(small, "usd: 2900", "usd: 3900", 1)
	if _, err := w.applier().Apply(t.Context(), load(t, dearer), yes); !errors.Is(err, errCut) {
		t.Fatalf("the killed apply: %v", err)
	}
	w.cut.Store(0)
	dearest := strings.Replace(small, "usd: 2900", "usd: 4900", 1)
	plan := w.apply(dearest)
	if !plan.Supersedes || !strings.HasPrefix(plan.String(), "An interrupted apply of another catalogue is given up.\n") {
		t.Errorf("plan: %s", plan)
	}
	want := smallAtStripe()
	want["pro_month_usd"] = "usd 2900 month saaskit_test_tier_pro active=false"
	want["pro_month_usd_v2"] = "usd 3900 month saaskit_test_tier_pro active=false"
	want["pro_month_usd_v3"] = "usd 4900 month saaskit_test_tier_pro active=true"
	check(t, "at Stripe", want, w.atStripe())
	if again := w.apply(dearest); !again.Empty() {
		t.Errorf("the second run changed something:\n%s", again)
	}
}

// Between two applies, the second is refused while the first runs.
func TestApplyExcludesAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	inside, leave := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, err := w.applier().Apply(t.Context(), load(t, small), func(catalog.Plan) error { close(inside); <-leave; return nil })
		done <- err
	}()
	<-inside
	_, err := w.applier().Apply(t.Context(), load(t, small), yes)
	close(leave)
	if !errors.Is(err, catalog.ErrRunning) {
		t.Errorf("the rival: %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("the first: %v", err)
	}
	if again := w.apply(small); !again.Empty() {
		t.Errorf("after both:\n%s", again)
	}
}

// Whoever says no has changed nothing.
func TestApplyRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	no := errors.New("no")
	if _, err := w.applier().Apply(t.Context(), load(t, small), func(catalog.Plan) error { return no }); !errors.Is(err, no) {
		t.Fatal(err)
	}
	if w.writes.Load() != 0 {
		t.Error("something was written at Stripe")
	}
	if plan := w.apply(small); plan.Resumes || plan.Supersedes {
		t.Error("an intent was left behind")
	}
}

// A database that was lost finds everything at Stripe again, the prices of before included.
func TestApplyAdoptsWhatStripeHas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(small)
	dearer := strings.Replace(small, "usd: 2900", "usd: 3900", 1)
	w.apply(dearer)
	old, err := w.api().Prices.List(&stripe.PriceListParams{LookupKeys: stripe.StringSlice([]string{"pro_month_usd"})}).PriceList().Data[0], error(nil)
	if err != nil {
		t.Fatal(err)
	}
	want, writes := w.atStripe(), w.writes.Load()
	fresh := pgtest.New(t)
	plan := w.applyWith(w.applierOf("test", fresh), dearer)
	if w.writes.Load() != writes {
		t.Errorf("something was written at Stripe:\n%s", plan)
	}
	check(t, "at Stripe", want, w.atStripe())
	check(t, "on sale", w.onSale(w.pool), w.onSale(fresh))
	p, ok, err := catalog.PriceByStripeID(t.Context(), db.New(fresh), old.ID)
	if err != nil || !ok || p.ArchivedAt == nil || p.Amount != 2900 {
		t.Errorf("the price of before: %+v, %v, %v", p, ok, err)
	}
	if again := w.applyWith(w.applierOf("test", fresh), dearer); !again.Empty() {
		t.Errorf("the second run changed something:\n%s", again)
	}
}

// A price that was made by hand under the lookup key is taken, with its product; a wrong one is not.
func TestApplyAdoptsByLookupKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	product, err := w.api().Products.New(&stripe.ProductParams{Name: stripe.String("By hand")})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	for key, amount := range map[string]int64{"pro_month_usd": 2900, "pro_month_eur": 1} {
		p, err := w.api().Prices.New(&stripe.PriceParams{
			Product: stripe.String(product.ID), Currency: stripe.String(key[len(key)-3:]), UnitAmount: stripe.Int64(amount),
			LookupKey: stripe.String(key), Recurring: &stripe.PriceRecurringParams{Interval: stripe.String("month")},
		})
		if err != nil {
			t.Fatal(err)
		}
		ids[key] = p.ID
	}
	w.apply(small)
	offer, err := catalog.New(w.pool).Tier(t.Context(), "pro")
	if err != nil || offer.StripeProductID != product.ID {
		t.Fatalf("tier: %+v, %v", offer, err)
	}
	check(t, "on sale", map[string]int64{"pro_month_usd": 2900, "pro_month_eur_v2": 2700, "pack_small_usd": 1500, "pack_small_eur": 1400}, w.onSale(w.pool))
	if p, ok, err := catalog.PriceByStripeID(t.Context(), db.New(w.pool), ids["pro_month_eur"]); err != nil || !ok || p.ArchivedAt == nil {
		t.Errorf("the wrong price: %+v, %v, %v", p, ok, err)
	}
	if again := w.apply(small); !again.Empty() {
		t.Errorf("the second run changed something:\n%s", again)
	}
}

// Two environments on one Stripe account leave each other's objects alone.
func TestApplyKeepsEnvironmentsApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(small)
	staging := pgtest.New(t)
	cheap := strings.Replace(small, "usd: 2900", "usd: 100", 1)
	w.applyWith(w.applierOf("staging", staging), cheap)
	check(t, "staging", map[string]int64{"pro_month_usd_v2": 100, "pro_month_eur_v2": 2700, "pack_small_usd_v2": 1500, "pack_small_eur_v2": 1400}, w.onSale(staging))
	check(t, "test", map[string]int64{"pro_month_usd": 2900, "pro_month_eur": 2700, "pack_small_usd": 1500, "pack_small_eur": 1400}, w.onSale(w.pool))
	if again := w.apply(small); !again.Empty() {
		t.Errorf("the first environment has to change:\n%s", again)
	}
	if again := w.applyWith(w.applierOf("staging", staging), cheap); !again.Empty() {
		t.Errorf("the second environment has to change:\n%s", again)
	}
}

// A forgotten APP_ENV must not take off sale what the environment before has on sale.
func TestApplyRefusesAnotherEnvironment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(small)
	before := w.atStripe()
	other := w.applierOf("production", w.pool)
	var refused *catalog.EnvironmentError
	if plan, err := other.Plan(t.Context(), load(t, small)); !errors.As(err, &refused) || !plan.Empty() {
		t.Errorf("a plan under another environment: %v\n%s", err, plan)
	}
	if _, err := other.Apply(t.Context(), load(t, small), yes); !errors.As(err, &refused) {
		t.Fatalf("an apply under another environment: %v", err)
	}
	check(t, "the refusal", catalog.EnvironmentError{Applied: "test", Now: "production"}, *refused)
	check(t, "at Stripe", before, w.atStripe())
	other.ChangeEnvironment = true
	if plan := w.applyWith(other, small); plan.Empty() {
		t.Error("asked for, the other environment changes nothing")
	}
	if _, err := w.applier().Plan(t.Context(), load(t, small)); !errors.As(err, &refused) {
		t.Errorf("the way back: %v", err)
	}
}

// Applies that were made before the environment was kept tell it by their products.
func TestEnvironmentOfOldApplies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(small)
	migration, err := os.ReadFile("../../sql/migrations/00013_environment_identity_export.sql")
	if err != nil {
		t.Fatal(err)
	}
	backfill := regexp.MustCompile(`(?s)UPDATE catalog_applies.*?;`).FindString(string(migration))
	for _, sql := range []string{`UPDATE catalog_applies SET environment = NULL`, backfill} {
		if _, err := w.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	var refused *catalog.EnvironmentError
	if _, err := w.applierOf("production", w.pool).Plan(t.Context(), load(t, small)); !errors.As(err, &refused) || refused.Applied != "test" {
		t.Errorf("a plan under another environment: %v", err)
	}
}

// What somebody has switched off or deleted at Stripe by hand is put right.
func TestApplyRepairsStripe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(small)
	p, err := catalog.New(w.pool).TierPrice(t.Context(), "pro", catalog.Month, "usd")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.api().Prices.Update(p.StripePriceID, &stripe.PriceParams{Active: stripe.Bool(false)}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.api().Products.Update("saaskit_test_tier_pro", &stripe.ProductParams{Active: stripe.Bool(false)}); err != nil {
		t.Fatal(err)
	}
	check(t, "plan", "~ product saaskit_test_tier_pro at Stripe\n~ activate price pro_month_usd at Stripe\n", w.apply(small).String())
	check(t, "at Stripe", smallAtStripe(), w.atStripe())

	// Another Stripe account: what was sold stays known, what is sold from now on is made there.
	other := newWorld(t)
	other.pool = w.pool
	other.apply(small)
	check(t, "on sale there", map[string]int64{"pro_month_usd_v2": 2900, "pro_month_eur_v2": 2700, "pack_small_usd_v2": 1500, "pack_small_eur_v2": 1400}, other.onSale(w.pool))
	if got, ok, err := catalog.PriceByStripeID(t.Context(), db.New(w.pool), p.StripePriceID); err != nil || !ok || got.TierID != "pro" {
		t.Errorf("the price of before: %+v, %v, %v", got, ok, err)
	}
}

// Stripe down is an error, and no half catalogue.
func TestApplyStripeDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	remove := w.emu.Inject(stripeemu.Fault{Method: http.MethodPost, Path: "/v1/prices", Status: 500})
	if _, err := w.applier().Apply(t.Context(), load(t, small), yes); err == nil {
		t.Fatal("no error")
	}
	check(t, "on sale", map[string]int64{}, w.onSale(w.pool))
	remove()
	if plan := w.apply(small); !plan.Resumes {
		t.Errorf("plan: %s", plan)
	}
	check(t, "at Stripe", smallAtStripe(), w.atStripe())

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.applier().Apply(ctx, load(t, small), yes); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
