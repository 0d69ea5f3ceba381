package catalog_test

import (
	"errors"
	"strings"
	"testing"

	"example.com/saaskit/internal/catalog"
)

func TestShow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	show := func(want ...string) {
		t.Helper()
		var b strings.Builder
		if err := catalog.Show(t.Context(), w.pool, &b); err != nil {
			t.Fatal(err)
		}
		for _, part := range want {
			if !strings.Contains(b.String(), part) {
				t.Errorf("%q is not in:\n%s", part, b.String())
			}
		}
	}
	show("Nothing was ever applied.")
	w.late = true
	w.cut.Store(3)
	if _, err := w.applier().Apply(t.Context(), load(t, small), yes); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	show("An apply was interrupted", "create:saaskit_test_tier_pro", "create:pro_month_usd (price_")
	w.cut.Store(0)
	w.apply(small)
	show("Last applied ", "pro_month_usd usd 2900 (price_", "pack_small_eur eur 1400", "requests", "never", "free")
}
