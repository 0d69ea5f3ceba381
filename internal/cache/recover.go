package cache

import (
	"context"
	"errors"
	"time"

	"github.com/redis/rueidis"
)

const (
	firstWait   = 50 * time.Millisecond
	longestWait = time.Second
	// maxUnsent bounds what is remembered for a Redis that is gone. Beyond it this instance stays away from Redis until
	// every value that it should have buried has ended by itself.
	maxUnsent = 10_000
)

// overflow is the entry of unsent that stands for those that had no place.
const overflow = ""

// trip makes Redis count as gone, until recover has reached it and given it the tombstones that it missed.
func (c *Cache) trip(cause error) { c.tripWith(cause, 0) }

// tripWith also remembers tombstones; they become pointless when every value that they are for has ended.
func (c *Cache) tripWith(cause error, pointlessAfter time.Duration, tombstones ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	until := c.now().Add(pointlessAfter)
	for _, key := range tombstones {
		if _, known := c.unsent[key]; !known && len(c.unsent) >= maxUnsent {
			key = overflow
		}
		if until.After(c.unsent[key]) {
			c.unsent[key] = until
		}
	}
	if c.gone {
		return
	}
	c.gone, c.goneSince = true, c.now()
	c.log.Warn("Redis does not answer, working without it", "error", cause)
	c.work.Go(c.recover)
}

// recover asks for Redis until it is back.
func (c *Cache) recover() {
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		select {
		case <-c.stop:
			return
		case <-time.After(wait):
		}
		if c.reach() == nil && c.settled() {
			return
		}
	}
}

// reach writes the tombstones that Redis has missed, and something else in any case: that it can be read from is not enough.
func (c *Cache) reach() error {
	c.mu.Lock()
	client := c.client
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), dialPatience)
	defer cancel()
	if client == nil {
		return c.connect(ctx) // the next round writes
	}
	commands := []rueidis.Completed{client.B().Set().Key(c.Key("probe")).Value("1").Px(time.Minute).Build()}
	keys := c.missing()
	for _, key := range keys {
		commands = append(commands, c.tombstoneFor(client, key))
	}
	var errs []error
	for _, result := range client.DoMulti(ctx, commands...) {
		errs = append(errs, result.Error())
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		delete(c.unsent, key)
	}
	return nil
}

// missing returns tombstones that Redis has not got and that are still of use.
func (c *Cache) missing() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	var keys []string
	for key, until := range c.unsent {
		switch {
		case !until.After(now):
			delete(c.unsent, key)
		case key != overflow:
			keys = append(keys, key)
		}
	}
	return keys
}

// settled lets requests use Redis again, unless tombstones were left behind in the meantime.
func (c *Cache) settled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.unsent) > 0 || c.client == nil {
		return false
	}
	c.gone, c.backSince = false, c.now()
	c.log.Info("Redis answers again", "after", c.backSince.Sub(c.goneSince))
	return true
}

// bury writes tombstones, now or as soon as Redis answers again.
func (c *Cache) bury(ctx context.Context, ttl time.Duration, keys []string) {
	// The change goes on whether its caller waits or not.
	err := c.Do(context.WithoutCancel(ctx), func(ctx context.Context, client rueidis.Client) error {
		commands := make([]rueidis.Completed, len(keys))
		for i, key := range keys {
			commands[i] = c.tombstoneFor(client, key)
		}
		var errs []error
		for _, result := range client.DoMulti(ctx, commands...) {
			errs = append(errs, result.Error())
		}
		return errors.Join(errs...)
	})
	if err != nil {
		c.tripWith(err, ttl+leaseLife, keys...)
	}
}

func (c *Cache) tombstoneFor(client rueidis.Client, key string) rueidis.Completed {
	return client.B().Set().Key(key).Value(tombstone).Px(c.tombstone).Build()
}

// trusts tells whether values that live for ttl can be believed: not so soon after Redis was gone, for another instance may
// have had no way to bury one of them.
func (c *Cache) trusts(ttl time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.gone && (c.backSince.IsZero() || c.now().Sub(c.backSince) > ttl)
}
