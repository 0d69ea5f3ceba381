package httpapi_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"example.com/saaskit/internal/serve/servetest"
)

// A target is an operation with a JSON body, and a caller of its own who may call it: what one operation does to its caller
// does not shut the others out.
type target struct {
	operation
	schema *openapi3.SchemaRef
	who    by
	ids    map[string]string // of the path
	known  map[string]string
}

func (g target) request(body string) servetest.Request {
	path := g.path
	for name, id := range g.ids {
		path = strings.ReplaceAll(path, "{"+name+"}", id)
	}
	return g.who.request(g.method, path, body)
}

func targets(t testing.TB, w *servetest.World) []target {
	t.Helper()
	if _, err := w.Pool.Exec(t.Context(), "UPDATE tiers SET requests_per_minute = 1000000, burst = 100000, api_keys = 100000"); err != nil {
		t.Fatal(err)
	}
	var list []target
	for _, o := range operations(t) {
		if o.op.RequestBody == nil || o.op.RequestBody.Value.Content.Get("application/json") == nil || o.takes["stripe_signature"] {
			continue
		}
		p, victim := w.Admin(t), w.Person(t)
		keyID, key := w.Key(t, p, "account:read", "credits:read", "credits:write", "usage:read", "usage:write")
		g := target{operation: o, schema: o.op.RequestBody.Value.Content["application/json"].Schema, ids: map[string]string{"key_id": keyID, "user_id": victim.ID.String()}}
		g.known = map[string]string{
			"account_id": p.AccountID.String(), "tier": "pro", "interval": "month", "credit_pack": "small", "currency": "eur", "meter": "tokens",
			"success_url": "https://app.example.com/ok", "cancel_url": "https://app.example.com/no", "redirect_to": "https://app.example.com/in",
			"refresh_token": p.Session.RefreshToken, "password": "correct horse battery",
		}
		if g.id == "logIn" {
			g.known["email"] = p.Email
		}
		switch {
		case forUsers(o):
			g.who.token = p.Token
		case forKeys(o):
			g.who.key = key
		}
		list = append(list, g)
	}
	if len(list) < 15 {
		t.Fatalf("only %d operations have a JSON body: the fuzzer looks at the wrong thing", len(list))
	}
	slices.SortFunc(list, func(a, b target) int { return strings.Compare(a.id, b.id) })
	return list
}

// try sends a body. Whatever it is, the answer is no 5xx and as the document says, which Do holds it against.
func (g target) try(t *testing.T, w *servetest.World, body string) (status int) {
	t.Helper()
	res := w.Do(t, g.request(body))
	if res.Status >= 500 || t.Failed() {
		t.Errorf("%s answers %d %s to\n%s", g.id, res.Status, res.Body, body)
	}
	return res.Status
}

func (g target) body(seed uint64) string {
	r := rand.New(rand.NewPCG(seed, uint64(len(g.id)))) //nolint:gosec // the same bodies in each run
	wrong := 0.0
	if seed%2 == 1 {
		wrong = 0.15
	}
	return maker{Rand: r, wrong: wrong, known: g.known}.body(g.schema)
}

// Random bodies by the schema of each operation: half of them are wrong somewhere.
func TestRandomBodies(t *testing.T) {
	t.Parallel()
	const bodies = 60
	w := servetest.Start(t, servetest.Options{})
	// Nobody guesses a code, a refresh token works once, who signed out is out, who has no subscription cannot change it, and time
	// is real here.
	hard := []string{
		"verifyEmail", "refreshSession", "logOut", "previewSubscription", "updateSubscription", "cancelSubscription", "moveClock",
	}
	for _, g := range targets(t, w) {
		statuses := map[int]int{}
		for seed := range uint64(bodies) {
			statuses[g.try(t, w, g.body(seed))/100]++
		}
		if statuses[4] == 0 || statuses[2] == 0 && !slices.Contains(hard, g.id) {
			t.Errorf("%s: answers by class are %v: the bodies do not reach it, or are never wrong", g.id, statuses)
		}
	}
}

// FuzzBodies goes on from such bodies, led by the coverage of the whole server.
func FuzzBodies(f *testing.F) {
	w := servetest.Start(f, servetest.Options{})
	list := targets(f, w)
	for i, g := range list {
		for seed := range uint64(2) {
			f.Add(uint8(i), g.body(seed)) //nolint:gosec // there are far fewer
		}
	}
	f.Fuzz(func(t *testing.T, operation uint8, body string) {
		list[int(operation)%len(list)].try(t, w, body)
	})
}
