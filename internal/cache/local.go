package cache

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	shards        = 64
	rowsPerShard  = 512
	evictionProbe = 8 // rows looked at for one that has ended
)

// An entry is a row, or the knowledge that there is none.
type entry[T any] struct {
	value T
	found bool
	until time.Time
}

// local is the part of a table in this process: bounded, in shards that requests rarely share.
type local[T any] struct {
	seed   maphash.Seed
	shards [shards]shard[T]
}

type shard[T any] struct {
	mu    sync.Mutex
	rows  map[string]entry[T]
	drops uint64 // how often something was dropped here
}

func newLocal[T any]() *local[T] {
	l := &local[T]{seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].rows = map[string]entry[T]{}
	}
	return l
}

func (l *local[T]) shard(key string) *shard[T] {
	return &l.shards[maphash.String(l.seed, key)%shards]
}

func (l *local[T]) get(key string, now time.Time) (entry[T], bool) {
	s := l.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.rows[key]
	return e, ok && now.Before(e.until)
}

// mark is taken before a read and handed to put.
func (l *local[T]) mark(key string) uint64 {
	s := l.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drops
}

// put keeps a row unless something was dropped since the mark: it may have been this one.
func (l *local[T]) put(key string, e entry[T], mark uint64, now time.Time) {
	s := l.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drops != mark {
		return
	}
	if _, there := s.rows[key]; !there && len(s.rows) >= rowsPerShard {
		s.evict(now)
	}
	s.rows[key] = e
}

// evict makes room: one that has ended, else any. Maps are walked from a random place.
func (s *shard[T]) evict(now time.Time) {
	probed, victim := 0, ""
	for key, e := range s.rows {
		victim = key
		if probed++; probed == evictionProbe || !now.Before(e.until) {
			break
		}
	}
	delete(s.rows, victim)
}

func (l *local[T]) drop(key string) {
	s := l.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.rows, key)
	s.drops++
}

func (l *local[T]) dropAll() {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		clear(s.rows)
		s.drops++
		s.mu.Unlock()
	}
}
