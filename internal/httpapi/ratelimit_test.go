package httpapi_test

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"example.com/saaskit/internal/serve/servetest"
)

// An account has what its tier allows, and no other account pays for it.
func TestRequestsOfAnAccountAreLimited(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{})
	if _, err := w.Pool.Exec(t.Context(), "UPDATE tiers SET requests_per_minute = 1, burst = 5"); err != nil {
		t.Fatal(err)
	}
	p, other := w.Person(t), w.Person(t)
	get := func(p servetest.Person) servetest.Response {
		return w.Do(t, servetest.Request{Method: http.MethodGet, Path: "/v1/account", Token: p.Token})
	}
	for i := range 20 {
		res := get(p)
		if res.Header.Get("RateLimit-Limit") != "5" {
			t.Fatalf("RateLimit-Limit is %q", res.Header.Get("RateLimit-Limit"))
		}
		if res.Status == http.StatusOK && i < 5 {
			continue
		}
		res.WantProblem(http.StatusTooManyRequests, "rate_limited")
		if wait, err := strconv.Atoi(res.Header.Get("Retry-After")); err != nil || wait < 1 || wait > 60 || res.Header.Get("RateLimit-Remaining") != "0" {
			t.Errorf("Retry-After %q, RateLimit-Remaining %q", res.Header.Get("Retry-After"), res.Header.Get("RateLimit-Remaining"))
		}
		get(other).Want(http.StatusOK, nil)
		return
	}
	t.Error("20 requests were let through, where 5 are allowed")
}

// logIns counts how many of ten sign-ins were let through to Supabase, which refuses them. header and email get their number.
func logIns(t *testing.T, w *servetest.World, forwarded, email func(int) string) (through int) {
	t.Helper()
	for i := range 10 {
		res := w.Do(t, servetest.Request{
			Method: http.MethodPost, Path: "/v1/auth/login", Header: map[string]string{"X-Forwarded-For": forwarded(i)},
			Body: map[string]any{"email": email(i), "password": "wrong password"},
		})
		switch res.Code() {
		case "invalid_credentials":
			through++
		case "rate_limited":
		default:
			t.Fatalf("answered %d %s", res.Status, res.Body)
		}
	}
	return through
}

// A change of the address makes Supabase send a mail to the new one, whosever it is.
func TestChangesOfTheAddressAreLimited(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{Env: map[string]string{"AUTH_PER_MINUTE": "3", "TRUSTED_PROXIES": "127.0.0.0/8"}})
	p := w.Person(t)
	began, through := time.Now(), 0
	for i := range 10 {
		res := w.Do(t, servetest.Request{
			Method: http.MethodPatch, Path: "/v1/auth/user", Token: p.Token, Header: map[string]string{"X-Forwarded-For": fmt.Sprintf("203.0.113.%d", i)},
			Body: map[string]any{"email": []string{"ana@example.com", "Ana@example.com"}[i%2]},
		})
		if res.Code() != "rate_limited" {
			through++
		}
	}
	if most := 3 + int(9*time.Since(began).Minutes()); through < 3 || through > most {
		t.Errorf("%d changes were let through, want 3 to %d", through, most)
	}
}

// tenAtOnce runs a world whose tiers allow ten requests, and one a minute from then on.
func tenAtOnce(t *testing.T) *servetest.World {
	t.Helper()
	w := servetest.Start(t, servetest.Options{})
	if _, err := w.Pool.Exec(t.Context(), "UPDATE tiers SET requests_per_minute = 1, burst = 10"); err != nil {
		t.Fatal(err)
	}
	return w
}

// A refusal costs what the request would have cost, and says what is left.
func TestRefusalsAreLimited(t *testing.T) {
	t.Parallel()
	w := tenAtOnce(t)
	other, stranger, another := w.Person(t), w.Person(t), w.Person(t)
	_, bare := w.Key(t, w.Person(t))
	_, foreign := w.Key(t, w.Person(t), "account:read")
	tests := []struct {
		name, code string
		request    servetest.Request
	}{
		{"scope", "insufficient_scope", by{key: bare}.get("/v1/account")},
		{"administrator", "admin_required", by{token: stranger.Token}.get("/v1/users")},
		{"another account", "account_forbidden", by{token: another.Token}.with("Saaskit-Account", other.AccountID.String()).get("/v1/account")},
		{"another account beside a key", "account_forbidden", by{key: foreign}.with("Saaskit-Account", other.AccountID.String()).get("/v1/account")},
	}
	for _, tt := range tests {
		refused := 0
		for range 20 {
			res := w.Do(t, tt.request)
			if res.Header.Get("RateLimit-Limit") == "" || res.Header.Get("RateLimit-Remaining") == "" {
				t.Fatalf("%s: the refusal says nothing of the limit: %v", tt.name, res.Header)
			}
			if res.Status == http.StatusTooManyRequests {
				break
			}
			res.WantProblem(http.StatusForbidden, tt.code)
			refused++
		}
		if refused < 5 || refused > 11 {
			t.Errorf("%s: %d refusals before the limit, where 10 requests are allowed and a few have been sent", tt.name, refused)
		}
	}
	// Nobody pays for those who name their account.
	w.Do(t, by{token: other.Token}.get("/v1/account")).Want(http.StatusOK, nil)
}

// Who acts for a team pays with the team's tokens, and not with those of the account of their own as well.
func TestRequestsForATeamCountThere(t *testing.T) {
	t.Parallel()
	w := tenAtOnce(t)
	p, owner := w.Person(t), w.Person(t)
	if _, err := w.Pool.Exec(t.Context(), "INSERT INTO memberships (account_id, user_id, role, created_at) VALUES ($1, $2, 'member', now())", owner.AccountID, p.ID); err != nil {
		t.Fatal(err)
	}
	forTeam := by{token: p.Token}.with("Saaskit-Account", owner.AccountID.String())
	let := func(who by) (through int) {
		t.Helper()
		for range 15 {
			if w.Do(t, who.get("/v1/account")).Status == http.StatusOK {
				through++
			}
		}
		return through
	}
	if n := let(forTeam); n < 8 || n > 11 {
		t.Errorf("%d requests for the team were let through, where its tier allows 10 at once", n)
	}
	if n := let(by{token: p.Token}); n < 8 || n > 11 {
		t.Errorf("%d requests of their own were let through afterwards, want about 9", n)
	}
}

func TestSignInsAreLimited(t *testing.T) {
	t.Parallel()
	fixed := func(s string) func(int) string { return func(int) string { return s } }
	many := func(format string) func(int) string { return func(i int) string { return fmt.Sprintf(format, i) } }
	behindAProxy := map[string]string{"AUTH_PER_MINUTE": "3", "TRUSTED_PROXIES": "127.0.0.0/8"}
	tests := []struct {
		name             string
		env              map[string]string
		forwarded, email func(int) string
		want             int
	}{
		{"one address, many users", behindAProxy, fixed("203.0.113.7"), many("p%d@example.com"), 1},
		{"one IPv6 network, many users", behindAProxy, many("2001:db8:1:2::%d"), many("p%d@example.com"), 1},
		{"many addresses, one user", behindAProxy, many("203.0.113.%d"), fixed("ana@example.com"), 3},
		{"many addresses, one user in many spellings", behindAProxy, many("203.0.113.%d"), func(i int) string {
			return []string{"ana@example.com", "Ana@example.com", "ANA@EXAMPLE.COM"}[i%3]
		}, 3},
		{"many addresses, many users", behindAProxy, many("203.0.113.%d"), many("p%d@example.com"), 10},
		{"addresses that the caller made up", map[string]string{"AUTH_PER_MINUTE": "3"}, many("203.0.113.%d"), many("p%d@example.com"), 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := servetest.Start(t, servetest.Options{Env: tt.env})
			began := time.Now()
			got := logIns(t, w, tt.forwarded, tt.email)
			// On a slow machine tokens come back meanwhile: nine a minute at the most, those of an e-mail address.
			if most := tt.want + int(9*time.Since(began).Minutes()); got < tt.want || got > most {
				t.Errorf("%d sign-ins were let through, want %d to %d", got, tt.want, most)
			}
		})
	}
}
