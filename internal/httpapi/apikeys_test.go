package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/serve/servetest"
)

// A key from its making to its end.
func TestAPIKeyLife(t *testing.T) {
	t.Parallel()
	w := generous(t)
	me := by{token: w.Person(t).Token}
	works := func(secret string, status int) {
		t.Helper()
		if res := w.Do(t, by{key: secret}.get("/v1/account")); res.Status != status {
			t.Errorf("a request with the key: %d %s, want %d", res.Status, res.Body, status)
		}
	}
	made := decoded(t, w.Do(t, me.post("/v1/api-keys", object{"name": " ci ", "scopes": []string{"account:read"}, "allowed_ips": []string{"127.0.0.1", "10.1.2.3/8"}})).Want(http.StatusCreated, nil))
	secret, path := made["secret"].(string), "/v1/api-keys/"+made["id"].(string)
	if made["name"] != "ci" || !strings.HasPrefix(secret, made["start"].(string)) || made["expires_at"] != nil {
		t.Errorf("made %v", made)
	}
	if ips := made["allowed_ips"].([]any); len(ips) != 2 || ips[0] != "127.0.0.1/32" || ips[1] != "10.0.0.0/8" {
		t.Errorf("allowed_ips are %v", ips)
	}
	works(secret, http.StatusOK)
	if got := decoded(t, w.Do(t, me.get(path)).Want(http.StatusOK, nil)); got["secret"] != nil || got["id"] != made["id"] {
		t.Errorf("read %v", got)
	}

	w.Do(t, me.patch(path, object{"allowed_ips": []string{"10.0.0.0/8"}})).Want(http.StatusOK, nil)
	w.Do(t, by{key: secret}.get("/v1/account")).WantProblem(http.StatusForbidden, "address_not_allowed")
	later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	changed := decoded(t, w.Do(t, me.patch(path, object{"name": "cd", "scopes": []string{}, "allowed_ips": []string{}, "expires_at": later})).Want(http.StatusOK, nil))
	if changed["name"] != "cd" || changed["expires_at"] != later || len(changed["scopes"].([]any)) != 0 || changed["allowed_ips"] != nil {
		t.Errorf("changed to %v", changed)
	}
	w.Do(t, by{key: secret}.get("/v1/account")).WantProblem(http.StatusForbidden, "insufficient_scope")
	if got := decoded(t, w.Do(t, me.patch(path, object{"scopes": []string{"account:read"}})).Want(http.StatusOK, nil)); got["expires_at"] != later {
		t.Errorf("expires_at was left out and is %v", got["expires_at"])
	}
	if got := decoded(t, w.Do(t, me.patch(path, object{"expires_at": nil})).Want(http.StatusOK, nil)); got["expires_at"] != nil {
		t.Errorf("expires_at is %v after null", got["expires_at"])
	}

	next := decoded(t, w.Do(t, me.post(path+"/rotate", object{"overlap_seconds": 60})).Want(http.StatusCreated, nil))
	if next["name"] != "cd" || next["id"] == made["id"] || next["secret"] == secret {
		t.Errorf("rotated to %v", next)
	}
	works(secret, http.StatusOK)
	works(next["secret"].(string), http.StatusOK)
	w.Do(t, me.post(path+"/rotate", nil)).WantProblem(http.StatusConflict, "conflict")
	last := decoded(t, w.Do(t, me.post("/v1/api-keys/"+next["id"].(string)+"/rotate", nil)).Want(http.StatusCreated, nil))
	works(secret, http.StatusUnauthorized)
	works(next["secret"].(string), http.StatusUnauthorized)
	works(last["secret"].(string), http.StatusOK)

	path = "/v1/api-keys/" + last["id"].(string)
	for range 2 {
		w.Do(t, me.del(path)).Want(http.StatusNoContent, nil)
	}
	works(last["secret"].(string), http.StatusUnauthorized)
	w.Do(t, me.get(path)).WantProblem(http.StatusNotFound, "not_found")
	walk(t, w, me, "/v1/api-keys", 0)
}

func TestAPIKeysRefused(t *testing.T) {
	t.Parallel()
	w := generous(t)
	p, other := w.Person(t), w.Person(t)
	me := by{token: p.Token}
	theirs, _ := w.Key(t, other)
	revoked, _ := w.Key(t, p)
	w.Do(t, me.del("/v1/api-keys/"+revoked)).Want(http.StatusNoContent, nil)
	soon := time.Now().Add(1500 * time.Millisecond)
	short := decoded(t, w.Do(t, me.post("/v1/api-keys", object{"name": "short", "scopes": []string{"account:read"}, "expires_at": soon.UTC()})).Want(http.StatusCreated, nil))
	w.Do(t, by{key: short["secret"].(string)}.get("/v1/account")).Want(http.StatusOK, nil)
	list := []wrong{
		{"no such scope", me.post("/v1/api-keys", object{"name": "x", "scopes": []string{"admin"}}), 400, "invalid_request"},
		{"a scope twice", me.post("/v1/api-keys", object{"name": "x", "scopes": []string{"usage:read", "usage:read"}}), 400, "invalid_request"},
		{"a blank name", me.post("/v1/api-keys", object{"name": "  "}), 400, "invalid_request"},
		{"a name with a line break", me.post("/v1/api-keys", object{"name": "a\nb"}), 400, "invalid_request"},
		{"an expiry in the past", me.post("/v1/api-keys", object{"name": "x", "expires_at": "2020-01-01T00:00:00Z"}), 400, "invalid_request"},
		{"an address that is none", me.post("/v1/api-keys", object{"name": "x", "allowed_ips": []string{"localhost"}}), 400, "invalid_request"},
		{"nothing to change", me.patch("/v1/api-keys/"+short["id"].(string), object{}), 400, "invalid_request"},
		{"too long an overlap", me.post("/v1/api-keys/"+short["id"].(string)+"/rotate", object{"overlap_seconds": 604801}), 400, "invalid_request"},
	}
	for name, id := range map[string]string{"another account's key": theirs, "a revoked key": revoked, "no key": uuid.NewString()} {
		path := "/v1/api-keys/" + id
		list = append(list,
			wrong{"reading " + name, me.get(path), 404, "not_found"}, wrong{"changing " + name, me.patch(path, object{"name": "mine"}), 404, "not_found"},
			wrong{"rotating " + name, me.post(path+"/rotate", nil), 404, "not_found"})
		if id != revoked {
			list = append(list, wrong{"revoking " + name, me.del(path), 404, "not_found"})
		}
	}
	time.Sleep(time.Until(soon))
	list = append(list,
		wrong{"an expired key", by{key: short["secret"].(string)}.get("/v1/account"), 401, "api_key_expired"},
		wrong{"rotating an expired key", me.post("/v1/api-keys/"+short["id"].(string)+"/rotate", nil), 409, "conflict"})
	refuses(t, w, list)
}

// The free tier allows two live keys.
func TestAPIKeyLimit(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{})
	p := w.Person(t)
	id, _ := w.Key(t, p)
	w.Key(t, p)
	me := by{token: p.Token}
	third := me.post("/v1/api-keys", object{"name": "third"})
	w.Do(t, third).WantProblem(http.StatusForbidden, "limit_reached")
	w.Do(t, me.del("/v1/api-keys/"+id)).Want(http.StatusNoContent, nil)
	w.Do(t, third).Want(http.StatusCreated, nil)
}

func TestAPIKeyReplaysAndPages(t *testing.T) {
	t.Parallel()
	w := generous(t)
	me := by{token: w.Person(t).Token}
	made := decoded(t, replays(t, w, me.post("/v1/api-keys", object{"name": "once"}), http.StatusCreated, object{"name": "twice"}))
	if made["secret"] == nil {
		t.Error("the first answer has no secret")
	}
	path := "/v1/api-keys/" + made["id"].(string)
	replays(t, w, me.patch(path, object{"name": "renamed"}), http.StatusOK, object{"name": "again"})
	rotated := decoded(t, replays(t, w, me.post(path+"/rotate", object{"overlap_seconds": 1}), http.StatusCreated, object{"overlap_seconds": 2}))
	w.Do(t, me.del(path)).Want(http.StatusNoContent, nil)
	for range 4 {
		w.Do(t, me.post("/v1/api-keys", object{"name": "same"})).Want(http.StatusCreated, nil)
	}
	if rows := walk(t, w, me, "/v1/api-keys", 5); rows[4]["id"] != rotated["id"] {
		t.Errorf("newest first, so that %v is the last: %v", rotated["id"], rows)
	}
}
