package internal_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "example.com/saaskit/"

// mayImport says for each package which of ours it may import, and it does import them all. A package that is missing here, or
// an import that is not named, fails the test: whoever adds one has to think about where it belongs. Tests may import more.
// docs/architecture.md draws what is above the mechanisms.
var mayImport = map[string][]string{
	"api": nil, "docs": nil, "sql": nil,
	"internal/api": nil, "internal/db": nil, "internal/problem": nil, "internal/config": nil, "internal/cache": nil,
	"internal/page":        ours("problem"),
	"internal/origin":      ours("problem"),
	"internal/postgres":    ours("db", "/sql"),
	"internal/audit":       ours("db", "page", "postgres"),
	"internal/outbox":      ours("db", "postgres"),
	"internal/idempotency": ours("db", "postgres", "problem"),
	"internal/ratelimit":   ours("cache"),

	"internal/catalog":    ours("db", "postgres", "problem"),
	"internal/account":    ours("audit", "cache", "db", "idempotency", "page", "postgres", "problem"),
	"internal/auth":       ours("account", "audit", "origin", "problem"),
	"internal/apikey":     ours("account", "audit", "cache", "catalog", "db", "idempotency", "page", "postgres", "problem"),
	"internal/credit":     ours("account", "audit", "catalog", "db", "idempotency", "page", "postgres", "problem"),
	"internal/usage":      ours("audit", "catalog", "db", "idempotency", "postgres", "problem"),
	"internal/billing":    ours("account", "audit", "catalog", "db", "idempotency", "origin", "page", "postgres", "problem"),
	"internal/stripehook": ours("account", "audit", "catalog", "credit", "db", "idempotency", "outbox", "page", "postgres", "problem"),

	// The edge: no SQL and no business rule, so neither db nor postgres.
	"internal/httpapi": ours("account", "apikey", "auth", "billing", "catalog", "credit", "stripehook", "usage",
		"/api", "/docs", "api", "audit", "idempotency", "page", "problem", "ratelimit"),
	"internal/serve": ours("account", "apikey", "auth", "billing", "catalog", "credit", "stripehook", "usage", "httpapi",
		"audit", "cache", "config", "idempotency", "origin", "outbox", "postgres", "problem", "ratelimit"),

	// Stripe without Stripe: nothing else of ours.
	"internal/stripecontract": nil,
	"internal/stripeemu":      ours("stripecontract"),

	"internal/devstack/checkout":    nil,
	"internal/devstack/supervise":   nil,
	"internal/devstack/supabase":    nil,
	"internal/devstack/pgserver":    ours("devstack/checkout", "devstack/supervise"),
	"internal/devstack/redisserver": ours("devstack/checkout", "devstack/supervise"),
	"internal/devstack": ours("apikey", "audit", "billing", "cache", "catalog", "config", "postgres", "stripeemu",
		"devstack/checkout", "devstack/pgserver", "devstack/redisserver", "devstack/supabase"),

	// For tests only; see TestProductionDoesNotImportTestPackages.
	"internal/postgres/pgtest":     ours("devstack/checkout", "devstack/pgserver", "postgres", "/sql"),
	"internal/cache/redistest":     ours("devstack/checkout", "devstack/redisserver"),
	"internal/catalog/catalogtest": ours("catalog", "db", "postgres"),
	"internal/serve/servetest": ours("account", "api", "apikey", "audit", "billing", "cache", "cache/redistest", "catalog", "config",
		"devstack/supabase", "postgres", "postgres/pgtest", "serve", "stripeemu"),

	"cmd/saaskit": ours("account", "apikey", "billing", "catalog", "credit", "stripehook", "serve",
		"audit", "cache", "config", "idempotency", "page", "postgres"),
	"cmd/saaskit-dev": ours("config", "devstack", "serve"),
	"cmd/stripeemu":   ours("stripeemu"),
	"cmd/devdb":       ours("devstack/checkout", "devstack/pgserver", "devstack/redisserver", "postgres"),
}

// ours names packages below internal, or with a slash below the root.
func ours(names ...string) []string {
	for i, name := range names {
		if fromRoot, ok := strings.CutPrefix(name, "/"); ok {
			names[i] = fromRoot
		} else {
			names[i] = "internal/" + name
		}
	}
	return names
}

func TestImports(t *testing.T) {
	t.Parallel()
	all := packages(t, func(name string) bool { return !strings.HasSuffix(name, "_test.go") })
	for dir, imports := range all {
		allowed, known := mayImport[dir]
		if !known {
			t.Errorf("package %s has no line in mayImport", dir)
			continue
		}
		for _, imported := range imports {
			if !slices.Contains(allowed, imported) {
				t.Errorf("%s must not import %s", dir, imported)
			}
		}
	}
	for dir, allowed := range mayImport {
		if _, there := all[dir]; !there {
			t.Errorf("there is no package %s: take it out of mayImport", dir)
		}
		for _, imported := range allowed {
			if !slices.Contains(all[dir], imported) {
				t.Errorf("%s does not import %s: take it out of mayImport", dir, imported)
			}
		}
	}
}

// What only tests and development need must not reach the binary that users run.
func TestProductionDoesNotImportTestPackages(t *testing.T) {
	t.Parallel()
	all := packages(t, func(name string) bool { return !strings.HasSuffix(name, "_test.go") })
	seen := map[string]bool{}
	var walk func(dir string)
	walk = func(dir string) {
		if seen[dir] {
			return
		}
		seen[dir] = true
		for _, imported := range all[dir] {
			walk(imported)
		}
	}
	walk("cmd/saaskit")
	if !seen["internal/httpapi"] {
		t.Fatal("cmd/saaskit does not even reach httpapi: this test looks at the wrong thing")
	}
	for dir := range seen {
		for _, banned := range []string{"devstack", "stripeemu", "stripecontract", "test"} {
			if strings.Contains(path.Base(dir), banned) || strings.Contains(dir, "/devstack/") {
				t.Errorf("cmd/saaskit reaches %s", dir)
			}
		}
	}
}

var queryName = regexp.MustCompile(`(?m)^-- name: (\w+) :`)

// A query is called only by the package that owns its file.
func TestQueriesHaveOneOwner(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../sql/queries/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("no query files: %v", err)
	}
	for _, file := range files {
		owner := strings.TrimSuffix(filepath.Base(file), ".sql")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range queryName.FindAllStringSubmatch(string(text), -1) {
			onlyCalledIn(t, match[1], "internal/"+owner)
		}
	}
}

func onlyCalledIn(t *testing.T, query, owner string) {
	t.Helper()
	// A method value counts as well as a call.
	call := regexp.MustCompile(`\b(q|queries\(\)|New\([^()]*\)|tx)\.` + query + `\b`)
	used := false
	for name, text := range sources(t) {
		if strings.HasPrefix(name, "internal/api/") || strings.HasPrefix(name, "internal/db/") || !strings.Contains(text, "."+query) || !call.MatchString(text) {
			continue
		}
		if path.Dir(name) == owner {
			used = true
		} else if !strings.HasSuffix(name, "_test.go") {
			t.Errorf("%s calls %s, which belongs to %s", name, query, owner)
		}
	}
	if !used {
		t.Errorf("nobody calls %s of %s: delete it", query, owner)
	}
}

// forAllAccounts are the queries that read or write rows of accounts without naming one, and why they may.
var forAllAccounts = map[string]string{
	"GetUserDeletion":        "by the user, who is being deleted with the account",
	"LockUserDeletion":       "by the user",
	"MarkBillingClosed":      "by the user",
	"MarkIdentityClosed":     "by the user",
	"MarkDeletionFinished":   "by the user",
	"ListOpenDeletions":      "a job for all",
	"ListOpenIdentities":     "a job for all",
	"ListInterruptedChanges": "a job for all",
	"OldestOpenDeletion":     "measures them all",
	"LockAnyAPIKey":          "the operator's command revokes any key",
	"ListServiceKeys":        "service keys have no account",
	"RevokeAPIKey":           "after a query that locked the key by its account",
	"TouchAPIKeys":           "written in batches after each key was found by its hash",
	"CountCredits":           "the proof over all ledgers",
	"FindBrokenCreditChains": "the proof over all ledgers",
	"LeaseOutbox":            "a job for all",
	"MarkOutboxSent":         "after a query that leased the rows",
	"PostponeOutbox":         "after a query that leased the row",
	"GiveUpOutbox":           "after a query that leased the row",
	"IsStripeCustomerKnown":  "asks whose a customer is",

	"ListKnownStripeCustomers": "asks which customers are ours",
	"ListMirroredStates":       "compares Stripe's lists, which are of all accounts",
	"ListRootsToReconcile":     "a job for all",
}

var (
	createdTable  = regexp.MustCompile(`(?s)CREATE TABLE (\w+) \((.*?)\n\)`)
	accountColumn = regexp.MustCompile(`(?m)^\s+account_id\b`)
	usedTable     = regexp.MustCompile(`\b(?:FROM|JOIN|UPDATE|INTO|USING)\s+(\w+)`)
	insertsOne    = regexp.MustCompile(`INSERT INTO \w+\s*\([^)]*\baccount_id\b`)
	// In a condition: behind WHERE or ON, not among the columns that are read.
	namesAccount = regexp.MustCompile(`(?s)\b(?:WHERE|ON)\b.*(?:\baccount_id\s*(?:=|IN\b)|=\s*\w+\.account_id\b|\(\w*\.?account_id,)`)
	sqlComment   = regexp.MustCompile(`(?m)--.*$`)
)

// Every query of a table whose rows belong to an account names the account. The tables are those that the migrations give an
// account_id.
func TestQueriesFilterByAccount(t *testing.T) {
	t.Parallel()
	tables := accountTables(t)
	if len(tables) < 15 {
		t.Fatalf("only %d tables have an account_id: the test looks at the wrong thing", len(tables))
	}
	unused := maps.Clone(forAllAccounts)
	for name, query := range queries(t) {
		ofAccounts := false
		for _, match := range usedTable.FindAllStringSubmatch(query, -1) {
			ofAccounts = ofAccounts || tables[match[1]]
		}
		if !ofAccounts || insertsOne.MatchString(query) || namesAccount.MatchString(query) {
			continue
		}
		if _, excepted := forAllAccounts[name]; !excepted {
			t.Errorf("%s uses rows of accounts without a condition on account_id: add it, or say in forAllAccounts why not", name)
		}
		delete(unused, name)
	}
	for name := range unused {
		t.Errorf("%s is no exception any more: take it out of forAllAccounts", name)
	}
}

func accountTables(t *testing.T) map[string]bool {
	t.Helper()
	tables := map[string]bool{}
	for _, text := range readAll(t, "../sql/migrations/*.sql") {
		for _, match := range createdTable.FindAllStringSubmatch(text, -1) {
			if accountColumn.MatchString(match[2]) {
				tables[match[1]] = true
			}
		}
	}
	return tables
}

// queries maps the name of each query to its SQL without comments.
func queries(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, text := range readAll(t, "../sql/queries/*.sql") {
		for _, query := range strings.Split(text, "-- name: ")[1:] {
			name, body, _ := strings.Cut(query, " ")
			_, body, _ = strings.Cut(body, "\n")
			found[name] = sqlComment.ReplaceAllString(body, "")
		}
	}
	return found
}

func readAll(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	texts := make([]string, len(files))
	for i, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(text)
	}
	return texts
}

// packages maps each directory with Go files to what it imports of ours.
func packages(t *testing.T, want func(name string) bool) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	fset := token.NewFileSet()
	for name, text := range sources(t) {
		if !want(name) || path.Dir(name) == "." {
			continue
		}
		file, err := parser.ParseFile(fset, name, text, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		dir := path.Dir(name)
		if _, ok := found[dir]; !ok {
			found[dir] = nil
		}
		for _, spec := range file.Imports {
			imported := strings.Trim(spec.Path.Value, `"`)
			if ours, ok := strings.CutPrefix(imported, module); ok && !slices.Contains(found[dir], ours) {
				found[dir] = append(found[dir], ours)
			}
		}
	}
	return found
}

func sources(t *testing.T) map[string]string {
	t.Helper()
	files, err := readSources()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// readSources reads every Go file of the main module, by its path from the root.
var readSources = sync.OnceValues(func() (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir("..", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() && (base == "node_modules" || base == "sdk" || base == "tools" || (strings.HasPrefix(base, ".") && base != "..")) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(base, ".go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("..", name)
		files[filepath.ToSlash(rel)] = string(text)
		return err
	})
	return files, err
})
