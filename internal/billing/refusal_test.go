package billing_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/problem"
	"example.com/saaskit/internal/stripeemu"
)

// What Stripe refuses for good is told as what it is, and never as a failure of ours: the address by the customer's own problem, and
// whatever else as one that the operator hears of.
func TestRefusalOfStripeIsTold(t *testing.T) {
	t.Parallel()
	calls := map[string]struct {
		method, path string
		do           func(*world, *billing.Service) error
	}{
		"change": {http.MethodPost, subscriptionPath, func(w *world, s *billing.Service) error {
			_, _, err := s.ChangeSubscription(w.t.Context(), w.to("pro", ""))
			return err
		}},
		"preview": {http.MethodGet, "/v1/invoices/upcoming", func(w *world, s *billing.Service) error {
			_, err := s.PreviewChange(w.t.Context(), w.to("pro", ""))
			return err
		}},
		"checkout": {http.MethodPost, sessionsPath, func(w *world, s *billing.Service) error {
			_, _, err := s.OpenCheckout(w.t.Context(), w.pack())
			return err
		}},
		"portal": {http.MethodPost, "/v1/billing_portal/sessions", func(w *world, s *billing.Service) error {
			_, err := s.OpenPortal(w.t.Context(), w.accountID, "https://app.example.com/")
			return err
		}},
	}
	refusals := map[string]struct {
		body   map[string]any
		want   *problem.Kind
		alarms []string
	}{
		"tax location": {
			map[string]any{"type": "invalid_request_error", "code": "customer_tax_location_invalid", "param": "customer"},
			problem.AddressUnknown, nil,
		},
		"anything else": {
			map[string]any{"type": "invalid_request_error", "message": "No configuration provided."}, problem.StripeRefused,
			[]string{"stripe_refused"},
		},
	}
	for call, c := range calls {
		for name, r := range refusals {
			t.Run(call+" "+name, func(t *testing.T) {
				t.Parallel()
				w, _ := subscribed(t, nil)
				var alarms []string
				s := w.instance(w.api(), func(c *billing.Config) {
					c.Alarm = func(_ context.Context, reason string, _ ...any) { alarms = append(alarms, reason) }
				})
				w.emu.Inject(stripeemu.Fault{Method: c.method, Path: c.path, Status: 400, Body: map[string]any{"error": r.body}})
				if err := c.do(w, s); !errors.Is(err, r.want) {
					t.Errorf("%v, want %v", err, r.want)
				}
				if !slices.Equal(alarms, r.alarms) {
					t.Errorf("alarms: %q, want %q", alarms, r.alarms)
				}
				if n := w.count("SELECT count(*) FROM subscription_changes WHERE status = 'running'"); n != 0 {
					t.Errorf("%d changes go on", n)
				}
			})
		}
	}
}

// The operator hears of a refusal that only the job was told, too.
func TestRefusalOfTheJobAlarms(t *testing.T) {
	t.Parallel()
	w, _ := subscribed(t, nil)
	mend := w.fails(http.MethodPost, subscriptionPath, false)
	w.changeRefused(w.to("pro", ""), problem.StripeFailed)
	mend()
	w.emu.Inject(stripeemu.Fault{Method: http.MethodPost, Path: subscriptionPath, Status: 400, Body: map[string]any{
		"error": map[string]any{"type": "invalid_request_error", "message": "No."},
	}})
	w.wait(time.Minute)
	var alarms []string
	s := w.instance(w.api(), func(c *billing.Config) {
		c.Alarm = func(_ context.Context, reason string, _ ...any) { alarms = append(alarms, reason) }
	})
	if _, err := s.FinishChanges(t.Context()); err != nil {
		t.Error(err)
	}
	w.wantChanges("failed")
	if !slices.Equal(alarms, []string{"stripe_refused"}) {
		t.Errorf("alarms: %q", alarms)
	}
}
