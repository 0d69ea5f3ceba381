package stripehook

import (
	"sync"
	"time"
)

// A Pace bounds how often one object is looked at for events that are pure state: Burst looks at once, then one for each Every. An
// event that waits for its turn is covered by the look of another, so a storm costs few reads. The zero Pace bounds nothing.
type Pace struct {
	Burst int
	Every time.Duration
}

// DefaultPace keeps a thousand updates of one subscription in a minute under forty reads.
func DefaultPace() Pace { return Pace{Burst: 5, Every: 2 * time.Second} }

// pacing counts the looks at each object, in this process: the pace saves reads, nothing depends on it.
type pacing struct {
	Pace
	mu   sync.Mutex
	next map[string]time.Time // when a look at the object would be in the pace if there were no burst
}

// forgetAfter is at how many objects those are forgotten that are not looked at any more.
const forgetAfter = 1000

// wait takes a turn, or tells how long to wait for one.
func (p *pacing) wait(id string, now time.Time) time.Duration {
	if p.Every <= 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.next) > forgetAfter {
		for other, at := range p.next {
			if at.Before(now) {
				delete(p.next, other)
			}
		}
	}
	if p.next == nil {
		p.next = map[string]time.Time{}
	}
	next := p.next[id]
	if next.Before(now) {
		next = now
	}
	if wait := next.Sub(now) - time.Duration(p.Burst-1)*p.Every; wait > 0 {
		return wait
	}
	p.next[id] = next.Add(p.Every)
	return 0
}
