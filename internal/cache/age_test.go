package cache_test

import (
	"net/url"
	"testing"
	"time"

	"example.com/saaskit/internal/cache"
	"example.com/saaskit/internal/cache/redistest"
)

// untold is the URL by which an instance hears nothing of changes: what ends its copies is their age.
func untold(t *testing.T, redisURL string) string {
	t.Helper()
	u, err := url.Parse(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("client_cache", "0")
	u.RawQuery = query.Encode()
	return u.String()
}

// without is an instance whose Redis is out of reach, while others reach theirs.
func without(t *testing.T, s *source) instance {
	t.Helper()
	server := redistest.Start(t)
	server.Stop()
	one := openFor(t, server.URL(), s, cache.GuardLife)
	one.awaitDegraded(t, true)
	return one
}

// A copy that is taken from Redis shortly before the value ends there does not begin a life of its own.
func TestRevokerAloneHasLostRedis(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]time.Duration{"copied early": 100 * time.Millisecond, "copied late": 650 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := untold(t, redistest.New(t))
			s := newSource(map[string]row{"k": active})
			first, reader, revoker := openFor(t, redis, s, cache.GuardLife), openFor(t, redis, s, cache.GuardLife), without(t, s)
			first.get(t, "k") // from here on Redis has it

			s.set("k", revoked)
			began := time.Now()
			revoker.table.Invalidate(t.Context(), "k")
			time.Sleep(after - time.Since(began))
			loads := s.count()
			if got := reader.get(t, "k"); got != active && time.Since(began) < cache.GuardLife {
				t.Errorf("%d loads: the value was not in Redis, the test shows nothing", s.count()-loads)
			}
			for _, i := range []instance{reader, first} {
				i.awaits(t, "k", revoked, bound-time.Since(began))
			}
		})
	}
}

// A reader is held between its read and its fill: the value is as old as its lease when Redis gets it.
func TestFillOfAnOldValue(t *testing.T) {
	t.Parallel()
	for name, held := range map[string]time.Duration{"that is still good": 500 * time.Millisecond, "that is too old": bound} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := untold(t, redistest.New(t))
			s := newSource(map[string]row{"k": active})
			slow, reader, revoker := openFor(t, redis, s, cache.GuardLife), openFor(t, redis, s, cache.GuardLife), without(t, s)
			release := s.hold("k")
			ended := make(chan row, 1)
			go func() { ended <- slow.get(t, "k") }()
			<-s.held
			s.letPass("k")

			s.set("k", revoked)
			began := time.Now()
			revoker.table.Invalidate(t.Context(), "k")
			time.Sleep(held - time.Since(began))
			release()
			<-ended
			if held == bound {
				client := raw(t, redis)
				n, err := client.Do(t.Context(), client.B().Exists().Key(slow.ValueKey("rows", "k")).Build()).AsInt64()
				if err != nil || n != 0 {
					t.Errorf("%d rows in Redis (%v): neither the value nor the lease, which keeps others from filling, may stay", n, err)
				}
			}
			for _, i := range []instance{reader, slow} {
				i.awaits(t, "k", revoked, bound-time.Since(began))
			}
		})
	}
}
