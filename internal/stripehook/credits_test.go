package stripehook_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/catalog/catalogtest"
	"example.com/saaskit/internal/credit"
)

func TestC69TripleSignal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	events := []object{w.about("invoice.paid", "in_1"), w.about("invoice.payment_succeeded", "in_1"), w.about("checkout.session.completed", "cs_1")}
	w.post(events...)
	var working sync.WaitGroup
	for _, event := range events {
		working.Go(func() {
			if err := w.try(event["id"].(string), false); err != nil {
				t.Error(err)
			}
		})
	}
	working.Wait()
	w.wantAllDone(3)
	w.want("10 1 1", `SELECT concat_ws(' ', balance, (SELECT count(*) FROM credit_entries), (SELECT count(*) FROM credit_lots)) FROM credit_accounts`)
	w.want("receipt 1000 usd", `SELECT string_agg(concat_ws(' ', kind, payload->>'amount', payload->>'currency'), ', ') FROM outbox`)
	w.want("invoice:in_1:il_in_1", `SELECT natural_key FROM credit_lots`)
}

func TestC70OnlyOneOfThePair(t *testing.T) {
	t.Parallel()
	for _, eventType := range []string{"invoice.paid", "invoice.payment_succeeded"} {
		w := newWorld(t)
		w.signup()
		w.settled(w.about(eventType, "in_1"))
		w.want("10", `SELECT balance FROM credit_accounts`)
		w.want("1", `SELECT count(*) FROM outbox WHERE kind = 'receipt'`)
	}
}

func TestC71ZeroAmount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	w.subscription("sub_1", object{"status": "trialing"})
	w.invoice("in_1", "sub_1", object{"subtotal": 0, "total": 0, "amount_due": 0, "amount_paid": 0, "charge": nil, "payment_intent": nil,
		"lines": list("/v1/invoices/in_1/lines", w.line("il_1", w.basic(), 0))})
	w.session("cs_1", object{"payment_status": "no_payment_required", "subscription": "sub_1", "invoice": "in_1", "line_items": w.sessionLines(w.basic(), 1)})
	w.settled(w.about("checkout.session.completed", "cs_1"), w.about("invoice.paid", "in_1"))
	w.wantAllDone(2)
	w.want("10", `SELECT balance FROM credit_accounts`)
	w.want("0", `SELECT count(*) FROM transactions`)
	w.want("0", `SELECT count(*) FROM outbox`)
}

// A coupon takes all of a line that is not zero itself.
func TestC71WholeCoupon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	w.subscription("sub_1")
	off := object{"amount": 1000, "discount": "di_1"}
	w.invoice("in_1", "sub_1", object{"subtotal": 1000, "total": 0, "amount_due": 0, "amount_paid": 0, "charge": nil, "payment_intent": nil,
		"total_discount_amounts": []any{off},
		"lines":                  list("/v1/invoices/in_1/lines", w.line("il_1", w.basic(), 1000, object{"discount_amounts": []any{off}}))})
	w.shuffled(w.about("invoice.paid", "in_1"), w.about("invoice.payment_succeeded", "in_1"), w.about("customer.subscription.created", "sub_1"))
	w.wantAllDone(3)
	w.want("10", `SELECT balance FROM credit_accounts`)
	w.want("paid 0", `SELECT status || ' ' || total FROM invoices`)
	w.want("0", `SELECT count(*) FROM transactions`)
	w.want("0", `SELECT count(*) FROM outbox`)
	w.wantAccess("basic")
}

func TestInvoiceGrants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	w.subscription("sub_1")
	basic, pro := w.basic(), w.price(catalogtest.PricePro, "month", 3000, "usd")
	year := w.price(catalogtest.PriceBasicYear, "year", 10000, "usd")
	pack, foreign := w.price(catalogtest.PricePack, "", 500, "usd"), w.price("price_zzz", "month", 700, "usd")
	tests := []struct {
		name, reason string
		currency     string
		lines        []object
		want         string // natural keys without the invoice, and amounts
		alarm        string
	}{
		{name: "cycle", reason: "subscription_cycle", lines: []object{w.line("a", basic, 1000)}, want: "a=10"},
		{name: "legacy", reason: "subscription", lines: []object{w.line("a", pro, 3000)}, want: "a=30"},
		{name: "quantity", reason: "subscription_cycle", lines: []object{w.line("a", basic, 3000, object{"quantity": 3})}, want: "a=30"},
		{name: "two lines", reason: "subscription_create", lines: []object{w.line("a", basic, 1000), w.line("b", pro, 3000)}, want: "a=10 b=30"},
		{name: "down, billed with the renewal", reason: "subscription_cycle", lines: []object{w.line("a", basic, 1000),
			w.line("b", pro, -900, object{"proration": true}), w.line("c", basic, 300, object{"proration": true})}, want: "a=10"},
		{name: "update without a before", reason: "subscription_update", lines: []object{w.line("a", pro, 3000)}, want: "a=30"},
		{name: "threshold", reason: "subscription_threshold", lines: []object{w.line("a", basic, 1000)}},
		{name: "manual", reason: "manual", lines: []object{w.line("a", pack, 500), w.line("b", basic, 1000), w.line("c", foreign, 700)}, want: "a=50", alarm: "unknown_price"},
		{name: "packs by quantity", reason: "manual", lines: []object{w.line("a", pack, 1000, object{"quantity": 2})}, want: "a=100"},
		{name: "pack beside a plan", reason: "subscription_create", lines: []object{w.line("a", basic, 1000), w.line("b", pack, 500)}, want: "a=10 b=50"},
		{name: "price unknown", reason: "subscription_cycle", lines: []object{w.line("a", foreign, 700)}, alarm: "unknown_price"},
		{name: "another currency", reason: "subscription_cycle", currency: "eur", lines: []object{w.line("a", basic, 1000)}, alarm: "grant_quarantined"},
		{name: "year", reason: "subscription_cycle", lines: []object{w.line("a", year, 10000, object{"period": object{
			"start": w.clock.Now().Unix(), "end": w.clock.Now().AddDate(1, 0, 0).Unix()}})}, want: "a=10"},
	}
	for i, tt := range tests {
		id := fmt.Sprintf("in_%d", i)
		data := make([]any, 0, len(tt.lines))
		for _, l := range tt.lines {
			data = append(data, l)
		}
		over := object{"billing_reason": tt.reason, "lines": list("/v1/invoices/"+id+"/lines", data...)}
		if tt.currency != "" {
			over["currency"] = tt.currency
		}
		w.invoice(id, "sub_1", over)
		alarms := w.alarms(tt.alarm)
		for range 2 {
			event := w.about("invoice.paid", id)
			w.settled(event)
			w.wantEvent(event["id"].(string), "done")
		}
		got := w.text(`SELECT string_agg(replace(natural_key, $1, '') || '=' || granted, ' ' ORDER BY natural_key) FROM credit_lots WHERE natural_key LIKE $1 || '%'`,
			"invoice:"+id+":")
		if got != tt.want {
			t.Errorf("%s: granted %q, want %q", tt.name, got, tt.want)
		}
		if tt.alarm != "" && w.alarms(tt.alarm) == alarms {
			t.Errorf("%s: no alarm", tt.name)
		}
		w.want(fmt.Sprint(len(tt.lines)), `SELECT count(*) FROM invoice_lines WHERE invoice_id = $1`, id)
	}
	w.want("2", `SELECT count(*) FROM outbox WHERE kind = 'operator_alarm' AND natural_key LIKE 'unknown_price:%'`)
	// What was paid for a month is gone after it, also where the period is a year.
	w.want("true", `SELECT bool_and(expires_at < now() + interval '32 days') FROM credit_lots WHERE source = 'allowance'`)
	w.want("true", `SELECT bool_and(expires_at > now() + interval '360 days') FROM credit_lots WHERE source = 'pack'`)
}

func TestUnknownBillingReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	whole, _ := w.emu.Get("in_1")
	defer w.emu.Inject(faultBody("/v1/invoices/in_1", 200, laid(object{}, whole, object{"billing_reason": "made_up"})))()
	w.settled(w.about("invoice.paid", "in_1"))
	w.wantAllDone(1)
	w.want("made_up", `SELECT billing_reason FROM invoices`)
	w.want("0", `SELECT count(*) FROM credit_lots`)
	if w.alarms("unknown_billing_reason") != 1 {
		t.Error("no alarm")
	}
}

// An invoice embeds ten lines; what is beyond them was paid for, too.
func TestInvoiceOfManyLines(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	pack := w.price(catalogtest.PricePack, "", 500, "usd")
	var all []any
	for i := range 25 {
		all = append(all, w.line(fmt.Sprintf("il_%02d", i), pack, 500))
	}
	w.invoice("in_1", "", object{"billing_reason": "manual", "lines": list("/v1/invoices/in_1/lines", all...)})
	whole, _ := w.emu.Get("in_1")
	first := list("/v1/invoices/in_1/lines", all[:10]...)
	first["has_more"] = true
	defer w.emu.Inject(faultBody("/v1/invoices/in_1", 200, laid(object{}, whole, object{"lines": first})))()
	w.settled(w.event("invoice.paid", whole))
	w.wantAllDone(1)
	w.want("25", `SELECT count(*) FROM invoice_lines`)
	w.want("1250", `SELECT balance FROM credit_accounts`)
}

func TestOutOfBand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	w.subscription("sub_1")
	w.invoice("in_1", "sub_1", object{"paid_out_of_band": true, "charge": nil, "payment_intent": nil})
	w.settled(w.about("invoice.paid", "in_1"), w.about("invoice.updated", "in_1"))
	w.want("invoice:in_1 1000 succeeded", `SELECT string_agg(natural_key || ' ' || amount || ' ' || status, ',') FROM transactions`)
	w.want("true", `SELECT payload->>'out_of_band' FROM outbox`)
	w.want("10", `SELECT balance FROM credit_accounts`)
}

func TestPackSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	pack := w.price(catalogtest.PricePack, "", 500, "usd")
	w.intent("pi_1", object{"latest_charge": "ch_1"})
	attempt := w.attempt("cs_pack", "credit_pack")
	w.session("cs_pack", object{"mode": "payment", "payment_status": "unpaid", "payment_intent": "pi_1", "line_items": w.sessionLines(pack, 2)})
	w.settled(w.about("checkout.session.completed", "cs_pack"))
	w.want("0", `SELECT count(*) FROM credit_lots`) // a delayed payment
	w.want("complete", `SELECT status FROM checkout_attempts WHERE id = $1`, attempt)
	w.patch("cs_pack", object{"payment_status": "paid"})
	w.settled(w.about("checkout.session.async_payment_succeeded", "cs_pack"), w.about("checkout.session.async_payment_succeeded", "cs_pack"))
	w.want("session:cs_pack 100", `SELECT string_agg(natural_key || ' ' || granted, ',') FROM credit_lots`)
	// A late word of a failure changes nothing that was paid.
	w.settled(w.about("checkout.session.async_payment_failed", "cs_pack"), w.about("checkout.session.expired", "cs_pack"))
	w.want("complete", `SELECT status FROM checkout_attempts WHERE id = $1`, attempt)
	w.want("100", `SELECT balance FROM credit_accounts`)
	w.want("succeeded ch_1", `SELECT status || ' ' || latest_charge_id FROM payment_intents`)
	w.wantAllDone(5)
}

// A debit takes nine days, longer than the pack lives: its life begins when the payment has come in, whichever event tells.
func TestPackLivesFromADelayedPaymentOn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		early bool   // whether the session was seen before its payment came in
		told  string // what is known of the payment, a day later
		days  int    // that it lives after the payment
	}{
		{"seen before, by its own event", true, "checkout.session.async_payment_succeeded", 7},
		{"first seen by its own event", false, "checkout.session.async_payment_succeeded", 7},
		{"seen before, by any other look", true, "checkout.session.completed", 8},
	}
	for _, tt := range tests {
		w := newWorld(t)
		w.exec(`UPDATE credit_packs SET expires_after_days = 7`)
		w.customer("cus_1")
		w.attempt("cs_pack", "credit_pack")
		w.intent("pi_1", object{"latest_charge": nil, "status": "processing", "amount": 500})
		w.session("cs_pack", object{"mode": "payment", "payment_status": "unpaid", "payment_intent": "pi_1", "amount_total": 500,
			"line_items": w.sessionLines(w.price(catalogtest.PricePack, "", 500, "usd"), 1)})
		if tt.early {
			w.settled(w.about("checkout.session.completed", "cs_pack"))
		}
		w.clock.Add(9 * day)
		w.patch("cs_pack", object{"payment_status": "paid"})
		w.patch("pi_1", object{"status": "succeeded"})
		came, event := w.clock.Now(), w.about(tt.told, "cs_pack")
		w.clock.Add(day)
		w.settled(event)
		if got := w.text(`SELECT balance FROM credit_accounts`); got != "50" {
			t.Errorf("%s: %s credits", tt.name, got)
		}
		w.want(fmt.Sprint(tt.days), `SELECT round(extract(epoch FROM expires_at - $1) / 86400)::int FROM credit_lots`, came)
	}
}

func TestPackSessionFails(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"failed late", "late failed failed"} {
		w := newWorld(t)
		w.customer("cus_1")
		w.attempt("cs_pack", "credit_pack")
		w.session("cs_pack", object{"mode": "payment", "payment_status": "unpaid", "amount_total": 500, "line_items": w.sessionLines(w.price(catalogtest.PricePack, "", 500, "usd"), 1)})
		for _, word := range strings.Fields(order) {
			w.settled(w.about(map[string]string{"failed": "checkout.session.async_payment_failed", "late": "checkout.session.completed"}[word], "cs_pack"))
		}
		w.want("failed", `SELECT status FROM checkout_attempts`)
		w.want("0", `SELECT count(*) FROM credit_lots`)
		w.want("checkout_payment_failed 500 usd", `SELECT string_agg(concat_ws(' ', kind, payload->>'amount', payload->>'currency'), ',') FROM outbox`)
	}
}

// Who has paid without an invoice gets one receipt, when the money is there; who has paid nothing gets none.
func TestPackSessionBringsOneReceipt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	lines := w.sessionLines(w.price(catalogtest.PricePack, "", 500, "usd"), 1)
	w.session("cs_pack", object{"mode": "payment", "payment_status": "unpaid", "amount_total": 500, "line_items": lines})
	w.settled(w.about("checkout.session.completed", "cs_pack"))
	w.want("0", `SELECT count(*) FROM outbox`)
	w.patch("cs_pack", object{"payment_status": "paid"})
	w.settled(w.about("checkout.session.async_payment_succeeded", "cs_pack"), w.about("checkout.session.completed", "cs_pack"))
	w.session("cs_free", object{"mode": "payment", "payment_status": "no_payment_required", "amount_total": 0, "line_items": lines})
	w.settled(w.about("checkout.session.completed", "cs_free"))
	w.want("100", `SELECT balance FROM credit_accounts`)
	w.want("receipt:cs_pack 500 usd", `SELECT string_agg(concat_ws(' ', natural_key, payload->>'amount', payload->>'currency'), ', ') FROM outbox`)
	w.want("true", `SELECT bool_and(account_id = $1) FROM outbox`, w.t1)
	// One that an earlier release has stored as paid is not confirmed long after.
	w.exec(`DELETE FROM outbox`)
	w.settled(w.about("checkout.session.completed", "cs_pack"))
	w.want("0", `SELECT count(*) FROM outbox`)
}

// A session that makes an invoice grants by the invoice, not twice.
func TestPackSessionWithInvoice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	pack := w.price(catalogtest.PricePack, "", 500, "usd")
	w.invoice("in_1", "", object{"billing_reason": "manual", "lines": list("/v1/invoices/in_1/lines", w.line("il_1", pack, 500))})
	w.session("cs_1", object{"mode": "payment", "invoice": "in_1", "line_items": w.sessionLines(pack, 1), "invoice_creation": object{"enabled": true,
		"invoice_data": object{"account_tax_ids": nil, "custom_fields": nil, "description": nil, "footer": nil, "issuer": nil, "metadata": nil, "rendering_options": nil}}})
	w.settled(w.about("checkout.session.completed", "cs_1"), w.about("invoice.paid", "in_1"))
	w.want("50", `SELECT balance FROM credit_accounts`)
	w.want("receipt:in_1", `SELECT string_agg(natural_key, ', ') FROM outbox`)
}

// The session was made by an attempt whose process died before it stored the answer.
func TestSessionFindsItsAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	id := w.attempt("", "subscription")
	w.exec(`UPDATE checkout_attempts SET status = 'creating'`)
	w.session("cs_1", object{"status": "expired", "payment_status": "unpaid", "metadata": object{"attempt_id": id}})
	w.settled(w.about("checkout.session.expired", "cs_1"))
	w.want("expired cs_1", `SELECT status || ' ' || stripe_session_id FROM checkout_attempts`)
}

// The months of a year come with its payment, and at once: nobody waits for the clock to look again.
func TestYearlyMonthsComeWithThePayment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	start := w.clock.Now()
	year := w.price(catalogtest.PriceBasicYear, "year", 10000, "usd")
	w.customer("cus_1")
	w.subscription("sub_1", object{"status": "past_due", "current_period_end": start.AddDate(1, 0, 0).Unix(),
		"items": list("/v1/subscription_items?subscription=sub_1", w.item("si_1", "sub_1", year, 1))})
	w.invoice("in_1", "sub_1", object{"status": "open", "paid": false, "billing_reason": "subscription_cycle",
		"lines": list("/v1/invoices/in_1/lines", w.line("il_1", year, 10000, object{
			"period": object{"start": start.Unix(), "end": start.AddDate(1, 0, 0).Unix()}}))})
	w.settled(w.about("customer.subscription.updated", "sub_1"), w.about("invoice.finalized", "in_1"))
	credits := credit.New(credit.Config{Pool: w.pool, Now: w.clock.Now, Policy: account.Policy{Grace: 90 * day}})
	w.clock.Add(40 * day)
	for _, want := range []int64{0, 10} {
		// Of the first month, which the invoice brings, nothing is left after forty days.
		if b, err := credits.Balance(t.Context(), w.t1); err != nil || b.Available != want {
			t.Errorf("available %d, %v; want %d", b.Available, err, want)
		}
		w.patch("in_1", object{"status": "paid", "paid": true})
		w.settled(w.about("invoice.paid", "in_1"))
	}
}
