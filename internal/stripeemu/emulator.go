package stripeemu

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"example.com/saaskit/internal/stripecontract"
)

// Config says how an emulator behaves. Its zero value works.
type Config struct {
	// Now is the time that objects and events carry; time.Now where nil.
	// Signatures always carry wall time, as their verifiers compare with it.
	Now func() time.Time
	// BaseURL is where browsers reach the hosted pages. Empty: the address of
	// the request that creates the page.
	BaseURL string
	// RetryCompression divides the real pauses between two attempts to
	// deliver a webhook, which run from an hour to a day. Zero means 3600:
	// an hour becomes a second. One is real time.
	RetryCompression float64
	// AnswerTimeout is how long a webhook's receiver may take; 10 s where zero.
	AnswerTimeout time.Duration
	// Dunning is what happens when a renewal is not paid.
	Dunning Dunning
	// StateFile keeps the account between two runs. It is read at the start, if
	// it exists, and written before a change becomes visible to anybody, so that
	// even a killed emulator knows what it has told. Empty: memory only.
	StateFile string
}

// An Emulator is one Stripe account in test mode. It is an http.Handler, safe
// for concurrent use; every request sees the state that the last one left.
type Emulator struct {
	contract *stripecontract.Contract
	clock    func() time.Time
	mux      *http.ServeMux
	// operations is what the API does, by method and pattern.
	operations map[string]operation
	dueRules   []rule // what time alone brings about

	mu       sync.Mutex // guards everything below
	base     string     // from the configuration
	seen     string     // where the last request came in
	store    *store
	offset   time.Duration          // of the account's time from Config.Now
	file     string                 // of the state; empty for none
	answers  map[string]savedAnswer // by idempotency key
	faults   []*Fault
	requests []Request
	delivery DeliveryFaults
	dunning  Dunning
	// accountVersion is the API version of the list of events; empty for ours.
	accountVersion string
	attempts       []Attempt

	client      *http.Client
	compression float64
	ctx         context.Context // ends with Close; what the deliveries run under
	stop        context.CancelFunc
	running     sync.WaitGroup
	slots       chan struct{} // one for each delivery that may be under way at once
	queued      int           // deliveries on their way or waiting for their next attempt
	idle        *sync.Cond    // on mu; told when queued falls to zero
}

// New starts an emulator. Close stops its deliveries.
func New(config Config) (*Emulator, error) {
	contract, err := stripecontract.Load()
	if err != nil {
		return nil, err
	}
	e := &Emulator{
		contract: contract, clock: config.Now, base: strings.TrimSuffix(config.BaseURL, "/"),
		store: newStore(), answers: map[string]savedAnswer{}, compression: config.RetryCompression, dunning: config.Dunning,
	}
	if e.clock == nil {
		e.clock = time.Now
	}
	if e.compression <= 0 {
		e.compression = defaultCompression
	}
	timeout := config.AnswerTimeout
	if timeout <= 0 {
		timeout = defaultAnswerTimeout
	}
	e.client = newDeliveryClient(timeout)
	e.slots = make(chan struct{}, maxParallelDeliveries)
	e.idle = sync.NewCond(&e.mu)
	e.ctx, e.stop = context.WithCancel(context.Background())
	e.mux, e.operations, e.dueRules = e.newMux(), allOperations(), rules()
	if err := e.load(config.StateFile); err != nil {
		e.stop()
		return nil, err
	}
	e.running.Add(1)
	go e.keepTime()
	return e, nil
}

// Handler serves the API under /v1 and the hosted pages beside it.
func (e *Emulator) Handler() http.Handler {
	return e
}

// SetBaseURL sets where browsers reach the hosted pages of sessions created
// from now on.
func (e *Emulator) SetBaseURL(base string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.base = strings.TrimSuffix(base, "/")
}

// Close ends all deliveries, also those that wait for their next attempt, and
// returns when they have ended. With a StateFile they go on in the next run.
func (e *Emulator) Close() {
	e.stop()
	e.running.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keep()
}

// tickEvery is how often the emulator looks for what is due: sessions that
// expire although nobody asks for them.
const tickEvery = time.Second

func (e *Emulator) keepTime() {
	defer e.running.Done()
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-ticker.C:
			e.tick()
		}
	}
}

// tick lets happen what is due. A fault of a rule is told and met again at the
// next request, which fails; it does not end the process.
func (e *Emulator) tick() {
	defer func() {
		if fault := recover(); fault != nil {
			slog.Error("the Stripe emulator cannot move on in time", "error", fault)
		}
	}()
	e.do(func(*action) {}) // what is due happens on every action
}

// do runs f under the lock, after what is due by now has happened.
func (e *Emulator) do(f func(*action)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.doLocked(f)
}

func (e *Emulator) doLocked(f func(*action)) {
	a := e.newAction()
	a.settleDue()
	f(a)
	a.keep()
}

// settleLater lets happen what is due soon, after the answer to a request.
func (e *Emulator) settleLater() {
	e.running.Add(1)
	go func() {
		defer e.running.Done()
		e.tick()
	}()
}

// An action is one change of the state, made under the emulator's lock. Its
// events carry the request that caused them.
type action struct {
	*Emulator
	store       *store // of the emulator, or a copy of it in a rehearsal
	at          int64
	base        string
	requestID   string
	idempotency string
	rehearsing  bool // nothing of it is told to anybody
}

func (e *Emulator) newAction() *action {
	base := e.base
	if base == "" {
		base = e.seen
	}
	return &action{Emulator: e, store: e.store, at: e.now().Unix(), base: base}
}

// reachedAt notes the address of a request. Without a configured one, links in
// what is made then, and by time later, lead there.
func (a *action) reachedAt(r *http.Request) {
	if a.Emulator.base == "" {
		a.seen = "http://" + r.Host
		a.base = a.seen
	}
}

// rehearse lets f work on a copy of the state that is thrown away.
func (a *action) rehearse(f func(*action)) {
	copied := *a
	copied.store, copied.rehearsing = a.store.rehearsal(), true
	f(&copied)
}
