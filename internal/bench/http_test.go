package bench_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/api"
	"example.com/saaskit/internal/apikey"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/auth"
	"example.com/saaskit/internal/cache"
	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/httpapi"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/ratelimit"
	"example.com/saaskit/internal/serve/servetest"
	"example.com/saaskit/internal/usage"
)

// requests of a round: so many that each round has its share of garbage collections.
const requests = 16000

// benchHTTP compares the whole chain of an operation with a bare Echo that takes the same body and gives the same answer.
// What counts is the CPU time of this process: the load comes from another one, and a process that serves nothing is idle.
func benchHTTP(b *testing.B, r *report) {
	w := servetest.Start(b, servetest.Options{Env: map[string]string{"LOG_LEVEL": "warn", "PUBLIC_PER_MINUTE": "10000000"}})
	// The rate limit is at work, and lets everything through.
	if _, err := w.Pool.Exec(b.Context(), "UPDATE tiers SET requests_per_minute = 10000000, burst = 10000000"); err != nil {
		b.Fatal(err)
	}
	time.Sleep(2 * time.Second) // until no process goes on with the old limit
	person := w.Person(b)
	_, key := w.Key(b, person, "usage:write", "account:read")
	withKey, withToken := map[string]string{"X-API-Key": key}, map[string]string{"Authorization": "Bearer " + person.Token}
	event := fmt.Sprintf(`{"events":[{"id":"$ID","meter":"requests","quantity":1,"occurred_at":%q}]}`, time.Now().UTC().Format(time.RFC3339))

	record := usage.New(w.Pool, time.Now)
	bareRecord := func(c echo.Context) error {
		var in api.UsageEvents
		if err := c.Bind(&in); err != nil {
			return err
		}
		e := in.Events[0]
		accepted, _, err := record.Record(c.Request().Context(), person.AccountID,
			[]usage.Event{{ID: e.ID, Meter: e.Meter, Quantity: e.Quantity, OccurredAt: e.OccurredAt}}, idempotency.Key{}, audit.Actor{})
		if err != nil {
			return err
		}
		return c.JSON(http.StatusAccepted, api.UsageAccepted{Accepted: accepted.Accepted, Duplicates: accepted.Duplicates})
	}
	get := load{Path: "/v1/tiers/pro"}
	post := load{Method: http.MethodPost, Path: "/v1/usage/events", Body: event, Header: withKey}
	stored := post // it waits for the database
	stored.Count = requests / 4
	validated := validatedOnly(b, w.Do(b, servetest.Request{Method: http.MethodGet, Path: get.Path}))
	httpRatio(b, r, w, "validated_get", get.at(validated), same[api.Tier])
	httpRatio(b, r, w, "validated_post", post.at(validated), func(*testing.B, servetest.Response) echo.HandlerFunc { return bareBind })
	httpRatio(b, r, w, "chain_get", get, same[api.Tier])
	httpRatio(b, r, w, "chain_post", stored, func(*testing.B, servetest.Response) echo.HandlerFunc { return bareRecord })
	whoami := load{Path: "/v1/auth/whoami"}
	admitted := admittedOnly(b, w)
	httpRatio(b, r, w, "auth_api_key", whoami.with(withKey).at(admitted), same[api.Principal])
	httpRatio(b, r, w, "auth_jwt", whoami.with(withToken).at(admitted), same[api.Principal])
	httpRatio(b, r, w, "chain_api_key", whoami.with(withKey), same[api.Principal])
	httpRatio(b, r, w, "chain_jwt", whoami.with(withToken), same[api.Principal])
}

// oneEvent is the answer to one event.
var oneEvent = api.UsageAccepted{Accepted: 1}

// bareBind reads the same body and does nothing with it.
func bareBind(c echo.Context) error {
	var in api.UsageEvents
	if err := c.Bind(&in); err != nil {
		return err
	}
	return c.JSON(http.StatusAccepted, oneEvent)
}

// fixed has the answers ready.
type fixed struct {
	api.StrictServerInterface
	tier api.Tier
}

func (f fixed) GetTier(context.Context, api.GetTierRequestObject) (api.GetTierResponseObject, error) {
	return api.GetTier200JSONResponse(f.tier), nil
}

func (fixed) RecordUsage(context.Context, api.RecordUsageRequestObject) (api.RecordUsageResponseObject, error) {
	return api.RecordUsage202JSONResponse{Body: oneEvent}, nil
}

// validatedOnly serves the generated handlers behind the validator alone, with answers that are ready, and returns its address.
func validatedOnly(b *testing.B, tier servetest.Response) string {
	b.Helper()
	var f fixed
	tier.Want(http.StatusOK, &f.tier)
	middleware, err := httpapi.Validation()
	if err != nil {
		b.Fatal(err)
	}
	return serveEcho(b, func(e *echo.Echo) {
		api.RegisterHandlersWithOptions(e, api.NewStrictHandler(f, nil), api.RegisterHandlersOptions{OperationMiddlewares: middleware})
	})
}

// admittedOnly serves the generated handlers behind authentication and rate limit alone, with services of their own on the database
// and Redis of the world, and returns its address.
func admittedOnly(b *testing.B, w *servetest.World) string {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	shared, err := cache.Open(b.Context(), w.Setting("REDIS_URL"), "bench", log)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(shared.Close)
	accounts, err := account.New(account.Config{Pool: w.Pool, Cache: shared, Log: log, Now: time.Now, Policy: account.DefaultPolicy()})
	if err != nil {
		b.Fatal(err)
	}
	users, err := auth.New(auth.Config{URL: w.Setting("SUPABASE_URL") + "/auth/v1", JWTSecret: servetest.JWTSecret, Accounts: accounts, Log: log, Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(users.Close)
	keys := apikey.New(apikey.Config{Pool: w.Pool, Cache: shared, Log: log, Now: time.Now, Policy: account.DefaultPolicy()})
	b.Cleanup(keys.Close)
	services := httpapi.Services{Auth: users, Accounts: accounts, Keys: keys, Catalog: catalog.New(w.Pool)}
	middleware, err := httpapi.Admission(httpapi.Config{Services: services, Limiter: ratelimit.New(shared, time.Now)})
	if err != nil {
		b.Fatal(err)
	}
	return serveEcho(b, func(e *echo.Echo) {
		handler := api.NewStrictHandler(&httpapi.Server{Services: services}, nil)
		api.RegisterHandlersWithOptions(e, handler, api.RegisterHandlersOptions{OperationMiddlewares: middleware})
	})
}

// same is the handler that gives the same answer as ours, from a value that it has already.
func same[T any](b *testing.B, res servetest.Response) echo.HandlerFunc {
	b.Helper()
	var answer T
	if err := json.Unmarshal(res.Body, &answer); err != nil {
		b.Fatal(err)
	}
	return func(c echo.Context) error { return c.JSON(res.Status, answer) }
}

// httpRatio compares with a bare Echo that gives the answer which the world gives.
func httpRatio(b *testing.B, r *report, w *servetest.World, name string, l load, floor func(*testing.B, servetest.Response) echo.HandlerFunc) {
	b.Helper()
	l.Method, l.Count = cmp.Or(l.Method, http.MethodGet), cmp.Or(l.Count, requests)
	if l.URL == "" {
		l.URL = w.BaseURL + l.Path
	}
	res := w.Do(b, servetest.Request{Method: l.Method, Path: l.Path, Header: l.Header, Body: bodyOf(l)})
	if l.Want = res.Status; l.Want >= http.StatusMultipleChoices {
		b.Fatalf("%s %s answers %d: %s", l.Method, l.Path, res.Status, res.Body)
	}
	compareHTTP(b, r, name, l, "bare Echo", floor(b, res))
}

// compareHTTP adds two rows: CPU time per request, and requests per second with the load on the same cores.
func compareHTTP(b *testing.B, r *report, name string, l load, floorIs string, floor echo.HandlerFunc) {
	b.Helper()
	bare := l
	bare.URL = serveEcho(b, func(e *echo.Echo) { e.Add(l.Method, l.Path, floor) }) + l.Path
	var cpu, rate [2][]sample // of the floor, of ours
	for round := range r.rounds + 1 {
		for side, target := range []load{bare, l} {
			c, s := drive(b, target)
			if round > 0 { // the first only warms up
				cpu[side], rate[side] = append(cpu[side], c), append(rate[side], s)
			}
		}
	}
	r.add(name, cpuMicros, floorIs, cpu[0], cpu[1])
	r.add(name+"_rps", perSecond, floorIs, rate[0], rate[1])
}

func bodyOf(l load) any {
	if l.Body == "" {
		return nil
	}
	return l.body()
}

// serveEcho serves an Echo without any middleware of its own and returns its address.
func serveEcho(b *testing.B, routes func(*echo.Echo)) string {
	b.Helper()
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	routes(e)
	go func() { _ = e.Start("127.0.0.1:0") }()
	b.Cleanup(func() { _ = e.Close() })
	for range 1000 {
		if a := e.ListenerAddr(); a != nil {
			return "http://" + a.String()
		}
		time.Sleep(5 * time.Millisecond)
	}
	b.Fatal("the Echo does not start")
	return ""
}

// drive lets another process of this binary make the requests, and returns what this one spent on each.
func drive(b *testing.B, l load) (cpu, rate sample) {
	b.Helper()
	l.Out = filepath.Join(b.TempDir(), uuid.NewString())
	spec, err := json.Marshal(l)
	if err != nil {
		b.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), self, "-test.run=^$", "-test.bench=^BenchmarkLoad$", "-test.benchtime=1x", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), loadEnv+"="+string(spec))
	before := cpuTime(b)
	out, err := cmd.CombinedOutput()
	spent := cpuTime(b) - before
	if err != nil {
		b.Fatalf("load: %v\n%s", err, out)
	}
	text, err := os.ReadFile(l.Out)
	if err != nil {
		b.Fatalf("load: %v\n%s", err, out)
	}
	var result loadResult
	if err := json.Unmarshal(text, &result); err != nil {
		b.Fatal(err)
	}
	cpu = sample{figure: float64(spent.Microseconds()) / float64(l.Count), p50: result.P50, p99: result.P99}
	return cpu, sample{figure: result.PerSecond, p50: result.P50, p99: result.P99}
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
