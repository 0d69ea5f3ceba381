package cache_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"example.com/saaskit/internal/cache"
	"example.com/saaskit/internal/cache/redistest"
	"example.com/saaskit/internal/devstack/redisserver"
)

const (
	// long is a ttl that no test waits for: what ends earlier has another reason.
	long = time.Minute
	// patience is for what has to happen at some time; the machine may be busy.
	patience = 15 * time.Second
	// bound is the promise: a change is seen everywhere within a second.
	bound = time.Second
)

type row struct {
	Name   string
	Active bool
}

// A source is the truth: rows, and a gate at which loads can be held after they have read.
type source struct {
	mu    sync.Mutex
	rows  map[string]row
	loads int
	err   error
	gate  map[string]chan struct{} // a load of the key waits here with what it has read
	held  chan string              // hears of each load that waits
}

func newSource(rows map[string]row) *source {
	return &source{rows: maps.Clone(rows), gate: map[string]chan struct{}{}, held: make(chan string, 10)}
}

func (s *source) load(ctx context.Context, key string) (row, bool, error) {
	s.mu.Lock()
	s.loads++
	r, ok := s.rows[key]
	err, gate := s.err, s.gate[key]
	s.mu.Unlock()
	if gate != nil {
		s.held <- key
		select {
		case <-gate:
		case <-ctx.Done():
			return row{}, false, ctx.Err()
		}
	}
	return r, ok, err
}

func (s *source) set(key string, r row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows[key] = r
}

// hold makes loads of key wait until release; only those that come before release is called.
func (s *source) hold(key string) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gate := make(chan struct{})
	s.gate[key] = gate
	return func() { close(gate) }
}

// letPass lets loads from now on pass; those that wait go on waiting.
func (s *source) letPass(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.gate, key)
}

func (s *source) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loads
}

// An instance is one process as far as the cache is concerned.
type instance struct {
	*cache.Cache
	table *cache.Table[row]
}

func open(t *testing.T, url string, s *source) instance {
	t.Helper()
	return openFor(t, url, s, long)
}

func openFor(t *testing.T, url string, s *source, ttl time.Duration) instance {
	t.Helper()
	c, err := cache.Open(t.Context(), url, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return instance{c, cache.NewTable(c, "rows", ttl, s.load)}
}

func (i instance) get(t *testing.T, key string) row {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience/3)
	defer cancel()
	r, found, err := i.table.Get(ctx, key)
	if err != nil || !found {
		t.Fatalf("Get %q: found %v, error %v", key, found, err)
	}
	return r
}

// awaits waits until the instance sees want, and fails where that takes longer than d.
func (i instance) awaits(t *testing.T, key string, want row, d time.Duration) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		asked := time.Since(began)
		got := i.get(t, key)
		if got == want {
			return
		}
		if asked > d {
			t.Fatalf("after %v it still sees %+v", asked, got)
		}
	}
}

// stays fails where the instance sees anything but want in the time.
func (i instance) stays(t *testing.T, key string, want row, d time.Duration) {
	t.Helper()
	for began := time.Now(); time.Since(began) < d; time.Sleep(20 * time.Millisecond) {
		if got := i.get(t, key); got != want {
			t.Fatalf("it sees %+v, want %+v", got, want)
		}
	}
}

var (
	active  = row{"deploy", true}
	revoked = row{"deploy", false}
)

func TestSharedThroughRedis(t *testing.T) {
	t.Parallel()
	for name, url := range servers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSource(map[string]row{"k:1": active})
			one, two := open(t, url, s), open(t, url, s)
			for range 3 {
				if got := one.get(t, "k:1"); got != active {
					t.Errorf("first: got %+v", got)
				}
				if got := two.get(t, "k:1"); got != active {
					t.Errorf("second: got %+v", got)
				}
			}
			if s.count() != 1 {
				t.Errorf("%d loads, want 1", s.count())
			}
		})
	}
}

// servers are a real Redis and the one of development.
func servers(t *testing.T) map[string]string {
	t.Helper()
	memory, err := redisserver.StartMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(memory.Stop)
	return map[string]string{"redis": redistest.New(t), "memory": memory.URL()}
}

func TestInvalidate(t *testing.T) {
	t.Parallel()
	for name, url := range servers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSource(map[string]row{"k": active})
			one, two := open(t, url, s), open(t, url, s)
			one.get(t, "k")
			two.get(t, "k")

			s.set("k", revoked)
			one.table.Invalidate(t.Context(), "k")
			if got := one.get(t, "k"); got != revoked {
				t.Errorf("here, at once: got %+v", got)
			}
			two.awaits(t, "k", revoked, bound)
		})
	}
}

// Copies live for an hour here: only the message of Redis can end one.
func TestRedisTellsTheOthers(t *testing.T) {
	t.Parallel()
	url := redistest.New(t)
	s := newSource(map[string]row{"k": active})
	one, two := open(t, url, s), open(t, url, s)
	two.SetLife(time.Hour)
	two.get(t, "k")
	two.get(t, "k")

	s.set("k", revoked)
	one.table.Invalidate(t.Context(), "k")
	two.awaits(t, "k", revoked, patience)
}

// A reader has read the row as it was and is held up before it fills.
func TestReaderHeldBeforeItsFill(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		tombstone time.Duration
	}{
		{name: "tombstone there", tombstone: time.Hour},
		{name: "held for longer than the tombstone lives", tombstone: 10 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url := redistest.New(t)
			s := newSource(map[string]row{"k": active})
			one, two := open(t, url, s), open(t, url, s)
			two.SetTombstone(tt.tombstone)

			release := s.hold("k")
			ended := make(chan row, 1)
			go func() { ended <- one.get(t, "k") }()
			<-s.held
			s.letPass("k")

			s.set("k", revoked)
			two.table.Invalidate(t.Context(), "k")
			if tt.tombstone < time.Second {
				awaitGone(t, url, two.ValueKey("rows", "k"))
			}
			release()
			if got := <-ended; got != active {
				t.Fatalf("the reader was not held: it got %+v", got)
			}
			one.awaits(t, "k", revoked, bound)
			two.awaits(t, "k", revoked, bound)
			one.stays(t, "k", revoked, 1500*time.Millisecond)
		})
	}
}

func awaitGone(t *testing.T, url, key string) {
	t.Helper()
	client := raw(t, url)
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		n, err := client.Do(t.Context(), client.B().Exists().Key(key).Build()).AsInt64()
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Since(began) > patience {
			t.Fatal("the tombstone does not end")
		}
	}
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

// The instance that makes the change ends between its commit and its second call.
func TestTombstoneBeforeTheCommit(t *testing.T) {
	t.Parallel()
	url := redistest.New(t)
	s := newSource(map[string]row{"k": active})
	one, two := open(t, url, s), open(t, url, s)
	two.get(t, "k")

	one.table.Invalidate(t.Context(), "k") // inside the transaction
	for range 3 {                          // readers before the commit see the row as it was, and must not fill
		if got := two.get(t, "k"); got != active {
			t.Fatalf("before the commit: got %+v", got)
		}
	}
	s.set("k", revoked) // the commit
	two.awaits(t, "k", revoked, bound)
	three := open(t, url, s)
	if got := three.get(t, "k"); got != revoked {
		t.Errorf("an instance that comes later: got %+v", got)
	}
}

// A load that is held up must not answer those who come after the change, also not where nobody has told this instance.
func TestNobodyJoinsAReaderThatIsHeld(t *testing.T) {
	t.Parallel()
	for _, told := range []bool{true, false} {
		t.Run(fmt.Sprintf("told %v", told), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			server.Stop()
			s := newSource(map[string]row{"k": active})
			one := open(t, server.URL(), s)
			release := s.hold("k")
			ended := make(chan row, 1)
			go func() { ended <- one.get(t, "k") }()
			<-s.held
			s.letPass("k")

			s.set("k", revoked)
			if told {
				one.table.Invalidate(t.Context(), "k")
			} else {
				time.Sleep(bound)
			}
			if got := one.get(t, "k"); got != revoked {
				t.Errorf("got %+v", got)
			}
			release()
			<-ended
			if got := one.get(t, "k"); got != revoked {
				t.Errorf("after the reader has ended: got %+v", got)
			}
		})
	}
}

func TestMissesAreRemembered(t *testing.T) {
	t.Parallel()
	url := redistest.New(t)
	s := newSource(map[string]row{})
	one, two := open(t, url, s), open(t, url, s)
	for _, i := range []instance{one, two, one, two} {
		if _, found, err := i.table.Get(t.Context(), "none"); found || err != nil {
			t.Fatalf("found %v, error %v", found, err)
		}
	}
	if s.count() != 1 {
		t.Errorf("%d loads, want 1", s.count())
	}
	s.set("none", active)
	one.table.Invalidate(t.Context(), "none")
	if got := one.get(t, "none"); got != active {
		t.Errorf("after it was made: got %+v", got)
	}
}

// Nothing tells of this row; the memory of a miss has to end by itself.
func TestMissesEndSoon(t *testing.T) {
	t.Parallel()
	s := newSource(map[string]row{})
	one := open(t, redistest.New(t), s)
	if _, found, err := one.table.Get(t.Context(), "late"); found || err != nil {
		t.Fatalf("found %v, error %v", found, err)
	}
	s.set("late", active)
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if _, found, err := one.table.Get(t.Context(), "late"); err != nil {
			t.Fatal(err)
		} else if found {
			return
		}
		if time.Since(began) > patience {
			t.Fatal("the miss is remembered for ever")
		}
	}
}

func TestConcurrentReadersShareALoad(t *testing.T) {
	t.Parallel()
	s := newSource(map[string]row{"k": active})
	one := open(t, redistest.New(t), s)
	release := s.hold("k")
	first := make(chan error, 1)
	impatient, leave := context.WithCancel(t.Context())
	go func() {
		_, _, err := one.table.Get(impatient, "k")
		first <- err
	}()
	<-s.held
	var readers sync.WaitGroup
	for range 20 {
		readers.Go(func() {
			if got := one.get(t, "k"); got != active {
				t.Errorf("got %+v", got)
			}
		})
	}
	time.Sleep(20 * time.Millisecond) // most have come by now
	leave()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first reader has left: got %v", err)
	}
	release()
	readers.Wait()
	if s.count() != 1 {
		t.Errorf("%d loads, want 1", s.count())
	}
}

func TestErrorsAreNotRemembered(t *testing.T) {
	t.Parallel()
	s := newSource(map[string]row{"k": active})
	one := open(t, redistest.New(t), s)
	s.err = errors.New("no database")
	if _, _, err := one.table.Get(t.Context(), "k"); !errors.Is(err, s.err) {
		t.Errorf("got %v", err)
	}
	s.err = nil
	if got := one.get(t, "k"); got != active {
		t.Errorf("got %+v", got)
	}
}

func TestPanicOfALoad(t *testing.T) {
	t.Parallel()
	one := open(t, redistest.New(t), newSource(nil))
	bad := cache.NewTable(one.Cache, "bad", long, func(context.Context, string) (row, bool, error) { panic("oh") })
	if _, _, err := bad.Get(t.Context(), "k"); err == nil {
		t.Error("no error")
	}
}

func TestBounded(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Stop()
	s := newSource(map[string]row{})
	one := open(t, server.URL(), s)
	for i := range cache.MaxRows + cache.MaxRows/4 {
		if _, _, err := one.table.Get(t.Context(), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := one.table.Rows(); n > cache.MaxRows || n < cache.MaxRows/2 {
		t.Errorf("%d rows, want at most %d and most of them", n, cache.MaxRows)
	}
}

// During an update old and new instances share the names in Redis.
func TestValuesOfAnotherShape(t *testing.T) {
	t.Parallel()
	type row struct{ Name string } // as it was before the update
	old := cache.EncodedAs(row{"deploy"})
	if !cache.Decodes[row](old) {
		t.Error("a value does not decode as what it is")
	}
	type renamed struct{ Name, Status string }
	for name, ok := range map[string]bool{
		"more fields": cache.Decodes[renamed](old),
		"garbage":     cache.Decodes[row]("v"),
		"tombstone":   cache.Decodes[row]("t"),
		"lease":       cache.Decodes[row]("l7"),
	} {
		if ok {
			t.Errorf("%s: taken for a row", name)
		}
	}
}
