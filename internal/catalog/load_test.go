package catalog_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/saaskit/internal/catalog"
)

const small = `currencies: [usd, eur]
tiers:
  - id: free
    name: Free
    description: Nothing to pay.
    rank: 0
    limits: {requests_per_minute: 60, burst: 20, api_keys: 2}
  - id: pro
    name: Pro
    description: Something to pay.
    rank: 1
    limits: {requests_per_minute: 600, burst: 100, api_keys: 10}
    credits: {amount: 2_000, every: month, rollover: true}
    features:
      - {id: api, name: API access}
      - {id: seats, name: Seats, value: "5"}
    prices:
      month: {usd: 2900, eur: 2700}
credit_packs:
  - id: small
    name: Small
    credits: 1000
    prices:
      usd: 1500
      eur: 1400
meters:
  - {id: requests, name: Requests, unit: request}
`

func TestLoad(t *testing.T) {
	t.Parallel()
	want := catalog.Document{
		Currencies: []string{"usd", "eur"},
		Tiers: []catalog.TierSpec{
			{
				ID: "free", Name: "Free", Description: "Nothing to pay.", Features: []catalog.Feature{}, Prices: []catalog.PriceSpec{},
				Limits: catalog.Limits{RequestsPerMinute: 60, Burst: 20, APIKeys: 2},
			},
			{
				ID: "pro", Name: "Pro", Description: "Something to pay.", Rank: 1,
				Features: []catalog.Feature{{ID: "api", Name: "API access"}, {ID: "seats", Name: "Seats", Value: "5"}},
				Limits:   catalog.Limits{RequestsPerMinute: 600, Burst: 100, APIKeys: 10},
				Credits:  catalog.Allowance{Amount: 2000, Rollover: true},
				Prices: []catalog.PriceSpec{
					{Interval: "month", Currency: "usd", Amount: 2900}, {Interval: "month", Currency: "eur", Amount: 2700},
				},
			},
		},
		CreditPacks: []catalog.PackSpec{{
			ID: "small", Name: "Small", Credits: 1000,
			Prices: []catalog.PriceSpec{{Currency: "usd", Amount: 1500}, {Currency: "eur", Amount: 1400}},
		}},
		Meters: []catalog.MeterSpec{{ID: "requests", Name: "Requests", Unit: "request"}},
	}
	got, err := catalog.Load([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoadOurOwn(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../../catalog.yaml")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := catalog.Load(source)
	if err != nil {
		t.Fatal(err)
	}
	if len(doc.Tiers) != 3 || len(doc.CreditPacks) != 2 || len(doc.Tiers[1].Prices) != 4 {
		t.Errorf("got %+v", doc)
	}
}

func TestLoadMistakes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		old, new string // one replacement in small
		want     string // as "line: part of the message"
	}{
		{"unknown setting", "    rank: 1\n", "    rank: 1\n    colour: red\n", `12: tier has no setting "colour"`},
		{"unknown section", "meters:", "meter:", `26: no setting "meter"`},
		{"missing name", "    name: Pro\n", "", `8: tier "pro" lacks "name"`},
		{"duplicate id", "id: pro\n", "id: free\n", `8: tier "free" is there twice; first in line 3`},
		{"duplicate rank", "rank: 1\n", "rank: 0\n", `11: rank "0" is there twice; first in line 6`},
		{"duplicate key", "    rank: 1\n", "    rank: 1\n    rank: 2\n", `12: mapping key "rank" already defined`},
		{"duplicate feature", "id: seats", "id: api", `16: feature "api" is there twice; first in line 15`},
		{"missing currency", "month: {usd: 2900, eur: 2700}", "month: {usd: 2900}", `18: lack the currency eur`},
		{"missing currency of a pack", "      eur: 1400\n", "", `24: prices of credit pack "small" lack the currency eur`},
		{"foreign currency", "eur: 2700}", "eur: 2700, gbp: 1}", `18: "gbp", which is not among the currencies`},
		{"no currencies", "currencies: [usd, eur]", "currencies: []", `1: at least one currency`},
		{"odd currency", "[usd, eur]", "[usd, eur, Euro]", `1: three small letters`},
		{"currency twice", "[usd, eur]", "[usd, eur, usd]", `1: currency usd is there twice`},
		{"no free tier", "id: free", "id: basic", `3: there has to be a tier "free"`},
		{"free tier with a price", "    rank: 0\n", "    rank: 0\n    prices: {month: {usd: 1, eur: 1}}\n", `3: tier "free" has prices`},
		{"tier without a price", "    prices:\n      month: {usd: 2900, eur: 2700}\n", "", `8: tier "pro" has no prices`},
		{"rank below the free one", "rank: 0", "rank: 5", `8: tier "pro" has a lower rank than tier "free"`},
		{"unknown interval", "month: {usd", "week: {usd", `18: no setting "week"`},
		{"price of nothing", "usd: 2900", "usd: 0", `18: usd of month prices of tier "pro" has to be a whole number from 1`},
		{"fraction", "usd: 2900", "usd: 29.00", `18: has to be a whole number`},
		{"text for a number", "burst: 100", "burst: many", `12: burst of limits of tier "pro" has to be a whole number`},
		{"number for a text", `value: "5"`, "value: 5", `16: value of feature "seats" of tier "pro" has to be a text`},
		{"number beyond int64", "credits: 1000", "credits: 99999999999999999999", `22: has to be a whole number`},
		{"negative", "credits: 1000", "credits: -1", `22: has to be a whole number`},
		{"yes for true", "rollover: true", "rollover: \"yes\"", `13: rollover of credits of tier "pro" has to be true or false`},
		{"weekly credits", "every: month", "every: week", `13: come every month, not every week`},
		{"list for a mapping", "limits: {requests_per_minute: 600, burst: 100, api_keys: 10}", "limits: [1]", `12: limits of tier "pro" has to be a mapping`},
		{"mapping for a list", "meters:\n  - {id: requests", "meters:\n  x: {id: requests", `27: meters of the catalogue has to be a list`},
		{"odd id", "id: requests", "id: Requests-2", `27: id "Requests-2" of a meter`},
		{"lookup keys that meet", "  - id: pro\n", "  - id: pack_small\n", ``},
		{"syntax", "currencies: [usd, eur]", "currencies: [usd, eur", `2: must be specified`},
		{"empty text", "name: Pro\n", "name: \"\"\n", `9: has to have 1 to 100 characters`},
		{"pack that expires at once", "    credits: 1000\n", "    credits: 1000\n    expires_after_days: 0\n", `23: from 1 to`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			source := strings.Replace(small, tt.old, tt.new, 1)
			if source == small {
				t.Fatal("the replacement changes nothing")
			}
			_, err := catalog.Load([]byte(source))
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var mistakes catalog.Mistakes
			if !errors.As(err, &mistakes) {
				t.Fatalf("Load: %v, want mistakes", err)
			}
			line, message, _ := strings.Cut(tt.want, ": ")
			for _, m := range strings.Split(mistakes.Error(), "\n") {
				if strings.HasPrefix(m, "line "+line+": ") && strings.Contains(m, message) {
					return
				}
			}
			t.Errorf("got:\n%v\nwant %s", err, tt.want)
		})
	}
}

// Two things of which Stripe would know only one.
func TestLoadLookupKeysThatMeet(t *testing.T) {
	t.Parallel()
	source := strings.NewReplacer("id: pro\n", "id: pack_x\n", "- id: small\n", "- id: x_month\n").Replace(small)
	_, err := catalog.Load([]byte(source))
	if err == nil || !strings.Contains(err.Error(), `lookup key "pack_x_month_usd" is there twice`) {
		t.Errorf("Load: %v", err)
	}
}

// All mistakes come at once, by line.
func TestLoadAllAtOnce(t *testing.T) {
	t.Parallel()
	source := strings.NewReplacer("rank: 1", "rank: x", "burst: 20", "burst: 0", "unit: request", "unit: []", "eur: 2700", "gbp: 1").Replace(small)
	_, err := catalog.Load([]byte(source))
	var mistakes catalog.Mistakes
	if !errors.As(err, &mistakes) {
		t.Fatalf("Load: %v", err)
	}
	var lines []int
	for _, m := range mistakes {
		lines = append(lines, m.Line)
	}
	if diff := cmp.Diff([]int{7, 11, 18, 18, 27}, lines); diff != "" {
		t.Errorf("lines: %s\n%v", diff, err)
	}
}

// What is no catalogue at all is a mistake, too, and no panic.
func TestLoadNonsense(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"", "\n", "---\n---\n", "x", "[]", "{}", "tiers: [{id: *x}]", "a: &a [*a]", "tiers: [null]", "tiers: {a: b}", "<<: {}", "\x00"} {
		_, err := catalog.Load([]byte(source))
		var mistakes catalog.Mistakes
		if !errors.As(err, &mistakes) {
			t.Errorf("Load(%q): %v", source, err)
		}
	}
}
