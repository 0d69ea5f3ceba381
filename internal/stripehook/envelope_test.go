package stripehook_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"example.com/saaskit/internal/problem"
	"example.com/saaskit/internal/stripehook"
)

func TestC21UnknownType(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	unknown := w.event("made.up.event", object{"id": "mu_1", "object": "made_up"})
	w.settled(unknown, w.about("customer.subscription.updated", "sub_1"))
	w.wantEvent(unknown["id"].(string), "ignored:unknown_type")
	w.want("active", `SELECT status FROM subscriptions WHERE id = 'sub_1'`)
	w.want("1", `SELECT count(*) FROM river_job`)
	if n := len(w.emu.Requests()); n != 1 {
		t.Errorf("%d requests to Stripe, want the one for the subscription", n)
	}
}

func TestC22NewerAPIVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	for range 5 {
		event := w.about("customer.subscription.updated", "sub_1")
		event["api_version"] = "2026-03-25.dahlia"
		snapshot := event["data"].(object)["object"].(object)
		delete(snapshot, "current_period_start")
		delete(snapshot, "current_period_end")
		w.settled(event)
	}
	w.wantAllDone(5)
	stored, _ := w.emu.Get("sub_1")
	w.want("true", `SELECT extract(epoch FROM current_period_end)::bigint = $1 AND access_end = current_period_end FROM subscriptions`,
		stored["current_period_end"])
	for _, r := range w.emu.Requests() {
		if r.Version != "2023-10-16" {
			t.Errorf("%s %s asked for version %q", r.Method, r.Path, r.Version)
		}
	}
	if n := w.alarms("api_version"); n != 1 {
		t.Errorf("%v alarms for one new version", n)
	}
	if n := w.metric("saaskit_stripe_api_version_seen", "version", "2026-03-25.dahlia"); n != 1 {
		t.Errorf("version seen: %v", n)
	}
}

func TestC23APIVersionNull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	event := w.about("customer.subscription.updated", "sub_1")
	event["api_version"] = nil
	w.settled(event)
	w.wantAllDone(1)
	w.want("active", `SELECT status FROM subscriptions`)
}

func TestC24ThinEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	thin := object{
		"id": "evt_thin", "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered",
		"created": "2026-01-02T03:04:05.678Z", "livemode": false,
		"related_object": object{"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"},
	}
	w.post(thin)
	w.wantEvent("evt_thin", "quarantined:thin")
	w.want("2026", `SELECT extract(year FROM event_created) FROM stripe_events`)
	if w.alarms("thin") != 1 {
		t.Error("no alarm")
	}
}

// Shapes of an event that the library takes for something else, or panics on later.
func TestC24ParserTraps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	fields := func(change func(event object)) object {
		event := w.about("customer.subscription.updated", "sub_1")
		change(event)
		return event
	}
	tests := []struct {
		name, want string
		event      object
	}{
		{"no data", "quarantined:thin", fields(func(e object) { delete(e, "data") })},
		{"null data", "quarantined:thin", fields(func(e object) { e["data"] = nil })},
		{"empty data", "quarantined:thin", fields(func(e object) { e["data"] = object{} })},
		{"null object", "quarantined:thin", fields(func(e object) { e["data"] = object{"object": nil} })},
		{"object is a string", "quarantined:thin", fields(func(e object) { e["data"] = object{"object": "sub_1"} })},
		{"object is a list", "quarantined:thin", fields(func(e object) { e["data"] = object{"object": []any{}} })},
		{"no livemode", "quarantined:malformed", fields(func(e object) { delete(e, "livemode") })},
		{"livemode null", "quarantined:malformed", fields(func(e object) { e["livemode"] = nil })},
		{"type is a number", "quarantined:malformed", fields(func(e object) { e["type"] = 5 })},
		{"type with a null character", "quarantined:malformed", fields(func(e object) { e["type"] = "a\x00b" })},
		{"type in another case", "ignored:unknown_type", fields(func(e object) { e["type"], e["TYPE"] = "x.y", "customer.subscription.updated" })},
		{"id of the object empty", "quarantined:object", fields(func(e object) { e["data"].(object)["object"].(object)["id"] = "" })},
		{"id of the object a path", "quarantined:object", fields(func(e object) { e["data"].(object)["object"].(object)["id"] = "../charges" })},
		{"no id of the object", "quarantined:object", fields(func(e object) { delete(e["data"].(object)["object"].(object), "id") })},
		{"created out of range", "done", fields(func(e object) { e["created"] = int64(1) << 60 })},
		{"preview without an id", "done", w.event("invoice.upcoming", object{"object": "invoice", "subscription": "sub_1", "customer": "cus_1"})},
		{"preview of nothing", "ignored:no_id", w.event("invoice.upcoming", object{"object": "invoice", "customer": "cus_1"})},
		{"refund without a charge", "ignored:no_id", w.event("refund.created", object{"object": "refund", "id": "re_1", "charge": nil})},
		{"known and not kept", "ignored:not_kept", w.event("coupon.created", object{"object": "coupon", "id": "co_1"})},
	}
	for _, tt := range tests {
		w.post(tt.event)
	}
	w.drain()
	for _, tt := range tests {
		if got := w.text(`SELECT status || CASE WHEN reason = '' THEN '' ELSE ':' || reason END FROM stripe_events WHERE id = $1`, tt.event["id"]); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestC16NoEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bodies := []string{"", "hello", "null", "[]", "5", `"evt_1"`, "{}", `{"id": null}`, `{"id": 7}`, `{"ID": "evt_1"}`, `{"id": "evt 1"}`, `{"id": "evt_1"`, "\xff\xfe"}
	for _, body := range bodies {
		for range 2 {
			err := w.service.Receive(t.Context(), sign([]byte(body), secret, time.Now()), []byte(body))
			if !errors.Is(err, problem.InvalidEvent) {
				t.Errorf("%q: %v", body, err)
			}
		}
		w.want("1", `SELECT count(*) FROM stripe_quarantine WHERE payload = $1`, []byte(body))
	}
	w.want("0", `SELECT count(*) FROM stripe_events`)
	if n := w.alarms("no_event"); n != float64(2*len(bodies)) {
		t.Errorf("%v alarms", n)
	}
}

func TestC25WrongLivemode(t *testing.T) {
	t.Parallel()
	for _, live := range []bool{true, false} {
		w := newWorld(t, with(func(c *stripehook.Config) { c.Livemode = live }))
		w.signup()
		event := w.about("invoice.paid", "in_1")
		event["livemode"] = !live
		w.settled(event)
		w.wantEvent(event["id"].(string), "quarantined:livemode")
		w.want("0", `SELECT count(*) FROM credit_lots`)
		if n := len(w.emu.Requests()); n != 0 {
			t.Errorf("live %v: %d requests to Stripe", live, n)
		}
	}
}

func TestC26ConnectAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	event := w.about("invoice.paid", "in_1")
	event["account"] = "acct_x"
	w.settled(event)
	w.wantEvent(event["id"].(string), "ignored:connect")
	w.want("0", `SELECT count(*) FROM credit_lots`)
	if n := len(w.emu.Requests()); n != 0 {
		t.Errorf("%d requests to Stripe", n)
	}
}

// parkPauses are how long an event waits for its customer: a moment, a minute, and longer than a step of ours may take.
var parkPauses = []time.Duration{5 * time.Second, 70 * time.Second, 12 * time.Minute}

// wantParked makes an attempt and wants the event put aside for so long.
func (w *world) wantParked(id string, pause time.Duration) {
	w.t.Helper()
	var snooze *river.JobSnoozeError
	if err := w.try(id, false); !errors.As(err, &snooze) || snooze.Duration != pause {
		w.t.Fatalf("%v, want it parked for %s", err, pause)
	}
}

func TestC27OtherEnvironment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, metadata := range map[string]object{
		"cus_staging":  {"app_env": "staging", "account_id": w.t2.String()},
		"cus_nobody":   {},
		"cus_gone":     {"app_env": appEnv, "account_id": "01890000-0000-7000-8000-000000000000"},
		"cus_scramble": {"app_env": appEnv, "account_id": "x"},
		"cus_second":   {"app_env": appEnv, "account_id": w.t1.String()}, // T1 has a customer
	} {
		w.customer(name, object{"metadata": metadata})
		w.subscription("sub_"+name, object{"customer": name})
		event := w.about("customer.subscription.created", "sub_"+name)
		w.post(event)
		id := event["id"].(string)
		for _, pause := range parkPauses {
			w.wantParked(id, pause)
			w.wantEvent(id, "pending")
		}
		if err := w.try(id, false); err != nil {
			t.Fatal(err)
		}
		w.wantEvent(id, "ignored:unowned")
		w.want("0", `SELECT attempts FROM stripe_events WHERE id = $1`, id)
	}
	w.want("1", `SELECT count(*) FROM stripe_customers`)
	w.want("0", `SELECT count(*) FROM subscriptions`)
}

func TestC28CustomerNotStoredYet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_9", object{"metadata": object{"app_env": appEnv, "account_id": w.t2.String()}})
	w.subscription("sub_9", object{"customer": "cus_9"})
	w.invoice("in_9", "sub_9", object{"customer": "cus_9"})
	created, paid := w.about("customer.subscription.created", "sub_9"), w.about("invoice.paid", "in_9")
	w.post(created, paid)
	for _, event := range []object{created, paid} {
		w.wantParked(event["id"].(string), parkPauses[0])
	}
	w.exec(`INSERT INTO stripe_customers (id, account_id, stripe_id, created_at, updated_at) VALUES (gen_random_uuid(), $1, 'cus_9', now(), now())`, w.t2)
	w.drain()
	w.wantAllDone(2)
	w.want(w.t2.String(), `SELECT account_id FROM subscriptions`)
	w.want("10", `SELECT balance FROM credit_accounts WHERE account_id = $1`, w.t2)
	w.want("1", `SELECT count(*) FROM credit_lots`)
}

// The process that created the customer died before it stored the answer: the stamp that we put on it fills the gap.
func TestC28Adoption(t *testing.T) {
	t.Parallel()
	for _, intent := range []bool{false, true} {
		w := newWorld(t)
		if intent {
			w.exec(`INSERT INTO stripe_customers (id, account_id, created_at, updated_at) VALUES (gen_random_uuid(), $1, now(), now())`, w.t2)
		}
		w.customer("cus_9", object{"metadata": object{"app_env": appEnv, "account_id": w.t2.String()}})
		w.subscription("sub_9", object{"customer": "cus_9"})
		w.settled(w.about("customer.subscription.created", "sub_9"))
		w.wantAllDone(1)
		w.want("cus_9", `SELECT string_agg(stripe_id, ',') FROM stripe_customers WHERE account_id = $1`, w.t2)
		w.want(w.t2.String(), `SELECT account_id FROM subscriptions WHERE id = 'sub_9'`)
		w.want("1", `SELECT count(*) FROM audit_log WHERE action = 'stripe_customer.adopt'`)
	}
}

func TestC29ClaimOfAnotherAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	w.patch("sub_1", object{"metadata": object{"account_id": w.t2.String(), "tenant_id": w.t2.String()}})
	w.settled(w.about("customer.subscription.updated", "sub_1"), w.about("invoice.paid", "in_1"))
	w.wantAllDone(2)
	w.want(w.t1.String(), `SELECT account_id FROM subscriptions`)
	w.want("0", `SELECT count(*) FROM credit_lots WHERE account_id = $1`, w.t2)
	if w.alarms("ownership_claim") == 0 {
		t.Error("no alarm")
	}
}

// A mirror row never moves to another account, not even with a mapping that says so.
func TestC29RowsNeverMove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	w.settled(w.about("invoice.paid", "in_1"))
	w.exec(`UPDATE stripe_customers SET account_id = $1`, w.t2)
	for _, event := range []object{w.about("customer.subscription.updated", "sub_1"), w.about("invoice.updated", "in_1")} {
		w.post(event)
		if err := w.try(event["id"].(string), false); err == nil || snoozed(err) {
			t.Errorf("%v: %v", event["type"], err)
		}
	}
	w.want("0", `SELECT count(*) FROM credit_lots WHERE account_id = $1`, w.t2)
	w.want(w.t1.String()+" "+w.t1.String(), `SELECT s.account_id || ' ' || i.account_id FROM subscriptions s, invoices i`)
}

func TestC30WrongObjectForType(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	invoice, _ := w.emu.Get("in_1")
	event := w.event("customer.subscription.updated", invoice)
	w.settled(event)
	w.wantEvent(event["id"].(string), "quarantined:object")
	w.want("0", `SELECT count(*) FROM subscriptions`)
	w.want("0", `SELECT count(*) FROM credit_lots`)
}

// An answer about another object, which a wrong id or a proxy brings about, is stored by nobody.
func TestC30AnswerAboutAnotherObject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	w.subscription("sub_2")
	other, _ := w.emu.Get("sub_2")
	event := w.about("customer.subscription.updated", "sub_1")
	w.post(event)
	for _, body := range []object{other, {"object": "list", "data": []any{}}, laid(object{}, other, object{"id": "sub_1", "object": "invoice"})} {
		remove := w.emu.Inject(faultBody("/v1/subscriptions/sub_1", 200, body))
		if err := w.try(event["id"].(string), false); err == nil || snoozed(err) {
			t.Errorf("answer %v: %v", body["id"], err)
		}
		remove()
	}
	w.want("0", `SELECT count(*) FROM subscriptions`)
	w.drain()
	w.wantAllDone(1)
}

func FuzzEnvelope(f *testing.F) {
	f.Add([]byte(`{"id":"evt_1","object":"event","type":"invoice.paid","livemode":false,"created":1,"data":{"object":{"id":"in_1","object":"invoice","customer":{"id":"cus_1"}}}}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"id":"evt_1","data":{"object":{}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, ok := stripehook.ParseEnvelope(body)
		for _, stored := range e {
			if bytes.ContainsRune([]byte(stored), 0) || len(stored) > 255 {
				t.Errorf("cannot be stored: %q", stored)
			}
		}
		if ok && e[0] == "" {
			t.Error("an event without an id")
		}
	})
}
