package supabase

import (
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// A Server is the stand-in. It is safe for concurrent use.
type Server struct {
	cfg Config
	mux *http.ServeMux

	mu      sync.Mutex // guards what follows; no hashing or waiting under it
	state   state
	mode    Mode
	faults  map[string]Fault
	fetches int
	mail    []Message
}

// New returns a server in the state of the snapshot at cfg.Path, or without
// users where there is none. It fails where cfg is incomplete and where the
// snapshot cannot be read.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("configure supabase stand-in: %w", err)
	}
	s := &Server{cfg: cfg, mode: cfg.Mode, mux: http.NewServeMux(), faults: map[string]Fault{}}
	if err := s.load(); err != nil {
		return nil, err
	}
	s.routes()
	return s, nil
}

// routes registers every endpoint. Those marked open need no apikey.
func (s *Server) routes() {
	const open = true
	for _, e := range []struct {
		method, path string
		f            endpoint
		open         bool
	}{
		{"POST", "/signup", s.signup, false},
		{"POST", "/token", s.token, false},
		{"GET", "/user", s.getUser, false},
		{"PUT", "/user", s.putUser, false},
		{"POST", "/logout", s.logout, false},
		{"POST", "/recover", s.recovery, false},
		{"POST", "/verify", s.verify, false},
		{"GET", "/verify", s.verifyLink, open},
		{"POST", "/otp", s.otp, false},
		{"POST", "/magiclink", s.otp, false},
		{"POST", "/resend", s.resend, false},
		{"GET", "/reauthenticate", s.reauthenticate, false},
		{"POST", "/invite", s.admin(s.invite), false},
		{"POST", "/admin/users", s.admin(s.adminCreate), false},
		{"GET", "/admin/users", s.admin(s.adminList), false},
		{"GET", "/admin/users/{id}", s.admin(s.adminGet), false},
		{"PUT", "/admin/users/{id}", s.admin(s.adminUpdate), false},
		{"DELETE", "/admin/users/{id}", s.admin(s.adminDelete), false},
		{"POST", "/admin/generate_link", s.admin(s.generateLink), false},
		{"GET", jwksPath, s.jwks, open},
		{"GET", "/.well-known/openid-configuration", s.discovery, open},
		{"GET", "/health", s.health, false},
		{"GET", "/settings", s.settings, false},
	} {
		s.mux.Handle(e.method+" "+s.cfg.Prefix+e.path, s.handle(e.path, e.open, e.f))
	}
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "X-Total-Count, Link, X-Supabase-Api-Version, X-Sb-Error-Code")
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE")
		h.Set("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, X-Client-Info, X-Supabase-Api-Version, apikey")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// An endpoint answers a request, or fails with an *apiError.
type endpoint func(r *http.Request) (answer, error)

// An answer is what an endpoint says: a status, headers and a body that is
// sent as JSON, or nothing where it is nil.
type answer struct {
	status int
	header http.Header
	body   any
}

func ok(body any) answer { return answer{status: http.StatusOK, body: body} }

func (s *Server) handle(path string, open bool, f endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.fail(w, r, path) {
			return
		}
		if !open && s.cfg.RequireAPIKey && !s.knowsAPIKey(r) {
			writeJSON(w, http.StatusUnauthorized, gatewayError{
				Message: "No API key found in request",
				Hint:    "No `apikey` request header or url param was found.",
			})
			return
		}
		a, err := f(r)
		if err != nil {
			s.writeError(w, r, err)
			return
		}
		for name, values := range a.header {
			w.Header()[name] = values
		}
		if a.body == nil {
			w.WriteHeader(a.status)
			return
		}
		writeJSON(w, a.status, a.body)
	})
}

func (s *Server) knowsAPIKey(r *http.Request) bool {
	key := r.Header.Get("apikey")
	if key == "" {
		key = r.URL.Query().Get("apikey")
	}
	if s.isServiceKey(key) {
		return true
	}
	claims, err := s.parse(key)
	return err == nil && (claims["role"] == roleAnon || claims["role"] == roleService)
}

func (s *Server) isServiceKey(key string) bool {
	return s.cfg.ServiceRoleKey != "" && hmac.Equal([]byte(key), []byte(s.cfg.ServiceRoleKey))
}

// update runs f under the lock and writes the snapshot, also where f fails: a
// refused refresh token revokes its family, and that must last.
func (s *Server) update(f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := f()
	if saveErr := s.save(); saveErr != nil {
		return errors.Join(err, saveErr)
	}
	return err
}

// view runs f under the lock; f must not change the state.
func (s *Server) view(f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f()
}

// now is the clock in the resolution that the database of the real server has.
func (s *Server) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

const maxBody = 1 << 20

// decode reads the JSON body of a request into v.
func decode(r *http.Request, v any) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	return parseBody(body, v)
}

// decodeOptional is decode for an endpoint that needs no body.
func decodeOptional(r *http.Request, v any) error {
	body, err := readBody(r)
	if err != nil || len(body) == 0 {
		return err
	}
	return parseBody(body, v)
}

func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, failf(http.StatusBadRequest, "bad_json", "Could not read body: %v", err)
	}
	if len(body) > maxBody {
		return nil, failf(http.StatusRequestEntityTooLarge, "bad_json", "Request body is too large")
	}
	return body, nil
}

func parseBody(body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return failf(http.StatusBadRequest, "bad_json", "Could not parse request body as JSON: %v", err)
	}
	return nil
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	// What fails here is the connection: nobody is left to be told.
	_ = enc.Encode(body)
}
