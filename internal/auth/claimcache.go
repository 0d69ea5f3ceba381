package auth

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	claimLife = time.Minute
	// claimHalf is how many tokens each half holds: verified claims take about a kilobyte.
	claimHalf = 8192
)

// A claimCache remembers verified claims by the digest of their token. It has two halves: when the young one is full it
// becomes the old one, whose tokens come back when they are used again. So it is bounded without a list of who was used when.
type claimCache struct {
	mu         sync.Mutex
	young, old map[[sha256.Size]byte]verified
}

type verified struct {
	claims     *claims
	until      time.Time
	generation uint64 // of the keys: another set forgets what the last one has verified
}

func newClaimCache() *claimCache {
	return &claimCache{young: map[[sha256.Size]byte]verified{}}
}

func (c *claimCache) get(digest [sha256.Size]byte, generation uint64, now time.Time) (*claims, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.young[digest]
	if !ok {
		if v, ok = c.old[digest]; ok {
			c.insert(digest, v)
		}
	}
	if !ok || v.generation != generation || !now.Before(v.until) {
		return nil, false
	}
	return v.claims, true
}

func (c *claimCache) put(digest [sha256.Size]byte, cl *claims, generation uint64, now time.Time) {
	until := now.Add(claimLife)
	if cl.ExpiresAt.Before(until) {
		until = cl.ExpiresAt.Time
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.insert(digest, verified{claims: cl, until: until, generation: generation})
}

func (c *claimCache) insert(digest [sha256.Size]byte, v verified) {
	if len(c.young) >= claimHalf {
		c.old, c.young = c.young, make(map[[sha256.Size]byte]verified, claimHalf)
	}
	c.young[digest] = v
}
