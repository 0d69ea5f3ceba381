package saaskit

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
)

// An Error is a refusal by the server. Problem is empty where the answer was none of ours, such as a proxy's.
type Error struct {
	StatusCode int
	Header     http.Header
	Problem    Problem
}

// Error gives status, code and detail.
func (e *Error) Error() string {
	text := fmt.Sprintf("saaskit: %d %s", e.StatusCode, e.Problem.Code)
	if e.Problem.Detail != nil {
		text += ": " + *e.Problem.Detail
	}
	for _, f := range e.Problem.Errors {
		text += fmt.Sprintf("; %s %s", f.Location, f.Message)
	}
	return text
}

// IsCode tells whether err is a refusal with this code, such as "insufficient_credits".
func IsCode(err error, code string) bool {
	var e *Error
	return errors.As(err, &e) && e.Problem.Code == code
}

// A response is what every generated method with "WithResponse" in its name returns.
type response interface {
	StatusCode() int
	GetBody() []byte
}

// Check wraps a call and makes a refusal an [*Error]: r, err := Check(c.GetCreditsWithResponse(ctx, nil)).
func Check[R response](r R, err error) (R, error) {
	if err != nil {
		return r, err
	}
	if status := r.StatusCode(); status < 200 || status > 299 {
		refusal := &Error{StatusCode: status, Header: headerOf(r)}
		// Where the body is no problem, the status has to do.
		_ = json.Unmarshal(r.GetBody(), &refusal.Problem)
		return r, refusal
	}
	return r, nil
}

// headerOf reads the field HTTPResponse, which every generated response has and no method gives.
func headerOf(r any) http.Header {
	v := reflect.Indirect(reflect.ValueOf(r))
	if v.Kind() != reflect.Struct {
		return nil
	}
	field := v.FieldByName("HTTPResponse")
	if !field.IsValid() {
		return nil
	}
	if res, ok := field.Interface().(*http.Response); ok && res != nil {
		return res.Header
	}
	return nil
}
