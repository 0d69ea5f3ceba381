package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/redis/rueidis"
)

// loadPatience bounds a load.
const loadPatience = 10 * time.Second

// A Table caches the rows of one kind. What it returns is shared: nobody may change it.
type Table[T any] struct {
	c       *Cache
	name    string
	ttl     time.Duration
	load    func(ctx context.Context, key string) (T, bool, error)
	coding  coding[T]
	local   *local[T]
	flights flights[T]
}

// NewTable makes a table. Its name is unique within the cache and without colon; ttl is how old a value from Redis may get, in
// Redis and in the process together; load reads the truth and reports false where there is no such row, which is remembered for
// a second. T has to survive JSON.
func NewTable[T any](c *Cache, name string, ttl time.Duration, load func(ctx context.Context, key string) (T, bool, error)) *Table[T] {
	t := &Table[T]{c: c, name: name, ttl: ttl, load: load, coding: newCoding[T](), local: newLocal[T]()}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tables[name] = t
	return t
}

// Get returns the row of a key, and false where there is none.
func (t *Table[T]) Get(ctx context.Context, key string) (value T, found bool, err error) {
	if e, ok := t.local.get(key, t.c.now()); ok {
		return e.value, e.found, nil
	}
	own, fly := t.flights.join(key, t.c.now())
	if fly {
		go t.fly(context.WithoutCancel(ctx), key, own)
	}
	select {
	case <-ctx.Done():
		return value, false, fmt.Errorf("read %s: %w", t.name, context.Cause(ctx))
	case <-own.done:
		return own.entry.value, own.entry.found, own.err
	}
}

// fly reads a row for everybody who waits for it. It goes on when the request that began it is gone.
func (t *Table[T]) fly(ctx context.Context, key string, own *flight[T]) {
	ctx, cancel := context.WithTimeout(ctx, loadPatience)
	defer cancel()
	err := errors.New("load " + t.name + ": it did not return")
	var e entry[T]
	defer func() {
		if cause := recover(); cause != nil { // in this goroutine it would end the process
			err = fmt.Errorf("load %s: panic: %v\n%s", t.name, cause, debug.Stack())
		}
		t.flights.land(key, own, e, err)
	}()
	e, err = t.fetch(ctx, key, own.began)
}

// Invalidate makes every instance forget the rows of keys. Call it inside the transaction that changes them, as the last
// thing before the commit, and again after the commit. It takes a fifth of a second at most.
func (t *Table[T]) Invalidate(ctx context.Context, keys ...string) {
	if len(keys) == 0 {
		return
	}
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = t.c.valueKey(t.name, key)
		t.drop(key)
	}
	t.c.bury(ctx, t.ttl, names)
	for _, key := range keys {
		t.drop(key) // for those who read in Redis just before the tombstone
	}
}

// fetch reads a row from Redis or from the source.
func (t *Table[T]) fetch(ctx context.Context, key string, began time.Time) (entry[T], error) {
	mark := t.local.mark(key)
	life := t.c.life
	e, lease, left, ok := t.shared(ctx, key)
	if ok {
		life = min(life, left)
	} else {
		var err error
		if e.value, e.found, err = t.load(ctx, key); err != nil {
			return entry[T]{}, fmt.Errorf("load %s: %w", t.name, err)
		}
		if lease != "" {
			t.fill(ctx, key, lease, e)
		}
	}
	e.until = began.Add(life)
	t.local.put(key, e, mark, t.c.now())
	return e, nil
}

// lookScript returns what stands under a name and for how many milliseconds it still will. It writes nothing: of what a script
// writes Redis tells its own connection, too.
var lookScript = rueidis.NewLuaScript(`
local text = redis.call('GET', KEYS[1])
return text and {text, redis.call('PTTL', KEYS[1])}`)

// shared looks into Redis for a row, and how much of its life is left. Where nothing is there it leaves a lease, which is the
// right to fill.
func (t *Table[T]) shared(ctx context.Context, key string) (e entry[T], lease string, left time.Duration, ok bool) {
	if !t.c.trusts(t.ttl) {
		return e, "", 0, false
	}
	name := t.c.valueKey(t.name, key)
	err := t.c.Do(ctx, func(ctx context.Context, client rueidis.Client) error {
		answer, err := lookScript.Exec(ctx, client, []string{name}, nil).ToArray()
		if err == nil {
			e, left, ok = t.read(answer)
			return nil
		}
		if !rueidis.IsRedisNil(err) {
			return err
		}
		token := leaseMark + uuid.NewString()
		take := client.B().Set().Key(name).Value(token).Nx().Px(leaseLife).Build()
		if err := client.Do(ctx, take).Error(); err != nil {
			return err // nil: another reader was faster
		}
		lease = token
		return nil
	})
	if err != nil {
		return e, "", 0, false
	}
	return e, lease, left, ok
}

// read takes apart what lookScript returns. It reports false for everything that is not a row or its absence.
func (t *Table[T]) read(answer []rueidis.RedisMessage) (e entry[T], left time.Duration, ok bool) {
	if len(answer) != 2 {
		return e, 0, false
	}
	text, err := answer[0].ToString()
	if err != nil {
		return e, 0, false
	}
	ms, err := answer[1].AsInt64()
	if err != nil {
		return e, 0, false
	}
	e, ok = t.coding.decode(text)
	return e, time.Duration(ms) * time.Millisecond, ok
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// fillScript changes the lease into the value, if the lease is still there. The value was read after the lease was left, and
// its life counts from then, by Redis's clock alone; where it is over already, the next reader may leave a lease.
var fillScript = rueidis.NewLuaScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
	return 0
end
local age = ARGV[4] - redis.call('PTTL', KEYS[1])
if age >= tonumber(ARGV[3]) then
	redis.call('DEL', KEYS[1])
	return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3] - age)
return 1`)

// fill puts a value into Redis. That it cannot is no error: the next reader loads again.
func (t *Table[T]) fill(ctx context.Context, key, lease string, e entry[T]) {
	text, err := t.coding.encode(e)
	if err != nil {
		t.c.log.ErrorContext(ctx, "cannot cache a row", "table", t.name, "error", err)
		return
	}
	life := t.ttl
	if !e.found {
		life = min(life, missLife)
	}
	err = t.c.Do(ctx, func(ctx context.Context, client rueidis.Client) error {
		args := []string{lease, text, milliseconds(life), milliseconds(leaseLife)}
		return fillScript.Exec(ctx, client, []string{t.c.valueKey(t.name, key)}, args).Error()
	})
	if err != nil && !errors.Is(err, ErrNoRedis) {
		t.c.log.DebugContext(ctx, "row not cached", "table", t.name, "error", err)
	}
}

// drop forgets a row in this process. A load that is on its way serves those who wait for it, and no others.
func (t *Table[T]) drop(key string) {
	t.local.drop(key)
	t.flights.forget(key)
}

func (t *Table[T]) dropAll() {
	t.local.dropAll()
	t.flights.forgetAll()
}
