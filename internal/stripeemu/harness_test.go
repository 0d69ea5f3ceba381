package stripeemu_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"
	"github.com/stripe/stripe-go/v76/webhook"

	"example.com/saaskit/internal/stripecontract"
	"example.com/saaskit/internal/stripeemu"
)

const secret = "whsec_emulator_test"

// An account is an emulator with a server in front of it and a client that
// checks every request and every answer.
type account struct {
	*stripeemu.Emulator
	url string
	api *client.API
}

func newAccount(t *testing.T, config stripeemu.Config) *account {
	t.Helper()
	emulator, err := stripeemu.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(emulator.Close)
	server := httptest.NewServer(emulator.Handler())
	t.Cleanup(server.Close)
	return &account{Emulator: emulator, url: server.URL, api: newClient(t, server.URL)}
}

// newClient is a stripe-go client over the checking transport. It does not
// retry, so that a test sees every answer.
func newClient(t *testing.T, base string) *client.API {
	t.Helper()
	contract, err := stripecontract.Load()
	if err != nil {
		t.Fatal(err)
	}
	backend := func(kind stripe.SupportedBackend) stripe.Backend {
		return stripe.GetBackendWithConfig(kind, &stripe.BackendConfig{
			URL: stripe.String(base), MaxNetworkRetries: stripe.Int64(0), EnableTelemetry: stripe.Bool(false),
			HTTPClient:    &http.Client{Transport: &stripecontract.Transport{Contract: contract}, Timeout: 20 * time.Second},
			LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull},
		})
	}
	return client.New("sk_test_emulator", &stripe.Backends{
		API: backend(stripe.APIBackend), Connect: backend(stripe.ConnectBackend), Uploads: backend(stripe.UploadsBackend),
	})
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// price makes a product with one price.
func (a *account) price(t *testing.T, amount int64, interval string) *stripe.Price {
	t.Helper()
	product := must(a.api.Products.New(&stripe.ProductParams{Name: stripe.String("Pro")}))(t)
	params := &stripe.PriceParams{
		Product: stripe.String(product.ID), Currency: stripe.String("usd"), UnitAmount: stripe.Int64(amount),
	}
	if interval != "" {
		params.Recurring = &stripe.PriceRecurringParams{Interval: stripe.String(interval)}
	}
	return must(a.api.Prices.New(params))(t)
}

// session opens a checkout session over one price.
func (a *account) session(t *testing.T, price *stripe.Price, change func(*stripe.CheckoutSessionParams)) *stripe.CheckoutSession {
	t.Helper()
	mode := stripe.CheckoutSessionModePayment
	if price.Recurring != nil {
		mode = stripe.CheckoutSessionModeSubscription
	}
	params := &stripe.CheckoutSessionParams{
		Mode:       stripe.String(string(mode)),
		SuccessURL: stripe.String("https://shop.example/done?session={CHECKOUT_SESSION_ID}"),
		CancelURL:  stripe.String("https://shop.example/back"),
		LineItems:  []*stripe.CheckoutSessionLineItemParams{{Price: stripe.String(price.ID), Quantity: stripe.Int64(1)}},
	}
	if change != nil {
		change(params)
	}
	return must(a.api.CheckoutSessions.New(params))(t)
}

// A browserAnswer is what a form post got.
type browserAnswer struct {
	status   int
	location string
	body     string
}

// browser does not follow redirects: they lead to a shop that does not exist.
func browser() *http.Client {
	return &http.Client{
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func submit(t *testing.T, page string, form url.Values) browserAnswer {
	t.Helper()
	request := must(http.NewRequestWithContext(t.Context(), http.MethodPost, page, strings.NewReader(form.Encode())))(t)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return visit(t, request)
}

func open(t *testing.T, page string) browserAnswer {
	t.Helper()
	return visit(t, must(http.NewRequestWithContext(t.Context(), http.MethodGet, page, nil))(t))
}

func visit(t *testing.T, request *http.Request) browserAnswer {
	t.Helper()
	response := must(browser().Do(request))(t) //nolint:bodyclose // closed in the next line
	defer func() { _ = response.Body.Close() }()
	body := must(io.ReadAll(response.Body))(t)
	return browserAnswer{status: response.StatusCode, location: response.Header.Get("Location"), body: string(body)}
}

// pay fills in the payment page of a session, which must work.
func (a *account) pay(t *testing.T, session *stripe.CheckoutSession) {
	t.Helper()
	got := submit(t, session.URL, url.Values{"action": {"pay"}, "email": {"ada@example.com"}})
	if got.status != http.StatusSeeOther {
		t.Fatalf("pay: status %d, page %s", got.status, got.body)
	}
}

// An inbox receives webhooks and verifies each with stripe-go, as an
// application does.
type inbox struct {
	url    string
	mu     sync.Mutex
	events []stripe.Event
	bad    []error
	answer func(n int) int // status of the nth delivery, from 1; 200 where nil
}

func newInbox(t *testing.T, answer func(n int) int) *inbox {
	t.Helper()
	in := &inbox{answer: answer}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		event, err := webhook.ConstructEvent(body, r.Header.Get("Stripe-Signature"), secret)
		in.mu.Lock()
		defer in.mu.Unlock()
		if err != nil {
			in.bad = append(in.bad, err)
		}
		in.events = append(in.events, event)
		if in.answer != nil {
			w.WriteHeader(in.answer(len(in.events)))
		}
	}))
	t.Cleanup(server.Close)
	in.url = server.URL
	return in
}

// received waits for the deliveries to end and returns them, all verified.
func (in *inbox) received(t *testing.T, a *account) []stripe.Event {
	t.Helper()
	a.settle(t)
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, err := range in.bad {
		t.Errorf("delivery does not verify: %v", err)
	}
	return append([]stripe.Event(nil), in.events...)
}

func (a *account) settle(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := a.Settle(ctx); err != nil {
		t.Fatal(err)
	}
}

// eventTypes lists what happened, oldest first.
func (a *account) eventTypes() []string {
	var types []string
	for _, event := range a.Objects("event") {
		types = append([]string{event["type"].(string)}, types...)
	}
	return types
}

// send makes a request as a program without stripe-go does, and returns the
// status and the error or the object of the answer.
func (a *account) send(t *testing.T, method, path string, form url.Values, header http.Header) (int, map[string]any) {
	t.Helper()
	request := must(http.NewRequestWithContext(t.Context(), method, a.url+path, strings.NewReader(form.Encode())))(t)
	request.Header.Set("Authorization", "Bearer sk_test_x")
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for name, values := range header {
		request.Header[name] = values
	}
	got := visit(t, request)
	var body map[string]any
	if err := json.Unmarshal([]byte(got.body), &body); err != nil {
		t.Fatal(err)
	}
	if failure, ok := body["error"].(map[string]any); ok {
		return got.status, failure
	}
	return got.status, body
}
