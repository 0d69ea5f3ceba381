package ratelimit

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	shards        = 64
	keysPerShard  = 1024
	evictionProbe = 8
)

// entries is what the process knows of all keys: bounded, in shards that requests rarely share.
type entries struct {
	seed   maphash.Seed
	shards []shard
}

type shard struct {
	mu   sync.Mutex
	keys map[string]*entry
}

func newEntries() entries {
	es := entries{seed: maphash.MakeSeed(), shards: make([]shard, shards)}
	for i := range es.shards {
		es.shards[i].keys = map[string]*entry{}
	}
	return es
}

func (es *entries) get(key string, now time.Time) *entry {
	s := &es.shards[maphash.String(es.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.keys[key]
	if !ok {
		if len(s.keys) >= keysPerShard {
			s.evict()
		}
		e = &entry{lastSeen: now}
		s.keys[key] = e
	}
	return e
}

// evict forgets the longest unseen of a few keys. Maps are walked from a random place. What it forgets is in Redis; without
// Redis the key begins anew, which the bound is worth.
func (s *shard) evict() {
	probed, victim, oldest := 0, "", time.Time{}
	for key, e := range s.keys {
		e.mu.Lock()
		seen := e.lastSeen
		e.mu.Unlock()
		if victim == "" || seen.Before(oldest) {
			victim, oldest = key, seen
		}
		if probed++; probed == evictionProbe {
			break
		}
	}
	delete(s.keys, victim)
}
