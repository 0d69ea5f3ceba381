package stripeemu_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/stripeemu"
)

// call sends a request without stripe-go.
func (a *account) call(t *testing.T, method, path, form string, header http.Header) (int, http.Header, map[string]any) {
	t.Helper()
	request := must(http.NewRequestWithContext(t.Context(), method, a.url+path, strings.NewReader(form)))(t)
	request.Header = header.Clone()
	if form != "" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response := must(browser().Do(request))(t) //nolint:bodyclose // closed in the next line
	defer func() { _ = response.Body.Close() }()
	var body map[string]any
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return response.StatusCode, response.Header, body
}

func bearer(key string) http.Header {
	return http.Header{"Authorization": {"Bearer " + key}}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	tests := []struct {
		authorization string
		status        int
	}{
		{"Bearer sk_test_1", 200}, {"Bearer rk_test_1", 200}, {"Basic c2tfdGVzdF8xOg==", 200}, // sk_test_1:
		{"", 401}, {"Bearer ", 401}, {"Bearer sk_live_1", 401}, {"Bearer rk_live_1", 401}, {"Bearer pk_test_1", 401},
		{"Bearer sk_test_", 401}, {"Basic sk_test_1", 401},
	}
	for _, tt := range tests {
		status, _, _ := a.call(t, http.MethodGet, "/v1/products", "", http.Header{"Authorization": {tt.authorization}})
		if status != tt.status {
			t.Errorf("%q: %d, want %d", tt.authorization, status, tt.status)
		}
	}
}

// TestNeverInventsSuccess wants 501 for what Stripe does and the emulator does
// not, down to the single parameter, and no trace of it afterwards.
func TestNeverInventsSuccess(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	price := a.price(t, 1000, "month")
	checkout := "mode=subscription&success_url=https://x.test/&line_items[0][quantity]=1&line_items[0][price]=" + price.ID
	for _, tt := range []struct{ method, path, form, names string }{
		{"POST", "/v1/tax_rates", "display_name=VAT&inclusive=false&percentage=19", "/v1/tax_rates"},
		{"GET", "/v1/prices/search?query=x", "", "/v1/prices/search"},
		{"POST", "/v1/checkout/sessions", checkout + "&line_items[0][tax_rates][0]=txr_1", "line_items.tax_rates"},
		{"POST", "/v1/checkout/sessions", checkout + "&ui_mode=embedded&return_url=https://x.test/", "return_url"},
		{"POST", "/v1/payment_intents", "amount=500&currency=usd&confirmation_method=manual", "confirmation_method"},
		{"POST", "/v1/customers", "tax[ip_address]=1.2.3.4", "tax.ip_address"},
		{"POST", "/v1/prices", "currency=usd&product=p&unit_amount=1&recurring[interval]=month&recurring[usage_type]=metered", "metered"},
	} {
		status, _, body := a.call(t, tt.method, tt.path, tt.form, bearer("sk_test_1"))
		refusal, _ := body["error"].(map[string]any)
		if message, _ := refusal["message"].(string); status != http.StatusNotImplemented || !strings.Contains(message, tt.names) {
			t.Errorf("%s %s %s: %d %v", tt.method, tt.path, tt.form, status, body)
		}
	}
	if len(a.Objects("checkout.session"))+len(a.Objects("customer")) != 0 {
		t.Error("a refused call left an object")
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	_, err := a.api.Subscriptions.Get("sub_none", nil)
	if codeOf(err) != "resource_missing" || !strings.Contains(err.Error(), "No such subscription: 'sub_none'") {
		t.Errorf("got %v", err)
	}
	if _, err := a.api.Customers.Get("sub_none", nil); codeOf(err) != "resource_missing" {
		t.Errorf("id of another type: %v", err)
	}
}

// TestPages reads 25 customers in both directions and by filters.
func TestPages(t *testing.T) {
	t.Parallel()
	clock := newClock("2025-03-01T12:00:00Z")
	a := newAccount(t, stripeemu.Config{Now: clock.now})
	var want []string // newest first
	for i := range 25 {
		clock.advance(time.Duration(i%2) * time.Second) // some share a second
		email := fmt.Sprintf("c%d@example.com", i%5)
		want = append([]string{must(a.api.Customers.New(&stripe.CustomerParams{Email: stripe.String(email)}))(t).ID}, want...)
	}
	read := func(params *stripe.CustomerListParams) []string {
		var ids []string
		iterator := a.api.Customers.List(params)
		for iterator.Next() {
			ids = append(ids, iterator.Customer().ID)
		}
		if err := iterator.Err(); err != nil {
			t.Fatal(err)
		}
		return ids
	}
	paged := func(change func(*stripe.CustomerListParams)) []string {
		params := &stripe.CustomerListParams{}
		params.Limit = stripe.Int64(4)
		change(params)
		return read(params)
	}
	if diff := cmp.Diff(want, paged(func(*stripe.CustomerListParams) {})); diff != "" {
		t.Errorf("forwards (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[10:], paged(func(p *stripe.CustomerListParams) { p.StartingAfter = stripe.String(want[9]) })); diff != "" {
		t.Errorf("after the tenth (-want +got):\n%s", diff)
	}
	backwards := paged(func(p *stripe.CustomerListParams) { p.EndingBefore = stripe.String(want[24]) })
	reversed := make([]string, 0, 24)
	for i := 23; i >= 0; i-- {
		reversed = append(reversed, want[i])
	}
	if diff := cmp.Diff(reversed, backwards); diff != "" {
		t.Errorf("backwards (-want +got):\n%s", diff)
	}
	if got := paged(func(p *stripe.CustomerListParams) { p.Email = stripe.String("c3@example.com") }); len(got) != 5 {
		t.Errorf("by email: %d", len(got))
	}
	start := clock.now().Unix()
	if got := paged(func(p *stripe.CustomerListParams) { p.CreatedRange = &stripe.RangeQueryParams{LesserThan: start} }); len(got) != 24 && len(got) != 23 {
		t.Errorf("before the last second: %d", len(got))
	}
	if got := paged(func(p *stripe.CustomerListParams) { p.CreatedRange = &stripe.RangeQueryParams{GreaterThan: start} }); len(got) != 0 {
		t.Errorf("after the last second: %d", len(got))
	}
	params := &stripe.CustomerListParams{}
	params.StartingAfter = stripe.String("cus_none")
	if iterator := a.api.Customers.List(params); iterator.Next() || codeOf(iterator.Err()) != "resource_missing" {
		t.Errorf("unknown cursor: %v", iterator.Err())
	}
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	clock := newClock("2025-03-01T12:00:00Z")
	a := newAccount(t, stripeemu.Config{Now: clock.now})
	header := bearer("sk_test_1")
	header.Set("Idempotency-Key", "k1")
	_, first, one := a.call(t, http.MethodPost, "/v1/customers", "name=Ada", header)
	_, second, two := a.call(t, http.MethodPost, "/v1/customers", "name=Ada", header)
	if diff := cmp.Diff(one, two); diff != "" || second.Get("Idempotent-Replayed") != "true" || first.Get("Idempotent-Replayed") != "" {
		t.Errorf("replay differs, or is not marked (%q, %q):\n%s", first.Get("Idempotent-Replayed"), second.Get("Idempotent-Replayed"), diff)
	}
	for _, other := range []struct{ path, form string }{{"/v1/customers", "name=Eve"}, {"/v1/products", "name=Ada"}} {
		status, _, body := a.call(t, http.MethodPost, other.path, other.form, header)
		if refusal, _ := body["error"].(map[string]any); status != http.StatusBadRequest || refusal["type"] != "idempotency_error" {
			t.Errorf("same key for %s %s: %d %v", other.path, other.form, status, body)
		}
	}
	header.Set("Idempotency-Key", "k2")
	if status, _, _ := a.call(t, http.MethodPost, "/v1/products", "id=prod_1", header); status != http.StatusBadRequest {
		t.Errorf("no name: %d", status)
	}
	if status, _, body := a.call(t, http.MethodPost, "/v1/products", "id=prod_1&name=x", header); status != http.StatusOK {
		t.Errorf("a corrected request under the key of a refused one: %d %v", status, body)
	}
	clock.advance(24 * time.Hour)
	header.Set("Idempotency-Key", "k1")
	if _, _, later := a.call(t, http.MethodPost, "/v1/customers", "name=Ada", header); later["id"] == one["id"] {
		t.Error("a key of yesterday still replays")
	}
	if got := len(a.Objects("customer")); got != 2 {
		t.Errorf("%d customers", got)
	}
}

// TestConcurrentSameKey sends one key many times at once: one customer.
func TestConcurrentSameKey(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	header := bearer("sk_test_1")
	header.Set("Idempotency-Key", "k1")
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() { a.call(t, http.MethodPost, "/v1/customers", "name=Ada", header) })
	}
	group.Wait()
	if got := len(a.Objects("customer")); got != 1 {
		t.Errorf("%d customers", got)
	}
}

func TestRequestLog(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	customer := must(a.api.Customers.New(&stripe.CustomerParams{Name: stripe.String("Ada")}))(t)
	_, _ = a.api.Subscriptions.Get("sub_none", nil)
	log := a.Requests()
	if len(log) != 2 || log[0].Method != http.MethodPost || log[0].Status != 200 || log[0].IdempotencyKey == "" ||
		log[0].Version != stripe.APIVersion || log[1].Path != "/v1/subscriptions/sub_none" || log[1].Status != 404 {
		t.Errorf("log: %+v", log)
	}
	event := a.Objects("event")[0]
	request := event["request"].(map[string]any)
	if request["id"] != log[0].ID || request["id"] != customer.LastResponse.RequestID || request["idempotency_key"] != log[0].IdempotencyKey {
		t.Errorf("the event names request %v, the log %q, the answer %q", request, log[0].ID, customer.LastResponse.RequestID)
	}
	a.ResetRequests()
	if got := a.Requests(); len(got) != 0 {
		t.Errorf("after the reset: %v", got)
	}
}
