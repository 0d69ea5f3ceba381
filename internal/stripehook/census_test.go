package stripehook_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/saaskit/internal/stripeemu"
	"example.com/saaskit/internal/stripehook"
)

// customerPages watches what is asked of Stripe's list of customers: after which element each page, and calls then before its answer.
func (w *world) customerPages(then func(after string)) (asked func() string, remove func()) {
	var mu sync.Mutex
	var all []string
	remove = w.emu.Inject(stripeemu.Fault{Method: http.MethodGet, Path: "/v1/customers", Do: func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		after := r.URL.Query().Get("starting_after")
		all = append(all, "<"+after+">")
		then(after)
	}})
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		text := strings.Join(all, " ")
		all = nil
		return text
	}, remove
}

// A census that is cut off has repaired what it had found, and the next goes on behind it. It is as old as its beginning.
func TestCensusGoesOnWhereItWasCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	for i := range 150 {
		w.customer(fmt.Sprintf("cus_other_%03d", i))
	}
	w.subscription("sub_1") // no event tells of it
	ctx, cut := context.WithCancel(t.Context())
	_, remove := w.customerPages(func(after string) {
		if after != "" {
			cut()
		}
	})
	resumed := stripehook.Reconciliation{All: true, Resume: true}
	if _, err := w.service.Reconcile(ctx, resumed); !errors.Is(err, context.Canceled) {
		t.Errorf("cut off: %v", err)
	}
	remove()
	w.want("1", `SELECT count(*) FROM subscriptions`)
	const place = `SELECT string_agg(path || ' ' || after_id, ' ') FROM stripe_census_lists WHERE begun_at IS NOT NULL`
	w.want("/v1/customers cus_other_050", place)
	w.want("0", `SELECT count(*) FROM stripe_rounds WHERE name = 'census' AND ran_at IS NOT NULL`)

	w.clock.Add(2 * time.Hour)
	asked, _ := w.customerPages(func(string) {})
	// Whoever asks by hand is told of all, and moves nothing before the end.
	if _, err := w.service.Reconcile(t.Context(), stripehook.Reconciliation{All: true, Dry: true}); err != nil {
		t.Error(err)
	}
	if got := asked(); got != "<> <cus_other_050>" {
		t.Errorf("a dry run asks for %s", got)
	}
	w.want("/v1/customers cus_other_050", place)
	disputes := w.gets("/v1/disputes")
	for i, want := range []string{"<cus_other_050>", ""} { // what was read in the last day is not read again
		if _, err := w.service.Reconcile(t.Context(), resumed); err != nil {
			t.Errorf("run %d: %v", i, err)
		}
		if got := asked(); got != want {
			t.Errorf("run %d asks for %s, want %s", i, got, want)
		}
		if got := w.metric("saaskit_stripe_census_age_seconds"); got != 7200 {
			t.Errorf("run %d: the census is %v seconds old", i, got)
		}
	}
	if got := w.gets("/v1/disputes"); got != disputes {
		t.Errorf("what was read whole was asked for %d times more", got-disputes)
	}
	w.reconcile(true)
	if got := asked(); got != "<> <cus_other_050>" {
		t.Errorf("by hand: %s", got)
	}
	if got := w.metric("saaskit_stripe_census_age_seconds"); got != 0 {
		t.Errorf("by hand: the census is %v seconds old", got)
	}
	w.clock.Add(day)
	if _, err := w.service.Reconcile(t.Context(), resumed); err != nil {
		t.Error(err)
	}
	if got := asked(); got != "<> <cus_other_050>" {
		t.Errorf("a day later: %s", got)
	}
}

// What the last page ended with can be gone until the next run, and a list can stand still.
func TestCensusOfListsThatChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribed()
	w.exec(`INSERT INTO stripe_census_lists (path, begun_at, after_id) VALUES ('/v1/customers', $1, 'cus_gone')`, w.clock.Now())
	resumed := stripehook.Reconciliation{All: true, Resume: true}
	w.clock.Add(time.Hour)
	if _, err := w.service.Reconcile(t.Context(), resumed); err == nil || !strings.Contains(err.Error(), "/v1/customers") {
		t.Errorf("gone: %v", err)
	}
	w.want("0", `SELECT count(*) FROM stripe_rounds WHERE name = 'census' AND ran_at IS NOT NULL`)
	if _, err := w.service.Reconcile(t.Context(), resumed); err != nil {
		t.Error(err)
	}
	if got := w.metric("saaskit_stripe_census_age_seconds"); got != 0 {
		t.Errorf("the census is %v seconds old", got)
	}
	same := object{"object": "list", "url": "/v1/disputes", "has_more": true, "data": []any{object{"id": "dp_1", "object": "dispute"}}}
	w.emu.Inject(faultBody("/v1/disputes", http.StatusOK, same))
	w.clock.Add(day)
	customers := w.gets("/v1/customers")
	if _, err := w.service.Reconcile(t.Context(), resumed); err == nil || !strings.Contains(err.Error(), "does not advance") {
		t.Errorf("it stands still: %v", err)
	}
	if w.gets("/v1/customers") != customers+1 {
		t.Error("the lists after it were not read")
	}
	if got := w.metric("saaskit_stripe_census_age_seconds"); got != day.Seconds() {
		t.Errorf("the census is %v seconds old", got)
	}
}
