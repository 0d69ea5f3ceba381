package stripeemu

import (
	"net/http"
	"slices"
	"time"
)

// maxRequests bounds the log; the oldest entries go first.
const maxRequests = 10_000

// A Request is one call that reached the API, also one that a fault answered.
type Request struct {
	ID             string    `json:"id"`
	At             time.Time `json:"at"` // wall time
	Method         string    `json:"method"`
	Path           string    `json:"path"`
	Query          string    `json:"query"`
	Version        string    `json:"version"` // the header Stripe-Version
	IdempotencyKey string    `json:"idempotency_key"`
	Status         int       `json:"status"` // 0 while it runs, and after an aborted connection
}

// Requests returns the log, oldest first.
func (e *Emulator) Requests() []Request {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.requests)
}

// ResetRequests empties the log.
func (e *Emulator) ResetRequests() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requests = nil
}

func (e *Emulator) logRequest(r *http.Request, id string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.requests) >= maxRequests {
		e.requests = slices.Delete(e.requests, 0, maxRequests/10)
	}
	e.requests = append(e.requests, Request{
		ID: id, At: time.Now(), Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery,
		Version: r.Header.Get("Stripe-Version"), IdempotencyKey: r.Header.Get("Idempotency-Key"),
	})
	return id
}

func (e *Emulator) logStatus(id string, status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := len(e.requests) - 1; i >= 0; i-- {
		if e.requests[i].ID == id {
			e.requests[i].Status = status
			return
		}
	}
}
