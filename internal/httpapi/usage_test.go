package httpapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"
)

func event(id, meter string, quantity int, at time.Time) object {
	return object{"id": id, "meter": meter, "quantity": quantity, "occurred_at": at.UTC().Format(time.RFC3339)}
}

func events(list ...object) object { return object{"events": list} }

// series asks for the usage of a meter.
func series(meter, window string, from, to time.Time) string {
	q := url.Values{"meter": {meter}, "from": {from.UTC().Format(time.RFC3339)}, "to": {to.UTC().Format(time.RFC3339)}}
	if window != "" {
		q.Set("window", window)
	}
	return "/v1/usage?" + q.Encode()
}

func TestUsage(t *testing.T) {
	t.Parallel()
	w := generous(t)
	p, other := w.Person(t), w.Person(t)
	_, secret := w.Key(t, p, "usage:read", "usage:write")
	me, program := by{token: p.Token}, by{key: secret}
	day := time.Now().UTC().Add(-72 * time.Hour).Truncate(24 * time.Hour)
	sent := events(event("a", "tokens", 5, day.Add(time.Hour)), event("b", "tokens", 7, day.Add(90*time.Minute)), event("c", "tokens", 1, day.Add(25*time.Hour)),
		event("d", "requests", 9, day))
	for i, want := range []object{{"accepted": 4.0, "duplicates": 0.0}, {"accepted": 0.0, "duplicates": 4.0}} {
		if got := decoded(t, w.Do(t, program.post("/v1/usage/events", sent)).Want(http.StatusAccepted, nil)); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("time %d: %v, want %v", i+1, got, want)
		}
	}
	for window, want := range map[string]string{
		"":      "day 13 [12/2 1/1]",
		"hour":  "hour 13 [12/2 1/1]",
		"month": "month 13 [13/3]",
	} {
		if day.Add(25*time.Hour).Month() != day.Month() && window == "month" {
			want = "month 13 [12/2 1/1]"
		}
		got := decoded(t, w.Do(t, me.get(series("tokens", window, day, day.Add(48*time.Hour)))).Want(http.StatusOK, nil))
		var data []string
		for _, row := range got["data"].([]any) {
			data = append(data, fmt.Sprintf("%v/%v", row.(object)["quantity"], row.(object)["events"]))
		}
		if text := fmt.Sprint(got["window"], " ", got["total"], " ", data); text != want {
			t.Errorf("by %q: %s, want %s", window, text, want)
		}
	}
	empty := decoded(t, w.Do(t, by{token: other.Token}.get(series("tokens", "", day, day.Add(48*time.Hour)))).Want(http.StatusOK, nil))
	if empty["total"] != 0.0 || len(empty["data"].([]any)) != 0 {
		t.Errorf("another account sees %v", empty)
	}
	replays(t, w, program.post("/v1/usage/events", events(event("e", "tokens", 1, day))), http.StatusAccepted, events(event("e", "tokens", 2, day)))
}

func TestUsageRefused(t *testing.T) {
	t.Parallel()
	w := generous(t)
	p, other := w.Person(t), w.Person(t)
	_, reading := w.Key(t, p, "usage:read")
	_, writing := w.Key(t, p, "usage:write")
	me, program, service := by{token: p.Token}, by{key: writing}, by{key: w.ServiceKey(t, "usage")}
	now := time.Now()
	path, good := "/v1/usage/events", event("good", "tokens", 1, now)
	many := make([]object, 1001)
	for i := range many {
		many[i] = event(fmt.Sprint(i), "tokens", 1, now)
	}
	theirs := events(good)
	theirs["account_id"] = other.AccountID.String()
	refuses(t, w, []wrong{
		{"no events", program.post(path, events()), 400, "invalid_request"},
		{"too many events", program.post(path, events(many...)), 400, "invalid_request"},
		{"less than nothing", program.post(path, events(event("x", "tokens", -1, now))), 400, "invalid_request"},
		{"one event of two with an unknown meter", program.post(path, events(good, event("x", "steps", 1, now))), 422, "unknown_meter"},
		{"one event of two that is too old", program.post(path, events(good, event("x", "tokens", 1, now.Add(-36*24*time.Hour)))), 422, "event_time_out_of_range"},
		{"an event of the day after tomorrow", program.post(path, events(event("x", "tokens", 1, now.Add(25*time.Hour)))), 422, "event_time_out_of_range"},
		{"a time without zone", program.post(path, events(object{"id": "x", "meter": "tokens", "quantity": 1, "occurred_at": "2026-01-01T00:00:00"})), 400, "invalid_request"},
		{"a key that may only read", by{key: reading}.post(path, events(good)), 403, "insufficient_scope"},
		{"reading with a key that may only write", program.get(series("tokens", "", now.Add(-time.Hour), now)), 403, "insufficient_scope"},
		{"a person", me.post(path, events(good)), 403, "credential_not_allowed"},
		{"another account", program.post(path, theirs), 403, "account_forbidden"},
		{"a service key for no account", service.post(path, events(good)), 400, "account_required"},
		{"a meter that never was", me.get(series("steps", "", now.Add(-time.Hour), now)), 422, "unknown_meter"},
		{"from after to", me.get(series("tokens", "", now, now.Add(-time.Hour))), 400, "invalid_request"},
		{"more windows than an answer has", me.get(series("tokens", "hour", now.AddDate(0, 0, -60), now)), 400, "invalid_request"},
		{"no such window", me.get(series("tokens", "week", now.Add(-time.Hour), now)), 400, "invalid_request"},
		{"no meter", me.get("/v1/usage?from=2026-01-01T00:00:00Z"), 400, "invalid_request"},
		{"no from", me.get("/v1/usage?meter=tokens"), 400, "invalid_request"},
	})
}
