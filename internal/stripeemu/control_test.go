package stripeemu_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/stripeemu"
)

// steer calls the control API.
func (a *account) steer(t *testing.T, method, path, body string) (int, map[string]any) {
	t.Helper()
	request := must(http.NewRequestWithContext(t.Context(), method, a.url+"/_emulator"+path, strings.NewReader(body)))(t)
	response, err := browser().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer map[string]any
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return response.StatusCode, answer
}

func TestControl(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "")
	card := l.customer.InvoiceSettings.DefaultPaymentMethod.ID
	charge := l.subscription(t, l.sub.ID).LatestInvoice.Charge.ID
	calls := []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/clock", "", 200},
		{"POST", "/clock", `{"advance": "12h"}`, 200},
		{"POST", "/clock", `{"to": "2025-01-27T10:00:00Z"}`, 200},
		{"POST", "/clock", `{"to": "2024-01-01T00:00:00Z"}`, 400},
		{"POST", "/clock", `{"advance": "soon"}`, 400},
		{"POST", "/clock", `{}`, 400},
		{"POST", "/clock", `{"bogus": 1}`, 400},
		{"PUT", "/dunning", `{"retries": ["1d"], "then": "unpaid"}`, 200},
		{"PUT", "/dunning", `{"then": "shrug"}`, 400},
		{"POST", "/cards/" + card, `{"reason": "insufficient_funds"}`, 200},
		{"POST", "/cards/" + card, `{"reason": "bad mood"}`, 400},
		{"POST", "/disputes", `{"charge": "` + charge + `", "inquiry": true}`, 200},
		{"POST", "/disputes", `{"charge": "ch_none"}`, 400},
		{"POST", "/refunds/re_none", ``, 400},
		{"POST", "/intents/pi_none", `{"ok": true}`, 400},
		{"POST", "/settle", ``, 200},
		{"GET", "/requests", ``, 200},
		{"GET", "/attempts", ``, 200},
		{"GET", "/objects/" + card, ``, 200},
		{"GET", "/objects/pm_none", ``, 400},
		{"DELETE", "/faults", ``, 200},
	}
	for _, call := range calls {
		if status, answer := l.steer(t, call.method, call.path, call.body); status != call.status {
			t.Errorf("%s %s %s: %d %v", call.method, call.path, call.body, status, answer)
		}
	}
	if _, clock := l.steer(t, "GET", "/clock", ""); clock["now"] != "2025-01-27T10:00:00Z" {
		t.Errorf("clock: %v", clock)
	}
	l.steer(t, "POST", "/clock", `{"advance": "22d"}`)
	if s := l.subscription(t, l.sub.ID); s.Status != stripe.SubscriptionStatusUnpaid || s.LatestInvoice.AttemptCount != 2 {
		t.Errorf("with one retry: %s after %d", s.Status, s.LatestInvoice.AttemptCount)
	}
}

// TestControlFaults commits and then answers with silence, 429 or 500: the same
// request with its key finds the same object.
func TestControlFaults(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	for _, fault := range []string{
		`{"method": "POST", "path": "/v1/customers", "times": 1, "after": true, "abort": true}`,
		`{"method": "POST", "path": "/v1/customers", "times": 1, "after": true, "status": 500}`,
		`{"method": "POST", "path": "/v1/customers", "times": 1, "status": 429, "header": {"Retry-After": "1"}}`,
		`{"method": "POST", "path": "/v1/customers", "times": 1, "after": true, "delay": "1ms", "status": 503}`,
	} {
		before := len(a.Objects("customer"))
		a.steer(t, "POST", "/faults", fault)
		params := &stripe.CustomerParams{Email: stripe.String("ada@example.com")}
		params.SetIdempotencyKey("key of " + fault)
		// net/http itself sends a request with a key again after a broken connection
		if _, err := a.api.Customers.New(params); err == nil && !strings.Contains(fault, "abort") {
			t.Errorf("%s: no fault", fault)
		}
		again := must(a.api.Customers.New(params))(t)
		if got := len(a.Objects("customer")); got != before+1 || again.Email != "ada@example.com" {
			t.Errorf("%s: %d customers", fault, got-before)
		}
	}
}

// TestOtherSites keeps web pages from steering the emulator of whoever looks
// at them.
func TestOtherSites(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	for _, path := range []string{"/_emulator/clock", "/_emulator/"} {
		request := must(http.NewRequestWithContext(t.Context(), http.MethodPost, a.url+path, strings.NewReader(`{"advance":"1h"}`)))(t)
		request.Header.Set("Sec-Fetch-Site", "cross-site")
		if got := visit(t, request); got.status != http.StatusForbidden {
			t.Errorf("%s: %d", path, got.status)
		}
	}
}

func TestDashboard(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "")
	page := open(t, l.url+"/_emulator/")
	for _, want := range []string{"2025-01-25 10:00:00", l.sub.ID, "customer.subscription.created", "POST /v1/subscriptions"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if got := submit(t, l.url+"/_emulator/", url.Values{"action": {"advance"}, "by": {"1d"}}); got.status != http.StatusSeeOther {
		t.Errorf("advance: %d", got.status)
	}
	if now := l.Time().UTC().Format(time.RFC3339); now != "2025-01-26T10:00:00Z" {
		t.Errorf("now %s", now)
	}
	if got := open(t, l.url+"/"); got.status != http.StatusSeeOther || got.location != "/_emulator/" {
		t.Errorf("root: %d to %s", got.status, got.location)
	}
}

// rawInbox keeps what it is sent, unread.
type rawInbox struct {
	url    string
	mu     sync.Mutex
	bodies []map[string]any
}

func newRawInbox(t *testing.T) *rawInbox {
	t.Helper()
	in := &rawInbox{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var event map[string]any
		_ = json.Unmarshal(body, &event)
		in.mu.Lock()
		defer in.mu.Unlock()
		in.bodies = append(in.bodies, event)
	}))
	t.Cleanup(server.Close)
	in.url = server.URL
	return in
}

// objects returns what the events of a type are about.
func (in *rawInbox) objects(eventType string) []map[string]any {
	in.mu.Lock()
	defer in.mu.Unlock()
	var all []map[string]any
	for _, event := range in.bodies {
		if event["type"] == eventType {
			all = append(all, event["data"].(map[string]any)["object"].(map[string]any))
		}
	}
	return all
}

// TestNewerVersion sends one event to two endpoints of different versions, and
// lists it in the account's.
func TestNewerVersion(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{RetryCompression: 1e6})
	ours, newer := newRawInbox(t), newRawInbox(t)
	a.Register(ours.url, secret)
	if err := a.SetEndpointVersion(a.Register(newer.url, secret), "2025-09-30.clover"); err != nil {
		t.Fatal(err)
	}
	if err := a.SetAccountVersion("2025-03-31.basil"); err != nil {
		t.Fatal(err)
	}
	coupon := a.coupon(t, func(p *stripe.CouponParams) { p.PercentOff, p.Duration = stripe.Float64(10), stripe.String("forever") })
	s := a.subscribe(t, a.cardholder(t, "pm_card_visa"), a.price(t, 1000, "month"), func(p *stripe.SubscriptionParams) { p.Coupon = stripe.String(coupon.ID) })
	a.settle(t)
	old, fresh := ours.objects("customer.subscription.created")[0], newer.objects("customer.subscription.created")[0]
	if old["current_period_end"] == nil || fresh["current_period_end"] != nil || fresh["billing_mode"] == nil {
		t.Errorf("period at the top: %v and %v", old["current_period_end"], fresh["current_period_end"])
	}
	item := fresh["items"].(map[string]any)["data"].([]any)[0].(map[string]any)
	if item["current_period_end"] != old["current_period_end"] || len(fresh["discounts"].([]any)) != 1 {
		t.Errorf("item %v, discounts %v", item, fresh["discounts"])
	}
	invoice := newer.objects("invoice.paid")[0]
	if invoice["subscription"] != nil || invoice["paid"] != nil || invoice["charge"] != nil ||
		invoice["parent"].(map[string]any)["subscription_details"].(map[string]any)["subscription"] != s.ID {
		t.Errorf("invoice %v", invoice)
	}
	line := invoice["lines"].(map[string]any)["data"].([]any)[0].(map[string]any)
	if line["price"] != nil || line["pricing"].(map[string]any)["price_details"].(map[string]any)["price"] != s.Items.Data[0].Price.ID {
		t.Errorf("line %v", line)
	}
	if d := newer.objects("customer.discount.created")[0]; d["source"].(map[string]any)["coupon"] != coupon.ID {
		t.Errorf("discount %v", d)
	}
	listed := a.api.Events.List(&stripe.EventListParams{Type: stripe.String("customer.subscription.created")})
	if !listed.Next() || listed.Event().APIVersion != "2025-03-31.basil" || listed.Event().GetObjectValue("status") != "incomplete" {
		t.Errorf("listed: %v", listed.Err())
	}
	if _, found := listed.Event().Data.Object["current_period_end"]; found {
		t.Error("the list shows the old shape")
	}
}

func TestDeliveryByControl(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{RetryCompression: 1e6})
	in := newInbox(t, nil)
	a.Register(in.url, secret)
	if status, answer := a.steer(t, "PUT", "/delivery", `{"duplicate": 1, "shuffle": "20ms", "delay": "1ms", "drop": ["price.*"]}`); status != 200 {
		t.Fatalf("%d %v", status, answer)
	}
	a.price(t, 100, "")
	counts := map[string]int{}
	for _, event := range in.received(t, a) {
		counts[string(event.Type)]++
	}
	if fmt.Sprint(counts) != "map[product.created:2]" {
		t.Errorf("received %v", counts)
	}
}
