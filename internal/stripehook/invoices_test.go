package stripehook_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/saaskit/internal/catalog/catalogtest"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/stripehook"
)

// upgrade stores a paid invoice of a change from one price to another in the middle of the period.
func (w *world) upgrade(id string, from, to object, credited, charged int64) {
	w.t.Helper()
	lines := []any{
		w.line(id+"_off", from, -credited, object{"proration": true, "subscription_item": "si_sub_1"}),
		w.line(id+"_on", to, charged, object{"proration": true, "subscription_item": "si_sub_1"}),
	}
	for _, l := range lines {
		l.(object)["subscription_item"] = "si_sub_1"
	}
	w.invoice(id, "sub_1", object{"billing_reason": "subscription_update", "subtotal": charged - credited, "total": charged - credited,
		"amount_due": max(0, charged-credited), "amount_paid": max(0, charged-credited), "lines": list("/v1/invoices/"+id+"/lines", lines...)})
}

func TestC72UpgradeMidCycle(t *testing.T) {
	t.Parallel()
	for _, none := range []bool{false, true} {
		w := newWorld(t, with(func(c *stripehook.Config) { c.NoUpgradeCredits = none }))
		w.signup()
		w.settled(w.about("invoice.paid", "in_1"))
		basic, pro := w.basic(), w.price(catalogtest.PricePro, "month", 3000, "usd")
		w.upgrade("in_2", basic, pro, 500, 1500)
		w.shuffled(w.about("invoice.paid", "in_2"), w.about("invoice.payment_succeeded", "in_2"))
		if none {
			w.want("10", `SELECT balance FROM credit_accounts`)
			continue
		}
		w.want("invoice:in_2:in_2_on 20", `SELECT natural_key || ' ' || granted FROM credit_lots WHERE natural_key LIKE 'invoice:in_2%'`)
		w.want("30", `SELECT balance FROM credit_accounts`)
		// Down and up again in the same period: the way up was granted already.
		w.upgrade("in_3", pro, basic, 1400, 450)
		w.upgrade("in_4", basic, pro, 400, 1300)
		w.shuffled(w.about("invoice.paid", "in_3"), w.about("invoice.paid", "in_4"))
		w.want("30", `SELECT balance FROM credit_accounts`)
		w.proven()
	}
}

func TestC73CreditLargerThanCharge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	w.settled(w.about("invoice.paid", "in_1"))
	w.upgrade("in_2", w.price(catalogtest.PricePro, "month", 3000, "usd"), w.basic(), 1500, 500)
	w.patch("in_2", object{"starting_balance": 0, "ending_balance": -1000})
	w.patch("cus_1", object{"balance": -1000})
	w.settled(w.about("invoice.paid", "in_2"), w.about("customer.updated", "cus_1"))
	w.want("10", `SELECT balance FROM credit_accounts`)
	w.want("-1000", `SELECT balance FROM stripe_customers WHERE stripe_id = 'cus_1'`)
	w.want("-1000 -1000", `SELECT total || ' ' || ending_balance FROM invoices WHERE id = 'in_2'`)
}

func TestC74OutOfBand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	w.subscription("sub_1")
	w.invoice("in_1", "sub_1", object{"paid_out_of_band": true, "charge": nil, "payment_intent": nil})
	w.shuffled(w.about("invoice.paid", "in_1"), w.about("invoice.updated", "in_1"))
	w.want("invoice:in_1 1000 succeeded", `SELECT string_agg(natural_key || ' ' || amount || ' ' || status, ',') FROM transactions`)
	w.want("true", `SELECT payload->>'out_of_band' FROM outbox`)
	w.want("10", `SELECT balance FROM credit_accounts`)
}

func TestC75UncollectibleThenPaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	for _, status := range []string{"past_due", "unpaid"} {
		id := "in_" + status
		w.changed(object{"status": status}, updated)
		w.invoice(id, "sub_1", object{"status": "uncollectible", "paid": false, "amount_paid": 0, "amount_remaining": 1000, "billing_reason": "subscription_cycle"})
		before := w.text(`SELECT count(*) FROM credit_lots`)
		w.settled(w.about("invoice.marked_uncollectible", id))
		w.want(before, `SELECT count(*) FROM credit_lots`)
		w.want("uncollectible "+status, `SELECT i.status || ' ' || s.status FROM invoices i, subscriptions s WHERE i.id = $1`, id)
		w.patch(id, object{"status": "paid", "paid": true, "amount_paid": 1000, "amount_remaining": 0})
		w.patch("sub_1", object{"status": "active"})
		w.shuffled(w.about("invoice.paid", id), w.about(updated, "sub_1"))
		w.want("paid active", `SELECT i.status || ' ' || s.status FROM invoices i, subscriptions s WHERE i.id = $1`, id)
		w.want("10", `SELECT granted FROM credit_lots WHERE natural_key LIKE 'invoice:' || $1 || '%'`, id)
		w.wantAccess("basic")
	}

	w.invoice("in_2", "sub_1", object{"status": "void", "paid": false, "billing_reason": "subscription_cycle"})
	w.shuffled(w.about("invoice.voided", "in_2"), w.about("invoice.payment_failed", "in_2"))
	w.want("0", `SELECT count(*) FROM credit_lots WHERE natural_key LIKE 'invoice:in_2%'`)
	w.want("void", `SELECT status FROM invoices WHERE id = 'in_2'`)
	w.want("0", `SELECT count(*) FROM outbox WHERE kind = 'payment_failed'`)
}

func TestC76ManualInvoice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	pack, other := w.price(catalogtest.PricePack, "", 500, "usd"), w.price("price_consulting", "", 9000, "usd")
	w.invoice("in_1", "", object{"billing_reason": "manual", "total": 9500,
		"lines": list("/v1/invoices/in_1/lines", w.line("il_pack", pack, 500), w.line("il_other", other, 9000))})
	w.settled(w.about("invoice.paid", "in_1"))
	w.want("invoice:in_1:il_pack 50", `SELECT string_agg(natural_key || ' ' || granted, ',') FROM credit_lots`)
	w.want("2", `SELECT count(*) FROM invoice_lines`)
}

func TestC77UpcomingInvoice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed()
	old := object{"object": "invoice", "subscription": "sub_1", "customer": "cus_1"}
	basil := object{"object": "invoice", "id": nil, "customer": "cus_1", "parent": object{"type": "subscription_details",
		"subscription_details": object{"subscription": "sub_1"}}}
	named := object{"object": "invoice", "id": "upcoming_in_1", "subscription": "sub_1", "customer": "cus_1"}
	w.settled(w.event("invoice.upcoming", old), w.event("invoice.upcoming", basil), w.event("invoice.upcoming", named))
	w.wantAllDone(4)
	w.want("1", `SELECT count(*) FROM outbox WHERE kind = 'renewal_upcoming'`)
	w.want("0", `SELECT count(*) FROM invoices`)
	for _, r := range w.emu.Requests() {
		if r.Path == "/v1/invoices" || r.Path == "/v1/invoices/" || r.Path == "/v1/invoices/upcoming_in_1" {
			t.Errorf("asked for %s", r.Path)
		}
	}
	// One that comes when its renewal is over announces nothing, and the next one has its own.
	w.exec(`DELETE FROM outbox`)
	end := w.clock.Now().Add(14 * day)
	w.patch("sub_1", object{"current_period_end": end.Unix()})
	w.settled(w.about(updated, "sub_1"))
	for told, want := range map[time.Time]string{end.AddDate(0, -1, 0): "0", end: "1"} {
		w.exec(`DELETE FROM outbox`)
		old["period_end"] = told.Unix()
		w.settled(w.event("invoice.upcoming", old))
		w.want(want, `SELECT count(*) FROM outbox WHERE kind = 'renewal_upcoming'`)
	}
	// Nothing is announced of what will end.
	w.exec(`DELETE FROM outbox`)
	w.patch("sub_1", object{"cancel_at_period_end": true})
	w.settled(w.event("invoice.upcoming", old))
	w.want("0", `SELECT count(*) FROM outbox WHERE kind = 'renewal_upcoming'`)
}

func TestC78FinalizationFailed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	w.settled(w.about("customer.subscription.created", "sub_1"))
	w.invoice("in_2", "sub_1", object{"status": "draft", "paid": false, "billing_reason": "subscription_cycle"})
	w.settled(w.about("invoice.created", "in_2")) // it is known before it fails
	whole, _ := w.emu.Get("in_2")
	whole["last_finalization_error"] = object{"code": "customer_tax_location_invalid", "type": "invalid_request_error"}
	remove := w.emu.Inject(faultBody("/v1/invoices/in_2", 200, whole))
	event := w.event("invoice.finalization_failed", whole)
	w.settled(event, event, w.event("invoice.finalization_failed", whole))
	remove()
	w.want("customer_tax_location_invalid", `SELECT payload->>'code' FROM outbox WHERE kind = 'operator_alarm'`)
	w.want("active", `SELECT status FROM subscriptions`)
	if w.alarms("finalization_failed") != 1 {
		t.Errorf("%v alarms", w.alarms("finalization_failed"))
	}
}

func TestC79Renewal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	w.settled(w.about("customer.subscription.created", "sub_1"), w.about("invoice.paid", "in_1"))
	w.spend(4)
	start := w.clock.Now().AddDate(0, 1, 0)
	w.clock.Add(start.Sub(w.clock.Now()))
	w.invoice("in_2", "sub_1", object{"billing_reason": "subscription_cycle", "status": "draft", "paid": false})
	events := []object{w.about("invoice.created", "in_2"), w.about("invoice.finalized", "in_2")}
	w.patch("in_2", object{"status": "paid", "paid": true})
	w.patch("sub_1", object{"current_period_start": start.Unix(), "current_period_end": start.AddDate(0, 1, 0).Unix(), "latest_invoice": "in_2"})
	w.shuffled(append(events, w.about("invoice.paid", "in_2"), w.about("invoice.payment_succeeded", "in_2"), w.about(updated, "sub_1"))...)
	w.want("true", `SELECT current_period_end = $1::timestamptz FROM subscriptions`, start.AddDate(0, 1, 0))
	w.want("10", `SELECT balance FROM credit_accounts`) // the six of the old month are gone with it
	w.want("grant consume expire grant", `SELECT string_agg(kind, ' ' ORDER BY seq) FROM credit_entries`)
	w.proven()
}

func TestC80DelayedPayment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	pack := w.price(catalogtest.PricePack, "", 500, "usd")
	w.attempt("cs_pack", "credit_pack")
	w.session("cs_pack", object{"mode": "payment", "payment_status": "unpaid", "line_items": w.sessionLines(pack, 1)})
	w.settled(w.about("checkout.session.completed", "cs_pack"))
	w.want("0", `SELECT count(*) FROM credit_lots`)
	w.patch("cs_pack", object{"payment_status": "paid"})
	w.settled(w.about("checkout.session.async_payment_succeeded", "cs_pack"), w.about("checkout.session.async_payment_succeeded", "cs_pack"))
	w.want("50 1", `SELECT balance || ' ' || (SELECT count(*) FROM credit_entries) FROM credit_accounts`)
}

func TestC81DelayedPaymentFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	w.attempt("cs_pack", "credit_pack")
	w.session("cs_pack", object{"mode": "payment", "payment_status": "unpaid", "line_items": w.sessionLines(w.price(catalogtest.PricePack, "", 500, "usd"), 1)})
	failed := "checkout.session.async_payment_failed"
	w.settled(w.about("checkout.session.completed", "cs_pack"), w.about(failed, "cs_pack"), w.about(failed, "cs_pack"))
	w.settled(w.about("checkout.session.completed", "cs_pack"))
	w.want("failed", `SELECT status FROM checkout_attempts`)
	w.want("0", `SELECT count(*) FROM credit_lots`)
	w.want("1", `SELECT count(*) FROM outbox WHERE kind = 'checkout_payment_failed'`)
}

func TestC82Expired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	open := w.attempt("cs_open", "subscription")
	w.session("cs_open", object{"status": "expired", "payment_status": "unpaid"})
	w.settled(w.about("checkout.session.expired", "cs_open"))
	w.want("expired", `SELECT status FROM checkout_attempts WHERE id = $1`, open)
	paid := w.attempt("cs_paid", "credit_pack")
	w.session("cs_paid", object{"mode": "payment", "line_items": w.sessionLines(w.price(catalogtest.PricePack, "", 500, "usd"), 1)})
	w.settled(w.about("checkout.session.expired", "cs_paid"))
	w.want("complete", `SELECT status FROM checkout_attempts WHERE id = $1`, paid)
	w.want("50", `SELECT balance FROM credit_accounts`)
}

func TestC83SetupMode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	w.put("payment_method", object{"id": "pm_1", "type": "card", "customer": "cus_1", "metadata": object{}, "created": w.clock.Now().Unix()})
	w.put("setup_intent", object{"id": "seti_1", "customer": "cus_1", "status": "succeeded", "payment_method": "pm_1", "metadata": object{}, "created": w.clock.Now().Unix()})
	w.session("cs_1", object{"mode": "setup", "payment_status": "no_payment_required", "setup_intent": "seti_1", "currency": nil, "amount_total": nil})
	w.shuffled(w.about("checkout.session.completed", "cs_1"), w.about("setup_intent.succeeded", "seti_1"), w.about("payment_method.attached", "pm_1"))
	w.want("cus_1 card", `SELECT customer_id || ' ' || type FROM payment_methods WHERE account_id = $1`, w.t1)
	w.want("pm_1", `SELECT default_payment_method FROM stripe_customers WHERE stripe_id = 'cus_1'`)
	w.want("0 0", `SELECT (SELECT count(*) FROM credit_lots) || ' ' || (SELECT count(*) FROM transactions)`)
	// Once it is detached it names nobody; it stays whose it was.
	w.patch("pm_1", object{"customer": nil})
	stored, _ := w.emu.Get("pm_1")
	gone := w.event("payment_method.detached", stored)
	gone["data"].(object)["previous_attributes"] = object{"customer": "cus_1"}
	w.settled(gone)
	w.want("true", `SELECT detached_at IS NOT NULL FROM payment_methods WHERE account_id = $1`, w.t1)
}

// What became of a checkout, and which payment methods there are, is in the audit log: one row for one change, however often it is told.
func TestSessionsAndPaymentMethodsAreAudited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	audited := func(kind, want string) {
		t.Helper()
		w.want(want, `SELECT coalesce(string_agg(concat_ws(' ', action, before->>'status', '→', after->>'status', after->>'payment_status'), ', ' ORDER BY created_at, id), '')
			FROM audit_log WHERE target_kind = $1 AND account_id = $2 AND actor_kind = 'stripe'`, kind, w.t1)
	}
	w.attempt("cs_pack", "credit_pack")
	w.session("cs_pack", object{"mode": "payment", "status": "open", "payment_status": "unpaid", "line_items": w.sessionLines(w.price(catalogtest.PricePack, "", 500, "usd"), 1)})
	w.settled(w.about("checkout.session.completed", "cs_pack")) // told of while it is open
	w.clock.Add(time.Second)
	w.patch("cs_pack", object{"status": "complete"})
	failed := "checkout.session.async_payment_failed"
	w.shuffled(w.about("checkout.session.completed", "cs_pack"), w.about(failed, "cs_pack"), w.about(failed, "cs_pack"))
	w.want("checkout.fail 1", `SELECT max(action) || ' ' || count(*) FROM audit_log WHERE target_id = 'cs_pack' AND action LIKE 'checkout.%'`)
	w.exec(`DELETE FROM audit_log WHERE action = 'checkout.fail'`)
	audited("checkout_session", "checkout_session.create → open unpaid, checkout_session.update open → complete unpaid")

	w.exec(`DELETE FROM audit_log`)
	w.session("cs_late", object{"status": "expired", "payment_status": "unpaid"})
	w.shuffled(w.about("checkout.session.expired", "cs_late"), w.about("checkout.session.expired", "cs_late"))
	audited("checkout_session", "checkout_session.create → expired unpaid")

	methods := []string{"payment_method.create → attached", "payment_method.update attached → attached", "payment_method.update attached → detached"}
	for i, change := range []func(){
		func() { w.card("pm_1", "4242") },
		func() { w.card("pm_1", "1881") }, // the bank has sent another card
		func() { w.patch("pm_1", object{"customer": nil}) },
	} {
		w.clock.Add(time.Second)
		change()
		stored, _ := w.emu.Get("pm_1")
		for range 2 {
			told := w.event("payment_method.updated", stored)
			told["data"].(object)["previous_attributes"] = object{"customer": "cus_1"}
			w.settled(told)
		}
		audited("payment_method", strings.Join(methods[:i+1], ", "))
	}
	w.want("0", `SELECT count(*) FROM audit_log WHERE concat(before, after) ~ '4242|1881'`)
}

// So are payments and what a customer has with Stripe, without a word of whose they are.
func TestPaymentsAndBalancesAreAudited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1", object{"name": "Ana", "email": "ana@example.com"})
	audited := func(kind, want string) {
		t.Helper()
		w.want(want, `SELECT string_agg(concat_ws(' ', action, before - 'currency', '→', after), ', ' ORDER BY created_at, id)
			FROM audit_log WHERE target_kind = $1 AND account_id = $2 AND actor_kind = 'stripe'`, kind, w.t1)
	}
	told := func(eventType, id string) {
		w.clock.Add(time.Second)
		for range 2 {
			w.settled(w.about(eventType, id))
		}
	}
	w.put("charge", object{"id": "ch_1", "customer": "cus_1", "status": "pending", "amount": 700, "amount_captured": 0, "captured": false,
		"currency": "usd", "invoice": nil, "payment_intent": nil, "amount_refunded": 0, "disputed": false, "description": "for Ana"})
	told("charge.pending", "ch_1")
	w.patch("ch_1", object{"status": "succeeded"})
	told("charge.succeeded", "ch_1")
	w.patch("ch_1", object{"captured": true, "amount_captured": 500})
	told("charge.captured", "ch_1")
	audited("charge", `charge.create → {"amount": 700, "status": "pending", "currency": "usd"}, `+
		`charge.update {"status": "pending"} → {"amount": 700, "status": "succeeded", "currency": "usd"}, `+
		`charge.update {"status": "succeeded"} → {"amount": 500, "status": "succeeded", "currency": "usd"}`)

	for _, balance := range []int{0, -5000, -4500} {
		w.patch("cus_1", object{"balance": balance, "currency": "usd"})
		told("customer.updated", "cus_1")
	}
	audited("stripe_customer", `stripe_customer.update {"balance": 0} → {"balance": -5000, "currency": "usd"}, `+
		`stripe_customer.update {"balance": -5000} → {"balance": -4500, "currency": "usd"}`)
	w.want("0", `SELECT count(*) FROM audit_log WHERE audit_log::text ~* 'ana\y|example.com'`)
	w.patch("cus_1", object{"balance": 0})
	w.clock.Add(time.Hour)
	w.reconcile(true)
	w.want("system stripe_reconcile", `SELECT actor_kind || ' ' || actor_id FROM audit_log WHERE after->>'balance' = '0'`)
}

func TestC84ClientReferenceTampering(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	pack := w.price(catalogtest.PricePack, "", 500, "usd")
	w.session("cs_1", object{"mode": "payment", "client_reference_id": w.t2.String(), "line_items": w.sessionLines(pack, 1)})
	w.settled(w.about("checkout.session.completed", "cs_1"))
	w.want("50", `SELECT balance FROM credit_accounts WHERE account_id = $1`, w.t1)

	w.customer("cus_link", object{"metadata": object{}})
	for i, customer := range []any{"cus_link", nil} {
		id := fmt.Sprintf("cs_link_%d", i)
		w.session(id, object{"mode": "payment", "customer": customer, "client_reference_id": w.t2.String(), "line_items": w.sessionLines(pack, 1)})
		event := w.about("checkout.session.completed", id)
		w.settled(event)
		w.wantEvent(event["id"].(string), "quarantined:claim")
	}
	w.want("0", `SELECT count(*) FROM credit_accounts WHERE account_id = $1`, w.t2)
	w.want("0", `SELECT count(*) FROM stripe_customers WHERE account_id = $1`, w.t2)
	if w.alarms("claim") != 2 {
		t.Errorf("%v alarms", w.alarms("claim"))
	}
	// Names of another environment's accounts are no claims.
	w.session("cs_foreign", object{"mode": "payment", "customer": nil, "client_reference_id": postgres.NewID().String(), "line_items": w.sessionLines(pack, 1)})
	event := w.about("checkout.session.completed", "cs_foreign")
	w.settled(event)
	w.wantEvent(event["id"].(string), "ignored:unowned")
}
