package stripecontract_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"example.com/saaskit/internal/stripecontract"
)

// TestFixturesFit checks every sample that a test or the emulator may start
// from against its own schema.
func TestFixturesFit(t *testing.T) {
	t.Parallel()
	contract := load(t)
	for _, name := range []string{
		"balance_transaction", "charge", "checkout.session", "coupon", "credit_note", "customer", "dispute", "invoice", "invoiceitem",
		"item", "line_item", "payment_intent", "payment_method", "price", "product", "promotion_code", "refund", "setup_intent",
		"subscription", "subscription_item", "subscription_schedule", "webhook_endpoint",
	} {
		sample, err := contract.Fixture(name)
		if err == nil {
			err = contract.CheckObject(sample)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFixtureIsACopy(t *testing.T) {
	t.Parallel()
	first, err := load(t).Fixture("invoice")
	if err != nil {
		t.Fatal(err)
	}
	first["lines"].(map[string]any)["data"] = nil
	second, err := load(t).Fixture("invoice")
	if err != nil || second["lines"].(map[string]any)["data"] == nil {
		t.Errorf("a change of one copy shows in the next: %v", err)
	}
}

// TestTampering changes a good answer in ways that a faulty emulator might, and
// wants each to be found and named.
func TestTampering(t *testing.T) {
	t.Parallel()
	contract := load(t)
	tests := []struct {
		name, object, want string
		tamper             func(o map[string]any)
	}{
		{"as it is", "subscription", "", func(map[string]any) {}},
		{"missing field", "subscription", "current_period_end", func(o map[string]any) { delete(o, "current_period_end") }},
		{"unknown field", "subscription", "billing_mode", func(o map[string]any) { o["billing_mode"] = nil }},
		{"unknown status", "subscription", "status", func(o map[string]any) { o["status"] = "overdue" }},
		{"wrong type", "subscription", "created", func(o map[string]any) { o["created"] = "today" }},
		{"null", "subscription", "items", func(o map[string]any) { o["items"] = nil }},
		{"unknown field below", "subscription", "items.data.0.bogus", func(o map[string]any) {
			o["items"].(map[string]any)["data"].([]any)[0].(map[string]any)["bogus"] = 1
		}},
		{"fraction of a cent", "invoice", "amount_due", func(o map[string]any) { o["amount_due"] = 1.5 }},
		{"line without period", "invoice", "lines.data.0.period", func(o map[string]any) {
			delete(o["lines"].(map[string]any)["data"].([]any)[0].(map[string]any), "period")
		}},
	}
	paths := map[string]string{"subscription": "/v1/subscriptions/sub_1", "invoice": "/v1/invoices/in_1"}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o, err := contract.Fixture(tt.object)
			if err != nil {
				t.Fatal(err)
			}
			tt.tamper(o)
			body, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			err = contract.CheckResponse(http.MethodGet, paths[tt.object], http.StatusOK, body)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want a fault that names %q", err, tt.want)
			}
		})
	}
}

func TestErrorAnswers(t *testing.T) {
	t.Parallel()
	contract := load(t)
	for body, ok := range map[string]bool{
		`{"error":{"type":"invalid_request_error","message":"no"}}`: true,
		`{"error":"no"}`: false, `{}`: false, `<html>`: false,
	} {
		err := contract.CheckResponse(http.MethodGet, "/v1/prices/p", http.StatusNotFound, []byte(body))
		if (err == nil) != ok {
			t.Errorf("%s: %v", body, err)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestTransport checks both directions and wants a refused request not to be
// sent.
func TestTransport(t *testing.T) {
	t.Parallel()
	price, err := load(t).Fixture("price")
	if err != nil {
		t.Fatal(err)
	}
	good, err := json.Marshal(price)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, params, body string
		sent, ok           bool
	}{
		{"good", "active=true", string(good), true, true},
		{"bad request", "bogus=1", string(good), false, false},
		{"bad answer", "active=true", `{"id":"price_1","object":"price"}`, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sent := false
			var reported error
			transport := &stripecontract.Transport{Contract: load(t), Report: func(err error) { reported = err },
				Base: roundTrip(func(r *http.Request) (*http.Response, error) {
					sent = true
					if _, err := io.ReadAll(r.Body); err != nil {
						return nil, err
					}
					return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(tt.body))}, nil
				})}
			response, err := transport.RoundTrip(newRequest(t, http.MethodPost, "/v1/prices/price_1", tt.params))
			if err == nil {
				body, _ := io.ReadAll(response.Body)
				_ = response.Body.Close()
				if string(body) != tt.body {
					t.Errorf("body %q was not handed on", body)
				}
			}
			if sent != tt.sent || (err == nil) != tt.ok || (reported == nil) != tt.ok {
				t.Errorf("sent %t, error %v, reported %v", sent, err, reported)
			}
		})
	}
}
