// Package problem is the catalogue of what a caller may be told when a request is refused.
//
// A [Kind] is one row of the catalogue and an error at the same time, so that code and tests ask
// errors.Is(err, problem.NotFound). An error that is not in the catalogue is logged and never shown.
// docs/problems.md has a paragraph for each code; a test holds the two together.
package problem

import (
	"errors"
	"fmt"
	"time"
)

// A Kind is one row of the catalogue.
type Kind struct {
	Code   string // stable; programs decide by it
	Title  string // the same for every occurrence
	Status int
}

// Error makes a Kind a sentinel.
func (k *Kind) Error() string { return k.Code }

// Errorf returns an error of kind k. Its text is shown to the caller: put nothing in it that they may not see.
func (k *Kind) Errorf(format string, args ...any) *Error {
	return &Error{Kind: k, Detail: fmt.Sprintf(format, args...)}
}

// An Error is one occurrence of a Kind.
type Error struct {
	Kind       *Kind
	Detail     string        // what happened here and what would help
	Fields     []Field       // which parts of the request are wrong
	RetryAfter time.Duration // when it makes sense to try again; 0 is unknown
	Cause      error         // for the log only
}

// A Field names one wrong part of a request.
type Field struct {
	Location string // body.amount, query.limit, header.Idempotency-Key
	Message  string
}

// Error gives the code and the detail.
func (e *Error) Error() string {
	if e.Detail == "" {
		return e.Kind.Code
	}
	return e.Kind.Code + ": " + e.Detail
}

// Unwrap makes errors.Is hold for the kind and for the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// In returns e with a wrong part of the request added.
func (e *Error) In(location, message string) *Error {
	e.Fields = append(e.Fields, Field{Location: location, Message: message})
	return e
}

// After returns e with the time to wait before another try.
func (e *Error) After(d time.Duration) *Error {
	e.RetryAfter = d
	return e
}

// Because returns e with its cause, which is logged and never shown.
func (e *Error) Because(err error) *Error {
	e.Cause = err
	return e
}

// Of returns what a caller may be told of err: the problem in its chain, or a bare Internal where there is none.
func Of(err error) *Error {
	var p *Error
	if errors.As(err, &p) {
		return p
	}
	var k *Kind
	if errors.As(err, &k) {
		return &Error{Kind: k}
	}
	return &Error{Kind: Internal, Cause: err}
}
