package httpapi_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"example.com/saaskit/internal/serve/servetest"
)

// An operation of the document, as the walk needs it.
type operation struct {
	id, method, path string
	op               *openapi3.Operation
	takes            map[string]bool
	scope            string
	admin            bool
	params           openapi3.Parameters
}

func (o operation) public() bool { return len(o.takes) == 0 || o.takes["stripe_signature"] }

// takesAccount tells whether the operation works on the account of a header.
func (o operation) takesAccount() bool {
	return o.params.GetByInAndName("header", "Saaskit-Account") != nil
}

// request fills the path with ids that nobody has. A refusal must come before any of it is looked at.
func (o operation) request() servetest.Request {
	path := regexp.MustCompile(`\{[^}]+_id\}`).ReplaceAllString(o.path, uuid.NewString())
	r := servetest.Request{Method: o.method, Path: strings.ReplaceAll(path, "{tier}", "pro")}
	if o.op.RequestBody != nil {
		r.Body = map[string]any{}
	}
	return r
}

func operations(t testing.TB) []operation {
	t.Helper()
	var list []operation
	for path, item := range servetest.Document(t).Paths.Map() {
		for method, op := range item.Operations() {
			o := operation{id: op.OperationID, method: method, path: path, op: op, takes: map[string]bool{}}
			o.params = append(append(o.params, item.Parameters...), op.Parameters...)
			for _, requirement := range *op.Security {
				for name := range requirement {
					o.takes[name] = true
				}
			}
			o.scope, _ = op.Extensions["x-scope"].(string)
			o.admin, _ = op.Extensions["x-admin"].(bool)
			list = append(list, o)
		}
	}
	if len(list) < 35 {
		t.Fatalf("the document has only %d operations: the walk looks at the wrong thing", len(list))
	}
	return list
}

// refusal is one way in which a caller is not who they should be.
type refusal struct {
	name    string
	applies func(operation) bool
	with    func(servetest.Request) servetest.Request
	want    map[string]int // code and status
}

func withToken(token string) func(servetest.Request) servetest.Request {
	return func(r servetest.Request) servetest.Request { r.Token = token; return r }
}

func withKey(key string) func(servetest.Request) servetest.Request {
	return func(r servetest.Request) servetest.Request { r.Key = key; return r }
}

func withHeader(r servetest.Request, name, value string) servetest.Request {
	r.Header = map[string]string{name: value}
	return r
}

func guarded(o operation) bool  { return !o.public() }
func forUsers(o operation) bool { return o.takes["user"] }
func onlyUsers(o operation) bool {
	return o.takes["user"] && !o.takes["api_key"] && !o.takes["service_key"]
}
func forKeys(o operation) bool { return o.takes["api_key"] || o.takes["service_key"] }

// TestEveryOperationRefuses walks over the document: each operation times each way to be refused. A new operation is covered
// the moment it is in the document.
func TestEveryOperationRefuses(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{})
	cases := refusals(t, w)
	before := counts(t, w)
	tried := map[string]int{}
	for _, o := range operations(t) {
		for _, c := range cases {
			if !c.applies(o) {
				continue
			}
			tried[c.name]++
			res := w.Do(t, c.with(o.request()))
			if status, ok := c.want[res.Code()]; !ok || status != res.Status {
				t.Errorf("%s with %s: answered %d %s", o.id, c.name, res.Status, res.Body)
			}
		}
	}
	for _, c := range cases {
		if tried[c.name] == 0 {
			t.Errorf("no operation was tried with %s", c.name)
		}
	}
	if after := counts(t, w); after != before {
		t.Errorf("refusals have changed the database: %s, then %s", before, after)
	}
}

func refusals(t *testing.T, w *servetest.World) []refusal {
	t.Helper()
	good, other := w.Person(t), w.Person(t)
	claims := func(change func(map[string]any)) string {
		c := w.Supabase.Claims(good.Subject)
		change(c)
		return w.Supabase.MintHS256("", c)
	}
	expired := claims(func(c map[string]any) { c["exp"] = time.Now().Add(-time.Minute).Unix() })
	serviceRole := w.Supabase.ServiceRoleKey()
	forged := supabaseForged(w, good.Subject)
	none := supabaseNone(w, good.Subject)

	_, bare := w.Key(t, good)
	revokedID, revoked := w.Key(t, good, "account:read", "credits:read", "credits:write", "usage:read", "usage:write")
	w.Do(t, servetest.Request{Method: http.MethodDelete, Path: "/v1/api-keys/" + revokedID, Token: good.Token}).Want(http.StatusNoContent, nil)
	_, full := w.Key(t, good, "account:read", "credits:read", "credits:write", "usage:read", "usage:write")

	return []refusal{
		{"no credential", guarded, func(r servetest.Request) servetest.Request { return r }, map[string]int{"unauthenticated": 401}},
		{"an expired token", forUsers, withToken(expired), map[string]int{"token_expired": 401}},
		{"a token with a wrong signature", forUsers, withToken(forged), map[string]int{"invalid_token": 401}},
		{"alg none", forUsers, withToken(none), map[string]int{"invalid_token": 401}},
		{"the service_role token", forUsers, withToken(serviceRole), map[string]int{"invalid_token": 401}},
		{"no token at all after Bearer", guarded, withToken(" "), map[string]int{"unauthenticated": 401}},
		{"a token where keys are wanted", func(o operation) bool { return guarded(o) && !forUsers(o) }, withToken(good.Token), map[string]int{"credential_not_allowed": 403}},
		{"a mistyped key", forKeys, withKey(mistyped(full)), map[string]int{"invalid_api_key": 401}},
		{"a revoked key", forKeys, withKey(revoked), map[string]int{"invalid_api_key": 401}},
		{"a key without scopes", func(o operation) bool { return o.takes["api_key"] && o.scope != "none" }, withKey(bare), map[string]int{"insufficient_scope": 403}},
		{"a key where users are wanted", onlyUsers, withKey(full), map[string]int{"credential_not_allowed": 403}},
		{"an account's key where service keys are wanted", func(o operation) bool { return forKeys(o) && !o.takes["api_key"] }, withKey(full), map[string]int{"credential_not_allowed": 403}},
		{"another account's id", func(o operation) bool { return forUsers(o) && o.takesAccount() }, func(r servetest.Request) servetest.Request {
			return withHeader(withToken(good.Token)(r), "Saaskit-Account", other.AccountID.String())
		}, map[string]int{"account_forbidden": 403}},
		{"another account's id beside a key", func(o operation) bool { return o.takes["api_key"] && o.takesAccount() }, func(r servetest.Request) servetest.Request {
			return withHeader(withKey(full)(r), "Saaskit-Account", other.AccountID.String())
		}, map[string]int{"account_forbidden": 403}},
		{"somebody who is no administrator", func(o operation) bool { return o.admin }, withToken(good.Token), map[string]int{"admin_required": 403}},
		{"a disabled user", forUsers, withToken(disabled(t, w)), map[string]int{"user_disabled": 403}},
		{"a deleted user", forUsers, withToken(deleted(t, w)), map[string]int{"user_deleted": 403}},
		{"a session that was signed out", forUsers, withToken(signedOut(t, w)), map[string]int{"session_revoked": 401}},
	}
}

func supabaseForged(w *servetest.World, subject string) string {
	return mintWith(jwt.SigningMethodHS256, w.Supabase.Claims(subject), []byte("another secret, also with 32 characters or more"))
}

func supabaseNone(w *servetest.World, subject string) string {
	return mintWith(jwt.SigningMethodNone, w.Supabase.Claims(subject), jwt.UnsafeAllowNoneSignatureType)
}

func mintWith(method jwt.SigningMethod, claims map[string]any, key any) string {
	token, err := jwt.NewWithClaims(method, jwt.MapClaims(claims)).SignedString(key)
	if err != nil {
		panic(err) // a mistake of the test
	}
	return token
}

// mistyped changes one character in the middle of a key.
func mistyped(key string) string {
	i := len(key) / 2
	c := byte('a')
	if key[i] == c {
		c = 'b'
	}
	return key[:i] + string(c) + key[i+1:]
}

func disabled(t *testing.T, w *servetest.World) string {
	t.Helper()
	admin, p := w.Admin(t), w.Person(t)
	w.Do(t, servetest.Request{Method: http.MethodPatch, Path: "/v1/users/" + p.ID.String(), Token: admin.Token, Body: map[string]any{"status": "disabled"}}).
		Want(http.StatusOK, nil)
	return p.Token
}

func deleted(t *testing.T, w *servetest.World) string {
	t.Helper()
	p := w.Person(t)
	w.Do(t, servetest.Request{Method: http.MethodDelete, Path: "/v1/users/me", Token: p.Token}).Want(http.StatusAccepted, nil)
	deadline := time.Now().Add(15 * time.Second)
	for time.Now().Before(deadline) {
		var status string
		if err := w.Pool.QueryRow(t.Context(), "SELECT status FROM users WHERE id = $1", p.ID).Scan(&status); err != nil {
			t.Fatal(err)
		}
		if status == "deleted" {
			return p.Token
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the deletion does not finish")
	return ""
}

func signedOut(t *testing.T, w *servetest.World) string {
	t.Helper()
	p := w.Person(t)
	w.Do(t, servetest.Request{Method: http.MethodPost, Path: "/v1/auth/logout", Token: p.Token}).Want(http.StatusNoContent, nil)
	return p.Token
}

// counts tells how many rows there are of what an operation could have made or changed.
func counts(t *testing.T, w *servetest.World) string {
	t.Helper()
	var text string
	err := w.Pool.QueryRow(t.Context(), `SELECT concat_ws(' ',
		(SELECT count(*) FROM users), (SELECT count(*) FROM accounts), (SELECT count(*) FROM api_keys),
		(SELECT count(*) FROM api_keys WHERE revoked_at IS NULL), (SELECT count(*) FROM checkout_attempts),
		(SELECT count(*) FROM credit_entries WHERE kind = 'consume'), (SELECT count(*) FROM usage_events), (SELECT count(*) FROM idempotency_keys),
		(SELECT count(*) FROM audit_log), (SELECT count(*) FROM revoked_sessions))`).Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestEveryOperationValidates sends one invalid request for each operation: the validator must be attached to all of them.
func TestEveryOperationValidates(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{})
	for _, o := range operations(t) {
		admin := w.Admin(t) // one each, for all of them together meet the limit of the free tier
		_, key := w.Key(t, admin, "account:read", "credits:read", "credits:write", "usage:read", "usage:write")
		r := o.request()
		switch {
		case o.takes["stripe_signature"]:
			r.Body = "{}"
			w.Do(t, r).WantProblem(http.StatusBadRequest, "invalid_signature")
			continue
		case forUsers(o):
			r.Token = admin.Token
		case forKeys(o):
			r.Key = key
		}
		if o.op.RequestBody == nil {
			r.Path += "?no_such_parameter=1"
		} else {
			r.Body = map[string]any{"no_such_property": true}
		}
		if res := w.Do(t, r); res.Status != http.StatusBadRequest || res.Code() != "invalid_request" {
			t.Errorf("%s takes an invalid request: %d %s", o.id, res.Status, res.Body)
		}
	}
}
