package supabase

import (
	"net/http"
	"time"
)

// A Fault is how an endpoint misbehaves. First it waits, then it fails where
// it has a status, or answers as ever.
type Fault struct {
	Delay  time.Duration
	Hold   <-chan struct{} // waits until it is closed, for tests without sleeps
	Status int
	Code   string // error_code; without one the answer is that of a gateway
}

// SetFault makes the endpoint at path, such as "/token", misbehave. The zero
// Fault ends it.
func (s *Server) SetFault(path string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f == (Fault{}) {
		delete(s.faults, path)
		return
	}
	s.faults[path] = f
}

// SetJWKSFault makes the JWKS misbehave.
func (s *Server) SetJWKSFault(f Fault) { s.SetFault(jwksPath, f) }

// JWKSFetches returns how often the JWKS was asked for, failures included.
func (s *Server) JWKSFetches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetches
}

// fail counts fetches of the JWKS and applies a fault. It reports whether that
// answered the request.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, path string) bool {
	s.mu.Lock()
	if path == jwksPath {
		s.fetches++
	}
	f, faulty := s.faults[path]
	s.mu.Unlock()
	if !faulty {
		return false
	}
	if !f.wait(r) {
		return true // the client has gone
	}
	if f.Status == 0 {
		return false
	}
	if f.Code != "" {
		s.writeError(w, r, failf(f.Status, f.Code, "%s", http.StatusText(f.Status)))
		return true
	}
	writeJSON(w, f.Status, gatewayError{Message: http.StatusText(f.Status)})
	return true
}

// wait reports whether the client is still there after the delay.
func (f Fault) wait(r *http.Request) bool {
	timer := time.NewTimer(f.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		return false
	}
	if f.Hold == nil {
		return true
	}
	select {
	case <-f.Hold:
		return true
	case <-r.Context().Done():
		return false
	}
}
