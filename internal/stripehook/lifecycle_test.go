package stripehook_test

import (
	"strconv"
	"testing"
	"time"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/catalog/catalogtest"
	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/db"
)

// access is the tier that T1's subscriptions give now; "none" without one.
func (w *world) access() string {
	w.t.Helper()
	s, err := account.StandingOf(w.t.Context(), db.New(w.pool), account.DefaultPolicy(), w.t1, w.clock.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	if !s.Access {
		return "none"
	}
	return s.Tier
}

func (w *world) wantAccess(want string) {
	w.t.Helper()
	if got := w.access(); got != want {
		w.t.Errorf("access %s, want %s", got, want)
	}
}

// changed settles an update of sub_1.
func (w *world) changed(fields object, eventType string) {
	w.t.Helper()
	w.patch("sub_1", fields)
	w.settled(w.about(eventType, "sub_1"))
}

const updated = "customer.subscription.updated"

// subscribed has sub_1 stored and settled.
func (w *world) subscribed(over ...object) {
	w.t.Helper()
	w.customer("cus_1")
	w.subscription("sub_1", over...)
	w.settled(w.about("customer.subscription.created", "sub_1"))
}

func TestC53ConfirmationOnFirstPayment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed(object{"status": "incomplete"})
	w.invoice("in_1", "sub_1", object{"status": "open", "paid": false, "amount_paid": 0, "amount_remaining": 1000})
	w.settled(w.about("invoice.payment_action_required", "in_1"), w.about("invoice.payment_failed", "in_1"))
	w.wantAccess("none")
	w.want("0", `SELECT count(*) FROM outbox`)
	w.patch("in_1", object{"status": "paid", "paid": true, "amount_paid": 1000, "amount_remaining": 0})
	w.changed(object{"status": "active"}, updated)
	w.shuffled(w.about("invoice.paid", "in_1"), w.about("invoice.payment_succeeded", "in_1"))
	w.wantAccess("basic")
	w.want("10", `SELECT balance FROM credit_accounts`)
}

func TestC54IncompleteExpired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed(object{"status": "incomplete"})
	w.changed(object{"status": "incomplete_expired", "ended_at": w.clock.Now().Unix()}, updated)
	w.wantAccess("none")
	w.want("incomplete_expired", `SELECT status FROM subscriptions`)
	if w.checkout(w.shop(), w.t1, billing.Wish{Tier: "basic", Interval: "month"}).URL == "" {
		t.Error("a new checkout has no page")
	}
	w.want("1", `SELECT count(*) FROM subscriptions`)
}

func TestC55Trial(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	end := w.clock.Now().Add(3 * day).Unix()
	w.subscribed(object{"status": "trialing", "trial_start": w.clock.Now().Unix(), "trial_end": end})
	w.wantAccess("basic")
	w.settled(w.about("customer.subscription.trial_will_end", "sub_1"), w.about("customer.subscription.trial_will_end", "sub_1"))
	w.want("1", `SELECT count(*) FROM outbox WHERE kind = 'trial_will_end'`)
	w.exec(`DELETE FROM outbox`)
	late := w.about("customer.subscription.trial_will_end", "sub_1")
	w.changed(object{"status": "active"}, updated)
	w.wantAccess("basic")
	w.settled(late)
	w.want("0", `SELECT count(*) FROM outbox`)
}

// Nobody is told of a charge after a trial with which the subscription ends; one that ends later is charged before.
func TestC55NoTrialMailAfterCancellation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	end := w.clock.Now().Add(3 * day).Unix()
	w.subscribed(object{"status": "trialing", "trial_start": w.clock.Now().Unix(), "trial_end": end, "cancel_at_period_end": true, "cancel_at": end})
	w.settled(w.about("customer.subscription.trial_will_end", "sub_1"))
	w.changed(object{"cancel_at_period_end": false}, updated)
	w.settled(w.about("customer.subscription.trial_will_end", "sub_1"))
	w.want("0", `SELECT count(*) FROM outbox WHERE kind = 'trial_will_end'`)
	w.changed(object{"cancel_at": end + 86400}, updated)
	w.settled(w.about("customer.subscription.trial_will_end", "sub_1"))
	w.want("1", `SELECT count(*) FROM outbox WHERE kind = 'trial_will_end'`)
}

func TestC56TrialEndsWithoutPaymentMethod(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed(object{"status": "trialing"})
	w.changed(object{"status": "paused"}, "customer.subscription.paused")
	w.wantAccess("none")
	w.changed(object{"status": "active"}, "customer.subscription.resumed")
	w.wantAccess("basic")
	w.want("0", `SELECT count(*) FROM credit_lots`)
	w.invoice("in_1", "sub_1", object{"billing_reason": "subscription_cycle"})
	w.settled(w.about("invoice.paid", "in_1"))
	w.want("10", `SELECT balance FROM credit_accounts`)
}

// A year that is paused has its months, too, and what the clock brings each of them is not brought.
func TestC56NoCreditsWhilePaused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	start := w.clock.Now()
	year := w.price(catalogtest.PriceBasicYear, "year", 10000, "usd")
	w.subscribed(object{"status": "trialing", "current_period_end": start.AddDate(1, 0, 0).Unix(),
		"items": list("/v1/subscription_items?subscription=sub_1", w.item("si_1", "sub_1", year, 1))})
	w.invoice("in_1", "sub_1", object{"subtotal": 10000, "total": 10000, "amount_due": 10000, "amount_paid": 10000,
		"lines": list("/v1/invoices/in_1/lines", w.line("il_1", year, 10000, object{
			"period": object{"start": start.Unix(), "end": start.AddDate(1, 0, 0).Unix()}}))})
	w.settled(w.about("invoice.paid", "in_1"))
	credits := credit.New(credit.Config{Pool: w.pool, Now: w.clock.Now, Policy: account.DefaultPolicy()})
	granted := func(want string) {
		t.Helper()
		_, err := credits.GrantAllowances(t.Context())
		w.must(err)
		w.want(want, `SELECT sum(granted) FROM credit_lots`)
	}
	granted("10") // the first month's
	w.changed(object{"status": "paused"}, "customer.subscription.paused")
	w.clock.Add(40 * day)
	granted("10")
	w.changed(object{"status": "active"}, "customer.subscription.resumed")
	granted("20") // of the month that runs
}

func TestC57PauseCollection(t *testing.T) {
	t.Parallel()
	for behavior, want := range map[string]string{"keep_as_draft": "basic", "mark_uncollectible": "basic", "void": "none"} {
		w := newWorld(t)
		w.subscribed()
		w.changed(object{"pause_collection": object{"behavior": behavior, "resumes_at": nil}}, updated)
		w.wantAccess("basic")
		w.clock.Add(40 * day) // beyond the period that was paid
		w.wantAccess(want)
		w.want("active", `SELECT status FROM subscriptions`)
		w.changed(object{"pause_collection": nil}, updated)
		w.wantAccess("basic")
	}
}

func TestC58PastDueToUnpaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed()
	w.changed(object{"status": "past_due"}, updated)
	w.wantAccess("basic")
	w.clock.Add(6 * day)
	w.settled(w.about(updated, "sub_1")) // a later look does not begin the grace anew
	w.wantAccess("basic")
	w.clock.Add(2 * day)
	w.wantAccess("none")
	w.changed(object{"status": "unpaid"}, updated)
	w.wantAccess("none")
	w.changed(object{"status": "active"}, updated)
	w.wantAccess("basic")
}

// Where Stripe gives up at once there is no grace: unpaid is no access from its first day.
func TestC58UnpaidOnTheFirstDay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed()
	w.changed(object{"status": "past_due"}, updated)
	w.wantAccess("basic")
	w.clock.Add(day)
	w.changed(object{"status": "unpaid"}, updated)
	w.wantAccess("none")
	w.invoice("in_1", "sub_1", object{"billing_reason": "subscription_cycle"})
	w.patch("sub_1", object{"status": "active"})
	w.shuffled(w.about("invoice.paid", "in_1"), w.about(updated, "sub_1"))
	w.wantAccess("basic")
}

func TestC59PastDueToCanceled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed()
	w.changed(object{"status": "past_due"}, updated)
	ended := w.clock.Now().Unix()
	w.changed(object{"status": "canceled", "canceled_at": ended, "ended_at": ended}, "customer.subscription.deleted")
	w.wantAccess("none")
	w.want("true", `SELECT ended_at = to_timestamp($1) FROM subscriptions`, ended)
}

func TestC60CancelToggles(t *testing.T) {
	t.Parallel()
	for _, between := range []bool{false, true} { // worked on between the changes, or after them in any order
		w := newWorld(t)
		w.subscribed()
		end := w.text(`SELECT current_period_end FROM subscriptions`)
		var events []object
		for _, cancel := range []bool{true, false, true} {
			w.patch("sub_1", object{"cancel_at_period_end": cancel})
			events = append(events, w.about(updated, "sub_1"))
			if between {
				w.settled(events[len(events)-1])
				w.want(strconv.FormatBool(cancel), `SELECT cancel_at_period_end FROM subscriptions`)
			}
		}
		w.shuffled(events...)
		w.want("true", `SELECT cancel_at_period_end FROM subscriptions`)
		w.want("1", `SELECT count(*) FROM outbox WHERE kind = 'cancellation_scheduled'`)
		w.want("true", `SELECT (payload->>'ends_at')::timestamptz = $1::timestamptz FROM outbox WHERE kind = 'cancellation_scheduled'`, end)
	}
}

func TestC60CancelAtADate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed()
	w.changed(object{"cancel_at_period_end": true}, updated)
	w.want("1", `SELECT count(*) FROM outbox WHERE kind = 'cancellation_scheduled'`)
	// The portal of newer accounts sets a date alone.
	at := w.clock.Now().Add(10 * day).Unix()
	w.changed(object{"cancel_at_period_end": false}, updated)
	w.changed(object{"cancel_at": at}, updated)
	w.want("true", `SELECT cancel_at = to_timestamp($1) FROM subscriptions`, at)
	w.want("2", `SELECT count(*) FROM outbox WHERE kind = 'cancellation_scheduled'`)
}

func TestC61ImmediateCancel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed()
	now := w.clock.Now().Unix()
	w.changed(object{"status": "canceled", "canceled_at": now, "ended_at": now}, "customer.subscription.deleted")
	w.wantAccess("none")
	w.want("true", `SELECT current_period_end > ended_at FROM subscriptions`)
}

func TestC62ItemLevelPeriod(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed()
	whole, _ := w.emu.Get("sub_1")
	start := w.clock.Now()
	item := func(id string, end time.Time) object {
		return object{"id": id, "object": "subscription_item", "price": w.basic(), "quantity": 1,
			"current_period_start": start.Unix(), "current_period_end": end.Unix()}
	}
	delete(whole, "current_period_start")
	delete(whole, "current_period_end")
	whole["items"] = list("/v1/subscription_items", item("si_a", start.AddDate(1, 0, 0)), item("si_b", start.AddDate(0, 2, 0)))
	defer w.emu.Inject(faultBody("/v1/subscriptions/sub_1", 200, whole))()
	w.settled(w.about(updated, "sub_1"))
	w.want("true true", `SELECT (current_period_end = $1::timestamptz) || ' ' || (access_end = $2::timestamptz) FROM subscriptions`,
		start.AddDate(0, 2, 0), start.AddDate(1, 0, 0))
}

func TestC63NoPeriodAnywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed()
	before := w.text(`SELECT current_period_end FROM subscriptions`)
	whole, _ := w.emu.Get("sub_1")
	delete(whole, "current_period_start")
	whole["current_period_end"] = 0
	defer w.emu.Inject(faultBody("/v1/subscriptions/sub_1", 200, whole))()
	w.settled(w.about(updated, "sub_1"))
	w.want(before, `SELECT current_period_end FROM subscriptions`)
	if w.alarms("no_period") != 1 {
		t.Error("no alarm")
	}
}

func TestC64QuantityChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed()
	for range 4 { // five members with the owner
		user := w.text(`SELECT gen_random_uuid()`)
		w.exec(`INSERT INTO users (id, issuer, subject, email, created_at, updated_at) VALUES ($1::uuid, 'test', $1::text, '', now(), now())`, user)
		w.exec(`INSERT INTO memberships (account_id, user_id, role, created_at) VALUES ($1, $2::uuid, 'member', now())`, w.t1, user)
	}
	var events []object
	for _, n := range []int64{5, 8, 3} {
		w.patch("sub_1", object{"items": list("/v1/subscription_items?subscription=sub_1", w.item("si_sub_1", "sub_1", w.basic(), n))})
		event := w.about(updated, "sub_1")
		if n == 8 {
			w.settled(event)
		}
		events = append(events, event)
	}
	w.shuffled(events...)
	w.want("3 3", `SELECT s.quantity || ' ' || i.quantity FROM subscriptions s JOIN subscription_items i ON i.subscription_id = s.id`)
	w.want("1", `SELECT count(*) FROM outbox WHERE payload->>'reason' = 'over_seats'`)
}

func TestC65PlanSwapBySchedule(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed()
	schedule := func(eventType string, fields object) object {
		return w.event("subscription_schedule."+eventType, laid(object{"id": "sub_sched_1", "object": "subscription_schedule", "customer": "cus_1"}, fields))
	}
	w.patch("sub_1", object{"schedule": "sub_sched_1"})
	w.settled(schedule("created", object{"subscription": "sub_1"}), schedule("updated", object{"subscription": "sub_1"}))
	w.wantAccess("basic") // the next phase is not this one
	w.want("sub_sched_1", `SELECT schedule_id FROM subscriptions`)
	pro := w.price(catalogtest.PricePro, "month", 3000, "usd")
	w.patch("sub_1", object{"schedule": nil, "items": list("/v1/subscription_items?subscription=sub_1", w.item("si_sub_1", "sub_1", pro, 1))})
	w.shuffled(w.about(updated, "sub_1"), schedule("released", object{"subscription": nil, "released_subscription": "sub_1"}))
	w.wantAccess("pro")
	w.want("active", `SELECT status FROM subscriptions`)
	w.want("", `SELECT schedule_id FROM subscriptions`)
}

func TestC66PendingUpdate(t *testing.T) {
	t.Parallel()
	for _, outcome := range []string{"expired", "applied"} {
		w := newWorld(t)
		w.subscribed()
		pro := w.price(catalogtest.PricePro, "month", 3000, "usd")
		expires := w.clock.Now().Add(23 * time.Hour).Unix()
		w.changed(object{"pending_update": object{"billing_cycle_anchor": nil, "expires_at": expires, "trial_end": nil, "trial_from_plan": nil,
			"subscription_items": []any{w.item("si_sub_1", "sub_1", pro, 1)}}}, updated)
		w.wantAccess("basic")
		w.want(catalogtest.PricePro, `SELECT pending_price_id FROM subscriptions`)
		price, want := w.basic(), "basic"
		if outcome == "applied" {
			price, want = pro, "pro"
		}
		w.changed(object{"pending_update": nil, "items": list("/v1/subscription_items?subscription=sub_1", w.item("si_sub_1", "sub_1", price, 1))},
			"customer.subscription.pending_update_"+outcome)
		w.wantAccess(want)
		w.want("", `SELECT concat_ws(' ', pending_price_id, pending_quantity, pending_expires_at) FROM subscriptions`)
	}
}

func TestC67UnknownStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed()
	whole, _ := w.emu.Get("sub_1")
	whole["status"] = "hibernating"
	defer w.emu.Inject(faultBody("/v1/subscriptions/sub_1", 200, whole))()
	event := w.event(updated, whole)
	w.settled(event)
	w.wantEvent(event["id"].(string), "done")
	w.want("hibernating", `SELECT status FROM subscriptions`)
	w.wantAccess("basic")
	if w.alarms("unknown_status") != 1 {
		t.Error("no alarm")
	}
}

func TestC68TwoSubscriptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed()
	w.clock.Add(time.Hour)
	w.subscription("sub_2", object{"status": "incomplete"})
	w.settled(w.about("customer.subscription.created", "sub_2"))
	w.wantAccess("basic")
}

func TestC91UnknownPrice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	foreign := w.price("price_zzz", "month", 700, "usd")
	w.subscribed(object{"items": list("/v1/subscription_items?subscription=sub_1", w.item("si_sub_1", "sub_1", foreign, 1))})
	w.wantAllDone(1)
	w.wantAccess("none") // the tier of who pays for none, until somebody has looked
	if w.alarms("unknown_price") == 0 {
		t.Error("no alarm")
	}
	w.exec(`UPDATE tier_prices SET stripe_price_id = 'price_zzz' WHERE stripe_price_id = $1`, catalogtest.PricePro)
	w.clock.Add(time.Hour)
	if done := w.reconcile(false); done.Drift != 1 {
		t.Errorf("%+v", done)
	}
	w.wantAccess("pro")
}

func TestC92ArchivedProduct(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed()
	w.put("product", object{"id": "prod_basic", "active": false, "metadata": object{}})
	w.basic()
	gone := w.about("price.deleted", catalogtest.PriceBasic)
	w.settled(w.about("product.updated", "prod_basic"))
	w.emu.Remove("prod_basic")
	w.emu.Remove(catalogtest.PriceBasic)
	w.settled(gone, w.event("product.deleted", object{"id": "prod_basic", "object": "product", "deleted": true}))
	w.wantAllDone(4)
	w.wantAccess("basic")
	if w.alarms("catalog_drift") != 3 {
		t.Errorf("%v alarms", w.alarms("catalog_drift"))
	}
}

func TestC93PriceMetadataRaised(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	w.patch(catalogtest.PriceBasic, object{"metadata": object{"credits": "999999"}})
	w.settled(w.about("price.updated", catalogtest.PriceBasic), w.about("invoice.paid", "in_1"))
	w.want("10", `SELECT balance FROM credit_accounts`)
	if w.alarms("catalog_drift") != 1 {
		t.Error("no alarm")
	}
}

func TestC94CurrencyMismatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	w.patch("in_1", object{"currency": "eur"})
	w.settled(w.about("invoice.paid", "in_1"))
	w.want("eur 1000", `SELECT currency || ' ' || total FROM invoices`)
	w.want("0", `SELECT count(*) FROM credit_lots`)
	w.want("1", `SELECT count(*) FROM outbox WHERE payload->>'reason' = 'grant_quarantined'`)
}

func TestC95ZeroDecimal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	w.patch("in_1", object{"currency": "jpy", "total": 5000, "amount_paid": 5000})
	w.patch("ch_in_1", object{"currency": "jpy", "amount": 5000, "amount_captured": 5000})
	w.settled(w.about("invoice.paid", "in_1"), w.about("charge.succeeded", "ch_in_1"))
	w.want("jpy 5000", `SELECT currency || ' ' || total FROM invoices`)
	w.want("jpy 5000", `SELECT currency || ' ' || amount FROM transactions`)
}

// A read of a deleted customer is answered like that of one which exists, with deleted: true, or with 404 where nobody knows it any more.
func TestC96CustomerDeleted(t *testing.T) {
	t.Parallel()
	for _, forgotten := range []bool{false, true} {
		w := newWorld(t)
		w.subscribed()
		now := w.clock.Now().Unix()
		event := w.event("customer.deleted", object{"id": "cus_1", "object": "customer", "deleted": true})
		if forgotten {
			w.emu.Remove("cus_1")
		} else {
			_, err := w.api.Customers.Del("cus_1", nil)
			w.must(err)
			c, err := w.api.Customers.Get("cus_1", nil)
			w.must(err)
			if !c.Deleted {
				t.Fatal("Stripe does not say that the customer is deleted")
			}
			event = w.about("customer.deleted", "cus_1")
		}
		w.patch("sub_1", object{"status": "canceled", "canceled_at": now, "ended_at": now}) // its own event gets lost
		w.settled(event)
		w.wantAllDone(2)
		w.want("canceled", `SELECT status FROM subscriptions`)
		w.wantAccess("none")
		w.want("true", `SELECT deleted_at IS NOT NULL FROM stripe_customers WHERE stripe_id = 'cus_1'`)
		w.want("1", `SELECT count(*) FROM audit_log WHERE action = 'stripe_customer.delete'`)
		w.checkout(w.shop(), w.t1, billing.Wish{Tier: "basic", Interval: "month"})
		w.want("1", `SELECT count(*) FROM stripe_customers WHERE account_id = $1 AND deleted_at IS NULL AND stripe_id <> 'cus_1'`, w.t1)
	}
}

func TestC97EmailChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1", object{"email": "two@example.com"})
	w.settled(w.about("customer.updated", "cus_1"))
	w.want("two@example.com", `SELECT email FROM stripe_customers WHERE stripe_id = 'cus_1' AND account_id = $1`, w.t1)
	w.want("0", `SELECT count(*) FROM stripe_customers WHERE account_id = $1`, w.t2)
}
