package stripecontract

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
)

// A Transport checks each request before it is sent and each answer before it
// is handed on. Put it under a real stripe-go client in a test: a request that
// Stripe would refuse, or an answer that Stripe would not give, fails there as
// an error of the call.
type Transport struct {
	Contract *Contract
	Base     http.RoundTripper        // nil for http.DefaultTransport
	Report   func(error)              // also told of every fault; may be nil
	Skip     func(*http.Request) bool // requests that go through unchecked; may be nil
}

// RoundTrip sends the request and returns the answer, or an error where one of
// the two breaks the contract.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	if t.Skip != nil && t.Skip(r) {
		return base.RoundTrip(r)
	}
	r = r.Clone(r.Context()) // a round tripper must not change its request
	if _, err := t.Contract.Decode(r); err != nil {
		return nil, t.fault(fmt.Errorf("request %s %s: %w", r.Method, r.URL.Path, err))
	}
	response, err := base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	if err := t.Contract.CheckResponse(r.Method, r.URL.Path, response.StatusCode, body); err != nil {
		return nil, t.fault(err)
	}
	return response, nil
}

func (t *Transport) fault(err error) error {
	if t.Report != nil {
		t.Report(err)
	}
	return err
}
