package auth

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"example.com/saaskit/internal/problem"
)

const (
	// keysFresh is how long a set is used without asking again: what Supabase allows others to cache it for.
	keysFresh = 10 * time.Minute
	// keysPause must pass between two questions that went well, so that made-up kids cost one each.
	keysPause = 5 * time.Second
	// Failed questions are repeated after a pause that doubles.
	firstBackOff   = time.Second
	longestBackOff = 30 * time.Second
)

// A keyID is a key together with the one algorithm that it is for.
type keyID struct{ kid, alg string }

// A keySet holds the public keys of the project. The last good set is kept through an outage. An empty set is normal: the
// project signs with its secret.
type keySet struct {
	fetch func(ctx context.Context) ([]byte, error)
	now   func() time.Time
	log   *slog.Logger

	flight singleflight.Group

	mu       sync.Mutex
	keys     map[keyID]crypto.PublicKey
	digest   []byte // of the answer that keys came from
	gen      uint64
	asked    time.Time // of the last good answer
	next     time.Time // no question before
	failures int
}

func newKeySet(c *client, now func() time.Time, log *slog.Logger) *keySet {
	return &keySet{fetch: c.keys, now: now, log: log}
}

// generation changes with the set.
func (k *keySet) generation() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.gen
}

// find returns a key. For one that it does not know it asks, together with all others who want to know something, unless it has
// asked just now. A key that it knows never waits: a set that is old is renewed on the side.
func (k *keySet) find(ctx context.Context, kid, alg string) (crypto.PublicKey, error) {
	id := keyID{kid, alg}
	key, state := k.look(id)
	switch state {
	case lookKnown:
		return key, nil
	case lookOld:
		k.flight.DoChan("", k.refresh)
		return key, nil
	case lookUnknown:
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("await signing keys: %w", context.Cause(ctx))
		case <-k.flight.DoChan("", k.refresh):
		}
	case lookTooSoon:
	}
	if key, state = k.look(id); state == lookKnown || state == lookOld {
		return key, nil
	}
	return nil, k.verdict()
}

type lookState int

const (
	lookKnown   lookState = iota
	lookOld               // known, and it is time to ask again
	lookUnknown           // and it may be asked for
	lookTooSoon           // unknown, and asked for a moment ago
)

func (k *keySet) look(id keyID) (crypto.PublicKey, lookState) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	mayAsk := !now.Before(k.next)
	key, known := k.keys[id]
	switch {
	case known && mayAsk && now.Sub(k.asked) >= keysFresh:
		return key, lookOld
	case known:
		return key, lookKnown
	case mayAsk:
		return nil, lookUnknown
	}
	return nil, lookTooSoon
}

// verdict says why a key was not found: it is not there, or nobody could tell.
func (k *keySet) verdict() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failures == 0 {
		return problem.InvalidToken.Errorf("the access token is signed with a key that the project does not have")
	}
	return problem.SupabaseFailed.Errorf("the keys to verify the access token with cannot be had right now").
		After(max(k.next.Sub(k.now()), time.Second))
}

// refresh asks once. It is called by one goroutine at a time; who comes right after it finds the pause and does not ask again.
func (k *keySet) refresh() (any, error) {
	k.mu.Lock()
	tooSoon := k.now().Before(k.next)
	k.mu.Unlock()
	if tooSoon {
		return nil, nil
	}
	body, err := k.fetch(context.Background()) // bounded by the client; others wait for it as well
	var keys map[keyID]crypto.PublicKey
	if err == nil {
		keys, err = parseKeys(body)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.next = k.now().Add(min(firstBackOff<<min(k.failures, 10), longestBackOff))
		k.failures++
		k.log.Warn("cannot fetch the signing keys of Supabase Auth", "failures", k.failures, "error", reason(err))
		return nil, nil
	}
	k.asked, k.next, k.failures = k.now(), k.now().Add(keysPause), 0
	if digest := sha256.Sum256(body); !bytes.Equal(digest[:], k.digest) {
		k.keys, k.digest = keys, digest[:]
		k.gen++
	}
	return nil, nil
}

// reason is what the log wants to know: the cause behind a problem.
func reason(err error) error {
	var p *problem.Error
	if errors.As(err, &p) && p.Cause != nil {
		return p.Cause
	}
	return err
}
