package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// GuardLife is the ttl of a table whose changes must be seen within a second even where Redis is out of reach for the instance
// that makes them: a value is no older when Redis hands it out, and Redis has a fifth of a second to do so.
const GuardLife = time.Second - patience

const (
	// localLife is how long a value lives in the process, counted from the moment its read began.
	localLife = 900 * time.Millisecond
	// missLife is how long Redis remembers that there is no such row.
	missLife = time.Second
	// leaseLife is how long a reader may take to fill.
	leaseLife = 5 * time.Second
	// tombstoneLife is how long nobody fills after an invalidation: longer than from the call to the commit.
	tombstoneLife = 10 * time.Second
	// patience is how long a command to Redis may take.
	patience = 200 * time.Millisecond
	// dialPatience is how long connecting may take, and writeTimeout when a silent connection counts as lost.
	dialPatience = time.Second
	writeTimeout = 2 * time.Second
)

// ErrNoRedis is returned by [Cache.Do] while Redis is gone.
var ErrNoRedis = errors.New("redis does not answer")

// A Cache is the connection to Redis and what its tables share. Make one for each process.
type Cache struct {
	prefix    string
	option    rueidis.ClientOption
	log       *slog.Logger
	now       func() time.Time
	life      time.Duration // localLife, but for tests
	tombstone time.Duration // tombstoneLife, but for tests

	stop chan struct{}
	work sync.WaitGroup

	mu        sync.Mutex
	client    rueidis.Client // nil until Redis answers for the first time
	gone      bool           // no request asks Redis; recover does
	closed    bool
	goneSince time.Time
	backSince time.Time            // values from before are not trusted
	unsent    map[string]time.Time // tombstones that Redis has not got, and when they become pointless
	tables    map[string]dropper
}

// A dropper is a table without its type.
type dropper interface {
	drop(key string)
	dropAll()
}

// Open connects to the Redis at redisURL. A Redis that does not answer is no error: see [Cache.Degraded]. Everything is
// kept under prefix, so that several installations can share a Redis. Close it after its last user.
func Open(ctx context.Context, redisURL, prefix string, log *slog.Logger) (*Cache, error) {
	option, err := rueidis.ParseURL(redisURL)
	if err != nil {
		return nil, errors.New("the Redis URL is not one") // the cause repeats it, with its password
	}
	c := &Cache{
		prefix: strings.TrimSuffix(prefix, ":"), log: log, now: time.Now, life: localLife, tombstone: tombstoneLife,
		stop: make(chan struct{}), unsent: map[string]time.Time{}, tables: map[string]dropper{},
	}
	// One connection, so that "not for changes of this connection" leaves out exactly our own.
	option.PipelineMultiplex = -1
	option.DisableRetry = true
	option.ConnWriteTimeout = writeTimeout
	if option.Dialer.Timeout == 0 {
		option.Dialer.Timeout = dialPatience
	}
	option.ClientTrackingOptions = []string{"BCAST", "PREFIX", c.valuePrefix(), "NOLOOP"}
	option.OnInvalidations = c.onInvalidations
	c.option = option
	if err := c.connect(ctx); err != nil {
		c.trip(err)
	}
	return c, nil
}

// connect makes the client. A server without client-side caching is used without: copies live no longer for that.
func (c *Cache) connect(ctx context.Context) error {
	option := c.option
	client, err := rueidis.NewClient(option)
	if errors.Is(err, rueidis.ErrNoCache) {
		c.log.WarnContext(ctx, "Redis has no client-side caching: changes reach other instances after up to a second")
		option.DisableCache = true
		client, err = rueidis.NewClient(option)
	}
	if err != nil {
		return fmt.Errorf("connect to Redis: %w", err)
	}
	c.mu.Lock()
	c.client = client
	c.mu.Unlock()
	return nil
}

// Close ends the connection. It may be called more than once.
func (c *Cache) Close() {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	c.mu.Unlock()
	if closed {
		return
	}
	close(c.stop)
	c.work.Wait()
	c.mu.Lock()
	c.gone = true
	client := c.client
	c.mu.Unlock()
	if client != nil {
		client.Close()
	}
}

// Degraded tells whether Redis is gone: everything works, slower.
func (c *Cache) Degraded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// Key returns the name under which something of ours is kept in Redis, outside of the tables.
func (c *Cache) Key(parts ...string) string { return c.prefix + ":" + strings.Join(parts, ":") }

// Do runs commands on Redis, for a fifth of a second at most. It fails with [ErrNoRedis] at once while Redis is gone. Any
// failure of f but "nil" and the end of ctx makes Redis count as gone.
func (c *Cache) Do(ctx context.Context, f func(ctx context.Context, client rueidis.Client) error) error {
	c.mu.Lock()
	client, gone := c.client, c.gone
	c.mu.Unlock()
	if gone {
		return ErrNoRedis
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := f(bounded, client)
	if err == nil || rueidis.IsRedisNil(err) || ctx.Err() != nil {
		return err
	}
	c.trip(err)
	return fmt.Errorf("ask Redis: %w", err)
}

func (c *Cache) valuePrefix() string               { return c.prefix + ":cache:" }
func (c *Cache) valueKey(table, key string) string { return c.valuePrefix() + table + ":" + key }

// onInvalidations hears from Redis which keys others have changed; nil is "anything may have": the connection was lost.
func (c *Cache) onInvalidations(keys []rueidis.RedisMessage) {
	if keys == nil {
		c.dropAll()
		c.trip(errors.New("connection lost"))
		return
	}
	for _, message := range keys {
		name, err := message.ToString()
		if err != nil {
			continue
		}
		table, key, ok := strings.Cut(strings.TrimPrefix(name, c.valuePrefix()), ":")
		if !ok {
			continue
		}
		c.mu.Lock()
		t := c.tables[table]
		c.mu.Unlock()
		if t != nil {
			t.drop(key)
		}
	}
}

func (c *Cache) dropAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.tables {
		t.dropAll()
	}
}
