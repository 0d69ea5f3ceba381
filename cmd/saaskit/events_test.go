package main

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestEventTypes(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	p := process{getenv: func(string) string { return "" }, stdout: &out, stderr: &errs}
	if err := run(t.Context(), p, []string{"events", "types"}); err != nil {
		t.Fatal(err)
	}
	types := strings.Fields(out.String())
	if len(types) < 40 || !slices.IsSorted(types) || !slices.Contains(types, "invoice.paid") || !slices.Contains(types, "customer.subscription.deleted") {
		t.Errorf("types: %q", types)
	}
	if err := run(t.Context(), p, []string{"events"}); !errors.Is(err, errUsage) {
		t.Errorf("without a word more: %v", err)
	}
}
