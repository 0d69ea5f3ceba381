package ratelimit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// bucketScript keeps when the bucket will be full, in microseconds. Arguments: burst, microseconds for a token, tokens wanted,
// tokens given back. It returns: tokens granted, tokens left, microseconds until full, microseconds until one is there.
var bucketScript = rueidis.NewLuaScript(`
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local burst, interval, want, back = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local depth = burst * interval
local full = tonumber(redis.call('GET', KEYS[1]) or now)
-- The clock may have been set back since.
if full > now + depth then full = now + depth end
full = math.max(now, full - back * interval)
-- A microsecond for what rounding takes.
local free = math.floor((now + depth - full + 1) / interval)
local granted = math.min(want, free)
full = full + granted * interval
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000) + 1000)
local wait = 0
if granted == 0 then wait = math.max(1, math.ceil(full + interval - now - depth)) end
return {granted, free - granted, math.ceil(full - now), wait}`)

// An answer is what Redis says of a bucket.
type answer struct {
	granted int
	left    int
	full    time.Duration
	wait    time.Duration
}

// lease asks Redis for a lease and gives back the unused tokens of the last one.
func (r *Limiter) lease(ctx context.Context, key string, l Limit, back int) (a answer, err error) {
	interval := float64(l.interval()) / float64(time.Microsecond)
	args := []string{
		strconv.Itoa(l.Burst), strconv.FormatFloat(interval, 'f', 3, 64), strconv.Itoa(l.lease()), strconv.Itoa(back),
	}
	err = r.c.Do(ctx, func(ctx context.Context, client rueidis.Client) error {
		numbers, err := bucketScript.Exec(ctx, client, []string{r.c.Key("rate", hashed(key))}, args).AsIntSlice()
		if err != nil {
			return err
		}
		if len(numbers) != 4 {
			return fmt.Errorf("bucket script answers %d numbers", len(numbers))
		}
		a = answer{
			granted: int(numbers[0]), left: int(numbers[1]),
			full: time.Duration(numbers[2]) * time.Microsecond, wait: time.Duration(numbers[3]) * time.Microsecond,
		}
		return nil
	})
	return a, err
}

// hashed hides what is personal in a key.
func hashed(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:16])
}
