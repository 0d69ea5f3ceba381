package stripehook_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/problem"
	"example.com/saaskit/internal/stripehook"
)

// A life is two accounts from the first payment to the end, with Stripe's events about them arriving as badly as they may: in any
// order, twice, late, never, and with a server that dies or stalls at each step. It is drawn from one seed.
type life struct {
	*world
	random  *rand.Rand
	billing *billing.Service
	credits *credit.Service
	// prompt lives settle what has happened before more happens, so that they end the same to the last word. In the others events
	// come when their time is over: what depends on the day on which one comes may differ then, and nothing else.
	prompt  bool
	waiting []object            // made by Stripe and not yet here
	lost    []object            // never delivered
	sweeper *stripehook.Service // of a later moment: what has just been lost is old enough for it
	calm    bool                // nothing dies or stalls
	stalled []*attempt
	running *attempt
	kills   map[string]int
	delays  int
	began   time.Time
	order   map[string]int // events in the order in which Stripe made them
}

// An attempt at an event by a server that may die or stall in it.
type attempt struct {
	over    chan struct{} // closed where it has ended, in death, too
	stopped chan struct{} // it stalls
	resume  chan struct{}
}

func newLife(t *testing.T, seed uint64, prompt bool) *life {
	t.Helper()
	l := &life{random: rand.New(rand.NewPCG(seed, 51)), prompt: prompt, kills: map[string]int{}, order: map[string]int{}}
	l.world = newWorld(t, with(l.endanger))
	l.sweeper = l.newService(with(l.endanger), with(func(c *stripehook.Config) {
		c.Now = func() time.Time { return l.clock.Now().Add(10 * time.Minute) }
	}))
	l.exec(`DELETE FROM stripe_customers`)
	l.began = l.clock.Now()
	l.billing = l.shop()
	l.credits = credit.New(credit.Config{Pool: l.pool, Now: l.clock.Now, Policy: account.DefaultPolicy()})
	return l
}

// failpoints are the names of all there are.
func failpoints() (names []string) {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[stripehook.Failpoints]()) {
		names = append(names, f.Name)
	}
	return names
}

// endanger sets every failpoint: at each the server may die, and where it holds no lock it may stall.
func (l *life) endanger(c *stripehook.Config) {
	stalls := map[string]bool{"AfterSequence": true, "AfterFetch": true}
	deaths := map[string]int{"AfterPage": 25} // of a hundred; a sweep has few pages
	for _, step := range failpoints() {
		die := max(deaths[step], 4)
		point := func(string) error {
			if l.calm {
				return nil
			}
			switch n := l.random.IntN(100); {
			case n < die:
				l.kills[step]++
				runtime.Goexit() // as in death: what is deferred ends the connection, and nobody records a failure
			case n < die+4 && stalls[step]:
				l.kills["stalled "+step]++
				own := l.running
				close(own.stopped)
				<-own.resume
			}
			return nil
		}
		reflect.ValueOf(&c.Failpoints).Elem().FieldByName(step).Set(reflect.ValueOf(point))
	}
}

// live runs a step of the server until it ends, dies or stalls. One at a time draws from the seed: what is resumed runs calmly.
func (l *life) live(step func()) {
	own := &attempt{over: make(chan struct{}), stopped: make(chan struct{}), resume: make(chan struct{})}
	l.running = own
	go func() {
		defer close(own.over)
		step()
	}()
	select {
	case <-own.over:
	case <-own.stopped:
		l.stalled = append(l.stalled, own)
	}
}

// wake lets the attempt go on that has stalled for the longest time.
func (l *life) wake() {
	own := l.stalled[0]
	l.stalled = l.stalled[1:]
	calm := l.calm
	l.calm = true
	close(own.resume)
	<-own.over
	l.calm = calm
}

// deliver brings one event, some of them more than once. Where nobody answers it waits to be sent again.
func (l *life) deliver(event object) {
	for range 1 + l.random.IntN(5)/3 {
		answered := false
		body := encode(l.t, event)
		l.live(func() {
			err := l.service.Receive(context.Background(), sign(body, secret, time.Now()), body)
			if err != nil && !l.late(err) {
				l.t.Errorf("receive %v: %v", event["type"], err)
			}
			answered = err == nil
		})
		if !answered {
			l.waiting = append(l.waiting, event)
		}
	}
}

// work makes one attempt at one event that waits in the inbox.
func (l *life) work() bool {
	pending := l.texts(`SELECT id FROM stripe_events WHERE status = 'pending'`)
	if len(pending) == 0 {
		return false
	}
	slices.SortFunc(pending, func(a, b string) int { return l.order[a] - l.order[b] }) // ids are random, the seed is not
	id := pending[l.random.IntN(len(pending))]
	l.live(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := l.service.Work(ctx, id, false); err != nil && !snoozed(err) && !l.late(err) {
			l.t.Errorf("work on %s: %v", id, err)
		}
	})
	return true
}

// late tells whether the machine was too slow for a deadline: then the next attempt has to do it, as everywhere. Not for ever.
func (l *life) late(err error) bool {
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, problem.Unavailable) {
		return false
	}
	l.delays++
	return l.delays < 100
}

// happened takes what Stripe has made since the last call, and lets some of it arrive and be worked on. Sometimes a letter is lost:
// it comes with a sweep, in a prompt life before anything else happens.
func (l *life) happened() {
	l.t.Helper()
	l.emu.Advance(0)
	for _, event := range l.sent() {
		l.order[event["id"].(string)] = len(l.order)
		if !l.calm && l.random.IntN(8) == 0 {
			l.lost = append(l.lost, event)
			continue
		}
		l.waiting = append(l.waiting, event)
	}
	l.random.Shuffle(len(l.waiting), func(i, j int) { l.waiting[i], l.waiting[j] = l.waiting[j], l.waiting[i] })
	arrives := len(l.waiting)
	if !l.prompt {
		arrives = l.random.IntN(arrives + 1)
	}
	for _, event := range l.take(arrives) {
		l.deliver(event)
		for range l.random.IntN(3) {
			l.work()
		}
		if len(l.stalled) > 0 && l.random.IntN(40) == 0 { // long enough for Stripe to have moved on
			l.wake()
		}
	}
	switch {
	case l.prompt:
		for !l.sweep(l.sweeper) {
		}
		l.resend()
		l.settle(true)
	case l.random.IntN(6) == 0:
		l.sweep(l.service)
	}
}

// sweep takes in what Stripe lists and no delivery has brought, unless the server dies in it.
func (l *life) sweep(service *stripehook.Service) (done bool) {
	l.live(func() {
		if _, err := service.Sweep(context.Background(), false); err != nil {
			l.t.Errorf("sweep: %v", err)
		}
		done = true
	})
	return done
}

// resend has those lost letters sent again that a sweep has not found: they are too old for the list, or of types that it leaves out.
func (l *life) resend() {
	l.t.Helper()
	for _, event := range l.lost {
		if l.text(`SELECT max(id) FROM stripe_events WHERE id = $1`, event["id"]) == "" {
			l.waiting = append(l.waiting, event)
			if l.prompt && slices.Contains(stripehook.EventTypes(), event["type"].(string)) {
				l.t.Errorf("the sweep has not found %v", event["type"])
			}
		}
	}
	l.lost = nil
}

func (l *life) take(n int) []object {
	taken := slices.Clone(l.waiting[:n])
	l.waiting = slices.Clone(l.waiting[n:])
	return taken
}

// settle delivers and works until there is nothing left. Attempts that have stalled go on then, but where they may linger some stay
// where they are until more has happened: what they have seen is old by then.
func (l *life) settle(linger bool) {
	l.t.Helper()
	for rounds := 0; len(l.waiting) > 0 || l.work(); rounds++ {
		for _, event := range l.take(len(l.waiting)) {
			l.deliver(event)
		}
		if rounds > 2000 {
			l.t.Fatalf("never settled: %v", l.texts(`SELECT id || ' ' || type || ' ' || last_error FROM stripe_events WHERE status = 'pending'`))
		}
	}
	for range len(l.stalled) {
		if linger && l.random.IntN(2) == 0 {
			l.stalled = append(l.stalled[1:], l.stalled[0])
			continue
		}
		l.wake()
	}
	if l.work() {
		l.settle(linger)
	}
}

// buy opens a checkout session by our own service and pays for it on Stripe's page.
func (l *life) buy(accountID uuid.UUID, wish billing.Wish) {
	l.t.Helper()
	session := l.checkout(l.billing, accountID, wish)
	req, err := http.NewRequestWithContext(l.t.Context(), http.MethodPost, session.URL, strings.NewReader(url.Values{"action": {"pay"}, "email": {"one@example.com"}}.Encode()))
	l.must(err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	browser := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := browser.Do(req)
	l.must(err)
	page, err := io.ReadAll(res.Body)
	l.must(err)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusSeeOther {
		l.t.Fatalf("paying is answered with %d: %s", res.StatusCode, page)
	}
}

// pass moves the time of Stripe and of the server.
func (l *life) pass(d time.Duration) { l.clock.Add(d) }
