package ratelimit

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"example.com/saaskit/internal/cache"
)

const (
	maxLease = 50
	// leaseShare is which part of the burst one lease takes.
	leaseShare = 10
	// exactBelow is the rate, per minute, below which every request asks Redis.
	exactBelow = 300
	// leaseLife is how long an instance may use its lease.
	leaseLife = time.Second
	// refusalLife is how long a refusal is repeated without asking: a limit may be raised in between.
	refusalLife = time.Second
)

// A Limit says how often something may be asked for.
type Limit struct {
	PerMinute int // how fast tokens come back
	Burst     int // how many there are at most
}

// lease is how many tokens an instance takes at a time.
func (l Limit) lease() int {
	if l.PerMinute < exactBelow {
		return 1
	}
	return max(1, min(maxLease, l.Burst/leaseShare))
}

// interval is the time in which one token comes back.
func (l Limit) interval() time.Duration { return time.Minute / time.Duration(l.PerMinute) }

// depth is the time in which an empty bucket fills.
func (l Limit) depth() time.Duration { return l.interval() * time.Duration(l.Burst) }

func (l Limit) closed() bool { return l.PerMinute < 1 || l.Burst < 1 }

// A Decision is the answer to one request. Limit, Remaining and Reset make the headers RateLimit-*.
type Decision struct {
	Allowed    bool
	Limit      int           // the burst
	Remaining  int           // what was left when the bucket was last looked at
	Reset      time.Duration // until Remaining is Limit again
	RetryAfter time.Duration // until it makes sense to ask again; 0 where it is allowed
}

// A Limiter decides by the buckets in Redis.
type Limiter struct {
	c     *cache.Cache
	now   func() time.Time
	known entries
}

// New makes a limiter. One serves all keys and limits of a process.
func New(c *cache.Cache, now func() time.Time) *Limiter {
	return &Limiter{c: c, now: now, known: newEntries()}
}

// Address returns the key of a caller's address. Whoever has an IPv6 address has its network of 64 bits.
func Address(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	const network = 64
	prefix, err := addr.Prefix(network)
	if err != nil {
		return addr.String() // the zero address
	}
	return prefix.String()
}

// Take takes one token from the bucket of a key. The same key must always come with the same limit, except where the limit
// itself has changed.
func (r *Limiter) Take(ctx context.Context, key string, l Limit) Decision {
	if l.closed() {
		return Decision{Limit: max(0, l.Burst), RetryAfter: time.Minute}
	}
	e := r.known.get(key, r.now())
	if d, ok := e.take(l, r.now()); ok {
		return d
	}
	if l.lease() == 1 {
		return r.ask(ctx, key, l, e)
	}
	// One at a time: the others find its lease. The call is short, and at once where Redis is gone.
	e.asking.Lock()
	defer e.asking.Unlock()
	if d, ok := e.take(l, r.now()); ok {
		return d
	}
	return r.ask(ctx, key, l, e)
}

// GiveBack returns a token that [Limiter.Take] has granted and that counts elsewhere after all. Redis hears of it with the next
// request of the key.
func (r *Limiter) GiveBack(key string) {
	r.known.get(key, r.now()).giveBack()
}

// ask gets a lease from Redis, or decides without it.
func (r *Limiter) ask(ctx context.Context, key string, l Limit, e *entry) Decision {
	back := e.unused()
	answer, err := r.lease(ctx, key, l, back)
	if err != nil {
		return e.alone(l, back, r.now())
	}
	return e.accept(l, answer, r.now())
}

// An entry is what the process knows of one key.
type entry struct {
	asking sync.Mutex // held while Redis is asked for a lease of several tokens

	mu       sync.Mutex
	limit    Limit
	tokens   int       // of the lease
	until    time.Time // the lease may be used
	left     int       // in the bucket after the lease was taken
	full     time.Time // the bucket is full again
	refused  time.Time // until then a refusal is repeated without asking
	next     time.Time // then there is a token again, as it was told with the refusal
	lastSeen time.Time
}

// take decides by the lease or by the last refusal; it reports false where Redis has to be asked.
func (e *entry) take(l Limit, now time.Time) (Decision, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lastSeen = now
	if e.limit != l {
		e.limit, e.tokens, e.refused = l, 0, time.Time{}
	}
	switch {
	case e.tokens > 0 && now.Before(e.until):
		e.tokens--
		return e.decision(now, 0), true
	case now.Before(e.refused):
		return e.decision(now, e.next.Sub(now)), true
	}
	return Decision{}, false
}

func (e *entry) giveBack() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tokens++
	e.refused = time.Time{}
}

// unused takes back what is left of a lease that is over.
func (e *entry) unused() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	tokens := e.tokens
	e.tokens = 0
	return tokens
}

// accept takes over the answer of Redis, and one token of it.
func (e *entry) accept(l Limit, a answer, now time.Time) Decision {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.left, e.full = a.left, now.Add(a.full)
	if a.granted == 0 {
		e.next, e.refused = now.Add(a.wait), now.Add(min(a.wait, refusalLife))
		return e.decision(now, a.wait)
	}
	if l.lease() > 1 {
		e.tokens, e.until = a.granted-1, now.Add(leaseLife)
	}
	return e.decision(now, 0)
}

// alone decides without Redis, from where the bucket was when it was last seen. back is how many tokens were not used since.
func (e *entry) alone(l Limit, back int, now time.Time) Decision {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.full = e.full.Add(-time.Duration(back) * l.interval())
	if e.full.Before(now) {
		e.full = now
	}
	if latest := now.Add(l.depth()); e.full.After(latest) {
		e.full = latest
	}
	next := e.full.Add(l.interval())
	e.left = int((l.depth() - next.Sub(now)) / l.interval())
	if wait := next.Sub(now) - l.depth(); wait > 0 {
		e.left = 0
		return e.decision(now, wait)
	}
	e.full = next
	return e.decision(now, 0)
}

// decision describes what is known; wait is above 0 for a refusal. The caller holds the lock.
func (e *entry) decision(now time.Time, wait time.Duration) Decision {
	d := Decision{Allowed: wait == 0, Limit: e.limit.Burst, Reset: max(0, e.full.Sub(now)), RetryAfter: wait}
	if d.Allowed {
		d.Remaining = max(0, e.left+e.tokens)
	}
	return d
}
