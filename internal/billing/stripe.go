package billing

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"example.com/saaskit/internal/problem"
)

const (
	tryTimeout = 10 * time.Second // of one request; a call makes up to 1 + maxRetries of them
	maxRetries = 2
)

// NewAPI returns a client of Stripe with backends of its own: stripe-go's global ones stay untouched. httpClient may be nil.
// baseURL is empty for Stripe itself; another one is refused unless [CheckBase] allows it.
func NewAPI(key, baseURL string, httpClient *http.Client) (*client.API, error) {
	if err := CheckBase(key, baseURL); err != nil {
		return nil, err
	}
	own := http.Client{}
	if httpClient != nil {
		own = *httpClient
	}
	if own.Timeout == 0 {
		own.Timeout = tryTimeout
	}
	backend := func(kind stripe.SupportedBackend) stripe.Backend {
		config := &stripe.BackendConfig{
			HTTPClient: &own, MaxNetworkRetries: stripe.Int64(maxRetries), EnableTelemetry: stripe.Bool(false),
			// What goes wrong is in the error; a logger of stripe-go's would write bodies, with addresses of people in them.
			LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull},
		}
		if baseURL != "" {
			config.URL = stripe.String(baseURL)
		}
		return stripe.GetBackendWithConfig(kind, config)
	}
	return client.New(key, &stripe.Backends{
		API: backend(stripe.APIBackend), Connect: backend(stripe.ConnectBackend), Uploads: backend(stripe.UploadsBackend),
	}), nil
}

// CheckBase refuses a base URL that is not on this machine, or that would see a live key. An empty one, Stripe itself, is fine
// with every key.
func CheckBase(key, baseURL string) error {
	if key == "" {
		return errors.New("there is no Stripe API key")
	}
	if baseURL == "" {
		return nil
	}
	if !strings.HasPrefix(key, "sk_test_") && !strings.HasPrefix(key, "rk_test_") {
		return errors.New("the address of a Stripe emulator goes with a test key only")
	}
	u, err := url.Parse(baseURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return errors.New("the address of the Stripe emulator is no http URL")
	}
	host := u.Hostname()
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("the Stripe emulator has to be on this machine, not on %s", host)
	}
	return nil
}

// stripeBusy is how long to wait before asking again for what Stripe could not do just now.
const stripeBusy = 5 * time.Second

// A stripeError is an error of Stripe as one line: its own text is a JSON document.
type stripeError struct {
	doing string
	cause *stripe.Error
}

func (e *stripeError) Error() string {
	c := e.cause
	return fmt.Sprintf("%s: stripe %d %s %s %s: %s (request %s)", e.doing, c.HTTPStatusCode, c.Type, c.Code, c.Param, c.Msg, c.RequestID)
}

func (e *stripeError) Unwrap() error { return e.cause }

// refusal turns an error of a call to Stripe into one that may go to a caller: a problem where another try may succeed, and
// otherwise one that is logged and shown as ours. What Stripe says goes to the log only: it is written for us.
func refusal(doing string, err error) error {
	if err == nil {
		return nil
	}
	var e *stripe.Error
	if !errors.As(err, &e) {
		return problem.StripeFailed.Errorf("Stripe does not answer; try again in a moment").After(stripeBusy).
			Because(fmt.Errorf("%s: %w", doing, err))
	}
	told := &stripeError{doing, e}
	if transient(e) {
		return problem.StripeFailed.Errorf("Stripe cannot do this right now; try again in a moment").After(stripeBusy).Because(told)
	}
	return told
}

// told is an error as a caller may be told of it, where Stripe's refusal has no problem yet: what the customer can put right says so, and
// everything else is told to the operator. What is done between must still know what Stripe has said, so this comes last.
func (s *Service) told(ctx context.Context, err error) error {
	var e *stripe.Error
	var p *problem.Error
	if !errors.As(err, &e) || errors.As(err, &p) {
		return err
	}
	if e.Code == stripe.ErrorCodeCustomerTaxLocationInvalid {
		return problem.AddressUnknown.Errorf("the tax cannot be worked out for the address: correct it in the customer portal, then ask again").Because(err)
	}
	s.alarm(ctx, "stripe_refused", "status", e.HTTPStatusCode, "code", e.Code, "param", e.Param, "stripe_request", e.RequestID)
	return problem.StripeRefused.Errorf("Stripe has refused this, and trying again will not help: ask support, and name the request id").Because(err)
}

// transient tells whether the same call may succeed later. 409 is a rival call with the same idempotency key.
func transient(e *stripe.Error) bool {
	return e.HTTPStatusCode >= 500 || e.HTTPStatusCode == http.StatusTooManyRequests || e.HTTPStatusCode == http.StatusConflict ||
		e.HTTPStatusCode == 0
}

// settled tells whether Stripe has refused a call for good: it was not made, and the same call will not be made either.
func settled(err error) bool {
	var e *stripe.Error
	return errors.As(err, &e) && !transient(e)
}

// isMissing tells whether Stripe has no such object.
func isMissing(err error) bool {
	var e *stripe.Error
	return errors.As(err, &e) && e.HTTPStatusCode == http.StatusNotFound
}
