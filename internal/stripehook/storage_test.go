package stripehook_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/problem"
	"example.com/saaskit/internal/stripehook"
)

func TestC31ConcurrentDuplicates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	event := w.about("invoice.paid", "in_1")
	body := encode(t, event)
	const deliveries = 50
	start, errs := make(chan struct{}), make(chan error, deliveries)
	for range deliveries {
		go func() {
			<-start
			errs <- w.service.Receive(t.Context(), sign(body, secret, time.Now()), body)
		}()
	}
	close(start)
	for range deliveries {
		if err := <-errs; err != nil {
			t.Errorf("delivery: %v", err)
		}
	}
	w.want("50", `SELECT delivery_count FROM stripe_events`)
	w.want("1", `SELECT count(*) FROM river_job WHERE kind = 'stripe_event'`)
	w.startRiver(w.service)
	w.await("done", `SELECT status FROM stripe_events`)
	w.want("10 1", `SELECT balance || ' ' || (SELECT count(*) FROM credit_entries) FROM credit_accounts`)
	w.want("1", `SELECT count(*) FROM outbox`)
}

// The second of two deliveries waits for the first and then sees its job.
func TestC31SecondWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	reached, release := make(chan struct{}), make(chan struct{})
	w := newWorld(t, with(func(c *stripehook.Config) {
		c.Failpoints.BeforeStored = heldOnce(reached, release)
	}))
	w.signup()
	body := encode(t, w.about("invoice.paid", "in_1"))
	errs := make(chan error, 2)
	deliver := func() { errs <- w.service.Receive(t.Context(), sign(body, secret, time.Now()), body) }
	go deliver()
	<-reached
	go deliver()
	pgtest.AwaitLock(t, w.pool)
	close(release)
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	w.want("2", `SELECT delivery_count FROM stripe_events`)
	w.want("1", `SELECT count(*) FROM river_job`)
}

func TestC31RedeliveryQueuesALostJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	event := w.about("invoice.paid", "in_1")
	w.post(event)
	w.exec(`DELETE FROM river_job`)
	w.post(event)
	w.want("1", `SELECT count(*) FROM river_job`)
	w.drain()
	w.exec(`DELETE FROM river_job`)
	w.post(event)
	w.want("0", `SELECT count(*) FROM river_job`) // it is done
}

func TestC32DatabaseDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	gate := &gate{}
	pool := gate.pool(t, w.pool)
	service := w.newService(with(func(c *stripehook.Config) { c.Pool = pool }))
	body := encode(t, w.about("invoice.paid", "in_1"))
	receive := func() error { return service.Receive(t.Context(), sign(body, secret, time.Now()), body) }
	gate.set(true)
	pool.Reset()
	started := time.Now()
	if err := receive(); !is(err, problem.Unavailable) {
		t.Fatalf("database down: %v", err)
	}
	hello := []byte("hello")
	if err := service.Receive(t.Context(), sign(hello, secret, time.Now()), hello); !is(err, problem.Unavailable) {
		t.Fatalf("no event, database down: %v", err)
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("the answers took %v", took)
	}
	gate.set(false)
	if err := receive(); err != nil {
		t.Fatalf("database back: %v", err)
	}
	w.drain()
	w.want("10", `SELECT balance FROM credit_accounts`)
}

// A gate lets connections to the database through, or not.
type gate struct {
	mu   sync.Mutex
	shut bool
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
}

func (g *gate) pool(t *testing.T, like *pgxpool.Pool) *pgxpool.Pool {
	t.Helper()
	config := like.Config().Copy()
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.shut {
			return nil, errors.New("connection refused")
		}
		return dial(ctx, network, addr)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func TestC33DatabaseSlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	body := encode(t, w.about("invoice.paid", "in_1"))
	receive := func() error { return w.service.Receive(t.Context(), sign(body, secret, time.Now()), body) }
	tx, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background()) // released below
	if _, err := tx.Exec(t.Context(), `LOCK TABLE river_job`); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	if err := receive(); !is(err, problem.Unavailable) {
		t.Errorf("blocked: %v", err)
	}
	if took := time.Since(started); took < 2*time.Second || took > 5*time.Second {
		t.Errorf("answered after %v", took)
	}
	w.await("0", `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)
	w.want("0", `SELECT count(*) FROM stripe_events`)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := receive(); err != nil {
		t.Errorf("retry: %v", err)
	}
	w.want("1 1", `SELECT (SELECT count(*) FROM stripe_events) || ' ' || (SELECT count(*) FROM river_job)`)
}

func TestC34CrashBetweenStoreAndProcess(t *testing.T) {
	t.Parallel()
	died := errors.New("killed")
	w := newWorld(t, with(func(c *stripehook.Config) { c.Failpoints.AfterStored = func(string) error { return died } }))
	w.signup()
	body := encode(t, w.about("invoice.paid", "in_1"))
	_ = w.service.Receive(t.Context(), sign(body, secret, time.Now()), body) // whatever Stripe was told
	w.startRiver(w.newService())
	w.await("done", `SELECT status FROM stripe_events`)
	w.want("10", `SELECT balance FROM credit_accounts`)
}

func TestC35CrashBeforeCommit(t *testing.T) {
	t.Parallel()
	for name, arm := range map[string]func(*stripehook.Failpoints, func(string) error){
		"before the insert": func(f *stripehook.Failpoints, p func(string) error) { f.BeforeInsert = p },
		"before the commit": func(f *stripehook.Failpoints, p func(string) error) { f.BeforeStored = p },
	} {
		dead := true
		w := newWorld(t, with(func(c *stripehook.Config) {
			arm(&c.Failpoints, func(string) error {
				if dead {
					return errors.New("killed")
				}
				return nil
			})
		}))
		w.signup()
		body := encode(t, w.about("invoice.paid", "in_1"))
		if err := w.service.Receive(t.Context(), sign(body, secret, time.Now()), body); err == nil {
			t.Errorf("%s: accepted", name)
		}
		w.want("0 0", `SELECT (SELECT count(*) FROM stripe_events) || ' ' || (SELECT count(*) FROM river_job)`)
		dead = false
		if err := w.service.Receive(t.Context(), sign(body, secret, time.Now()), body); err != nil {
			t.Errorf("%s: redelivery: %v", name, err)
		}
		w.drain()
		w.wantAllDone(1)
		w.want("10", `SELECT balance FROM credit_accounts`)
	}
}

// pauses are those after each failed attempt: nearly three days, for which somebody may be away.
var pauses = []time.Duration{
	10 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 24 * time.Hour,
}

func TestC36PoisonEvent(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() error{
		"error": func() error { return errors.New("poison") },
		"panic": func() error { panic("poison") },
	} {
		w := newWorld(t, with(func(c *stripehook.Config) {
			c.Failpoints.BeforeCommit = func(id string) error {
				if id == "sub_bad" {
					return fail()
				}
				return nil
			}
		}))
		w.poison = true
		w.subscription("sub_bad")
		bad := w.about("customer.subscription.updated", "sub_bad")
		w.post(bad)
		for i := range 100 {
			id := fmt.Sprintf("sub_%d", i)
			w.subscription(id)
			w.post(w.about("customer.subscription.updated", id))
		}
		w.startRiver(w.service)
		w.await("100", `SELECT count(*) FROM stripe_events WHERE status = 'done'`)
		for i, pause := range pauses {
			w.await("true", `SELECT attempt > $2 OR attempt = $2 AND state = 'retryable' FROM river_job WHERE args->>'event_id' = $1`, bad["id"], i+1)
			w.want("pending", `SELECT status FROM stripe_events WHERE id = $1`, bad["id"])
			// On a slow machine a short pause may be over already; the next attempt is looked at then. A long one is not.
			w.want("true", `SELECT attempt > $2 AND $3::float8 < 300 OR abs(extract(epoch FROM scheduled_at - attempted_at) - $3::float8) < 2
				FROM river_job WHERE args->>'event_id' = $1`, bad["id"], i+1, pause.Seconds())
			w.hurry()
		}
		w.await("discarded 10", `SELECT state || ' ' || attempt FROM river_job WHERE args->>'event_id' = $1`, bad["id"])
		w.wantEvent(bad["id"].(string), "dead")
		w.want("10", `SELECT attempts FROM stripe_events WHERE id = $1`, bad["id"])
		if w.alarms("dead") != 1 || w.metric("saaskit_stripe_events_dead") != 1 {
			t.Errorf("%s: alarms %v, dead %v", name, w.alarms("dead"), w.metric("saaskit_stripe_events_dead"))
		}
		w.want("0", `SELECT count(*) FROM subscriptions WHERE id = 'sub_bad'`)
	}
}

// A hold lets a test stop one step at one object, the nth time that it is reached.
type hold struct {
	mu      sync.Mutex
	waits   map[string]chan struct{} // by object and number
	reached map[string]chan struct{}
	count   map[string]int
}

func newHold(stops ...string) *hold {
	h := &hold{waits: map[string]chan struct{}{}, reached: map[string]chan struct{}{}, count: map[string]int{}}
	for _, stop := range stops {
		h.waits[stop], h.reached[stop] = make(chan struct{}), make(chan struct{})
	}
	return h
}

func (h *hold) point(step string) func(string) error {
	return func(id string) error {
		h.mu.Lock()
		h.count[step+id]++
		stop := fmt.Sprintf("%s %s %d", step, id, h.count[step+id])
		wait, reached := h.waits[stop], h.reached[stop]
		h.mu.Unlock()
		if wait == nil {
			return nil
		}
		close(reached)
		select {
		case <-wait:
			return nil
		case <-time.After(patience):
			return errors.New("held too long")
		}
	}
}

func (h *hold) await(t *testing.T, stop string) {
	t.Helper()
	select {
	case <-h.reached[stop]:
	case <-time.After(patience):
		t.Fatalf("never reached: %s", stop)
	}
}

func (h *hold) release(stop string) { close(h.waits[stop]) }

func TestC39StalledWorker(t *testing.T) {
	t.Parallel()
	h := newHold("fetched in_1 1")
	w := newWorld(t, with(func(c *stripehook.Config) { c.Failpoints.AfterFetch = h.point("fetched") }))
	w.signup()
	w.patch("in_1", object{"status": "open", "paid": false, "amount_paid": 0, "amount_remaining": 1000})
	event := w.about("invoice.paid", "in_1")
	id := event["id"].(string)
	w.post(event)
	stalled := make(chan error, 1)
	go func() { stalled <- w.try(id, false) }()
	h.await(t, "fetched in_1 1") // it has seen the invoice open
	w.patch("in_1", object{"status": "paid", "paid": true, "amount_paid": 1000, "amount_remaining": 0})
	if err := w.try(id, false); err != nil {
		t.Fatal(err)
	}
	w.wantAllDone(1)
	done := w.text(`SELECT done_at FROM stripe_events`)
	h.release("fetched in_1 1")
	if err := <-stalled; err != nil {
		t.Fatal(err)
	}
	w.want("paid", `SELECT status FROM invoices`)
	w.want("10 1", `SELECT balance || ' ' || (SELECT count(*) FROM credit_entries) FROM credit_accounts`)
	w.want("1", `SELECT count(*) FROM outbox`)
	w.want(done, `SELECT done_at FROM stripe_events`)
	if n := w.metric("saaskit_stripe_writes_dropped_total"); n != 1 {
		t.Errorf("%v writes dropped", n)
	}
}

// The rival's write waits for the lock of the fence, and is then dropped.
func TestC39FenceIsALock(t *testing.T) {
	t.Parallel()
	h := newHold("commit sub_1 1", "fetched sub_1 1")
	w := newWorld(t, with(func(c *stripehook.Config) {
		c.Failpoints.AfterFetch, c.Failpoints.BeforeCommit = h.point("fetched"), h.point("commit")
	}))
	w.signup()
	old, recent := w.about("customer.subscription.updated", "sub_1"), w.about("customer.subscription.updated", "sub_1")
	w.patch("sub_1", object{"status": "trialing"})
	w.post(old)
	errs := make(chan error, 2)
	go func() { errs <- w.try(old["id"].(string), false) }()
	h.await(t, "fetched sub_1 1") // sequence 1, trialing
	w.patch("sub_1", object{"status": "active"})
	w.post(recent)
	go func() { errs <- w.try(recent["id"].(string), false) }()
	h.await(t, "commit sub_1 1") // sequence 2 is written, not committed
	h.release("fetched sub_1 1")
	pgtest.AwaitLock(t, w.pool)
	h.release("commit sub_1 1")
	for range 2 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	w.want("active", `SELECT status FROM subscriptions`)
	w.wantAllDone(2)
}

func TestC39bCoalescingIsBoundByTheSequence(t *testing.T) {
	t.Parallel()
	h := newHold("sequence sub_1 1", "fetched sub_1 1", "fetched sub_1 2")
	w := newWorld(t, with(func(c *stripehook.Config) {
		c.Failpoints.AfterSequence, c.Failpoints.AfterFetch = h.point("sequence"), h.point("fetched")
	}))
	w.signup()
	a, b := w.about("customer.subscription.updated", "sub_1"), w.about("customer.subscription.updated", "sub_1")
	w.patch("sub_1", object{"status": "trialing"}) // S1
	w.post(a)
	errA, errB := make(chan error, 1), make(chan error, 1)
	go func() { errA <- w.try(a["id"].(string), false) }()
	h.await(t, "sequence sub_1 1") // A has taken sequence 1
	w.post(b)
	go func() { errB <- w.try(b["id"].(string), false) }()
	h.await(t, "fetched sub_1 1") // B has taken sequence 2 and read S1
	w.patch("sub_1", object{"status": "active"})
	e := w.about("customer.subscription.updated", "sub_1")
	w.post(e) // S2
	h.release("sequence sub_1 1")
	h.await(t, "fetched sub_1 2") // A has read S2
	h.release("fetched sub_1 1")
	if err := <-errB; err != nil {
		t.Fatal(err)
	}
	w.want("trialing", `SELECT status FROM subscriptions`)
	h.release("fetched sub_1 2")
	if err := <-errA; err != nil {
		t.Fatal(err)
	}
	w.want("trialing", `SELECT status FROM subscriptions`)
	w.wantEvent(e["id"].(string), "pending")
	w.drain()
	w.want("active", `SELECT status FROM subscriptions`)
	w.wantAllDone(3)
}

// What was stored before the sequence was taken is finished by one look.
func TestC39bCoalescing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	var events []object
	for range 30 {
		events = append(events, w.about("customer.subscription.updated", "sub_1"))
	}
	failed := w.about("invoice.payment_failed", "in_1")
	w.post(append(events, w.about("invoice.paid", "in_1"), w.about("invoice.updated", "in_1"), failed)...)
	w.drain()
	w.wantAllDone(33)
	if n := w.gets("/v1/subscriptions/sub_1"); n > 2 { // one for its events, one for the message about the payment
		t.Errorf("%d reads of the subscription", n)
	}
	if n := w.gets("/v1/invoices/in_1"); n != 2 { // one for its state, one for the event that may ask for a message
		t.Errorf("%d reads of the invoice", n)
	}
	w.want("30", `SELECT count(*) FROM stripe_events WHERE reason = 'covered'`)
}

// heldOnce is a failpoint that holds the first who comes.
func heldOnce(reached, release chan struct{}) func(string) error {
	var once sync.Once
	return func(string) error {
		once.Do(func() { close(reached); <-release })
		return nil
	}
}
