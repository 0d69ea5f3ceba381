package stripeemu

import (
	"net/http"
	"path"
	"time"
)

// A Fault makes a request to the API fail, wait, or meet a test's own code. It
// applies to the requests that Method and Path select.
type Fault struct {
	Method string // empty for any
	Path   string // a pattern of package path, such as /v1/subscriptions/*; empty for any
	Times  int    // how many requests it applies to; 0 for all until it is removed

	After bool                // strike after the request has had its effect, before its answer
	Do    func(*http.Request) // called first; may block, to hold a request at this point
	Delay time.Duration       // then wait; ends early when the client gives up
	Abort bool                // then close the connection without an answer

	Status int         // then answer with this status, where it is not 0
	Body   any         // and this JSON; an error of Stripe's shape for the status where nil
	Header http.Header // and these headers, such as Retry-After or Stripe-Should-Retry
}

// Inject adds a fault and returns what removes it. Where several apply to a
// request, the one injected last strikes.
func (e *Emulator) Inject(fault Fault) (remove func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	added := &fault
	e.faults = append(e.faults, added)
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.removeFault(added)
	}
}

func (e *Emulator) removeFault(fault *Fault) {
	for i, candidate := range e.faults {
		if candidate == fault {
			e.faults = append(e.faults[:i:i], e.faults[i+1:]...)
			return
		}
	}
}

// takeFault returns a copy of the fault for a request, and uses it up.
func (e *Emulator) takeFault(r *http.Request) *Fault {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := len(e.faults) - 1; i >= 0; i-- {
		fault := e.faults[i]
		if !fault.selects(r) {
			continue
		}
		if fault.Times > 0 {
			if fault.Times--; fault.Times == 0 {
				e.removeFault(fault)
			}
		}
		taken := *fault
		return &taken
	}
	return nil
}

func (f *Fault) selects(r *http.Request) bool {
	if f.Method != "" && f.Method != r.Method {
		return false
	}
	if f.Path == "" {
		return true
	}
	matched, err := path.Match(f.Path, r.URL.Path)
	return err == nil && matched
}

// strike lets the fault happen. It reports whether it has answered.
func (f *Fault) strike(w http.ResponseWriter, r *http.Request) bool {
	if f.Do != nil {
		f.Do(r)
	}
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-r.Context().Done():
		}
	}
	if f.Abort {
		panic(http.ErrAbortHandler) // net/http's way to drop a connection
	}
	if f.Status == 0 {
		return false
	}
	for name, values := range f.Header {
		w.Header()[name] = values
	}
	body := f.Body
	if body == nil {
		body = faultError(f.Status)
	}
	writeJSON(w, f.Status, body)
	return true
}

// faultError is the error that Stripe sends with a status.
func faultError(status int) object {
	inner := object{"type": "api_error", "message": "An error injected by a test."}
	switch status {
	case http.StatusTooManyRequests:
		inner["type"], inner["code"] = "invalid_request_error", "rate_limit"
	case http.StatusNotFound:
		inner["type"], inner["code"] = "invalid_request_error", "resource_missing"
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		inner["type"] = "invalid_request_error"
	case http.StatusPaymentRequired:
		inner["type"], inner["code"] = "card_error", "card_declined"
	}
	return object{"error": inner}
}
