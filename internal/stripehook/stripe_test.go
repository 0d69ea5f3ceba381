package stripehook_test

import (
	"maps"
	"regexp"
	"time"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/catalog/catalogtest"
	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/stripeemu"
)

// put stores an object at Stripe: the sample of its type with fields laid over it.
func (w *world) put(kind string, fields object) object {
	w.t.Helper()
	created, err := w.emu.Create(kind, fields)
	if err != nil {
		w.t.Fatalf("put %s: %v", kind, err)
	}
	return created
}

func (w *world) patch(id string, fields object) {
	w.t.Helper()
	if _, err := w.emu.Patch(id, fields); err != nil {
		w.t.Fatalf("patch %s: %v", id, err)
	}
}

func list(url string, data ...any) object {
	if data == nil {
		data = []any{}
	}
	return object{"object": "list", "data": data, "has_more": false, "url": url}
}

func laid(base object, over ...object) object {
	for _, o := range over {
		maps.Copy(base, o)
	}
	return base
}

// price stores a price of the test catalogue at Stripe.
func (w *world) price(id, interval string, amount int64, currency string) object {
	w.t.Helper()
	if stored, ok := w.emu.Get(id); ok {
		return stored
	}
	fields := object{"id": id, "currency": currency, "unit_amount": amount, "active": true, "product": "prod_" + id, "metadata": object{}}
	if interval == "" {
		fields["type"], fields["recurring"] = "one_time", nil
	} else {
		fields["type"] = "recurring"
		fields["recurring"] = object{"aggregate_usage": nil, "interval": interval, "interval_count": 1,
			"usage_type": "licensed"}
	}
	return w.put("price", fields)
}

func (w *world) basic() object { return w.price(catalogtest.PriceBasic, "month", 1000, "usd") }

func (w *world) customer(id string, over ...object) {
	w.t.Helper()
	w.put("customer", laid(object{"id": id, "email": "one@example.com", "metadata": object{"app_env": appEnv, "account_id": w.t1.String()},
		"default_source": nil, "invoice_settings": object{"custom_fields": nil, "default_payment_method": "pm_1", "footer": nil, "rendering_options": nil},
		"currency": "usd", "balance": 0}, over...))
}

// subscription stores a subscription of cus_1 to basic for a month from now.
func (w *world) subscription(id string, over ...object) {
	w.t.Helper()
	start, end := w.clock.Now().Unix(), w.clock.Now().AddDate(0, 1, 0).Unix()
	w.put("subscription", laid(object{
		"id": id, "customer": "cus_1", "status": "active", "currency": "usd", "latest_invoice": nil, "metadata": object{},
		"cancel_at": nil, "canceled_at": nil, "ended_at": nil, "trial_start": nil, "trial_end": nil, "trial_settings": nil,
		"next_pending_invoice_item_invoice": nil,
		"current_period_start":              start, "current_period_end": end, "created": start, "start_date": start, "billing_cycle_anchor": start,
		"items": list("/v1/subscription_items?subscription="+id, w.item("si_"+id, id, w.basic(), 1)),
	}, over...))
}

func (w *world) item(id, subscription string, price object, quantity int64) object {
	item := w.put("subscription_item", object{"id": id, "subscription": subscription, "price": price, "quantity": quantity})
	item["price"] = price
	return item
}

// invoice stores the paid first invoice of a subscription to basic, with its payment intent.
func (w *world) invoice(id, subscription string, over ...object) {
	w.t.Helper()
	now := w.clock.Now().Unix()
	fields := laid(object{
		"id": id, "customer": "cus_1", "subscription": subscription, "status": "paid", "paid": true, "number": "N-" + id,
		"billing_reason": "subscription_create", "currency": "usd", "subtotal": 1000, "total": 1000, "amount_due": 1000,
		"amount_paid": 1000, "amount_remaining": 0, "attempt_count": 1, "attempted": true, "charge": "ch_" + id,
		"payment_intent": "pi_" + id, "created": now, "period_start": now, "period_end": now, "metadata": object{},
		"hosted_invoice_url": "https://invoice.example.com/" + id,
		"status_transitions": object{"finalized_at": now, "marked_uncollectible_at": nil, "paid_at": now, "voided_at": nil},
		"lines":              list("/v1/invoices/"+id+"/lines", w.line("il_"+id, w.basic(), 1000)),
	}, over...)
	if subscription == "" {
		fields["subscription"] = nil
	}
	w.put("invoice", fields)
	if intent, _ := fields["payment_intent"].(string); intent != "" {
		status := "succeeded"
		if fields["status"] != "paid" {
			status = "requires_payment_method"
		}
		w.intent(intent, object{"invoice": id, "status": status})
	}
}

// line is an invoice line for the coming month.
func (w *world) line(id string, price object, amount int64, over ...object) object {
	kind, item := "subscription", any("si_1")
	if price["recurring"] == nil {
		kind, item = "invoiceitem", nil
	}
	l := w.put("line_item", laid(object{
		"id": id, "amount": amount, "amount_excluding_tax": amount, "currency": price["currency"], "price": price, "proration": false, "type": kind,
		"quantity": 1, "description": "a line", "period": object{"start": w.clock.Now().Unix(), "end": w.clock.Now().AddDate(0, 1, 0).Unix()},
		"metadata": object{},
	}, over...))
	if item != nil {
		l["subscription_item"] = item
	}
	return l
}

// session stores a completed checkout.
func (w *world) session(id string, over ...object) {
	w.t.Helper()
	w.put("checkout.session", laid(object{
		"id": id, "customer": "cus_1", "mode": "subscription", "status": "complete", "payment_status": "paid", "currency": "usd",
		"metadata": object{}, "subscription": nil, "invoice": nil, "payment_intent": nil, "client_reference_id": nil,
		"created": w.clock.Now().Unix(), "expires_at": w.clock.Now().Add(24 * time.Hour).Unix(),
	}, over...))
}

func (w *world) sessionLines(price object, quantity int64) object {
	return list("/v1/checkout/sessions/x/line_items", w.put("item", object{"id": "li_" + price["id"].(string), "price": price,
		"quantity": quantity, "currency": price["currency"]}))
}

func (w *world) intent(id string, over ...object) {
	w.t.Helper()
	w.put("payment_intent", laid(object{"id": id, "customer": "cus_1", "status": "succeeded", "amount": 1000, "currency": "usd",
		"invoice": nil, "latest_charge": nil, "metadata": object{}, "created": w.clock.Now().Unix()}, over...))
}

func (w *world) charge(id string, over ...object) {
	w.t.Helper()
	w.put("charge", laid(object{"id": id, "customer": "cus_1", "status": "succeeded", "paid": true, "captured": true, "amount": 1000,
		"amount_captured": 1000, "currency": "usd", "invoice": nil, "payment_intent": nil, "metadata": object{},
		"created": w.clock.Now().Unix()}, over...))
}

// card stores a card of cus_1, with its last four digits.
func (w *world) card(id, last4 string) {
	w.t.Helper()
	w.put("payment_method", object{"id": id, "type": "card", "customer": "cus_1", "metadata": object{}, "created": w.clock.Now().Unix(),
		"card": object{"brand": "visa", "last4": last4, "exp_month": 4, "exp_year": 2031, "funding": "credit", "country": "US", "fingerprint": nil,
			"checks": nil, "generated_from": nil, "networks": nil, "three_d_secure_usage": nil, "wallet": nil, "display_brand": nil}})
}

// signup stores what a successful purchase of basic leaves at Stripe: cus_1, sub_1, in_1, pi_in_1, ch_in_1 and cs_1.
func (w *world) signup() {
	w.t.Helper()
	w.customer("cus_1")
	w.subscription("sub_1", object{"latest_invoice": "in_1"})
	w.invoice("in_1", "sub_1")
	w.intent("pi_in_1", object{"invoice": "in_1", "latest_charge": "ch_in_1"})
	w.charge("ch_in_1", object{"invoice": "in_1", "payment_intent": "pi_in_1"})
	w.session("cs_1", object{"subscription": "sub_1", "invoice": "in_1", "line_items": w.sessionLines(w.basic(), 1)})
}

// faultBody answers reads of a path in Stripe's place.
func faultBody(path string, status int, body any) stripeemu.Fault {
	return stripeemu.Fault{Method: "GET", Path: path, Status: status, Body: body}
}

// attempt stores our side of a checkout that is open.
func (w *world) attempt(session, kind string) string {
	w.t.Helper()
	id := postgres.NewID()
	w.exec(`INSERT INTO checkout_attempts (id, account_id, kind, price_lookup_key, stripe_price_id, currency, success_url, cancel_url,
			status, stripe_session_id, created_at, updated_at)
		VALUES ($1, $2, $3, 'key', 'price', 'usd', 'https://app.example.com', 'https://app.example.com', 'open', NULLIF($4, ''), now(), now())`,
		id, w.t1, kind, session)
	return id.String()
}

// Fields of ours that differ each time: see blur.
var (
	idField      = regexp.MustCompile(`"id": "[0-9a-f-]{36}", `)
	createdField = regexp.MustCompile(`"created_at": "[^"]*", `)
)

// dispute opens a dispute of a charge, or an inquiry.
func (w *world) dispute(charge string, inquiry bool) string {
	w.t.Helper()
	id, err := w.emu.Dispute(charge, stripeemu.DisputeOptions{Inquiry: inquiry})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) decide(dispute, outcome string) {
	w.t.Helper()
	if err := w.emu.DecideDispute(dispute, outcome); err != nil {
		w.t.Fatal(err)
	}
}

// spend takes credits of T1.
func (w *world) spend(amount int64) {
	w.t.Helper()
	credits := credit.New(credit.Config{Pool: w.pool, Now: w.clock.Now, Policy: account.DefaultPolicy()})
	if _, err := credits.Consume(w.t.Context(), credit.Spending{AccountID: w.t1, Amount: amount, Actor: audit.System("test")}); err != nil {
		w.t.Fatal(err)
	}
}
