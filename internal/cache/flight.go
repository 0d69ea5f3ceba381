package cache

import (
	"sync"
	"time"
)

// joinable is how old a load may be for another reader to wait for it: what it returns was true when it began.
const joinable = localLife / 2

// flights lets readers of one row who come at the same time share one load. Unlike singleflight it does not let a reader
// join a load that has been held up: that would serve a row as it was before the reader came.
type flights[T any] struct {
	mu     sync.Mutex
	flying map[string]*flight[T]
}

// A flight is one load; entry and err are set when done is closed.
type flight[T any] struct {
	began time.Time
	done  chan struct{}
	entry entry[T]
	err   error
}

// join returns the flight for a row, and true where the caller has to fly it.
func (f *flights[T]) join(key string, now time.Time) (*flight[T], bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if other, ok := f.flying[key]; ok && now.Sub(other.began) < joinable {
		return other, false
	}
	if f.flying == nil {
		f.flying = map[string]*flight[T]{}
	}
	own := &flight[T]{began: now, done: make(chan struct{})}
	f.flying[key] = own
	return own, true
}

// land ends a flight.
func (f *flights[T]) land(key string, own *flight[T], e entry[T], err error) {
	own.entry, own.err = e, err
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flying[key] == own {
		delete(f.flying, key)
	}
	close(own.done)
}

// forget lets nobody join the flight for a row any more.
func (f *flights[T]) forget(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.flying, key)
}

func (f *flights[T]) forgetAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.flying)
}
