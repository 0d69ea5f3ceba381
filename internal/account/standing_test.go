package account_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/db"
)

// A sub is a row of subscriptions, in words.
type sub struct {
	status   string
	tier     string // "" is a price that the catalogue does not know
	pastDue  string // when it was first seen past due, relative to now
	start    string // of the period
	end      string
	pause    string
	paused   string
	known    bool
	accesses string // access_end
}

func TestStandingOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`INSERT INTO tiers (id, name, description, rank, requests_per_minute, burst, api_keys, updated_at) VALUES
		('basic', 'B', '', 1, 1, 1, 1, now()), ('pro', 'P', '', 2, 1, 1, 1, now()), ('scale', 'S', '', 3, 1, 1, 1, now())`)
	w.exec(`INSERT INTO tiers (id, name, description, rank, requests_per_minute, burst, api_keys, updated_at, archived_at)
		VALUES ('ancient', 'A', '', 0, 1, 1, 1, now(), now())`)
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	type want struct {
		tier   string
		access bool
		until  string
		shown  int // which subscription, counted from the oldest; -1 is none
	}
	none := want{tier: "basic"}
	tests := []struct {
		name string
		subs []sub // oldest first
		want want
	}{
		{"no subscription", nil, want{tier: "basic", shown: -1}},
		{"trialing", []sub{{status: "trialing", tier: "pro"}}, want{tier: "pro", access: true}},
		{"active", []sub{{status: "active", tier: "pro"}}, want{tier: "pro", access: true}},
		{"active on an archived tier", []sub{{status: "active", tier: "ancient"}}, want{tier: "ancient", access: true}},
		{"active, period long over", []sub{{status: "active", tier: "pro", start: "-1440h", end: "-720h"}}, want{tier: "pro", access: true}},
		{"past due, in its grace", []sub{{status: "past_due", tier: "pro", pastDue: "-167h59m"}}, want{tier: "pro", access: true, until: "1m"}},
		{"past due, at the end of its grace", []sub{{status: "past_due", tier: "pro", pastDue: "-168h"}}, none},
		{"past due, after its grace", []sub{{status: "past_due", tier: "pro", pastDue: "-169h"}}, none},
		{"past due, not written down since when", []sub{{status: "past_due", tier: "pro", start: "-24h"}}, want{tier: "pro", access: true, until: "144h"}},
		{"past due, not written down, period long begun", []sub{{status: "past_due", tier: "pro", start: "-200h"}}, none},
		{"past due, nothing written down", []sub{{status: "past_due", tier: "pro"}}, want{tier: "pro", access: true, until: "168h"}},
		{"unpaid", []sub{{status: "unpaid", tier: "pro", known: true}}, none},
		{"paused", []sub{{status: "paused", tier: "pro", known: true}}, none},
		{"incomplete", []sub{{status: "incomplete", tier: "pro", known: true}}, none},
		{"incomplete_expired", []sub{{status: "incomplete_expired", tier: "pro", known: true}}, none},
		{"canceled in the middle of a period", []sub{{status: "canceled", tier: "pro", start: "-24h", end: "600h", accesses: "600h", known: true}}, none},
		{"unknown status, had access", []sub{{status: "hibernating", tier: "pro", known: true}}, want{tier: "pro", access: true}},
		{"unknown status, had none", []sub{{status: "hibernating", tier: "pro"}}, want{tier: "basic"}},
		{"empty status", []sub{{status: "", tier: "pro"}}, want{tier: "basic"}},
		{"unknown price", []sub{{status: "active"}}, want{tier: "basic"}},
		{"tier that the catalogue has lost", []sub{{status: "active", tier: "lost"}}, want{tier: "basic"}},
		{"unknown price of a canceled one", []sub{{status: "canceled"}}, none},
		{"collection paused, drafts kept",
			[]sub{{status: "active", tier: "pro", pause: "keep_as_draft", paused: "-900h", start: "-24h", end: "600h"}}, want{tier: "pro", access: true}},
		{"collection paused, uncollectible",
			[]sub{{status: "active", tier: "pro", pause: "mark_uncollectible", paused: "-900h", start: "-24h", end: "600h"}}, want{tier: "pro", access: true}},
		{"collection paused, voided, in the paid period",
			[]sub{{status: "active", tier: "pro", pause: "void", paused: "-1h", start: "-24h", end: "600h"}}, want{tier: "pro", access: true, until: "600h"}},
		{"collection paused, voided, items end later",
			[]sub{{status: "active", tier: "pro", pause: "void", paused: "-1h", start: "-24h", end: "600h", accesses: "700h"}}, want{tier: "pro", access: true, until: "700h"}},
		{"collection paused, voided, renewed since", []sub{{status: "active", tier: "pro", pause: "void", paused: "-48h", start: "-24h", end: "600h"}}, none},
		{"collection paused, voided, since when not known",
			[]sub{{status: "active", tier: "pro", pause: "void", start: "-24h", end: "600h"}}, want{tier: "pro", access: true, until: "600h"}},
		{"collection paused, voided, period over", []sub{{status: "active", tier: "pro", pause: "void", start: "-600h", end: "-1h"}}, none},
		{"several: the one with access", []sub{{status: "active", tier: "pro"}, {status: "canceled", tier: "scale"}}, want{tier: "pro", access: true, shown: 0}},
		{"several: the highest rank", []sub{{status: "active", tier: "scale"}, {status: "active", tier: "pro"}}, want{tier: "scale", access: true, shown: 0}},
		{"several: the newest of equal rank", []sub{{status: "past_due", tier: "pro", pastDue: "-1h"}, {status: "active", tier: "pro"}}, want{tier: "pro", access: true, shown: 1}},
		{"several: the highest is over",
			[]sub{{status: "past_due", tier: "scale", pastDue: "-200h"}, {status: "trialing", tier: "pro"}}, want{tier: "pro", access: true, shown: 1}},
		{"several: none with access, the latest shows", []sub{{status: "canceled", tier: "scale"}, {status: "incomplete_expired", tier: "pro"}}, want{tier: "basic", shown: 1}},
		{"several: an unknown price beside a known one", []sub{{status: "active", tier: "pro"}, {status: "active"}}, want{tier: "pro", access: true, shown: 0}},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			accountID := w.admitted(w.bearer()).AccountID
			for n, s := range tt.subs {
				w.subscribe(accountID, fmt.Sprintf("sub_%d_%d", i, n), s, now, now.Add(time.Duration(n)*time.Minute))
			}
			got, err := account.StandingOf(t.Context(), db.New(w.pool), account.DefaultPolicy(), accountID, now)
			if err != nil {
				t.Fatal(err)
			}
			if got.Tier != tt.want.tier || got.Access != tt.want.access {
				t.Errorf("got tier %q access %t, want %q %t", got.Tier, got.Access, tt.want.tier, tt.want.access)
			}
			if diff := cmp.Diff(at(now, tt.want.until), got.AccessUntil); diff != "" {
				t.Errorf("access until (-want +got):\n%s", diff)
			}
			switch {
			case tt.want.shown < 0 && got.Subscription != nil:
				t.Errorf("subscription: got %s, want none", got.Subscription.ID)
			case tt.want.shown >= 0 && (got.Subscription == nil || got.Subscription.ID != fmt.Sprintf("sub_%d_%d", i, tt.want.shown)):
				t.Errorf("subscription: got %+v, want number %d", got.Subscription, tt.want.shown)
			}
		})
	}
}

func TestStandingWithOtherPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`INSERT INTO tiers (id, name, description, rank, requests_per_minute, burst, api_keys, updated_at) VALUES ('pro', 'P', '', 2, 1, 1, 1, now())`)
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	for i, tt := range []struct {
		name   string
		sub    sub
		policy account.Policy
		access bool
	}{
		{"a stricter table", sub{status: "past_due", tier: "pro", pastDue: "-1h"},
			account.Policy{Grace: time.Hour * 99, Statuses: map[string]account.Worth{"past_due": account.NoAccess}}, false},
		{"a laxer table", sub{status: "unpaid", tier: "pro"}, account.Policy{Statuses: map[string]account.Worth{"unpaid": account.FullAccess}}, true},
		{"no grace", sub{status: "past_due", tier: "pro", pastDue: "0s"}, account.Policy{}, false},
		{"long grace", sub{status: "past_due", tier: "pro", pastDue: "-500h"}, account.Policy{Grace: 501 * time.Hour}, true},
		{"voided pause keeps access", sub{status: "active", tier: "pro", pause: "void", start: "-20h", end: "-1h"}, account.Policy{}, true},
		{"draft pause ends access", sub{status: "active", tier: "pro", pause: "keep_as_draft", start: "-20h", end: "-1h"},
			account.Policy{PauseEndsAccess: []string{"keep_as_draft"}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			accountID := w.admitted(w.bearer()).AccountID
			w.subscribe(accountID, fmt.Sprintf("sub_%d", i), tt.sub, now, now)
			got, err := account.StandingOf(t.Context(), db.New(w.pool), tt.policy, accountID, now)
			if err != nil || got.Access != tt.access {
				t.Errorf("got access %t, %v; want %t", got.Access, err, tt.access)
			}
		})
	}
}

// Without a catalogue an account is free; a subscription of another account gives nothing.
func TestStandingOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.admitted(w.bearer()).AccountID, w.admitted(w.bearer()).AccountID
	standing := func(id uuid.UUID) account.Standing {
		t.Helper()
		got, err := w.Standing(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := standing(one); got.Tier != account.FreeTier || got.Access {
		t.Errorf("without a catalogue: got %+v, want free", got)
	}
	w.exec(`INSERT INTO tiers (id, name, description, rank, requests_per_minute, burst, api_keys, updated_at) VALUES
		('gratis', 'G', '', 1, 1, 1, 1, now()), ('pro', 'P', '', 2, 1, 1, 1, now())`)
	w.subscribe(other, "sub_other", sub{status: "active", tier: "pro"}, w.Now(), w.Now())
	w.ForgetStanding(t.Context(), one, other)
	if got := standing(one); got.Tier != "gratis" || got.Access || got.Subscription != nil {
		t.Errorf("with a subscription of somebody else: got %+v, want gratis", got)
	}
	if got := standing(other); got.Tier != "pro" || !got.Access {
		t.Errorf("its own: got %+v, want pro", got)
	}
}

// What is cached are the facts, not the verdict: a grace ends at its time, and another instance sees a change within a second.
func TestCachedStanding(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`INSERT INTO tiers (id, name, description, rank, requests_per_minute, burst, api_keys, updated_at) VALUES
		('free', 'F', '', 1, 1, 1, 1, now()), ('pro', 'P', '', 2, 1, 1, 1, now())`)
	id := w.admitted(w.bearer()).AccountID
	w.subscribe(id, "sub_1", sub{status: "past_due", tier: "pro", pastDue: "-167h"}, w.Now(), w.Now())
	other := w.instance()
	access := func(s *account.Service) bool {
		t.Helper()
		got, err := s.Standing(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return got.Access
	}
	if !access(w.Service) || !access(other) {
		t.Fatal("no access within the grace")
	}
	w.Add(time.Hour)
	if access(w.Service) || access(other) {
		t.Error("access after the grace, from the cache")
	}
	w.exec(`UPDATE subscriptions SET status = 'active' WHERE id = 'sub_1'`)
	w.ForgetStanding(t.Context(), id)
	if !access(w.Service) {
		t.Error("the change is not seen by the instance that made it")
	}
	eventually(t, time.Second, "the change is seen by the other instance", func() bool { return access(other) })
}

func (w *world) subscribe(accountID uuid.UUID, id string, s sub, now, created time.Time) {
	w.t.Helper()
	var tier, pause *string
	if s.tier != "" {
		tier = &s.tier
	}
	if s.pause != "" {
		pause = &s.pause
	}
	w.exec(`INSERT INTO subscriptions (id, account_id, customer_id, status, tier_id, price_id, current_period_start, current_period_end,
			access_end, past_due_since, pause_behavior, paused_since, livemode, access_known, created_at, updated_at)
		VALUES ($1, $2, 'cus_1', $3, $4, 'price_1', $5, $6, $7, $8, $9, $10, false, $11, $12, $13)`,
		id, accountID, s.status, tier, at(now, s.start), at(now, s.end), at(now, s.accesses), at(now, s.pastDue), pause, at(now, s.paused),
		s.known, created, now)
}

// at is a time relative to now; "" is none.
func at(now time.Time, d string) *time.Time {
	if d == "" {
		return nil
	}
	by, err := time.ParseDuration(d)
	if err != nil {
		panic(err)
	}
	then := now.Add(by).UTC()
	return &then
}
