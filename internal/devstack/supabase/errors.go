package supabase

import (
	"errors"
	"fmt"
	"net/http"
)

// An apiError is an error as the API answers it.
type apiError struct {
	Status  int           `json:"code"`
	Code    string        `json:"error_code"`
	Message string        `json:"msg"`
	Weak    *weakPassword `json:"weak_password,omitempty"`
}

type weakPassword struct {
	Reasons []string `json:"reasons"`
}

// versionedError is the shape that clients get who ask for API version
// 2024-01-01, as supabase-js does.
type versionedError struct {
	Code    string        `json:"code"`
	Message string        `json:"message"`
	Weak    *weakPassword `json:"weak_password,omitempty"`
}

// gatewayError is an answer of the gateway in front of a hosted project.
type gatewayError struct {
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Error returns the message.
func (e *apiError) Error() string { return fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Message) }

func failf(status int, code, format string, args ...any) error {
	return &apiError{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

func invalidf(format string, args ...any) error {
	return failf(http.StatusBadRequest, "validation_failed", format, args...)
}

func badJWTf(format string, args ...any) error {
	return failf(http.StatusForbidden, "bad_jwt", format, args...)
}

const (
	apiVersionHeader = "X-Supabase-Api-Version"
	apiVersion       = "2024-01-01"
)

// writeError answers err. What is no apiError is a failure of this server,
// a snapshot that cannot be written.
func (s *Server) writeError(w http.ResponseWriter, r *http.Request, err error) {
	e, known := errors.AsType[*apiError](err)
	if !known || errors.Is(err, errSnapshot) {
		s.cfg.Log.ErrorContext(r.Context(), "supabase stand-in failed", "path", r.URL.Path, "error", err)
		e = &apiError{
			Status: http.StatusInternalServerError, Code: "unexpected_failure",
			Message: "Unexpected failure, please check server logs for more information",
		}
	}
	w.Header().Set("X-Sb-Error-Code", e.Code)
	if r.Header.Get(apiVersionHeader) >= apiVersion {
		w.Header().Set(apiVersionHeader, apiVersion)
		writeJSON(w, e.Status, versionedError{Code: e.Code, Message: e.Message, Weak: e.Weak})
		return
	}
	writeJSON(w, e.Status, e)
}
