package devstack_test

import (
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/rueidis"

	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/cache/redistest"
	"example.com/saaskit/internal/devstack"
	"example.com/saaskit/internal/devstack/checkout"
	"example.com/saaskit/internal/devstack/supabase"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/stripeemu"
	"example.com/saaskit/internal/stripehook"
)

// names are what other programs find in dev.env.
var names = []string{
	"BASE_URL", "APP_ENV", "DEV_MODE", "DATABASE_URL", "REDIS_URL", "SUPABASE_URL", "SUPABASE_JWT_SECRET", "SUPABASE_JWT_ISSUER",
	"STRIPE_API_KEY", "STRIPE_API_BASE", "STRIPE_WEBHOOK_SECRET", "SERVICE_KEY",
}

// A fresh checkout on a machine where the usual ports are taken, then a second start, then starts with real parts in place of
// embedded ones, then the end of everything: one checkout, for a cluster takes its time to be made.
func TestStack(t *testing.T) {
	t.Parallel()
	co := newCheckout(t)
	take(t, "8080")
	first := run(t, co, nil)
	if strings.HasSuffix(first.BaseURL, ":8080") {
		t.Errorf("it answers at %s, which is taken", first.BaseURL)
	}
	key := wantEnvFile(t, co, first)
	email := wantGreetingWorks(t, first)
	products := strings.Count(stripe(t, co, "products"), `"object": "product"`)
	if products == 0 {
		t.Error("Stripe has nothing on sale")
	}
	wantNoFindings(t, first)
	wantRefusedReset(t, co)

	first.stop()
	if exists(envFile(co)) {
		t.Error("dev.env names servers that have ended")
	}
	for _, name := range []string{"SUPABASE_URL", "STRIPE_API_BASE"} { // somebody else takes the ports meanwhile
		take(t, portOf(t, first.Env[name]))
	}
	second := run(t, co, nil)
	for _, name := range []string{"SUPABASE_URL", "STRIPE_API_BASE"} {
		if second.Env[name] == first.Env[name] {
			t.Errorf("%s is %s, which is taken", name, first.Env[name])
		}
	}
	if got := wantEnvFile(t, co, second); got != key {
		t.Error("the service key is another one after a restart")
	}
	if got := users(t, co); !strings.Contains(got, email) {
		t.Errorf("after a restart the users are %s, want %s among them", got, email)
	}
	login := `. '%s' && curl -sf "$BASE_URL/v1/auth/login" -H 'Content-Type: application/json' -d '{"email":"%s","password":"correct horse battery"}'`
	if got := shell(t, fmt.Sprintf(login, envFile(co), email)); !strings.Contains(got, "access_token") {
		t.Errorf("after a restart a login answers %s", got)
	}
	if got := strings.Count(stripe(t, co, "products"), `"object": "product"`); got != products {
		t.Errorf("after a restart Stripe has %d products, want %d", got, products)
	}

	second.stop()
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) { wantReplaced(t, co, part) })
	}
	third := run(t, co, nil)
	if got := wantEnvFile(t, co, third); got != key {
		t.Error("the service key is another one after a start on another database")
	}
	third.stop()
	if err := resetSoon(co); err != nil {
		t.Errorf("Reset: %v", err)
	}
	if sockets := filepath.Dir(socketOf(t, first)); exists(sockets) {
		t.Errorf("Reset leaves %s", sockets)
	}
	for _, left := range []string{"dev", "pg", "dev.env", "pg-install.lock"} {
		if exists(co.Path(".saaskit", left)) {
			t.Errorf("Reset leaves .saaskit/%s", left)
		}
	}
}

// wantNoFindings asks as `saaskit stripe doctor` does.
func wantNoFindings(t *testing.T, r *running) {
	t.Helper()
	api, err := billing.NewAPI(r.Getenv("STRIPE_API_KEY"), r.Getenv("STRIPE_API_BASE"), nil)
	if err != nil {
		t.Fatal(err)
	}
	found, err := stripehook.Examine(t.Context(), api, "", false, time.Now())
	if err != nil || len(found.Found) > 0 || found.URL == "" {
		t.Errorf("the doctor finds %+v, %v", found, err)
	}
}

// socketOf is a path in the directory of the embedded PostgreSQL's socket.
func socketOf(t *testing.T, r *running) string {
	t.Helper()
	u, err := url.Parse(r.Env["DATABASE_URL"])
	if err != nil || u.Query().Get("host") == "" {
		t.Fatalf("%s names no socket: %v", r.Env["DATABASE_URL"], err)
	}
	return filepath.Join(u.Query().Get("host"), "socket")
}

// wantEnvFile holds the file for other programs against its promise, and returns the service key in it.
func wantEnvFile(t *testing.T, co checkout.Checkout, r *running) string {
	t.Helper()
	info, err := os.Stat(envFile(co))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("dev.env has mode %o", got)
	}
	content, err := os.ReadFile(envFile(co))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(content)) {
		name, _, _ := strings.Cut(line, "=")
		got = append(got, name)
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("dev.env names %q, want %q", got, names)
	}
	values := map[string]string{}
	for _, name := range names {
		values[name] = shell(t, fmt.Sprintf(`. '%s' && printf %%s "$%s"`, envFile(co), name))
		if want, ok := r.Env[name]; values[name] == "" || ok && values[name] != want {
			t.Errorf("%s is %q in dev.env, want %q", name, values[name], want)
		}
	}
	if values["BASE_URL"] != r.BaseURL {
		t.Errorf("BASE_URL is %q, want %q", values["BASE_URL"], r.BaseURL)
	}
	return values["SERVICE_KEY"]
}

var (
	address   = regexp.MustCompile(`https?://\S+`)
	addressee = regexp.MustCompile(`[\w-]+@example\.com`)
)

// wantGreetingWorks opens what the greeting names and runs what it says to try, and returns the address that signed up.
func wantGreetingWorks(t *testing.T, r *running) string {
	t.Helper()
	lines := r.tried(t)
	if got := shell(t, lines[0]); !strings.Contains(got, `"pro"`) {
		t.Errorf("%s answers %s", lines[0], got)
	}
	email := addressee.FindString(lines[1])
	if got := shell(t, lines[1]); email == "" || !strings.Contains(got, "access_token") {
		t.Errorf("%s answers %s", lines[1], got)
	}
	if got := shell(t, lines[2]); !strings.Contains(got, email) {
		t.Errorf("%s answers %s, want %s in it", lines[2], got, email)
	}
	stripePage := r.Env["STRIPE_API_BASE"] + "/_emulator/"
	opened := false
	for _, page := range address.FindAllString(strings.Split(r.greeting, "Try:")[0], -1) {
		page = strings.TrimRight(page, ")")
		if page != r.BaseURL { // the API itself is no page
			get(t, page)
		}
		opened = opened || page == stripePage
	}
	if !opened {
		t.Errorf("the greeting does not name %s:\n%s", stripePage, r.greeting)
	}
	return email
}

// users asks for the users with what dev.env says.
func users(t *testing.T, co checkout.Checkout) string {
	t.Helper()
	return shell(t, fmt.Sprintf(`. '%s' && curl -sf "$BASE_URL/v1/users" -H "X-API-Key: $SERVICE_KEY"`, envFile(co)))
}

// stripe asks Stripe for a list with what dev.env says.
func stripe(t *testing.T, co checkout.Checkout, list string) string {
	t.Helper()
	return shell(t, fmt.Sprintf(`. '%s' && curl -sf "$STRIPE_API_BASE/v1/%s?limit=100" -u "$STRIPE_API_KEY:"`, envFile(co), list))
}

func wantRefusedReset(t *testing.T, co checkout.Checkout) {
	t.Helper()
	if err := devstack.ResetIn(co); err == nil {
		t.Error("Reset deletes what is in use")
	}
	for _, kept := range []string{"dev/secrets.json", "dev/stripe.json", "dev.env", "pg"} {
		if !exists(co.Path(".saaskit", kept)) {
			t.Errorf("the Reset that was refused has deleted .saaskit/%s", kept)
		}
	}
}

// resetSoon is Reset on a busy machine, where the supervisor lets go of the cluster a moment after the server has ended.
func resetSoon(co checkout.Checkout) error {
	err := devstack.ResetIn(co)
	for try := 0; err != nil && try < 50; try++ {
		time.Sleep(100 * time.Millisecond)
		err = devstack.ResetIn(co)
	}
	return err
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

// A part can be a real one, all others staying as they are.
type part struct {
	name string
	// real starts it; what it returns for env is set, and used fails where the server does not use it.
	real     func(t *testing.T) (env map[string]string, used func(t *testing.T, r *running, email string))
	replaces string // what the stack would have set
}

var parts = []part{
	{"address", realAddress, ""},
	{"PostgreSQL", realPostgres, "DATABASE_URL"},
	{"Redis", realRedis, "REDIS_URL"},
	{"Supabase", realSupabase, "SUPABASE_URL"},
	{"Stripe", realStripe, "STRIPE_API_BASE"},
}

func wantReplaced(t *testing.T, co checkout.Checkout, p part) {
	t.Helper()
	env, used := p.real(t)
	r := run(t, co, env)
	for _, name := range []string{"DATABASE_URL", "REDIS_URL", "SUPABASE_URL", "STRIPE_API_BASE"} {
		if _, started := r.Env[name]; started == (name == p.replaces) {
			t.Errorf("%s: started %t", name, started)
		}
	}
	for name, value := range env {
		if got := r.Getenv(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	if movable := r.Clock() != nil; movable != (p.replaces == "") {
		t.Errorf("time can be moved: %t; that of a real part is nobody's to move", movable)
	}
	lines := r.tried(t)
	shell(t, lines[1])
	email := addressee.FindString(lines[1])
	if got := shell(t, lines[2]); !strings.Contains(got, email) {
		t.Errorf("the users are %s, want %s among them", got, email)
	}
	used(t, r, email)
}

func realAddress(t *testing.T) (map[string]string, func(*testing.T, *running, string)) {
	l := listen(t)
	free := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"ADDR": free}, func(t *testing.T, r *running, _ string) {
		t.Helper()
		if r.BaseURL != "http://"+free {
			t.Errorf("it answers at %s, want %s", r.BaseURL, free)
		}
		// What is asked for is not replaced by what is free.
		taken := listen(t)
		defer taken.Close()
		getenv := func(name string) string { return map[string]string{"ADDR": taken.Addr().String()}[name] }
		if s, err := devstack.StartIn(t.Context(), newCheckout(t), getenv, slog.New(slog.DiscardHandler)); err == nil {
			s.Stop()
			t.Error("an ADDR that is taken is passed over")
		}
	}
}

func realPostgres(t *testing.T) (map[string]string, func(*testing.T, *running, string)) {
	databaseURL := pgtest.NewEmptyURL(t)
	return map[string]string{"DATABASE_URL": databaseURL}, func(t *testing.T, _ *running, email string) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), databaseURL)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		var got string
		if err := conn.QueryRow(t.Context(), "SELECT string_agg(email, ' ') FROM users").Scan(&got); err != nil || got != email {
			t.Errorf("the database's users are %s (%v), want %s", got, err, email)
		}
	}
}

func realRedis(t *testing.T) (map[string]string, func(*testing.T, *running, string)) {
	redisURL := redistest.New(t)
	return map[string]string{"REDIS_URL": redisURL}, func(t *testing.T, _ *running, _ string) {
		t.Helper()
		client, err := rueidis.NewClient(rueidis.MustParseURL(redisURL))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		keys, err := client.Do(t.Context(), client.B().Keys().Pattern("saaskit:*").Build()).AsStrSlice()
		if err != nil || len(keys) == 0 {
			t.Errorf("Redis holds nothing of ours: %v", err)
		}
	}
}

func realSupabase(t *testing.T) (map[string]string, func(*testing.T, *running, string)) {
	l := listen(t)
	const secret = "a-secret-for-tests-with-at-least-32-characters"
	base := "http://" + l.Addr().String()
	server, err := supabase.New(supabase.Config{Issuer: base + "/auth/v1", JWTSecret: secret, AutoConfirm: true, BcryptCost: 4})
	if err != nil {
		t.Fatal(err)
	}
	answer(t, l, server)
	env := map[string]string{"SUPABASE_URL": base, "SUPABASE_JWT_SECRET": secret, "SUPABASE_JWT_ISSUER": base + "/auth/v1"}
	return env, func(t *testing.T, _ *running, email string) {
		t.Helper()
		if _, _, err := server.SignUp(email, "correct horse battery", supabase.SignUpOptions{}); err == nil {
			t.Error("who signed up is unknown to Supabase")
		}
	}
}

func realStripe(t *testing.T) (map[string]string, func(*testing.T, *running, string)) {
	l := listen(t)
	base := "http://" + l.Addr().String()
	emulator, err := stripeemu.New(stripeemu.Config{BaseURL: base})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(emulator.Close)
	answer(t, l, emulator.Handler())
	const secret = "whsec_of_the_real_one"
	env := map[string]string{"STRIPE_API_KEY": "sk_test_of_the_real_one", "STRIPE_API_BASE": base, "STRIPE_WEBHOOK_SECRET": secret}
	return env, func(t *testing.T, r *running, _ string) {
		t.Helper()
		if len(emulator.Objects("product")) == 0 {
			t.Error("Stripe has nothing on sale")
		}
		if strings.Contains(r.greeting, "_emulator") {
			t.Errorf("the greeting names the page of an emulator that is not there:\n%s", r.greeting)
		}
		// Its events are taken in by the secret that was given.
		emulator.Register(r.BaseURL+"/v1/webhooks/stripe", secret)
		customer, err := emulator.Create("customer", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := emulator.Emit("customer.created", customer); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
			if got := emulator.Attempts(); len(got) > 0 {
				if got[0].Status != 200 {
					t.Errorf("an event was answered with %+v", got[0])
				}
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("no event was delivered")
			}
		}
	}
}
