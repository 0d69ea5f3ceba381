package main

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/serve/servetest"
)

// Ten instances that start at once on an empty database all come up to date, and none runs before.
func TestMigrate(t *testing.T) {
	t.Parallel()
	saaskit(t, nil, "migrate", "up").want(t, 1, "", "DATABASE_URL is not set")
	w := servetest.Start(t, servetest.Options{NoServer: true})
	address := pgtest.NewEmptyURL(t)
	env := w.Env(map[string]string{"DATABASE_URL": address, "ADDR": "127.0.0.1:0"})
	saaskit(t, env, "migrate", "status").want(t, 1, "missing  00001_accounts.sql", "run `saaskit migrate up`")
	saaskit(t, env, "serve").want(t, 1, "", "first missing: 00001_accounts.sql")

	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if r := saaskit(t, env, "migrate", "up"); r.code != 0 || strings.Contains(r.stdout, "missing") || !strings.Contains(r.stdout, "applied  00001_accounts.sql") {
				t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
			}
		})
	}
	all.Wait()
	files, _ := filepath.Glob("../../sql/migrations/*.sql")
	if got := strings.Count(saaskit(t, env, "migrate", "status").want(t, 0, "", "").stdout, "applied "); got != len(files) || got == 0 {
		t.Errorf("%d of %d migrations are applied", got, len(files))
	}
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version)"); err != nil {
		t.Fatal(err)
	}
	saaskit(t, env, "serve").want(t, 1, "", "first missing: "+filepath.Base(files[len(files)-1]))
}

func TestCatalogCommands(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{NoServer: true, NoCatalog: true})
	env := w.Env(nil)
	file := []string{"-f", "../../catalog.yaml"}
	catalog := func(args ...string) result { return saaskit(t, env, append([]string{"catalog"}, args...)...) }

	catalog("show").want(t, 0, "Nothing was ever applied.", "")
	plan := catalog(append([]string{"plan"}, file...)...).want(t, 0, "+ ", "").stdout
	for _, what := range []string{"free", "pro", "scale", "small", "large", "requests", "tokens"} {
		if !regexp.MustCompile(`(?m)^\+ .*\b` + what + `\b`).MatchString(plan) {
			t.Errorf("%s is not in the plan:\n%s", what, plan)
		}
	}
	if n := len(w.Stripe.Objects("product")); n != 0 {
		t.Fatalf("a plan has made %d products at Stripe", n)
	}
	catalog(append([]string{"apply"}, file...)...).want(t, 0, plan+"The catalogue is applied.\n", "")
	if n := len(w.Stripe.Objects("product")); n != 4 {
		t.Errorf("%d products at Stripe, want two tiers and two packs", n)
	}
	for _, verb := range []string{"plan", "apply"} {
		catalog(append([]string{verb}, file...)...).want(t, 0, "Nothing to change.", "")
	}
	catalog("show").want(t, 0, "Last applied 20", "").want(t, 0, "eur 2700 (price_", "").want(t, 0, " as test.", "")
	for _, verb := range []string{"plan", "apply"} {
		saaskit(t, w.Env(map[string]string{"APP_ENV": "production"}), append([]string{"catalog", verb}, file...)...).want(t, 1, "", "set APP_ENV=test")
	}
	saaskit(t, w.Env(map[string]string{"APP_ENV": "production"}), append([]string{"catalog", "plan", "-change-environment"}, file...)...).want(t, 0, "+ ", "")

	catalog("migrate").want(t, 2, "", "--from PRICE --to PRICE")
	catalog("migrate", "--from", "pro_month_eur", "--to", "nothing").want(t, 1, "", "price_not_found")

	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("currencies: [usd]\ntiers: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	catalog("apply", "-f", bad).want(t, 1, "", "bad.yaml cannot be used:")
	catalog("plan", "-f", bad+".gone").want(t, 1, "", "no such file")
}

// An operator makes a service key, sees it in the list and takes it back; the server believes both.
func TestServiceKeys(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{})
	p, env := w.Person(t), w.Env(nil)
	keys := func(args ...string) result { return saaskit(t, env, append([]string{"keys"}, args...)...) }

	made := keys("create", "--service", "--name", "worker one", "--scope", "credits,usage", "--expires", "90d").want(t, 0, "sk_", "Service key worker one")
	secret := strings.TrimSuffix(made.stdout, "\n")
	if strings.ContainsAny(secret, " \n") || strings.Contains(made.stderr, secret) {
		t.Errorf("stdout has to be the secret and nothing else: %q; stderr has none: %q", made.stdout, made.stderr)
	}
	ask := func(path string) servetest.Response {
		return w.Do(t, servetest.Request{Method: http.MethodGet, Path: path, Key: secret, Header: map[string]string{"Saaskit-Account": p.AccountID.String()}})
	}
	ask("/v1/credits").Want(http.StatusOK, nil)
	ask("/v1/account").WantProblem(http.StatusForbidden, "insufficient_scope")

	list := keys("list").want(t, 0, "worker one", "").stdout
	if strings.Contains(list, secret) || !strings.Contains(list, "credits,usage") || !strings.Contains(list, time.Now().AddDate(0, 0, 90).UTC().Format("2006-01")) {
		t.Errorf("the list is\n%s", list)
	}
	id := regexp.MustCompile(`[0-9a-f-]{36}`).FindString(list)
	keys("revoke", id).want(t, 0, "The key is revoked.", "")
	time.Sleep(time.Second)
	ask("/v1/credits").WantProblem(http.StatusUnauthorized, "invalid_api_key")
	if list := keys("list").want(t, 0, "ID", "").stdout; strings.Contains(list, id) {
		t.Errorf("the revoked key is still listed:\n%s", list)
	}
}

func TestServiceKeysRefused(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{NoServer: true})
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"create":                                         {2, "say --service for a service key"},
		"create --scope credits":                         {2, "say --service for a service key"},
		"create --service --scopes credits":              {2, "flag provided but not defined: -scopes"},
		"create --service --scope credits more":          {2, "keys create takes flags only, not more"},
		"create --service":                               {1, "a service key needs scopes"},
		"create --service --scope everything":            {1, `"everything" is not one of`},
		"create --service --scope credits --expires 90":  {1, `"90" is no lifetime`},
		"create --service --scope credits --expires -1h": {1, `"-1h" is no lifetime`},
		"create --service --scope credits --ip nowhere":  {1, `"nowhere" is neither an address nor a network`},
		"revoke":   {2, "keys revoke takes the id of a key"},
		"revoke 1": {1, `"1" is not the id of a key`},
		"revoke 00000000-0000-4000-8000-000000000000": {1, "there is no such API key"},
		"list all": {2, "keys list takes nothing"},
	} {
		r := saaskit(t, w.Env(nil), append([]string{"keys"}, strings.Fields(args)...)...).want(t, want.code, "", want.text)
		if r.stdout != "" || r.stderr == "" {
			t.Errorf("keys %s: stdout %q, stderr %q", args, r.stdout, r.stderr)
		}
	}
	var n int
	if err := w.Pool.QueryRow(t.Context(), "SELECT count(*) FROM api_keys").Scan(&n); err != nil || n != 0 {
		t.Errorf("refusals have made %d keys (%v)", n, err)
	}
}

// The doctor is content with what the server writes, and finds whatever was changed behind its back.
func TestDoctorLedger(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{})
	p := w.Person(t)
	w.Buy(t, p, servetest.SmallPack())
	_, key := w.Key(t, p, "credits:write")
	w.Do(t, servetest.Request{Method: http.MethodPost, Path: "/v1/credits/consume", Key: key, Body: map[string]any{"amount": 150}}).Want(http.StatusOK, nil)
	// The free tier's credits come with the first look, and must not come while the ledger is tampered with.
	w.Do(t, servetest.Request{Method: http.MethodGet, Path: "/v1/credits", Token: p.Token}).Want(http.StatusOK, nil)
	env := w.Env(nil)
	healthy := func() { t.Helper(); saaskit(t, env, "doctor", "ledger").want(t, 0, " 0 violations\n", "") }
	healthy()
	for name, tampering := range map[string][2]string{
		"a balance": {"UPDATE credit_accounts SET balance = balance + 1", "UPDATE credit_accounts SET balance = balance - 1"},
		"a lot": {"UPDATE credit_lots SET remaining = remaining - 1 WHERE source = 'pack'",
			"UPDATE credit_lots SET remaining = remaining + 1 WHERE source = 'pack'"},
		"an entry": {"SET session_replication_role = replica; UPDATE credit_entries SET amount = -149 WHERE kind = 'consume'; RESET session_replication_role",
			"SET session_replication_role = replica; UPDATE credit_entries SET amount = -150 WHERE kind = 'consume'; RESET session_replication_role"},
	} {
		if _, err := w.Pool.Exec(t.Context(), tampering[0]); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		saaskit(t, env, "doctor", "ledger").want(t, 1, "account "+p.AccountID.String()+": ", "the ledger does not add up")
		if _, err := w.Pool.Exec(t.Context(), tampering[1]); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		healthy()
	}
	saaskit(t, nil, "doctor", "ledger").want(t, 1, "", "DATABASE_URL is not set")
	gone, err := url.Parse(w.Setting("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	gone.Path = "/nothing"
	saaskit(t, []string{"DATABASE_URL=" + gone.String()}, "doctor", "ledger").want(t, 1, "", "reach database")
}
