package stripehook_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/stripehook"
)

func TestC104Doctor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const url = "https://app.example.com/v1/webhooks/stripe"
	asked := url
	examine := func(live bool, now time.Time) string {
		looked, err := stripehook.Examine(t.Context(), w.api, asked, live, now)
		if err != nil {
			t.Fatal(err)
		}
		if found := len(looked.Found) > 0; !found && looked.URL != url {
			t.Errorf("looked at %q", looked.URL)
		}
		var all []string
		for _, f := range looked.Found {
			if f.Do == "" {
				t.Errorf("%s: says not what to do", f.What)
			}
			all = append(all, f.What)
		}
		return strings.Join(all, "\n")
	}
	wants := func(step, got string, words ...string) {
		t.Helper()
		if len(words) == 0 && got != "" {
			t.Errorf("%s: %s", step, got)
		}
		for _, word := range words {
			if !strings.Contains(got, word) {
				t.Errorf("%s: %q lacks %q", step, got, word)
			}
		}
	}
	wants("none", examine(false, time.Now()), "there is no webhook endpoint")
	made, err := stripehook.SetUp(t.Context(), w.api, url)
	if err != nil || !made.Created || !strings.HasPrefix(made.Secret, "whsec_") {
		t.Fatalf("%+v, %v", made, err)
	}
	wants("right", examine(false, time.Now()))
	wants("mode", examine(true, time.Now()), "livemode false")
	wants("clock", examine(false, time.Now().Add(time.Hour)), "our clock")
	types := stripehook.EventTypes()
	w.patch(made.ID, object{"status": "disabled", "enabled_events": anys(slices.DeleteFunc(types, func(s string) bool { return s == "invoice.paid" }))})
	wants("broken", examine(false, time.Now()), "is disabled", "does not send invoice.paid")
	again, err := stripehook.SetUp(t.Context(), w.api, url)
	if err != nil || again.Created || again.ID != made.ID {
		t.Errorf("%+v, %v", again, err)
	}
	wants("repaired", examine(false, time.Now()))
	w.patch(made.ID, object{"api_version": "2025-03-31.basil"})
	wants("version", examine(false, time.Now()), "2025-03-31.basil")
	if _, err := stripehook.SetUp(t.Context(), w.api, url); err == nil {
		t.Error("an endpoint of another version was taken")
	}
	w.patch(made.ID, object{"api_version": nil, "enabled_events": []any{"*"}})
	wants("account's version", examine(false, time.Now()), "version of the account")
	// Which of several is ours has to be said; another environment's is never taken for ours where ours is named.
	w.patch(made.ID, object{"api_version": stripe.APIVersion})
	asked = ""
	wants("the only one", examine(false, time.Now()))
	other, err := stripehook.SetUp(t.Context(), w.api, "https://staging.example.com/v1/webhooks/stripe")
	if err != nil {
		t.Fatal(err)
	}
	w.patch(other.ID, object{"status": "disabled"})
	wants("two", examine(false, time.Now()), "several webhook endpoints", url, "staging")
	asked = url
	wants("named", examine(false, time.Now()))
	w.emu.Remove(made.ID)
	wants("gone", examine(false, time.Now()), "no webhook endpoint with this URL")
}

func anys(texts []string) []any {
	all := make([]any, len(texts))
	for i, s := range texts {
		all[i] = s
	}
	return all
}
