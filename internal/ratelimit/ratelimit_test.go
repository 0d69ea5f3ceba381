package ratelimit_test

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"example.com/saaskit/internal/cache"
	"example.com/saaskit/internal/cache/redistest"
	"example.com/saaskit/internal/devstack/redisserver"
	"example.com/saaskit/internal/ratelimit"
)

const patience = 15 * time.Second

// A clock can be moved. It is that of the process; that of Redis goes on by itself.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time       { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) move(d time.Duration) { c.offset.Add(int64(d)) }

func open(t *testing.T, url string) *cache.Cache {
	t.Helper()
	c, err := cache.Open(t.Context(), url, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func limiter(t *testing.T, url string) *ratelimit.Limiter {
	t.Helper()
	return ratelimit.New(open(t, url), time.Now)
}

func raw(t *testing.T, url string) rueidis.Client {
	t.Helper()
	option := rueidis.MustParseURL(url)
	option.DisableCache = true
	client, err := rueidis.NewClient(option)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// slow is a limit whose tokens do not come back during a test.
func slow(burst int) ratelimit.Limit { return ratelimit.Limit{PerMinute: 1, Burst: burst} }

func TestExactForAllInstancesTogether(t *testing.T) {
	t.Parallel()
	memory, err := redisserver.StartMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(memory.Stop)
	for name, url := range map[string]string{"redis": redistest.New(t), "memory": memory.URL()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// An overloaded machine may make Redis too slow to be waited for, and then each instance limits by itself.
			for try := range 20 {
				caches := []*cache.Cache{open(t, url), open(t, url)}
				allowed := together(t, caches, fmt.Sprint("k", try), slow(10))
				if caches[0].Degraded() || caches[1].Degraded() {
					continue
				}
				if allowed != 10 {
					t.Errorf("%d allowed, want 10", allowed)
				}
				return
			}
			t.Error("Redis was too slow twenty times")
		})
	}
}

// together has a hundred callers ask at once and counts who was let in.
func together(t *testing.T, caches []*cache.Cache, key string, limit ratelimit.Limit) int64 {
	t.Helper()
	var instances []*ratelimit.Limiter
	for _, c := range caches {
		instances = append(instances, ratelimit.New(c, time.Now))
	}
	var allowed atomic.Int64
	var callers sync.WaitGroup
	for i := range 100 {
		callers.Go(func() {
			if instances[i%len(instances)].Take(t.Context(), key, limit).Allowed {
				allowed.Add(1)
			}
		})
	}
	callers.Wait()
	return allowed.Load()
}

func TestLeases(t *testing.T) {
	t.Parallel()
	url := redistest.New(t)
	instances := []*ratelimit.Limiter{limiter(t, url), limiter(t, url)}
	limit := ratelimit.Limit{PerMinute: 300, Burst: 400}
	const lease = 40
	began := time.Now()
	allowed := 0
	for i := range 1000 {
		if instances[i%2].Take(t.Context(), "k", limit).Allowed {
			allowed++
		}
	}
	most := 400 + len(instances)*lease + int(time.Since(began).Minutes()*300) + 1
	if allowed < 400 || allowed > most {
		t.Errorf("%d allowed, want 400 to %d", allowed, most)
	}
	// Each lease is a call, and so is each refusal that is not a repetition.
	if n := calls(t, url); n > 400/lease+2*len(instances)+5*int(time.Since(began).Seconds()+1) {
		t.Errorf("%d calls of Redis for 1000 requests", n)
	}
}

// calls counts how often the bucket script ran.
func calls(t *testing.T, url string) int {
	t.Helper()
	client := raw(t, url)
	info, err := client.Do(t.Context(), client.B().Info().Section("commandstats").Build()).ToString()
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(info, "cmdstat_evalsha:calls=")
	if !ok {
		t.Fatal("the script never ran")
	}
	number, _, _ := strings.Cut(after, ",")
	n, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Many callers of one instance at once share its leases.
func TestOneCallAtATime(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l := limiter(t, server.URL())
	limit := ratelimit.Limit{PerMinute: 300, Burst: 500}
	var allowed atomic.Int64
	var callers sync.WaitGroup
	for range 200 {
		callers.Go(func() {
			if l.Take(t.Context(), "k", limit).Allowed {
				allowed.Add(1)
			}
		})
	}
	callers.Wait()
	if allowed.Load() != 200 {
		t.Errorf("%d allowed, want 200", allowed.Load())
	}
	if n := calls(t, server.URL()); n > 200/50+3 {
		t.Errorf("%d calls of Redis for 200 requests", n)
	}
}

// A caller who comes now and then must not pay for leases that it does not use up.
func TestUnusedTokensAreGivenBack(t *testing.T) {
	t.Parallel()
	var c clock
	l := ratelimit.New(open(t, redistest.New(t)), c.now)
	limit := ratelimit.Limit{PerMinute: 300, Burst: 100} // leases of 10
	for i := range 60 {
		d := l.Take(t.Context(), "k", limit)
		if !d.Allowed {
			t.Fatalf("request %d is refused", i+1)
		}
		if least := 100 - (i + 1) - 1; d.Remaining < least {
			t.Fatalf("request %d: %d remain, want at least %d", i+1, d.Remaining, least)
		}
		c.move(1100 * time.Millisecond) // the lease ends
	}
}

// A token that was granted and then not needed is there again, with and without Redis, whatever was refused meanwhile.
func TestGiveBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l := limiter(t, server.URL())
	leases := ratelimit.Limit{PerMinute: 300, Burst: 2}
	for _, step := range []string{"with Redis", "without Redis"} {
		for key, limit := range map[string]ratelimit.Limit{"exact": slow(2), "leases": leases} {
			key += step
			began := time.Now()
			for range 10 {
				if !l.Take(t.Context(), key, limit).Allowed {
					t.Fatalf("%s: refused, though each token was given back", key)
				}
				l.GiveBack(key)
			}
			allowed := 0
			for range 3 {
				if l.Take(t.Context(), key, limit).Allowed {
					allowed++
				}
			}
			if most := 2 + int(time.Since(began).Minutes()*float64(limit.PerMinute)); allowed < 2 || allowed > most {
				t.Errorf("%s: %d allowed afterwards, want 2 to %d", key, allowed, most)
			}
			l.GiveBack(key)
			if !l.Take(t.Context(), key, limit).Allowed {
				t.Errorf("%s: the token that came back after a refusal is refused", key)
			}
		}
		server.Stop()
	}
}

func TestDecision(t *testing.T) {
	t.Parallel()
	l := limiter(t, redistest.New(t))
	limit := ratelimit.Limit{PerMinute: 6, Burst: 3} // one token takes 10 s
	for i := range 3 {
		d := l.Take(t.Context(), "k", limit)
		if !d.Allowed || d.Limit != 3 || d.Remaining != 2-i || d.RetryAfter != 0 {
			t.Errorf("request %d: got %+v", i+1, d)
		}
		if want := time.Duration(i+1) * 10 * time.Second; d.Reset > want || d.Reset < want-5*time.Second {
			t.Errorf("request %d: reset in %v, want %v", i+1, d.Reset, want)
		}
	}
	for i := range 2 { // asked, and repeated
		d := l.Take(t.Context(), "k", limit)
		if d.Allowed || d.Limit != 3 || d.Remaining != 0 || d.Reset > 30*time.Second || d.Reset < 20*time.Second {
			t.Errorf("refusal %d: got %+v", i+1, d)
		}
		if d.RetryAfter < 5*time.Second || d.RetryAfter > 10*time.Second {
			t.Errorf("refusal %d: retry after %v, want about 10s", i+1, d.RetryAfter)
		}
	}
}

func TestTokensComeBack(t *testing.T) {
	t.Parallel()
	l := limiter(t, redistest.New(t))
	limit := ratelimit.Limit{PerMinute: 240, Burst: 2} // one token takes a quarter of a second
	for l.Take(t.Context(), "k", limit).Allowed {
	}
	began := time.Now()
	for !l.Take(t.Context(), "k", limit).Allowed {
		if time.Since(began) > patience {
			t.Fatal("no token comes back")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	l := limiter(t, redistest.New(t))
	for _, limit := range []ratelimit.Limit{{}, {PerMinute: 60}, {Burst: 5}, {PerMinute: -1, Burst: -1}} {
		if d := l.Take(t.Context(), "k", limit); d.Allowed || d.RetryAfter <= 0 || d.Limit < 0 {
			t.Errorf("%+v: got %+v", limit, d)
		}
	}
}

func TestRaisedLimitHoldsAtOnce(t *testing.T) {
	t.Parallel()
	l := limiter(t, redistest.New(t))
	for l.Take(t.Context(), "k", slow(1)).Allowed {
	}
	// The bucket is as empty as it was, and fills at the new speed.
	if d := l.Take(t.Context(), "k", ratelimit.Limit{PerMinute: 600, Burst: 100}); d.RetryAfter > 100*time.Millisecond {
		t.Errorf("got %+v: the refusal under the old limit is repeated", d)
	}
}

func TestKeysDoNotShareBuckets(t *testing.T) {
	t.Parallel()
	l := limiter(t, redistest.New(t))
	for _, key := range []string{"a", "b", "a:", ""} {
		if !l.Take(t.Context(), key, slow(1)).Allowed {
			t.Errorf("%q is refused", key)
		}
	}
}

func TestWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	l := limiter(t, server.URL())
	if !l.Take(t.Context(), "seen", slow(3)).Allowed {
		t.Fatal("refused")
	}
	server.Stop()
	for key, want := range map[string]int{"new": 3, "seen": 2} {
		allowed := 0
		for range 10 {
			d := l.Take(t.Context(), key, slow(3))
			if d.Allowed {
				if allowed++; d.Remaining != want-allowed {
					t.Errorf("%s: %d remain, want %d", key, d.Remaining, want-allowed)
				}
			} else if d.RetryAfter <= 0 || d.RetryAfter > time.Minute {
				t.Errorf("%s: retry after %v", key, d.RetryAfter)
			}
		}
		if allowed != want {
			t.Errorf("%s: %d allowed, want %d", key, allowed, want)
		}
	}
}

func TestWithoutRedisTokensComeBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Stop()
	var c clock
	l := ratelimit.New(open(t, server.URL()), c.now)
	take := func() (n int) {
		for range 20 {
			if l.Take(t.Context(), "k", slow(5)).Allowed {
				n++
			}
		}
		return n
	}
	for _, step := range []struct {
		move time.Duration
		want int
	}{{0, 5}, {2*time.Minute + time.Second, 2}, {time.Hour, 5}, {-10 * time.Hour, 0}, {time.Minute + time.Second, 1}} {
		c.move(step.move)
		if n := take(); n != step.want {
			t.Errorf("after %v: %d allowed, want %d", step.move, n, step.want)
		}
	}
}

// The clock of Redis was far ahead and has been set right.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	url := redistest.New(t)
	l := limiter(t, url)
	limit := ratelimit.Limit{PerMinute: 240, Burst: 2}
	l.Take(t.Context(), "k", limit)
	client := raw(t, url)
	name := onlyKey(t, client)
	ahead := strconv.FormatInt(time.Now().Add(1000*time.Hour).UnixMicro(), 10)
	if err := client.Do(t.Context(), client.B().Set().Key(name).Value(ahead).Build()).Error(); err != nil {
		t.Fatal(err)
	}
	d := l.Take(t.Context(), "k", limit)
	if d.Allowed || d.RetryAfter > 250*time.Millisecond || d.Reset > 500*time.Millisecond {
		t.Errorf("got %+v, want a refusal for a quarter of a second", d)
	}
	began := time.Now()
	for !l.Take(t.Context(), "k", limit).Allowed {
		if time.Since(began) > patience {
			t.Fatal("locked out")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func onlyKey(t *testing.T, client rueidis.Client) string {
	t.Helper()
	names, err := client.Do(t.Context(), client.B().Keys().Pattern("test:rate:*").Build()).AsStrSlice()
	if err != nil || len(names) != 1 {
		t.Fatalf("keys in Redis: %v, %v", names, err)
	}
	return names[0]
}

func TestWhatRedisKeeps(t *testing.T) {
	t.Parallel()
	url := redistest.New(t)
	l := limiter(t, url)
	l.Take(t.Context(), "login:ana@example.com", slow(5))
	client := raw(t, url)
	name := onlyKey(t, client)
	if strings.Contains(name, "ana") {
		t.Errorf("the key shows an address: %s", name)
	}
	left, err := client.Do(t.Context(), client.B().Pttl().Key(name).Build()).AsInt64()
	if err != nil || left <= 0 || left > (time.Minute+5*time.Second).Milliseconds() {
		t.Errorf("it lives for %d ms, %v", left, err)
	}
}

func TestBounded(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Stop()
	l := limiter(t, server.URL())
	for i := range ratelimit.MaxKnown * 5 / 4 {
		l.Take(t.Context(), fmt.Sprint(i), slow(1))
	}
	if n := l.Known(); n > ratelimit.MaxKnown {
		t.Errorf("%d keys are remembered, want at most %d", n, ratelimit.MaxKnown)
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"192.0.2.1":           "192.0.2.1",
		"::ffff:192.0.2.1":    "192.0.2.1",
		"2001:db8:1:2:3::4":   "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::": "2001:db8:1:2::/64",
		"fe80::1%eth0":        "fe80::/64",
	} {
		if got := ratelimit.Address(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}
