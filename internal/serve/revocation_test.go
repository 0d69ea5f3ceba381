package serve_test

import (
	"net/http"
	"testing"
	"time"

	"example.com/saaskit/internal/serve/servetest"
)

// promised is what the document promises: whoever asks later than this after the answer sees the change on every instance.
const promised = time.Second

// What is revoked through one server is refused by another within a second, with Redis and without.
func TestRevocationReachesOtherServers(t *testing.T) {
	t.Parallel()
	for name, redisGone := range map[string]bool{"with Redis": false, "without Redis": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := servetest.Start(t, servetest.Options{})
			other := w.Instance()
			cases := revocations(t, w)
			w.Redis.Empty() // for ten seconds nobody is cached who has just been made
			if redisGone {
				w.Redis.Stop()
			}
			for _, c := range cases { // the other server keeps a copy of each
				c.request.Base = other
				w.Do(t, c.request).Want(http.StatusOK, nil)
			}
			for _, c := range cases {
				c.revoke(t)
			}
			time.Sleep(promised)
			for _, c := range cases {
				for _, base := range []string{other, w.BaseURL} {
					c.request.Base = base
					if res := w.Do(t, c.request); res.Code() != c.code {
						t.Errorf("%s: a second later %s answers %d %s", c.name, base, res.Status, res.Body)
					}
				}
			}
		})
	}
}

type revocation struct {
	name    string
	request servetest.Request // answered with 200 before
	revoke  func(*testing.T)
	code    string
}

func revocations(t *testing.T, w *servetest.World) []revocation {
	t.Helper()
	get := func(path, token, key string) servetest.Request {
		return servetest.Request{Method: http.MethodGet, Path: path, Token: token, Key: key}
	}
	do := func(r servetest.Request, status int) func(*testing.T) {
		return func(t *testing.T) { w.Do(t, r).Want(status, nil) }
	}
	admin, owner, leaver, bad, gone := w.Admin(t), w.Person(t), w.Person(t), w.Person(t), w.Person(t)
	keyID, key := w.Key(t, owner, "account:read")
	_, badKey := w.Key(t, bad, "account:read")
	_, goneKey := w.Key(t, gone, "account:read")
	disable := do(servetest.Request{Method: http.MethodPatch, Path: "/v1/users/" + bad.ID.String(), Token: admin.Token, Body: map[string]any{"status": "disabled"}}, 200)
	remove := do(servetest.Request{Method: http.MethodDelete, Path: "/v1/users/me", Token: gone.Token}, 202)
	nothing := func(*testing.T) {} // the case before has done it
	return []revocation{
		{"a revoked key", get("/v1/account", "", key), do(servetest.Request{Method: http.MethodDelete, Path: "/v1/api-keys/" + keyID, Token: owner.Token}, 204), "invalid_api_key"},
		{"a session that was signed out", get("/v1/users/me", leaver.Token, ""),
			do(servetest.Request{Method: http.MethodPost, Path: "/v1/auth/logout", Token: leaver.Token}, 204), "session_revoked"},
		{"a disabled user", get("/v1/users/me", bad.Token, ""), disable, "user_disabled"},
		{"a disabled user's key", get("/v1/account", "", badKey), nothing, "user_disabled"},
		{"a deleted user", get("/v1/users/me", gone.Token, ""), remove, "user_deleted"},
		{"a deleted user's key", get("/v1/account", "", goneKey), nothing, "invalid_api_key"},
	}
}

// A paid tier holds on every server a second after the payment was stored.
func TestTierReachesOtherServers(t *testing.T) {
	t.Parallel()
	for name, redisGone := range map[string]bool{"with Redis": false, "without Redis": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := servetest.Start(t, servetest.Options{})
			other, p := w.Instance(), w.Person(t)
			if redisGone {
				w.Redis.Stop()
			}
			page := w.Checkout(t, p, servetest.Pro())
			tier := func(base string) string {
				var a struct{ Tier string }
				w.Do(t, servetest.Request{Method: http.MethodGet, Path: "/v1/account", Token: p.Token, Base: base}).Want(http.StatusOK, &a)
				return a.Tier
			}
			if got := tier(other); got != "free" {
				t.Fatalf("before the payment the tier is %s", got)
			}
			w.Pay(t, page)
			servetest.Eventually(t, 30*time.Second, func() bool { return active(t, w, p) }, "the subscription does not become active")
			time.Sleep(promised)
			for _, base := range []string{other, w.BaseURL} {
				if got := tier(base); got != "pro" {
					t.Errorf("a second later %s says that the tier is %s", base, got)
				}
			}
		})
	}
}

func active(t *testing.T, w *servetest.World, p servetest.Person) (yes bool) {
	t.Helper()
	err := w.Pool.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM subscriptions WHERE account_id = $1 AND status = 'active')", p.AccountID).Scan(&yes)
	if err != nil {
		t.Fatal(err)
	}
	return yes
}
