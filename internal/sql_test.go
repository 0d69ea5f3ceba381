package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	referenced = regexp.MustCompile(`REFERENCES (\w+)`)
	lockedAll  = regexp.MustCompile(`\bFOR UPDATE\b`)
	lockedOf   = regexp.MustCompile(`\bFOR UPDATE OF (\w+)`)
	readTable  = regexp.MustCompile(`(?i)\b(?:FROM|JOIN) (\w+)(?: ([a-z]\w*))?`)
)

// FOR UPDATE takes a row's key, for which every insert of a row that refers to it waits: two transactions that mean no harm to
// each other then wait for one another. Rows that others refer to are locked FOR NO KEY UPDATE, which excludes the same rivals.
func TestReferencedRowsAreLockedWithoutTheirKey(t *testing.T) {
	t.Parallel()
	parents := map[string]bool{}
	for _, text := range texts(t, "../sql/migrations/*.sql") {
		for _, match := range referenced.FindAllStringSubmatch(text, -1) {
			parents[match[1]] = true
		}
	}
	if !parents["accounts"] || !parents["credit_accounts"] {
		t.Fatalf("the migrations do not say what refers to what: %v", parents)
	}
	for file, text := range texts(t, "../sql/queries/*.sql") {
		for _, query := range strings.Split(text, "-- name: ")[1:] {
			name, statement, _ := strings.Cut(query, "\n")
			if !lockedAll.MatchString(statement) {
				continue
			}
			only := ""
			if of := lockedOf.FindStringSubmatch(statement); of != nil {
				only = of[1]
			}
			for _, read := range readTable.FindAllStringSubmatch(statement, -1) {
				if parents[read[1]] && (only == "" || only == read[2] || only == read[1]) {
					t.Errorf("%s: %s locks rows of %s FOR UPDATE, to which others refer: use FOR NO KEY UPDATE", filepath.Base(file), name, read[1])
				}
			}
		}
	}
}

var created = regexp.MustCompile(`(?m)^CREATE TABLE (\w+)`)

// The list of tables in docs/architecture.md has each of them.
func TestArchitectureNamesEveryTable(t *testing.T) {
	t.Parallel()
	const architecture = "../docs/architecture.md"
	doc := texts(t, architecture)[architecture]
	for file, text := range texts(t, "../sql/migrations/*.sql") {
		for _, match := range created.FindAllStringSubmatch(text, -1) {
			if table := match[1]; !strings.HasPrefix(table, "river_") && !strings.Contains(doc, "`"+table+"`") {
				t.Errorf("docs/architecture.md does not name the table %s of %s", table, filepath.Base(file))
			}
		}
	}
}

// texts reads files, by their names.
func texts(t *testing.T, pattern string) map[string]string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	all := make(map[string]string, len(names))
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(text)
	}
	return all
}
