package serve_test

import (
	"net/http"
	"testing"
	"time"

	"example.com/saaskit/internal/serve/servetest"
)

// A month goes by in seconds: Stripe renews, the credits of the old month end, those of the new one are there, and the token of
// the old month is of no use any more.
func TestClock(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{Clock: true})
	key, p := w.ServiceKey(t, "admin"), w.Person(t)
	w.Buy(t, p, servetest.Pro())
	move := func(body map[string]any) servetest.Response {
		return w.Do(t, servetest.Request{Method: http.MethodPost, Path: "/v1/test/clock", Key: key, Body: body})
	}
	began := w.Stripe.Time()
	var clock struct{ Now time.Time }
	move(map[string]any{"seconds": 32 * 24 * 3600}).Want(http.StatusOK, &clock)
	if moved := clock.Now.Sub(began); moved < 32*24*time.Hour || moved > 32*24*time.Hour+time.Minute {
		t.Errorf("time has moved by %s", moved)
	}
	w.Do(t, servetest.Request{Method: http.MethodGet, Path: "/v1/users/me", Token: p.Token}).WantProblem(http.StatusUnauthorized, "token_expired")
	token := w.LogIn(t, p)
	var subscription struct {
		Status           string
		CurrentPeriodEnd time.Time `json:"current_period_end"`
	}
	var credits struct {
		Available int64
		Lots      []struct{ Remaining int64 }
	}
	servetest.Eventually(t, 30*time.Second, func() bool {
		w.Do(t, servetest.Request{Method: http.MethodGet, Path: "/v1/subscription", Token: token}).Want(http.StatusOK, &subscription)
		w.Do(t, servetest.Request{Method: http.MethodGet, Path: "/v1/credits", Token: token}).Want(http.StatusOK, &credits)
		return subscription.CurrentPeriodEnd.After(clock.Now) && credits.Available == 2000 && len(credits.Lots) == 1
	}, "a month later: %+v, %+v", &subscription, &credits)
	if subscription.Status != "active" {
		t.Errorf("the subscription is %s", subscription.Status)
	}
	for name, body := range map[string]map[string]any{
		"back": {"to": began}, "too far": {"to": clock.Now.AddDate(3, 0, 0)}, "nowhere": {}, "twice": {"to": clock.Now.AddDate(0, 1, 0), "seconds": 5},
	} {
		if res := move(body); res.Code() != "invalid_request" {
			t.Errorf("%s: answered %d %s", name, res.Status, res.Body)
		}
	}
}

func TestRealTimeIsNotMoved(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{})
	w.Do(t, servetest.Request{Method: http.MethodPost, Path: "/v1/test/clock", Key: w.ServiceKey(t, "admin"), Body: map[string]any{"seconds": 5}}).
		WantProblem(http.StatusConflict, "conflict")
}
