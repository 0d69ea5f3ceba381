package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/serve/servetest"
)

// patience bounds what arrives by itself.
const patience = 30 * time.Second

func TestMe(t *testing.T) {
	t.Parallel()
	w := generous(t)
	p := w.Person(t)
	me := by{token: p.Token}
	u := decoded(t, w.Do(t, me.get("/v1/users/me")).Want(http.StatusOK, nil))
	if u["id"] != p.ID.String() || u["email"] != p.Email || u["account_id"] != p.AccountID.String() || u["tier"] != "free" || u["status"] != "active" || u["display_name"] != nil {
		t.Errorf("the profile is %v", u)
	}
	replays(t, w, me.patch("/v1/users/me", object{"display_name": "Ana"}), http.StatusOK, object{"display_name": "Eva"})
	long := strings.Repeat("é", 200)
	if u := decoded(t, w.Do(t, me.patch("/v1/users/me", object{"display_name": long})).Want(http.StatusOK, nil)); u["display_name"] != long {
		t.Errorf("the name is %v", u["display_name"])
	}
	refuses(t, w, []wrong{
		{"a name that is too long", me.patch("/v1/users/me", object{"display_name": long + "x"}), 400, "invalid_request"},
		{"nothing to change", me.patch("/v1/users/me", object{}), 400, "invalid_request"},
		{"another status", me.patch("/v1/users/me", object{"status": "active"}), 400, "invalid_request"},
		{"another account", me.with("Saaskit-Account", uuid.NewString()).get("/v1/account"), 403, "account_forbidden"},
	})
	w.Key(t, p, "account:read")
	export := decoded(t, w.Do(t, me.get("/v1/users/me/export")).Want(http.StatusOK, nil))
	accounts := export["accounts"].([]any)
	if export["user"].(object)["id"] != p.ID.String() || len(accounts) != 1 || len(accounts[0].(object)["api_keys"].([]any)) != 1 {
		t.Errorf("the export is %v", export)
	}
	a := decoded(t, w.Do(t, me.get("/v1/account")).Want(http.StatusOK, nil))
	if a["id"] != p.AccountID.String() || a["kind"] != "personal" || a["role"] != "owner" || a["tier"] != "free" || a["access"] != false {
		t.Errorf("the account is %v", a)
	}
}

func TestUsersForAdministrators(t *testing.T) {
	t.Parallel()
	w := generous(t)
	boss, p := w.Admin(t), w.Person(t)
	for range 3 {
		w.Person(t)
	}
	path := "/v1/users/" + p.ID.String()
	for name, admin := range map[string]by{"a person": {token: boss.Token}, "a service key": {key: w.ServiceKey(t, "admin")}} {
		if rows := walk(t, w, admin, "/v1/users", 5); rows[4]["id"] != boss.ID.String() {
			t.Errorf("%s: newest first, so that the administrator is the last: %v", name, rows)
		}
		for query, want := range map[string]int{
			p.ID.String(): 1, p.Email: 1, strings.ToUpper(p.Email[:12]): 1, uuid.NewString(): 0, "%25": 0, "_": 0, "example.com": 0,
		} {
			rows := walk(t, w, admin, "/v1/users?query="+query, want)
			if want == 1 && rows[0]["id"] != p.ID.String() {
				t.Errorf("%s: %q finds %v", name, query, rows)
			}
		}
		if u := decoded(t, w.Do(t, admin.get(path)).Want(http.StatusOK, nil)); u["email"] != p.Email || u["tier"] != "free" {
			t.Errorf("%s reads %v", name, u)
		}
		for _, status := range []string{"disabled", "active"} {
			u := decoded(t, replays(t, w, admin.patch(path, object{"status": status, "reason": status}), http.StatusOK, object{"status": status, "reason": "another"}))
			if u["status"] != status {
				t.Errorf("%s: the user is %v, want %s", name, u["status"], status)
			}
		}
		w.Do(t, by{token: p.Token}.get("/v1/users/me")).Want(http.StatusOK, nil)
	}
}

func TestUsersRefused(t *testing.T) {
	t.Parallel()
	w := generous(t)
	boss, p, gone := w.Admin(t), w.Person(t), w.Person(t)
	_, key := w.Key(t, boss, "account:read")
	admin, service := by{token: boss.Token}, by{key: w.ServiceKey(t, "account", "credits", "usage")}
	w.Do(t, by{token: gone.Token}.del("/v1/users/me")).Want(http.StatusAccepted, nil)
	servetest.Eventually(t, patience, func() bool {
		return decoded(t, w.Do(t, admin.get("/v1/users/"+gone.ID.String())).Want(http.StatusOK, nil))["status"] == "deleted"
	}, "the deletion does not finish")
	path := "/v1/users/" + p.ID.String()
	refuses(t, w, []wrong{
		{"nobody", admin.get("/v1/users/" + uuid.NewString()), 404, "not_found"},
		{"disabling nobody", admin.patch("/v1/users/"+uuid.NewString(), object{"status": "disabled"}), 404, "not_found"},
		{"an administrator who disables themselves", admin.patch("/v1/users/"+boss.ID.String(), object{"status": "disabled"}), 409, "conflict"},
		{"enabling who is deleted", admin.patch("/v1/users/"+gone.ID.String(), object{"status": "active"}), 409, "conflict"},
		{"a status that is not to be set", admin.patch(path, object{"status": "deleted"}), 400, "invalid_request"},
		{"no status", admin.patch(path, object{"reason": "x"}), 400, "invalid_request"},
		{"an id that is none", admin.get("/v1/users/1"), 400, "invalid_request"},
		{"a query that is empty", admin.get("/v1/users?query="), 400, "invalid_request"},
		{"a cursor of another list", admin.get("/v1/users?cursor=abc"), 400, "invalid_cursor"},
		{"a person who reads another", by{token: p.Token}.get("/v1/users/" + boss.ID.String()), 403, "admin_required"},
		{"a person who enables themselves", by{token: p.Token}.patch(path, object{"status": "active"}), 403, "admin_required"},
		{"a service key that is no administrator", service.get("/v1/users"), 403, "insufficient_scope"},
		{"an administrator's own key", by{key: key}.get("/v1/users"), 403, "credential_not_allowed"},
	})
}
