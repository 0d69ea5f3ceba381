package stripehook_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/catalog/catalogtest"
	"example.com/saaskit/internal/credit"
)

// random is what orders of delivery are drawn from. SAASKIT_SEED draws again what has failed.
func (w *world) random() *rand.Rand {
	w.t.Helper()
	if w.dice == nil {
		seed, _ := givenSeed(w.t)
		w.t.Logf("SAASKIT_SEED=%d", seed)
		w.dice = rand.New(rand.NewPCG(seed, 51))
	}
	return w.dice
}

// shuffled delivers the events in a random order, some of them twice, and works until none is pending.
func (w *world) shuffled(events ...object) {
	w.t.Helper()
	r := w.random()
	for range len(events) / 2 {
		events = append(events, events[r.IntN(len(events))])
	}
	r.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	for _, event := range events {
		w.post(event)
		if r.IntN(2) == 0 {
			w.drain()
		}
	}
	w.drain()
}

// sent are the events that Stripe has made since the last call, oldest first.
func (w *world) sent() []object {
	var events []object
	all := w.emu.Objects("event")
	for i := len(all) - 1; i >= 0; i-- {
		if id := all[i]["id"].(string); !w.told[id] {
			if w.told == nil {
				w.told = map[string]bool{}
			}
			w.told[id] = true
			events = append(events, all[i])
		}
	}
	return events
}

func (w *world) refund(charge string, amount int64) string {
	w.t.Helper()
	r, err := w.api.Refunds.New(&stripe.RefundParams{Charge: stripe.String(charge), Amount: stripe.Int64(amount)})
	if err != nil {
		w.t.Fatal(err)
	}
	return r.ID
}

// proven wants the ledger to add up.
func (w *world) proven() {
	w.t.Helper()
	report, err := credit.Verify(w.t.Context(), w.pool, func(v credit.Violation) { w.t.Error(v) })
	if err != nil || report.Violations > 0 {
		w.t.Errorf("ledger: %+v, %v", report, err)
	}
}

// paid has the signup settled, with its ten credits.
func (w *world) paid() {
	w.t.Helper()
	w.signup()
	w.settled(w.about("checkout.session.completed", "cs_1"), w.about("charge.succeeded", "ch_in_1"))
	w.want("10", `SELECT balance FROM credit_accounts`)
}

func TestC86PartialPartialRest(t *testing.T) {
	t.Parallel()
	for _, spent := range []int64{0, 6} {
		w := newWorld(t)
		w.paid()
		if spent > 0 {
			w.spend(spent)
		}
		var events []object
		for _, amount := range []int64{300, 300, 400} {
			re := w.refund("ch_in_1", amount)
			events = append(append(events, w.sent()...), w.about("refund.created", re), w.about("refund.updated", re), w.about("charge.refund.updated", re))
		}
		w.shuffled(events...)
		w.want("3 -1000", `SELECT count(*) || ' ' || sum(amount) FROM transactions WHERE kind = 'refund' AND status = 'succeeded'`)
		w.want("0", `SELECT balance FROM credit_accounts`)
		w.want(fmt.Sprintf("10 %d", 10-spent), `SELECT sum(claimed) || ' ' || sum(taken) FROM credit_clawbacks`)
		w.want("3", `SELECT count(*) FROM audit_log WHERE action = 'refund.create'`)
		w.proven()
	}
}

// Each part takes its share, rounded down on the sum.
func TestC86Shares(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.paid()
	for i, want := range []string{"7", "4", "0"} {
		w.refund("ch_in_1", []int64{300, 299, 401}[i])
		w.settled(w.sent()...)
		if i == 1 {
			want = "5" // 5.99 of 10 are 5
		}
		w.want(want, `SELECT balance FROM credit_accounts`)
	}
	w.proven()
}

// The refund is known before the invoice that it belongs to.
func TestC86RefundBeforeTheGrant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	w.refund("ch_in_1", 500)
	w.settled(w.about("charge.refunded", "ch_in_1"))
	w.want("0", `SELECT count(*) FROM credit_lots`)
	w.settled(w.about("invoice.paid", "in_1"))
	w.want("5", `SELECT balance FROM credit_accounts`)
	w.proven()
}

// A refund that fails gives back what it took, and no more.
func TestC86FailedRefundRestores(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.paid()
	w.spend(4)
	re := w.refund("ch_in_1", 1000)
	w.settled(w.sent()...)
	w.want("0", `SELECT balance FROM credit_accounts`)
	if err := w.emu.FailRefund(re); err != nil {
		t.Fatal(err)
	}
	w.shuffled(append(w.sent(), w.about("refund.failed", re))...)
	w.want("6", `SELECT balance FROM credit_accounts`)
	w.want("0 0", `SELECT sum(claimed) || ' ' || sum(taken) FROM credit_clawbacks`)
	w.want("failed", `SELECT status FROM transactions WHERE kind = 'refund'`)
	if w.alarms("refund_failed") != 1 {
		t.Error("no alarm")
	}
	w.proven()
}

// What was bought by a single payment goes back with it.
func TestC86Pack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	pack := w.price(catalogtest.PricePack, "", 500, "usd")
	w.intent("pi_1", object{"latest_charge": "ch_1", "amount": 500})
	w.charge("ch_1", object{"payment_intent": "pi_1", "amount": 500, "amount_captured": 500})
	w.attempt("cs_pack", "credit_pack")
	w.session("cs_pack", object{"mode": "payment", "payment_intent": "pi_1", "amount_total": 500, "line_items": w.sessionLines(pack, 1)})
	w.settled(w.about("checkout.session.completed", "cs_pack"), w.about("charge.succeeded", "ch_1"))
	w.want("50", `SELECT balance FROM credit_accounts`)
	w.refund("ch_1", 250)
	w.shuffled(w.sent()...)
	w.want("25", `SELECT balance FROM credit_accounts`)
	w.proven()
}

func TestC87Inquiry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.paid()
	dp := w.dispute("ch_in_1", true)
	w.settled(w.sent()...)
	if w.alarms("dispute") != 1 {
		t.Error("no alarm")
	}
	w.decide(dp, "warning_closed")
	w.settled(w.sent()...)
	w.want("10", `SELECT balance FROM credit_accounts`)
	w.want("warning_closed 0", `SELECT status || ' ' || withdrawn FROM disputes`)
	w.want("0", `SELECT count(*) FROM transactions WHERE kind = 'dispute'`)
	w.want("0", `SELECT count(*) FROM credit_clawbacks WHERE claimed > 0`)
}

func TestC88DisputeLost(t *testing.T) {
	t.Parallel()
	for _, early := range []bool{false, true} {
		w := newWorld(t)
		w.paid()
		w.spend(3)
		dp := w.dispute("ch_in_1", false)
		events := w.sent()
		if early { // what opens it is there before it is decided, and comes again
			w.shuffled(events...)
			w.want("needs_response 1000", `SELECT status || ' ' || withdrawn FROM disputes`)
			w.want("0", `SELECT balance FROM credit_accounts`)
			w.want("true", `SELECT dispute_lost_at IS NULL FROM stripe_customers WHERE stripe_id = 'cus_1'`)
		}
		w.decide(dp, "lost")
		w.shuffled(append(events, w.sent()...)...)
		w.wantLost()
	}
}

// wantLost wants the signup's payment to be gone for good, of whose credits three were spent.
func (w *world) wantLost() {
	w.t.Helper()
	w.want("1 -1000 1500 lost", `SELECT concat_ws(' ', count(*), sum(amount), sum(fee), max(status)) FROM transactions WHERE kind = 'dispute'`)
	w.want("0", `SELECT balance FROM credit_accounts`)
	w.want("10 7", `SELECT claimed || ' ' || taken FROM credit_clawbacks`)
	w.want("true", `SELECT dispute_lost_at IS NOT NULL FROM stripe_customers WHERE stripe_id = 'cus_1'`)
	w.want("1", `SELECT count(*) FROM outbox WHERE kind = 'operator_alarm' AND payload->>'reason' = 'dispute'`)
	w.want("true", `SELECT count(*) > 0 FROM audit_log WHERE target_kind = 'dispute' AND account_id = $1`, w.t1)
	w.wantAccess("basic") // by the policy a dispute costs credits, and a person decides about the rest
	if w.alarms("credit_shortfall") != 1 {
		w.t.Error("the shortfall was not told once")
	}
	w.proven()
}

func TestC89DisputeWon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.paid()
	w.spend(3)
	dp := w.dispute("ch_in_1", false)
	w.settled(w.sent()...)
	w.want("0", `SELECT balance FROM credit_accounts`)
	w.decide(dp, "won")
	w.shuffled(w.sent()...)
	w.want("2 0 0", `SELECT concat_ws(' ', count(*), sum(amount), sum(fee)) FROM transactions WHERE kind = 'dispute'`)
	w.want("7", `SELECT balance FROM credit_accounts`) // exactly what this dispute took
	w.want("won 0", `SELECT status || ' ' || withdrawn FROM disputes`)
	w.want("true", `SELECT dispute_lost_at IS NULL FROM stripe_customers WHERE stripe_id = 'cus_1'`)
	w.proven()
}

// Won before anybody has looked: money went and came back, and no credit moved.
func TestC89WonInOneLook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.paid()
	w.decide(w.dispute("ch_in_1", false), "won")
	w.shuffled(w.sent()...)
	w.want("2 0", `SELECT count(*) || ' ' || sum(amount) FROM transactions WHERE kind = 'dispute'`)
	w.want("10", `SELECT balance FROM credit_accounts`)
	w.want("1", `SELECT count(*) FROM credit_entries`)
}

// The money went in euros and came back at another rate: what a dispute took does not hang on what is left of that.
func TestC89WonAtAnotherRate(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"won", "under_review", "warning_closed"} {
		w := newWorld(t)
		w.paid()
		dp := w.dispute("ch_in_1", false)
		moved := func(amounts ...int64) {
			var all []any
			for i, amount := range amounts {
				all = append(all, object{"id": fmt.Sprintf("txn_%d", i), "object": "balance_transaction", "amount": amount, "fee": 0,
					"net": amount, "currency": "eur", "created": w.clock.Now().Unix(), "available_on": w.clock.Now().Unix(),
					"description": nil, "exchange_rate": 0.93, "fee_details": []any{}, "reporting_category": "dispute", "source": dp,
					"status": "available", "type": "adjustment"})
			}
			w.patch(dp, object{"balance_transactions": all})
		}
		moved(-930)
		w.settled(w.sent()...)
		w.want("0 1000 usd", `SELECT concat_ws(' ', (SELECT balance FROM credit_accounts), withdrawn, currency) FROM disputes`)
		moved(-930, 920)
		w.patch(dp, object{"status": status})
		w.settled(w.about("charge.dispute.funds_reinstated", dp))
		w.want("10 0", `SELECT concat_ws(' ', (SELECT balance FROM credit_accounts), withdrawn) FROM disputes`)
		w.proven()
	}
}

func TestC90RefundAndDispute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.paid()
	w.refund("ch_in_1", 1000)
	w.settled(w.sent()...)
	dp := w.dispute("ch_in_1", false)
	w.shuffled(w.sent()...)
	w.want("0", `SELECT balance FROM credit_accounts`)
	w.want("10 10", `SELECT sum(claimed) || ' ' || sum(taken) FROM credit_clawbacks`) // once, not twice
	w.want("1", `SELECT count(*) FROM credit_entries WHERE kind = 'revoke'`)
	w.decide(dp, "won")
	w.shuffled(w.sent()...)
	w.want("0", `SELECT balance FROM credit_accounts`) // the refund stands
	w.proven()
}

// creditNote issues a credit note of in_1: to the customer's balance, back outside Stripe, or by a refund.
func (w *world) creditNote(params stripe.CreditNoteParams) string {
	w.t.Helper()
	params.Invoice = stripe.String("in_1")
	n, err := w.api.CreditNotes.New(&params)
	if err != nil {
		w.t.Fatal(err)
	}
	return n.ID
}

// Money that goes back by a credit note takes its credits like a refund. What of it is a refund is counted once.
func TestCreditNotes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.paid()
	for _, step := range []struct {
		note                  stripe.CreditNoteParams
		balance, notes, moved string
	}{
		{stripe.CreditNoteParams{CreditAmount: stripe.Int64(300)}, "7", "300", "0"},
		{stripe.CreditNoteParams{RefundAmount: stripe.Int64(200)}, "5", "300", "1"},
		{stripe.CreditNoteParams{OutOfBandAmount: stripe.Int64(150), RefundAmount: stripe.Int64(50), Amount: stripe.Int64(200)}, "3", "450", "2"},
	} {
		w.creditNote(step.note)
		events := w.sent()
		w.shuffled(events...)
		w.want(step.balance, `SELECT balance FROM credit_accounts`)
		w.want(step.notes, `SELECT sum(credited) FROM credit_notes WHERE account_id = $1`, w.t1)
		w.want(step.moved, `SELECT count(*) FROM refunds`)
		before := w.text(`SELECT count(*) FROM audit_log`)
		w.settled(w.about("invoice.updated", "in_1"), w.about("charge.updated", "ch_in_1"))
		w.want(before, `SELECT count(*) FROM audit_log`)
		w.want(step.balance, `SELECT balance FROM credit_accounts`)
		w.proven()
	}
	w.want("3", `SELECT count(*) FROM audit_log WHERE action = 'credit_note.create' AND target_kind = 'credit_note'`)
	// More than was paid is not taken: a refund of all that is left comes to all of it.
	w.refund("ch_in_1", 750)
	w.shuffled(w.sent()...)
	w.want("0", `SELECT balance FROM credit_accounts`)
	w.want("10", `SELECT sum(claimed) FROM credit_clawbacks`)
	w.proven()
}

// A credit note that Stripe does not count any more gives back what it took.
func TestCreditNoteIsVoid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.paid()
	id := w.creditNote(stripe.CreditNoteParams{CreditAmount: stripe.Int64(500)})
	w.settled(w.sent()...)
	w.want("5", `SELECT balance FROM credit_accounts`)
	w.patch(id, object{"status": "void", "voided_at": w.clock.Now().Unix()})
	w.patch("in_1", object{"post_payment_credit_notes_amount": 0})
	for range 2 {
		w.settled(w.about("credit_note.voided", id))
	}
	w.want("10", `SELECT balance FROM credit_accounts`)
	w.want("void 0", `SELECT status || ' ' || credited FROM credit_notes`)
	w.want("credit_note.create credit_note.update", `SELECT string_agg(action, ' ' ORDER BY id) FROM audit_log WHERE target_kind = 'credit_note'`)
	w.proven()
}

// A part of a year's money goes back: the months that were there and those that come later lose the same share.
func TestPartialRefundOfAYear(t *testing.T) {
	t.Parallel()
	for _, back := range []string{"refund", "credit note"} {
		w := newWorld(t)
		start := w.clock.Now()
		year := w.price(catalogtest.PriceBasicYear, "year", 10000, "usd")
		w.customer("cus_1")
		w.subscription("sub_1", object{"current_period_end": start.AddDate(1, 0, 0).Unix(),
			"items": list("/v1/subscription_items?subscription=sub_1", w.item("si_1", "sub_1", year, 1))})
		w.invoice("in_1", "sub_1", object{"subtotal": 10000, "total": 10000, "amount_due": 10000, "amount_paid": 10000,
			"lines": list("/v1/invoices/in_1/lines", w.line("il_1", year, 10000, object{
				"period": object{"start": start.Unix(), "end": start.AddDate(1, 0, 0).Unix()}}))})
		w.intent("pi_in_1", object{"invoice": "in_1", "latest_charge": "ch_in_1", "amount": 10000})
		w.charge("ch_in_1", object{"invoice": "in_1", "payment_intent": "pi_in_1", "amount": 10000, "amount_captured": 10000})
		w.settled(w.about("customer.subscription.updated", "sub_1"), w.about("invoice.paid", "in_1"), w.about("charge.succeeded", "ch_in_1"))
		credits := credit.New(credit.Config{Pool: w.pool, Now: w.clock.Now, Policy: account.DefaultPolicy()})
		want := func(available int64) {
			t.Helper()
			if b, err := credits.Balance(t.Context(), w.t1); err != nil || b.Available != available {
				t.Errorf("%s, %s later: available %d, %v; want %d", back, w.clock.Now().Sub(start), b.Available, err, available)
			}
			w.proven()
		}
		want(10)
		var re string
		if back == "refund" {
			re = w.refund("ch_in_1", 4000)
		} else {
			w.creditNote(stripe.CreditNoteParams{CreditAmount: stripe.Int64(4000)})
		}
		w.shuffled(w.sent()...)
		want(6)
		w.clock.Add(40 * day) // the first month is over
		want(6)
		w.settled(w.about("charge.updated", "ch_in_1"), w.about("invoice.updated", "in_1")) // looking again takes no second share
		want(6)
		if back == "refund" {
			if err := w.emu.FailRefund(re); err != nil {
				t.Fatal(err)
			}
			w.settled(append(w.sent(), w.about("refund.failed", re))...)
			want(10)
		}
		rest := w.refund("ch_in_1", 6000)
		w.settled(append(w.sent(), w.about("refund.updated", rest))...)
		w.clock.Add(31 * day)
		if back == "refund" {
			want(4)
		} else {
			want(0) // all of the year has gone back
		}
	}
}

// A part was credited before the payment: what was paid is the rest, and all of it goes back.
func TestRefundOfWhatACreditNoteHasLeft(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"invoice.paid", "charge.refunded"} {
		w := newWorld(t)
		w.signup()
		w.patch("in_1", object{"amount_due": 600, "amount_paid": 600, "pre_payment_credit_notes_amount": 400})
		w.patch("ch_in_1", object{"amount": 600, "amount_captured": 600})
		for _, left := range []string{"5", "0"} {
			w.refund("ch_in_1", 300)
			w.settled(w.about(first, map[string]string{"invoice.paid": "in_1", "charge.refunded": "ch_in_1"}[first]))
			w.settled(append(w.sent(), w.about("invoice.paid", "in_1"))...)
			w.want(left, `SELECT balance FROM credit_accounts`)
		}
		w.proven()
	}
}

func TestYearOfWhichACreditNoteHasLeftAPart(t *testing.T) {
	t.Parallel()
	p := newPlan(t, true)
	p.patch("in_1", object{"amount_due": 6000, "amount_paid": 6000, "pre_payment_credit_notes_amount": 4000})
	p.patch("ch_in_1", object{"amount": 6000, "amount_captured": 6000})
	p.settled(p.about("invoice.updated", "in_1"), p.about("charge.updated", "ch_in_1"))
	p.available(10)
	p.back("in_1", 3000)
	p.available(5)
	p.on(2026, 4, 6)
	p.available(5)
	p.back("in_1", 3000)
	p.available(0)
	p.on(2026, 5, 6)
	p.available(0)
}
