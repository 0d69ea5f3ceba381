package stripeemu

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/stripe/stripe-go/v76/webhook"
)

const (
	defaultCompression    = 3600
	defaultAnswerTimeout  = 10 * time.Second
	maxParallelDeliveries = 16
	maxAttemptLog         = 10_000
)

// retryPauses are the real pauses between attempts, about three days in all.
func retryPauses() []time.Duration {
	return []time.Duration{
		time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 12 * time.Hour, 24 * time.Hour, 24 * time.Hour,
	}
}

// DeliveryFaults makes the deliveries of webhooks as bad as real ones can be.
// The zero value delivers everything once and at once. It applies to events
// emitted after it is set.
type DeliveryFaults struct {
	Delay     time.Duration // every delivery waits this long
	Shuffle   time.Duration // and a random time up to this
	Duplicate int           // each event comes this many times more
	// Drop says of which types of events no delivery is ever tried. They stay
	// in the list of events, with delivery_success false.
	Drop func(eventType string) bool
	// APIVersion renders what is sent in another version of Stripe's API,
	// such as "2025-03-31.basil". Empty: as the endpoint has it.
	APIVersion string
}

// SetDeliveryFaults replaces the faults of deliveries.
func (e *Emulator) SetDeliveryFaults(faults DeliveryFaults) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.delivery = faults
}

// An Attempt is one try to deliver an event.
type Attempt struct {
	EventID    string
	EventType  string
	EndpointID string
	Number     int // from 1
	Status     int // 0 where no answer came
	Err        error
	At         time.Time // wall time
}

// Attempts returns the log of deliveries, oldest first.
func (e *Emulator) Attempts() []Attempt {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.attempts)
}

// A delivery is one copy of an event on its way to one endpoint.
type delivery struct {
	event    *record
	endpoint string
	body     []byte
	wait     time.Duration // before the first attempt
}

// dispatch queues the deliveries of a stored event to the endpoints that its
// private state names as pending. The caller holds the lock.
func (e *Emulator) dispatch(event *record) {
	states := child(event.Private, "endpoints")
	dropped := e.delivery.Drop != nil && e.delivery.Drop(text(event.Object, "type"))
	for endpoint, state := range states {
		if state != statePending {
			continue
		}
		if dropped {
			e.settleDelivery(event, endpoint, stateFailed)
			continue
		}
		for range 1 + e.delivery.Duplicate {
			d := delivery{event: event, endpoint: endpoint, body: eventBody(inVersion(event.Object, e.versionFor(endpoint))), wait: e.delivery.Delay}
			if e.delivery.Shuffle > 0 {
				d.wait += rand.N(e.delivery.Shuffle)
			}
			e.queued++
			e.running.Add(1)
			go e.deliver(d)
		}
	}
}

// deliver tries until an attempt succeeds, the pauses are used up, the
// endpoint is gone or the emulator closes.
func (e *Emulator) deliver(d delivery) {
	defer e.running.Done()
	defer e.finishDelivery()
	if !e.pause(d.wait) {
		return
	}
	pauses := retryPauses()
	for number := 1; ; number++ {
		url, secret, ok := e.target(d.endpoint)
		if !ok {
			e.settleLocked(d, stateFailed)
			return
		}
		if e.attempt(d, number, url, secret) {
			e.settleLocked(d, stateDelivered)
			return
		}
		if number > len(pauses) {
			e.settleLocked(d, stateFailed)
			return
		}
		if !e.pause(time.Duration(float64(pauses[number-1]) / e.compression)) {
			return
		}
	}
}

// attempt posts the event once, signed with wall time. Only a 2xx is success:
// a redirect is not followed and counts as failure, as at Stripe.
func (e *Emulator) attempt(d delivery, number int, url, secret string) bool {
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	case <-e.ctx.Done():
		return false
	}
	status, err := e.post(url, secret, d.body)
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.attempts) >= maxAttemptLog {
		e.attempts = slices.Delete(e.attempts, 0, maxAttemptLog/10)
	}
	e.attempts = append(e.attempts, Attempt{
		EventID: text(d.event.Object, "id"), EventType: text(d.event.Object, "type"), EndpointID: d.endpoint,
		Number: number, Status: status, Err: err, At: time.Now(),
	})
	return err == nil && status >= 200 && status < 300
}

func (e *Emulator) post(url, secret string, body []byte) (int, error) {
	request, err := http.NewRequestWithContext(e.ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("build delivery: %w", err)
	}
	signed := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: body, Secret: secret})
	request.Header.Set("Stripe-Signature", signed.Header)
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	request.Header.Set("User-Agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
	response, err := e.client.Do(request)
	if err != nil {
		return 0, fmt.Errorf("deliver event: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<16)) // so that the connection can be used again
	return response.StatusCode, nil
}

func newDeliveryClient(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout:       timeout,
		Transport:     &http.Transport{MaxIdleConnsPerHost: maxParallelDeliveries, IdleConnTimeout: time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// target reads where an endpoint is now: a test may have moved or disabled it.
func (e *Emulator) target(endpointID string) (url, secret string, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	endpoint := e.store.find("webhook_endpoint", endpointID)
	if endpoint == nil || endpoint.Object["status"] != "enabled" {
		return "", "", false
	}
	return text(endpoint.Object, "url"), text(endpoint.Private, "secret"), true
}

func (e *Emulator) pause(d time.Duration) bool {
	if d <= 0 {
		return e.ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-e.ctx.Done():
		return false
	}
}

func (e *Emulator) settleLocked(d delivery, state string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.settleDelivery(d.event, d.endpoint, state)
}

// settleDelivery records how a delivery ended. Of several copies the first
// that arrives decides.
func (e *Emulator) settleDelivery(event *record, endpointID, state string) {
	states := child(event.Private, "endpoints")
	if states[endpointID] != statePending {
		return
	}
	states[endpointID] = state
	e.store.changed = true // written with the next change, or within a second
	event.Object["pending_webhooks"] = number(event.Object, "pending_webhooks") - 1
}

func (e *Emulator) finishDelivery() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.queued--; e.queued == 0 {
		e.idle.Broadcast()
	}
}
