package serve_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/serve/servetest"
	"example.com/saaskit/internal/stripeemu"
)

// A request that is being worked on when the server is told to stop gets its answer.
func TestC46ShutdownAnswersWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{})
	second, p := w.Run(t, map[string]string{"SHUTDOWN_DELAY": "2s"}), w.Person(t)
	held := hold(t, w, stripeemu.Fault{Method: http.MethodPost, Path: "/v1/checkout/sessions"})
	answer := make(chan servetest.Response, 1)
	go func() {
		answer <- w.Do(t, servetest.Request{Method: http.MethodPost, Path: "/v1/billing/checkout-sessions", Token: p.Token, Body: servetest.Pro(), Base: second.URL})
	}()
	held.await(t)
	ended := make(chan error, 1)
	go func() { ended <- second.Stop() }()
	servetest.Eventually(t, 2*time.Second, func() bool {
		return w.Do(t, servetest.Request{Method: http.MethodGet, Path: "/readyz", Base: second.URL}).Status == http.StatusServiceUnavailable
	}, "load balancers do not hear of it")
	w.Do(t, servetest.Request{Method: http.MethodGet, Path: "/v1/tiers", Base: second.URL}).Want(http.StatusOK, nil)
	servetest.Eventually(t, 10*time.Second, func() bool { return refused(t, second.URL) }, "the server goes on taking requests")
	select {
	case err := <-ended:
		t.Fatalf("the server stopped before it had answered: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	held.release()
	(<-answer).Want(http.StatusCreated, nil)
	if err := <-ended; err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

// An event that was taken in is worked on by the next server, where this one has no time for it.
func TestShutdownHandsEventsOn(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{NoServer: true})
	first := w.Run(t, map[string]string{"SHUTDOWN_TIMEOUT": "1s"})
	w.BaseURL = first.URL
	w.Webhook(first.URL)
	p := w.Person(t)
	held := payHeld(t, w, p)
	if err := first.Stop(); err == nil || !strings.Contains(err.Error(), "jobs were cut off") {
		t.Errorf("the server ended with %v, want jobs that were cut off", err)
	}
	held.release()
	w.BaseURL = w.Run(t, nil).URL
	wantPaid(t, w, p, 30*time.Second)
	var failed int
	if err := w.Pool.QueryRow(t.Context(), "SELECT count(*) FROM stripe_events WHERE last_error <> ''").Scan(&failed); err != nil || failed > 0 {
		t.Errorf("%d events count the stop as a failure (%v)", failed, err)
	}
}

// Power fails between the 200 to Stripe and the processing. The next server on the same database makes good for it within two
// minutes, and once.
func TestKilledServerLosesNothing(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{NoServer: true})
	first := w.Spawn(t, map[string]string{})
	w.BaseURL = first.URL
	w.Webhook(first.URL)
	p := w.Person(t)
	held := payHeld(t, w, p)
	first.Kill()
	held.release()
	killed := time.Now()
	w.BaseURL = w.Spawn(t, map[string]string{"ADDR": strings.TrimPrefix(first.URL, "http://")}).URL
	wantPaid(t, w, p, 2*time.Minute)
	t.Logf("the credits were there %s after the death", time.Since(killed).Round(time.Second))
}

// payHeld pays for the tier pro and returns when Stripe has all its 200s while nothing of it is worked on: every look at an
// object is held.
func payHeld(t *testing.T, w *servetest.World, p servetest.Person) *holding {
	t.Helper()
	page := w.Checkout(t, p, servetest.Pro())
	held := hold(t, w, stripeemu.Fault{Method: http.MethodGet})
	w.Pay(t, page)
	if err := w.Stripe.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	attempts := w.Stripe.Attempts()
	for _, a := range attempts {
		if a.Status != http.StatusOK {
			t.Fatalf("%s was answered with %d (%v)", a.EventType, a.Status, a.Err)
		}
	}
	held.await(t)
	if len(attempts) == 0 || w.Lots(t, p) != 0 {
		t.Fatalf("%d events, and %d lots of credits already", len(attempts), w.Lots(t, p))
	}
	return held
}

// wantPaid waits until everything that Stripe has sent is worked on, and wants what was paid for, once.
func wantPaid(t *testing.T, w *servetest.World, p servetest.Person, patience time.Duration) {
	t.Helper()
	servetest.Eventually(t, patience, func() bool {
		var pending int
		if err := w.Pool.QueryRow(t.Context(), "SELECT count(*) FROM stripe_events WHERE status <> 'done' AND status <> 'ignored'").Scan(&pending); err != nil {
			t.Fatal(err)
		}
		return pending == 0 && w.Lots(t, p) > 0
	}, "the credits do not arrive")
	if n := w.Lots(t, p); n != 1 {
		t.Errorf("the payment has become %d lots of credits", n)
	}
	var sub struct {
		Tier   string
		Access bool
	}
	w.Do(t, servetest.Request{Method: http.MethodGet, Path: "/v1/subscription", Token: p.Token}).Want(http.StatusOK, &sub)
	if sub.Tier != "pro" || !sub.Access {
		t.Errorf("the subscription is %+v", sub)
	}
	wantLedger(t, w.Pool)
}

func wantLedger(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	if _, err := credit.Verify(t.Context(), pool, func(v credit.Violation) { t.Error(v) }); err != nil {
		t.Fatal(err)
	}
}

// A holding keeps requests to Stripe waiting.
type holding struct {
	release func()
	reached chan struct{}
}

func hold(t *testing.T, w *servetest.World, f stripeemu.Fault) *holding {
	t.Helper()
	gate, reached := make(chan struct{}), make(chan struct{})
	arrived := sync.OnceFunc(func() { close(reached) })
	f.Do = func(*http.Request) { arrived(); <-gate }
	remove := w.Stripe.Inject(f)
	h := &holding{reached: reached, release: sync.OnceFunc(func() { remove(); close(gate) })}
	t.Cleanup(h.release)
	return h
}

// await waits until a request is held.
func (h *holding) await(t *testing.T) {
	t.Helper()
	select {
	case <-h.reached:
	case <-time.After(30 * time.Second):
		t.Fatal("nobody asks Stripe")
	}
}

// refused tells whether nobody listens at an address any more.
func refused(t *testing.T, base string) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/healthz", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	res, err := client.Do(req)
	if err == nil {
		res.Body.Close()
	}
	return err != nil
}
