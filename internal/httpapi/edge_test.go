package httpapi_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/saaskit/internal/serve/servetest"
)

// Requests that are wrong in ways the document alone does not show. None of them may change anything or end in a 5xx.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	w := generous(t)
	p := w.Person(t)
	_, key := w.Key(t, p, "credits:write", "usage:write")
	post := func(path, body string, header ...string) servetest.Request {
		r := servetest.Request{Method: http.MethodPost, Path: path, Body: body, Key: key, Header: map[string]string{}}
		for i := 0; i < len(header); i += 2 {
			r.Header[header[i]] = header[i+1]
		}
		return r
	}
	consume := "/v1/credits/consume"
	nulCursor := base64.RawURLEncoding.EncodeToString([]byte(`{"t":"9999-12-31T00:00:00Z","i":"\u0000"}`))
	tests := []struct {
		name   string
		req    servetest.Request
		status int
		code   string
	}{
		{"no such path", servetest.Request{Method: http.MethodGet, Path: "/v1/nothing"}, 404, "not_found"},
		{"wrong method", servetest.Request{Method: http.MethodPut, Path: "/v1/tiers"}, 405, "method_not_allowed"},
		{"slash at the end", post("/v1/webhooks/stripe/", "{}"), 404, "not_found"},
		{"no JSON", post(consume, `{"amount":`), 400, "invalid_request"},
		{"more after the JSON", post(consume, `{"amount":1} {"amount":2}`), 400, "invalid_request"},
		{"a member in other case", post(consume, `{"amount":1,"AMOUNT":5000}`), 400, "invalid_request"},
		{"a number that is too large", post(consume, `{"amount":9223372036854775808}`), 400, "invalid_request"},
		{"a fraction", post(consume, `{"amount":1.5}`), 400, "invalid_request"},
		{"an amount of zero", post(consume, `{"amount":0}`), 400, "invalid_request"},
		{"text in place of a number", post(consume, `{"amount":"1"}`), 400, "invalid_request"},
		{"a form", post(consume, `amount=1`, "Content-Type", "application/x-www-form-urlencoded"), 415, "unsupported_media_type"},
		{"a compressed body", post(consume, `{"amount":1}`, "Content-Encoding", "gzip"), 415, "unsupported_media_type"},
		{"too much", post(consume, `{"amount":1,"description":"`+strings.Repeat("x", 70<<10)+`"}`), 413, "payload_too_large"},
		{"an Idempotency-Key with a space", post(consume, `{"amount":1}`, "Idempotency-Key", "a b"), 400, "invalid_request"},
		{"an Idempotency-Key that is too long", post(consume, `{"amount":1}`, "Idempotency-Key", strings.Repeat("k", 256)), 400, "invalid_request"},
		{"an account that is no UUID", post(consume, `{"amount":1}`, "Saaskit-Account", "me"), 400, "invalid_request"},
		{"a limit out of range", servetest.Request{Method: http.MethodGet, Path: "/v1/invoices?limit=101", Token: p.Token}, 400, "invalid_request"},
		{"a cursor of our form but not ours", servetest.Request{Method: http.MethodGet, Path: "/v1/invoices?cursor=e30", Token: p.Token}, 400, "invalid_cursor"},
		{"a cursor that is no cursor", servetest.Request{Method: http.MethodGet, Path: "/v1/credits/transactions?cursor=%25%25", Token: p.Token}, 400, "invalid_cursor"},
		{"a bad id in the path", servetest.Request{Method: http.MethodGet, Path: "/v1/api-keys/x", Token: p.Token}, 400, "invalid_request"},
		{"a cursor with a NUL", servetest.Request{Method: http.MethodGet, Path: "/v1/invoices?cursor=" + nulCursor, Token: p.Token}, 400, "invalid_cursor"},
		{"a time that is in another year in UTC", servetest.Request{Method: http.MethodPost, Path: "/v1/api-keys", Token: p.Token,
			Body: `{"name":"x","scopes":["credits:read"],"expires_at":"9999-12-31T23:59:59-12:00"}`}, 400, "invalid_request"},
		{"a query that cannot be read", servetest.Request{Method: http.MethodGet, Path: "/v1/invoices?a;b=1", Token: p.Token}, 400, "invalid_request"},
		{"two credentials", servetest.Request{Method: http.MethodGet, Path: "/v1/account", Token: p.Token, Key: key}, 400, "invalid_request"},
		{"no such tier", servetest.Request{Method: http.MethodGet, Path: "/v1/tiers/platinum"}, 404, "not_found"},
		{"a NUL in a text", post(consume, `{"amount":1,"description":"a\u0000b"}`), 400, "invalid_request"},
	}
	before := counts(t, w)
	for _, tt := range tests {
		w.Do(t, tt.req).WantProblem(tt.status, tt.code)
	}
	if after := counts(t, w); after != before {
		t.Errorf("bad requests have changed the database: %s, then %s", before, after)
	}
}

// A number is what it is, however it is written; one that is refused is refused at its place, and not in the words of Go.
func TestNumbers(t *testing.T) {
	t.Parallel()
	w := generous(t)
	p := w.Person(t)
	w.Buy(t, p, servetest.SmallPack())
	_, key := w.Key(t, p, "credits:write")
	for text, want := range map[string]float64{
		"1": 1, "1.0": 1, "1e0": 1, "10E-1": 1, "0.1e1": 1, "2.50e+1": 25, "1.000000000000000000000000": 1,
	} {
		res := w.Do(t, by{key: key}.post("/v1/credits/consume", `{"amount":`+text+`}`))
		if res.Status != http.StatusOK || decoded(t, res)["amount"] != want {
			t.Errorf("%s: answered %d %s, want %v", text, res.Status, res.Body, want)
		}
	}
	// This is more than there is, and no bad request.
	w.Do(t, by{key: key}.post("/v1/credits/consume", `{"amount":1e12}`)).WantProblem(http.StatusPaymentRequired, "insufficient_credits")
	for _, text := range []string{
		"1.5", "-1.0", "0.0", "0e999999999999999999999", "1e13", "1e400", "-1e400", "1e999999999999999999999", "1e-1", "1e-400", "1e-999999999999999999999",
		"1.0000000000000000001", "9007199254740993.5", "9223372036854775807", "9223372036854775808", "9223372036854775808.0", "1e19", "123456789012345678901234567890",
	} {
		res := w.Do(t, by{key: key}.post("/v1/credits/consume", `{"amount":`+text+`}`)).WantProblem(http.StatusBadRequest, "invalid_request")
		var problem struct {
			Errors []struct{ Location, Message string }
		}
		res.Want(http.StatusBadRequest, &problem)
		if len(problem.Errors) == 0 || problem.Errors[0].Location != "body.amount" {
			t.Errorf("%s: the place is not told: %s", text, res.Body)
		}
		for _, of := range []string{"json.", "float", "strconv"} {
			if strings.Contains(string(res.Body), of) {
				t.Errorf("%s: the problem speaks Go: %s", text, res.Body)
			}
		}
	}
}

// What may come once and comes twice is refused: which of the two counts would be anybody's guess.
func TestComesTwice(t *testing.T) {
	t.Parallel()
	w := generous(t)
	p, other := w.Person(t), w.Person(t)
	_, key := w.Key(t, p, "account:read", "credits:write", "usage:read")
	_, second := w.Key(t, other, "account:read")
	tests := []struct {
		name     string
		req      servetest.Request
		header   string
		values   []string
		location string
	}{
		{"a time", by{key: key}.get("/v1/usage?meter=requests&from=2026-01-01T00:00:00Z&from=2026-02-01T00:00:00Z"), "", nil, "query.from"},
		{"a limit", by{token: p.Token}.get("/v1/invoices?limit=1&limit=1"), "", nil, "query.limit"},
		{"a key", by{}.get("/v1/account"), "X-API-Key", []string{key, second}, "header.X-API-Key"},
		{"a token", by{}.get("/v1/account"), "Authorization", []string{"Bearer " + p.Token, "Bearer " + other.Token}, "header.Authorization"},
		{"an account", by{token: p.Token}.get("/v1/account"), "Saaskit-Account", []string{p.AccountID.String(), other.AccountID.String()}, "header.Saaskit-Account"},
		{"an Idempotency-Key", by{key: key}.post("/v1/credits/consume", object{"amount": 1}), "Idempotency-Key", []string{"a", "b"}, "header.Idempotency-Key"},
	}
	for _, tt := range tests {
		tt.req.More = http.Header{tt.header: tt.values}
		res := w.Do(t, tt.req).WantProblem(http.StatusBadRequest, "invalid_request")
		if !strings.Contains(strings.ToLower(string(res.Body)), `"location":"`+strings.ToLower(tt.location)+`"`) {
			t.Errorf("%s: the place is not told: %s", tt.name, res.Body)
		}
	}
}

// Every POST and PATCH that changes something of a customer's takes an Idempotency-Key, as the document says of itself. A wrapper may
// send one with the others, too.
func TestIdempotencyKeyWhereItMatters(t *testing.T) {
	t.Parallel()
	without := []string{
		"createPortalSession", // each is another address, and none is kept
		"moveClock",           // to a moment, which is idempotent by itself
		"previewSubscription", // changes nothing
		"receiveStripeEvent",  // the event has an id
	}
	var got []string
	for _, o := range operations(t) {
		changes := o.method == http.MethodPost || o.method == http.MethodPatch
		if changes && !strings.HasPrefix(o.path, "/v1/auth/") && o.params.GetByInAndName("header", "Idempotency-Key") == nil {
			got = append(got, o.id)
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(without, got); diff != "" {
		t.Errorf("operations without a key (-want +got):\n%s", diff)
	}
	w := servetest.Start(t, servetest.Options{})
	me := by{token: w.Person(t).Token}.with("Idempotency-Key", "a")
	w.Do(t, me.get("/v1/users/me")).Want(http.StatusOK, nil)
	w.Do(t, me.post("/v1/billing/portal-sessions", object{"return_url": "https://app.example.com/"})).Want(http.StatusCreated, nil)
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{})
	get := servetest.Request{Method: http.MethodGet, Path: "/v1/tiers"}

	get.Header = map[string]string{"X-Request-Id": "mine_1-A"}
	if got := w.Do(t, get).Want(200, nil).Header.Get("X-Request-Id"); got != "mine_1-A" {
		t.Errorf("our request id is not taken: %q", got)
	}
	get.Header = map[string]string{"X-Request-Id": "not ours\"}"}
	if got := w.Do(t, get).Want(200, nil).Header.Get("X-Request-Id"); got == "" || strings.Contains(got, " ") {
		t.Errorf("a bad request id is taken: %q", got)
	}
	res := w.Do(t, get)
	for _, name := range []string{"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"} {
		if res.Header.Get(name) == "" {
			t.Errorf("%s is missing", name)
		}
	}
	if allow := w.Do(t, servetest.Request{Method: http.MethodGet, Path: "/v1/webhooks/stripe"}).WantProblem(405, "method_not_allowed").Header.Get("Allow"); !strings.Contains(allow, "POST") {
		t.Errorf("Allow is %q", allow)
	}
	preflight := servetest.Request{Method: http.MethodOptions, Path: "/v1/credits/consume", Header: map[string]string{
		"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "idempotency-key",
	}}
	allowed := w.Do(t, preflight)
	if allowed.Status != http.StatusNoContent || allowed.Header.Get("Access-Control-Allow-Origin") != "https://app.example.com" ||
		!strings.Contains(allowed.Header.Get("Access-Control-Allow-Headers"), "Idempotency-Key") || allowed.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("the front end's origin: %d %v", allowed.Status, allowed.Header)
	}
	preflight.Header["Origin"] = "https://evil.example.com"
	if got := w.Do(t, preflight).Header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("another origin is allowed as %q", got)
	}
	forwarded := servetest.Request{Method: http.MethodGet, Path: "/v1/tiers", Header: map[string]string{"X-Forwarded-For": "203.0.113.9"}}
	w.Do(t, forwarded)
	if len(w.Log.Lines("203.0.113.9")) > 0 {
		t.Error("X-Forwarded-For of anybody is believed")
	}
}

// The type of a problem leads to what docs/problems.md says of it, and only that.
func TestTheTypeOfAProblemLeadsToItsParagraph(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{})
	var p struct{ Type string }
	refusal := w.Do(t, servetest.Request{Method: http.MethodGet, Path: "/v1/tiers/platinum"})
	if err := json.Unmarshal(refusal.Body, &p); err != nil {
		t.Fatal(err)
	}
	page := w.Do(t, servetest.Request{Method: http.MethodGet, Path: p.Type}).Want(http.StatusOK, nil)
	text := string(page.Body)
	if !strings.HasPrefix(text, "# `not_found` (404)\n") || !strings.Contains(text, "There is no such thing") || strings.Contains(text, "method_not_allowed") {
		t.Errorf("%s answers %q", p.Type, text)
	}
	w.Do(t, servetest.Request{Method: http.MethodGet, Path: "/problems/nonsense"}).WantProblem(http.StatusNotFound, "not_found")
}

// Test routes are for development: elsewhere they are not there, whoever asks.
func TestRoutesForDevelopmentAreHidden(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{Env: map[string]string{"DEV_MODE": "false"}})
	p := w.Person(t)
	for _, path := range []string{"/v1/test/public", "/v1/test/authenticated", "/v1/test/api-key"} {
		w.Do(t, servetest.Request{Method: http.MethodGet, Path: path, Token: p.Token}).WantProblem(404, "not_found")
	}
	move := servetest.Request{Method: http.MethodPost, Path: "/v1/test/clock", Key: w.ServiceKey(t, "admin"), Body: map[string]any{"seconds": 1}}
	w.Do(t, move).WantProblem(404, "not_found")
}

// No secret of a request or an answer may be in the log, whatever the level.
func TestSecretsAreNotLogged(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{})
	p := w.Person(t)
	_, key := w.Key(t, p, "credits:write")
	w.Do(t, servetest.Request{Method: http.MethodPost, Path: "/v1/auth/login", Body: map[string]any{"email": p.Email, "password": "hunter2-hunter2"}})
	w.Do(t, servetest.Request{Method: http.MethodPost, Path: "/v1/auth/refresh", Body: map[string]any{"refresh_token": p.Session.RefreshToken}})
	w.Do(t, servetest.Request{Method: http.MethodPost, Path: "/v1/credits/consume", Key: key, Body: map[string]any{"amount": 1}})
	w.Do(t, servetest.Request{Method: http.MethodPost, Path: "/v1/credits/consume", Key: mistyped(key), Body: map[string]any{"amount": 1}})
	text := w.Log.String()
	if !strings.Contains(text, "consumeCredits") {
		t.Fatal("requests are not logged: the test looks at the wrong thing")
	}
	for name, secret := range map[string]string{
		"the access token": p.Token, "the refresh token": p.Session.RefreshToken, "the API key": key, "a mistyped key": mistyped(key),
		"a password": "hunter2-hunter2", "the JWT secret": servetest.JWTSecret, "the webhook secret": servetest.WebhookSecret,
		"the Stripe key": servetest.StripeKey,
	} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is in the log", name)
		}
	}
}
