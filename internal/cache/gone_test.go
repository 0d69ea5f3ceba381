package cache_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"example.com/saaskit/internal/cache"
	"example.com/saaskit/internal/cache/redistest"
)

func (i instance) awaitDegraded(t *testing.T, want bool) {
	t.Helper()
	for began := time.Now(); i.Degraded() != want; time.Sleep(2 * time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("Degraded is %v for ever", !want)
		}
	}
}

func TestWithoutRedis(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		atStart bool
	}{
		{name: "from the start", atStart: true},
		{name: "from some time on"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			if tt.atStart {
				server.Stop()
			}
			s := newSource(map[string]row{"k": active})
			one, two := open(t, server.URL(), s), open(t, server.URL(), s)
			one.get(t, "k")
			two.get(t, "k")
			server.Stop()
			one.get(t, "k")

			s.set("k", revoked)
			one.table.Invalidate(t.Context(), "k")
			if got := one.get(t, "k"); got != revoked {
				t.Errorf("here, at once: got %+v", got)
			}
			two.awaits(t, "k", revoked, bound)
			one.awaitDegraded(t, true)
			if err := ping(t, one); err == nil {
				t.Error("a command reaches a Redis that is gone")
			}

			loads := s.count()
			for range 100 {
				one.get(t, "k")
			}
			if n := s.count() - loads; n > 10 {
				t.Errorf("%d loads for 100 reads: nothing is kept", n)
			}

			server.Restart()
			one.awaitDegraded(t, false)
			if err := ping(t, one); err != nil {
				t.Errorf("ping: %v", err)
			}
		})
	}
}

// ping asks Redis whether it is there.
func ping(t *testing.T, i instance) error {
	t.Helper()
	return i.Do(t.Context(), func(ctx context.Context, client rueidis.Client) error {
		return client.Do(ctx, client.B().Ping().Build()).Error()
	})
}

// A dead Redis may cost the first requests something, and the others nothing.
func TestGoneRedisCostsNothing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		url  func(t *testing.T) string
	}{
		{name: "nobody listens", url: func(t *testing.T) string {
			server := redistest.Start(t)
			server.Stop()
			return server.URL()
		}},
		{name: "it accepts and says nothing", url: silent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			one := open(t, tt.url(t), newSource(nil))
			expectFast(t, one)
		})
	}
}

// A Redis that hangs in the middle of its life.
func TestHangingRedisCostsNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	one := open(t, server.URL(), newSource(nil))
	if err := ping(t, one); err != nil {
		t.Fatal(err)
	}
	client := raw(t, server.URL())
	pause := client.B().ClientPause().Timeout(60_000).All().Build()
	if err := client.Do(t.Context(), pause).Error(); err != nil {
		t.Fatal(err)
	}
	expectFast(t, one)
	one.awaitDegraded(t, true)
}

// expectFast reads many rows. One by one with a timeout each they would take 20 s.
func expectFast(t *testing.T, i instance) {
	t.Helper()
	began := time.Now()
	for n := range 100 {
		if _, _, err := i.table.Get(t.Context(), fmt.Sprint(n)); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 100 {
		i.table.Invalidate(t.Context(), fmt.Sprint(n))
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("100 reads and changes took %v", d)
	}
}

func silent(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
		}
	}()
	return "redis://" + listener.Addr().String()
}

// An instance cannot write while another can read: what it could not bury it buries later.
func TestTombstonesAreSentLater(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := newSource(map[string]row{"k": active})
	one, two := open(t, server.URL(), s), open(t, server.URL(), s)
	one.get(t, "k")
	two.get(t, "k")
	admin := raw(t, server.URL())
	full := func(bytes string) {
		t.Helper()
		set := admin.B().ConfigSet().ParameterValue().ParameterValue("maxmemory", bytes).Build()
		if err := admin.Do(t.Context(), set).Error(); err != nil {
			t.Fatal(err)
		}
	}
	full("1") // from now on Redis refuses writes
	s.set("k", revoked)
	one.table.Invalidate(t.Context(), "k")
	if got := one.get(t, "k"); got != revoked {
		t.Errorf("here, at once: got %+v", got)
	}
	time.Sleep(300 * time.Millisecond)
	if !one.Degraded() {
		t.Error("a Redis that refuses writes counts as being there")
	}
	full("0")
	two.awaits(t, "k", revoked, patience) // the value would live for a minute
	one.awaitDegraded(t, false)
	if got := one.get(t, "k"); got != revoked {
		t.Errorf("with Redis again: got %+v", got)
	}
}

// After a loss a value in Redis may be older than a change that nobody could tell it of.
func TestValuesFromBeforeALossAreNotTrusted(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := newSource(map[string]row{"k": active})
	one := open(t, server.URL(), s)
	one.get(t, "k")
	admin := raw(t, server.URL())
	kill := admin.B().Arbitrary("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Build()
	if err := admin.Do(t.Context(), kill).Error(); err != nil {
		t.Fatal(err)
	}
	one.awaitDegraded(t, true)
	s.set("k", revoked)
	one.awaitDegraded(t, false)
	kept, err := admin.Do(t.Context(), admin.B().Get().Key(one.ValueKey("rows", "k")).Build()).ToString()
	if err != nil || !cache.Decodes[row](kept) {
		t.Fatalf("the value is not in Redis any more: %q, %v", kept, err)
	}
	one.awaits(t, "k", revoked, bound)
}

func TestOpenRefusesWhatIsNoURL(t *testing.T) {
	t.Parallel()
	c, err := cache.Open(t.Context(), "localhost:6379", "test", slog.New(slog.DiscardHandler))
	if err == nil {
		c.Close()
		t.Error("no error")
	}
}

func TestCloseWhileRedisIsGone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Stop()
	one := open(t, server.URL(), newSource(nil))
	closed := make(chan struct{})
	go func() {
		one.Close()
		one.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatal("Close hangs")
	}
	if _, _, err := one.table.Get(t.Context(), "k"); err != nil {
		t.Errorf("Get after Close: %v", err)
	}
}
