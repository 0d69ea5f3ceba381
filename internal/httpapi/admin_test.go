package httpapi_test

import (
	"net/http"
	"testing"

	"example.com/saaskit/internal/serve/servetest"
)

func TestStripeEventsForAdministrators(t *testing.T) {
	t.Parallel()
	w := generous(t)
	boss, p := w.Admin(t), w.Person(t)
	admin := by{token: boss.Token}
	w.Buy(t, p, servetest.SmallPack())
	const done = "/v1/admin/stripe-events?type=checkout.session.completed&status=done"
	servetest.Eventually(t, patience, func() bool {
		return len(decoded(t, w.Do(t, admin.get(done)).Want(http.StatusOK, nil))["data"].([]any)) == 1
	}, "the event is not done")
	event := decoded(t, w.Do(t, admin.get(done)).Want(http.StatusOK, nil))["data"].([]any)[0].(object)
	path := "/v1/admin/stripe-events/" + event["id"].(string)
	whole := decoded(t, w.Do(t, admin.get(path)).Want(http.StatusOK, nil))
	if event["payload"] != nil || whole["payload"].(object)["id"] != event["id"] || whole["source"] != "webhook" || whole["delivery_count"] != 1.0 {
		t.Errorf("the event is %v", whole)
	}
	lots := w.Lots(t, p)
	replayed := decoded(t, w.Do(t, admin.post(path+"/replay", nil)).Want(http.StatusOK, nil))
	if replayed["replays"] != 1.0 {
		t.Errorf("replayed: %v", replayed)
	}
	servetest.Eventually(t, patience, func() bool {
		return decoded(t, w.Do(t, admin.get(path)).Want(http.StatusOK, nil))["status"] == "done"
	}, "the replay is not done")
	if n := w.Lots(t, p); n != lots {
		t.Errorf("%d lots, there were %d", n, lots)
	}
	entries := decoded(t, w.Do(t, admin.get("/v1/admin/audit-log?action=stripe_event.replay")).Want(http.StatusOK, nil))["data"].([]any)
	if len(entries) != 1 || entries[0].(object)["actor_id"] != boss.ID.String() || entries[0].(object)["target_id"] != event["id"] {
		t.Errorf("audit log: %v", entries)
	}
	if rows := decoded(t, w.Do(t, admin.get("/v1/admin/audit-log?account_id="+p.AccountID.String())).Want(http.StatusOK, nil))["data"].([]any); len(rows) == 0 {
		t.Error("nothing of the account is in the audit log")
	}
	service := by{key: w.ServiceKey(t, "credits")}
	refuses(t, w, []wrong{
		{"no event", admin.get("/v1/admin/stripe-events/evt_none"), 404, "not_found"},
		{"a replay of no event", admin.post("/v1/admin/stripe-events/evt_none/replay", nil), 404, "not_found"},
		{"a state that is none", admin.get("/v1/admin/stripe-events?status=lost"), 400, "invalid_request"},
		{"a person", by{token: p.Token}.get("/v1/admin/stripe-events"), 403, "admin_required"},
		{"a person and the audit log", by{token: p.Token}.get("/v1/admin/audit-log"), 403, "admin_required"},
		{"a service key that is no administrator", service.post(path+"/replay", nil), 403, "insufficient_scope"},
	})
}
