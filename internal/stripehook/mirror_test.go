package stripehook_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A mirrored is a table of ours and the kind of object at Stripe that it shows: each column with the path of its field.
type mirrored struct {
	table, kind string
	columns     map[string]string
	// derived are columns that follow from more than one field.
	derived map[string]func(object) any
}

func sumOf(list []any, field string) (sum float64) {
	for _, item := range list {
		sum += item.(object)[field].(float64)
	}
	return sum
}

// mirror is all that we keep of Stripe. What is ours alone (account_id, updated_at and the like) is not in it.
var mirror = []mirrored{
	{table: "subscriptions", kind: "subscription", columns: map[string]string{
		"status": "status", "customer_id": "customer", "currency": "currency", "price_id": "items.data.0.price.id", "quantity": "items.data.0.quantity",
		"interval": "items.data.0.price.recurring.interval", "current_period_start": "current_period_start", "current_period_end": "current_period_end",
		"access_end": "current_period_end", "cancel_at": "cancel_at", "cancel_at_period_end": "cancel_at_period_end", "canceled_at": "canceled_at",
		"ended_at": "ended_at", "trial_start": "trial_start", "trial_end": "trial_end", "latest_invoice_id": "latest_invoice",
		"schedule_id": "schedule", "pause_behavior": "pause_collection.behavior", "livemode": "livemode", "created_at": "created",
	}},
	{table: "subscription_items", kind: "subscription.items", columns: map[string]string{"price_id": "price.id", "quantity": "quantity"}},
	{table: "invoices", kind: "invoice", columns: map[string]string{
		"customer_id": "customer", "subscription_id": "subscription", "number": "number", "status": "status", "billing_reason": "billing_reason",
		"currency": "currency", "subtotal": "subtotal", "total": "total", "amount_due": "amount_due", "amount_paid": "amount_paid",
		"pre_payment_credited": "pre_payment_credit_notes_amount",
		"amount_remaining":     "amount_remaining", "starting_balance": "starting_balance", "ending_balance": "ending_balance",
		"attempt_count": "attempt_count", "payment_intent_id": "payment_intent", "charge_id": "charge", "paid_out_of_band": "paid_out_of_band",
		"hosted_invoice_url": "hosted_invoice_url", "invoice_pdf": "invoice_pdf", "period_start": "period_start", "period_end": "period_end",
		"next_payment_attempt": "next_payment_attempt", "created_at": "created", "finalized_at": "status_transitions.finalized_at", "paid_at": "status_transitions.paid_at",
	}},
	{table: "invoice_lines", kind: "invoice.lines", columns: map[string]string{
		"price_id": "price.id", "subscription_item_id": "subscription_item", "description": "description", "amount": "amount", "currency": "currency",
		"quantity": "quantity", "proration": "proration", "period_start": "period.start", "period_end": "period.end",
	}, derived: map[string]func(object) any{"credited": func(o object) any {
		return field(o, "proration_details.credited_items") != nil
	}}},
	{table: "payment_intents", kind: "payment_intent", columns: map[string]string{
		"customer_id": "customer", "status": "status", "amount": "amount", "currency": "currency", "invoice_id": "invoice",
		"latest_charge_id": "latest_charge", "created_at": "created",
	}},
	{table: "charges", kind: "charge", columns: map[string]string{
		"customer_id": "customer", "payment_intent_id": "payment_intent", "invoice_id": "invoice", "status": "status",
		"amount_refunded": "amount_refunded", "currency": "currency", "disputed": "disputed", "created_at": "created",
	}, derived: map[string]func(object) any{"amount": func(o object) any {
		if o["captured"] == true {
			return o["amount_captured"]
		}
		return o["amount"]
	}}},
	{table: "refunds", kind: "refund", columns: map[string]string{
		"charge_id": "charge", "status": "status", "amount": "amount", "currency": "currency", "reason": "reason", "created_at": "created",
	}},
	{table: "disputes", kind: "dispute", columns: map[string]string{
		"charge_id": "charge", "status": "status", "amount": "amount", "currency": "currency", "reason": "reason", "created_at": "created",
	}, derived: map[string]func(object) any{"withdrawn": func(o object) any {
		return max(-sumOf(o["balance_transactions"].([]any), "amount"), 0)
	}}},
	{table: "credit_notes", kind: "credit_note", columns: map[string]string{
		"invoice_id": "invoice", "status": "status", "amount": "amount", "currency": "currency", "reason": "reason", "created_at": "created",
	}, derived: map[string]func(object) any{"credited": func(o object) any {
		return o["amount"].(float64) - 300*float64(strings.Count(fmt.Sprint(o["refund"]), "re_")) // as the lives give it back
	}}},
	{table: "checkout_sessions", kind: "checkout.session", columns: map[string]string{
		"mode": "mode", "status": "status", "payment_status": "payment_status", "amount_total": "amount_total", "currency": "currency",
		"payment_intent_id": "payment_intent", "created_at": "created",
	}},
	{table: "payment_methods", kind: "payment_method", columns: map[string]string{
		"customer_id": "customer", "type": "type", "brand": "card.brand", "last4": "card.last4", "exp_month": "card.exp_month",
		"exp_year": "card.exp_year", "created_at": "created",
	}},
}

// equalsStripe compares each mirrored column of each object with what Stripe has.
func (w *world) equalsStripe() {
	w.t.Helper()
	for _, m := range mirror {
		rows := map[string]object{}
		for _, raw := range w.texts(fmt.Sprintf(`SELECT to_jsonb(r)::text FROM %s r`, m.table)) {
			row := object{}
			if err := json.Unmarshal([]byte(raw), &row); err != nil {
				w.t.Fatal(err)
			}
			rows[row["id"].(string)] = row
		}
		for id, o := range w.atStripe(m.kind) {
			row, ok := rows[id]
			if !ok {
				w.t.Errorf("%s has no %s", m.table, id)
				continue
			}
			delete(rows, id)
			for column, path := range m.columns {
				w.same(m.table, id, column, row[column], field(o, path))
			}
			for column, derive := range m.derived {
				w.same(m.table, id, column, row[column], derive(o))
			}
		}
		for id := range rows {
			w.t.Errorf("%s has %s, which Stripe has not", m.table, id)
		}
	}
	for _, o := range w.atStripe("customer") {
		w.want(fmt.Sprint(plain(o["email"]), " ", plain(field(o, "invoice_settings.default_payment_method")), " ", o["balance"], " ", plain(o["currency"])),
			`SELECT concat_ws(' ', email, coalesce(default_payment_method, ''), balance, coalesce(currency, '')) FROM stripe_customers WHERE stripe_id = $1`, o["id"])
	}
	w.equalMovements()
}

// equalMovements wants the payments, refunds and movements of disputes to be those of Stripe, each once.
func (w *world) equalMovements() {
	w.t.Helper()
	want := map[string]bool{}
	for _, o := range w.atStripe("charge") {
		amount := o["amount"]
		if o["captured"] == true {
			amount = o["amount_captured"]
		}
		want[fmt.Sprint("charge:", o["id"], " ", o["status"], " ", amount)] = true
	}
	for _, o := range w.atStripe("refund") {
		want[fmt.Sprint("refund:", o["id"], " ", o["status"], " ", -o["amount"].(float64))] = true
	}
	for _, o := range w.atStripe("dispute") {
		for _, m := range o["balance_transactions"].([]any) {
			want[fmt.Sprint("dispute:", o["id"], ":", field(m, "id"), " ", o["status"], " ", field(m, "amount"))] = true
		}
	}
	for _, row := range w.texts(`SELECT natural_key || ' ' || status || ' ' || amount FROM transactions`) {
		if !want[row] {
			w.t.Errorf("transaction %s is not Stripe's", row)
		}
		delete(want, row)
	}
	for _, row := range slices.Sorted(maps.Keys(want)) {
		w.t.Errorf("transaction %s is missing", row)
	}
}

// atStripe lists objects of a kind by id, as a GET shows them; of "invoice.lines" those that are listed with each invoice.
func (w *world) atStripe(kind string) map[string]object {
	kind, list, _ := strings.Cut(kind, ".")
	if list == "session" {
		kind, list = "checkout.session", ""
	}
	found := map[string]object{}
	for _, given := range w.emu.Objects(kind) {
		o := object{}
		raw, err := json.Marshal(given)
		if err == nil {
			err = json.Unmarshal(raw, &o)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		if kind == "payment_method" && o["customer"] == nil {
			continue // used once, and nobody's
		}
		if list == "" {
			found[o["id"].(string)] = o
			continue
		}
		for _, part := range field(o, list+".data").([]any) {
			found[field(part, "id").(string)] = part.(object)
		}
	}
	return found
}

// field follows a path; nil where it leads nowhere.
func field(from any, path string) any {
	for step := range strings.SplitSeq(path, ".") {
		switch v := from.(type) {
		case object:
			from = v[step]
		case []any:
			if len(v) == 0 {
				return nil
			}
			from = v[0]
		default:
			return nil
		}
	}
	return from
}

func (w *world) same(table, id, column string, ours, stripes any) {
	w.t.Helper()
	if a, b := plain(ours), plain(stripes); a != b {
		w.t.Errorf("%s %s: %s is %v, at Stripe %v", table, id, column, a, b)
	}
}

// plain is a value without its dress: null is empty, a time is its seconds, an object its id.
func plain(v any) any {
	switch v := v.(type) {
	case nil:
		return ""
	case object:
		return v["id"]
	case string:
		if at, err := time.Parse(time.RFC3339, v); err == nil {
			return float64(at.Unix())
		}
	}
	return v
}
