package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// belowDomains are the packages that the drawing names in one line: whoever needs one imports it.
var belowDomains = ours("/api", "/docs", "/sql", "api", "audit", "cache", "config", "db", "idempotency", "origin", "outbox", "page",
	"postgres", "problem", "ratelimit")

var drawnArrow = regexp.MustCompile(`(?m)^(\S+) +──▶ (.+)$`)

// What docs/architecture.md draws above the mechanisms is what mayImport allows, and so what is there.
func TestDrawingIsTrue(t *testing.T) {
	t.Parallel()
	drawn := map[string][]string{}
	for _, arrow := range drawnArrow.FindAllStringSubmatch(architecture(t), -1) {
		drawn[arrow[1]] = strings.Split(arrow[2], ", ")
	}
	want := map[string][]string{}
	var walk func(dir string)
	walk = func(dir string) {
		name := strings.TrimPrefix(dir, "internal/")
		if _, seen := want[name]; seen {
			return
		}
		want[name] = nil
		for _, imported := range mayImport[dir] {
			if !slices.Contains(belowDomains, imported) {
				want[name] = append(want[name], strings.TrimPrefix(imported, "internal/"))
				walk(imported)
			}
		}
		slices.Sort(want[name])
	}
	walk("cmd/saaskit")
	for name, imports := range want {
		if len(imports) == 0 {
			delete(want, name) // the bottom of the drawing
		}
	}
	if diff := cmp.Diff(want, drawn); diff != "" {
		t.Errorf("imports (-there +drawn):\n%s", diff)
	}
}

var (
	ownedTables  = regexp.MustCompile("(?m)^\\| (`.+`) \\| ([a-z, ]+) \\|")
	writtenTable = regexp.MustCompile(`\b(?:INSERT INTO|UPDATE|DELETE FROM)\s+([a-z_]+)`)
)

// The table of docs/architecture.md says who writes which table: the packages whose queries do.
func TestTableOfDataIsTrue(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(architecture(t), "## The data")
	told := map[string][]string{}
	for _, row := range ownedTables.FindAllStringSubmatch(section, -1) {
		for _, table := range strings.Split(row[1], ", ") {
			told[strings.Trim(table, "`")] = strings.Split(row[2], ", ")
		}
	}
	delete(told, "river_*") // River's own
	want := map[string][]string{}
	files, err := filepath.Glob("../sql/queries/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("no query files: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		writer := strings.TrimSuffix(filepath.Base(file), ".sql")
		for _, match := range writtenTable.FindAllStringSubmatch(sqlComment.ReplaceAllString(string(text), ""), -1) {
			if !slices.Contains(want[match[1]], writer) {
				want[match[1]] = append(want[match[1]], writer)
			}
		}
	}
	for table := range told {
		slices.Sort(told[table])
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("who writes what (-there +told):\n%s", diff)
	}
}

func architecture(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
