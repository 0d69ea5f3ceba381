package redisserver

import (
	"fmt"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// tick is how often the clock of a Memory is moved on: miniredis lets no key
// expire by itself.
const tick = 100 * time.Millisecond

// A Memory is a Redis inside this program, good enough for development. It has
// no client-side caching, and forgets everything when the program ends.
type Memory struct {
	redis *miniredis.Miniredis
	stop  chan struct{}
	once  sync.Once
	idle  sync.WaitGroup
}

// StartMemory starts one on a free port of 127.0.0.1.
func StartMemory() (*Memory, error) {
	redis, err := miniredis.Run()
	if err != nil {
		return nil, fmt.Errorf("start Redis in memory: %w", err)
	}
	m := &Memory{redis: redis, stop: make(chan struct{})}
	m.idle.Go(m.age)
	return m, nil
}

// age moves the clock on by the time that has really passed.
func (m *Memory) age() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-m.stop:
			return
		case <-ticker.C:
			now := time.Now()
			m.redis.FastForward(now.Sub(last))
			last = now
		}
	}
}

// URL returns the address. Its parameters tell the client to do without what
// miniredis lacks: RESP3 pushes and client-side caching.
func (m *Memory) URL() string {
	return "redis://" + m.redis.Addr() + "/0?protocol=2&client_cache=0"
}

// Stop ends it. It may be called more than once.
func (m *Memory) Stop() {
	m.once.Do(func() {
		close(m.stop)
		m.idle.Wait()
		m.redis.Close()
	})
}
