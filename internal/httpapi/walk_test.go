package httpapi_test

import (
	"maps"
	"net/http"
	"regexp"
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
	sensitive        bool
	params           openapi3.Parameters
}

func (o operation) public() bool { return len(o.takes) == 0 || o.takes["stripe_signature"] }

// takesAccount tells whether the operation works on the account of a header.
func (o operation) takesAccount() bool {
	return o.params.GetByInAndName("header", "Saaskit-Account") != nil
}

// ownership says of every path parameter whose thing it names. The walk fails on one that is not here.
var ownership = map[string]string{
	"{key_id}":     anAccounts,
	"{session_id}": anAccounts,
	"{user_id}":    anAdministrators,
	"{event_id}":   anAdministrators,
	"{tier}":       everybodys,
}

const (
	anAccounts       = "an account's: nobody else may see or change it"
	anAdministrators = "an administrator's to see, of all accounts"
	everybodys       = "everybody's"
)

var pathParameter = regexp.MustCompile(`\{[^}]+\}`)

// things are the operation's path parameters that name an account's thing.
func (o operation) things() (names []string) {
	for _, name := range pathParameter.FindAllString(o.path, -1) {
		if ownership[name] == anAccounts {
			names = append(names, name)
		}
	}
	return names
}

// request fills the path with the given ids, or with ids that nobody has.
func (o operation) request(ids map[string]string) servetest.Request {
	path := pathParameter.ReplaceAllStringFunc(o.path, func(name string) string {
		if id, given := ids[name]; given {
			return id
		}
		if name == "{tier}" {
			return "pro"
		}
		return uuid.NewString()
	})
	r := servetest.Request{Method: o.method, Path: path}
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
			o.sensitive, _ = op.Extensions["x-sensitive"].(bool)
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
	ids     map[string]string // for the path, in place of ids that nobody has
	body    map[string]any    // beside a good one
	want    map[string]int    // code and status
}

func refuse(name string, applies func(operation) bool, with func(servetest.Request) servetest.Request, want map[string]int) refusal {
	return refusal{name: name, applies: applies, with: with, want: want}
}

func withToken(token string) func(servetest.Request) servetest.Request {
	return func(r servetest.Request) servetest.Request { r.Token = token; return r }
}

func withKey(key string) func(servetest.Request) servetest.Request {
	return func(r servetest.Request) servetest.Request { r.Key = key; return r }
}

// withBody sends a body that the document has nothing against, so that nothing else is there to refuse.
func withBody(r servetest.Request, o operation, more map[string]any) servetest.Request {
	if o.op.RequestBody != nil {
		body := map[string]any{}
		maps.Copy(body, goodBodies[o.id])
		maps.Copy(body, more)
		r.Body = body
	}
	return r
}

// goodBodies are for operations that would refuse an empty object before they look at what it is about.
var goodBodies = map[string]map[string]any{
	"consumeCredits": {"amount": 1},
	"recordUsage":    {"events": []any{map[string]any{"id": "walk", "meter": "requests", "quantity": 1, "occurred_at": time.Now().UTC()}}},
	"updateAPIKey":   {"name": "mine now"},
	"updateUser":     {"status": "disabled"},
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
	w := generous(t)
	cases := refusals(t, w)
	before := counts(t, w)
	tried := map[string]int{}
	for _, o := range operations(t) {
		for _, c := range cases {
			if !c.applies(o) {
				continue
			}
			tried[c.name]++
			r := c.with(o.request(c.ids))
			if c.ids != nil || c.body != nil {
				r = withBody(r, o, c.body)
			}
			res := w.Do(t, r)
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

	othersThing := thingsOf(t, w, other)
	idle := w.ServiceKey(t, "worker")
	service := w.ServiceKey(t, "account", "admin", "authorize", "credits", "usage", "worker")
	ofAThing := func(o operation) bool { return len(o.things()) > 0 }
	namesAccount := func(o operation) bool {
		body := o.op.RequestBody
		if body == nil {
			return false
		}
		content := body.Value.Content.Get("application/json")
		return content != nil && content.Schema != nil && content.Schema.Value.Properties["account_id"] != nil
	}

	return []refusal{
		{name: "another account's thing", applies: ofAThing, with: withToken(good.Token), ids: othersThing,
			want: map[string]int{"not_found": 404, "account_forbidden": 403}}, // either says the same of what is not there
		{name: "another account's id in the body", applies: namesAccount, with: withKey(full),
			body: map[string]any{"account_id": other.AccountID}, want: map[string]int{"account_forbidden": 403}},
		{name: "the id of an account that is not there, from a service key", applies: namesAccount, with: withKey(service),
			body: map[string]any{"account_id": uuid.New()}, want: map[string]int{"account_forbidden": 403}},
		{name: "a service key without the scope", applies: func(o operation) bool { return o.takes["service_key"] && o.scope != "none" },
			with: withKey(idle), want: map[string]int{"insufficient_scope": 403}},
		{name: "a service key where users are wanted", applies: onlyUsers, with: withKey(service), want: map[string]int{"credential_not_allowed": 403}},
		{name: "a service key without an account", applies: func(o operation) bool {
			return o.takes["service_key"] && o.takesAccount() && o.scope != "none" && o.id != "getUsage" // which asks for its meter first
		}, with: withKey(service), body: map[string]any{}, want: map[string]int{"account_required": 400}},
		{name: "an expired key", applies: forKeys, with: withKey(expiredKey(t, w, good)), want: map[string]int{"api_key_expired": 401}},
		refuse("no credential", guarded, func(r servetest.Request) servetest.Request { return r }, map[string]int{"unauthenticated": 401}),
		refuse("an expired token", forUsers, withToken(expired), map[string]int{"token_expired": 401}),
		refuse("a token with a wrong signature", forUsers, withToken(forged), map[string]int{"invalid_token": 401}),
		refuse("alg none", forUsers, withToken(none), map[string]int{"invalid_token": 401}),
		refuse("the service_role token", forUsers, withToken(serviceRole), map[string]int{"invalid_token": 401}),
		refuse("no token at all after Bearer", guarded, withToken(" "), map[string]int{"unauthenticated": 401}),
		refuse("a token where keys are wanted", func(o operation) bool { return guarded(o) && !forUsers(o) }, withToken(good.Token), map[string]int{"credential_not_allowed": 403}),
		refuse("a mistyped key", forKeys, withKey(mistyped(full)), map[string]int{"invalid_api_key": 401}),
		refuse("a revoked key", forKeys, withKey(revoked), map[string]int{"invalid_api_key": 401}),
		refuse("a key without scopes", func(o operation) bool { return o.takes["api_key"] && o.scope != "none" }, withKey(bare), map[string]int{"insufficient_scope": 403}),
		refuse("a key where users are wanted", onlyUsers, withKey(full), map[string]int{"credential_not_allowed": 403}),
		refuse("an account's key where service keys are wanted", func(o operation) bool { return forKeys(o) && !o.takes["api_key"] }, withKey(full), map[string]int{"credential_not_allowed": 403}),
		refuse("another account's id", func(o operation) bool { return forUsers(o) && o.takesAccount() }, func(r servetest.Request) servetest.Request {
			return withHeader(withToken(good.Token)(r), "Saaskit-Account", other.AccountID.String())
		}, map[string]int{"account_forbidden": 403}),
		refuse("another account's id beside a key", func(o operation) bool { return o.takes["api_key"] && o.takesAccount() }, func(r servetest.Request) servetest.Request {
			return withHeader(withKey(full)(r), "Saaskit-Account", other.AccountID.String())
		}, map[string]int{"account_forbidden": 403}),
		refuse("somebody who is no administrator", func(o operation) bool { return o.admin }, withToken(good.Token), map[string]int{"admin_required": 403}),
		{name: "an administrator who was demoted", applies: func(o operation) bool { return o.admin && o.method != http.MethodGet },
			with: withToken(demoted(t, w)), body: map[string]any{}, want: map[string]int{"admin_required": 403}},
		refuse("a disabled user", forUsers, withToken(disabled(t, w).Token), map[string]int{"user_disabled": 403}),
		refuse("a disabled user's key", func(o operation) bool { return o.takes["api_key"] }, withKey(keyOfDisabled(t, w)), map[string]int{"account_closed": 403, "user_disabled": 403, "invalid_api_key": 401}),
		refuse("a deleted user", forUsers, withToken(deleted(t, w)), map[string]int{"user_deleted": 403}),
		refuse("a session that was signed out", forUsers, withToken(signedOut(t, w)), map[string]int{"session_revoked": 401}),
	}
}

// thingsOf makes one of each thing that an account may have, and returns their ids.
func thingsOf(t *testing.T, w *servetest.World, p servetest.Person) map[string]string {
	t.Helper()
	keyID, _ := w.Key(t, p, "credits:read")
	var session struct{ ID string }
	w.Do(t, servetest.Request{Method: http.MethodPost, Path: "/v1/billing/checkout-sessions", Token: p.Token, Body: servetest.Pro()}).
		Want(http.StatusCreated, &session)
	ids := map[string]string{"{key_id}": keyID, "{session_id}": session.ID}
	for name, whose := range ownership {
		if whose == anAccounts && ids[name] == "" {
			t.Errorf("there is no thing of another account for %s", name)
		}
	}
	return ids
}

// TestEveryPathParameterHasAnOwner keeps the walk from passing by an operation that works on what belongs to somebody.
func TestEveryPathParameterHasAnOwner(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, o := range operations(t) {
		for _, name := range pathParameter.FindAllString(o.path, -1) {
			seen[name] = true
			switch whose := ownership[name]; {
			case whose == "":
				t.Errorf("%s: %s is missing from ownership", o.id, name)
			case whose == anAdministrators && !o.admin:
				t.Errorf("%s: %s is for administrators, and the operation is for everybody", o.id, name)
			case whose == anAccounts && o.public():
				t.Errorf("%s: %s belongs to an account, and the operation is public", o.id, name)
			}
		}
	}
	for name := range ownership {
		if !seen[name] {
			t.Errorf("no operation has %s", name)
		}
	}
}

// demoted is an administrator whose token says so still.
func demoted(t *testing.T, w *servetest.World) string {
	t.Helper()
	p := w.Admin(t)
	if err := w.Supabase.SetAppMetadata(p.Subject, map[string]any{"saaskit_role": nil}); err != nil {
		t.Fatal(err)
	}
	return p.Token
}

// expiredKey makes a key and lets its time pass. Nobody has seen it yet, so it is in no cache.
func expiredKey(t *testing.T, w *servetest.World, p servetest.Person) string {
	t.Helper()
	id, key := w.Key(t, p, "account:read", "credits:read", "credits:write", "usage:read", "usage:write")
	if _, err := w.Pool.Exec(t.Context(), "UPDATE api_keys SET created_at = created_at - interval '1 hour', expires_at = now() - interval '1 minute' WHERE id = $1", id); err != nil {
		t.Fatal(err)
	}
	return key
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

func disabled(t *testing.T, w *servetest.World) servetest.Person {
	t.Helper()
	p := w.Person(t)
	disable(t, w, p)
	return p
}

func keyOfDisabled(t *testing.T, w *servetest.World) string {
	t.Helper()
	p := w.Person(t)
	_, key := w.Key(t, p, "account:read", "credits:read", "credits:write", "usage:read", "usage:write")
	disable(t, w, p)
	return key
}

func disable(t *testing.T, w *servetest.World, p servetest.Person) {
	t.Helper()
	admin := w.Admin(t)
	w.Do(t, servetest.Request{Method: http.MethodPatch, Path: "/v1/users/" + p.ID.String(), Token: admin.Token, Body: map[string]any{"status": "disabled"}}).
		Want(http.StatusOK, nil)
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

// counts tells how many rows there are of what an operation could have made or changed. What Stripe's events write into the audit log
// comes in its own time.
func counts(t *testing.T, w *servetest.World) string {
	t.Helper()
	var text string
	err := w.Pool.QueryRow(t.Context(), `SELECT concat_ws(' ',
		(SELECT count(*) FROM users), (SELECT count(*) FROM accounts), (SELECT count(*) FROM api_keys),
		(SELECT count(*) FROM api_keys WHERE revoked_at IS NULL), (SELECT count(*) FROM checkout_attempts),
		(SELECT count(*) FROM credit_entries WHERE kind = 'consume'), (SELECT count(*) FROM usage_events), (SELECT count(*) FROM idempotency_keys),
		(SELECT count(*) FROM audit_log WHERE actor_kind NOT IN ('system', 'stripe')), (SELECT count(*) FROM revoked_sessions))`).Scan(&text)
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
		r := o.request(nil)
		switch {
		case o.takes["stripe_signature"]:
			r.Body = "{}"
			w.Do(t, r).WantProblem(http.StatusBadRequest, "invalid_signature")
			continue
		case forUsers(o):
			r.Token = admin.Token
		case o.takes["api_key"]:
			r.Key = key
		default:
			r.Key = w.ServiceKey(t, "account", "admin", "authorize", "credits", "usage", "worker")
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

// TestSensitiveOperationsWantASecondFactor walks over what the document marks as sensitive, where the operator asks for aal2.
func TestSensitiveOperationsWantASecondFactor(t *testing.T) {
	t.Parallel()
	w := generousWith(t, map[string]string{"REQUIRE_AAL2": "true"})
	p := w.Person(t)
	claims := w.Supabase.Claims(p.Subject)
	claims["aal"] = "aal2"
	stronger := w.Supabase.MintHS256("", claims)
	sensitive := 0
	for _, o := range operations(t) {
		if !o.sensitive {
			continue
		}
		sensitive++
		w.Do(t, withToken(p.Token)(o.request(nil))).WantProblem(http.StatusForbidden, "aal2_required")
		if o.id == "deleteMe" {
			continue // it would work
		}
		if res := w.Do(t, withToken(stronger)(o.request(nil))); res.Code() == "aal2_required" {
			t.Errorf("%s is refused with a second factor as well", o.id)
		}
	}
	if sensitive < 5 {
		t.Errorf("only %d operations are sensitive", sensitive)
	}
	w.Do(t, servetest.Request{Method: http.MethodGet, Path: "/v1/users/me", Token: p.Token}).Want(http.StatusOK, nil)
}
