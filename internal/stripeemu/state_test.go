package stripeemu_test

import (
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/stripecontract"
	"example.com/saaskit/internal/stripeemu"
)

// objectTypes are all that the emulator stores.
var objectTypes = []string{
	"customer", "product", "price", "checkout.session", "subscription", "invoice", "invoiceitem", "payment_intent", "charge",
	"payment_method", "balance_transaction", "event", "webhook_endpoint", "setup_intent", "refund", "dispute", "coupon",
	"promotion_code", "discount", "customer_balance_transaction", "test_helpers.test_clock", "subscription_schedule", "billing_portal.session",
	"billing_portal.configuration", "credit_note",
}

var idShape = regexp.MustCompile(`^(cus|prod|price|cs_test|sub|si|in|il|ii|li|pi|ch|pm|txn|evt|we|card|req|seti|re|dp|di|promo|clock|cbtxn|sub_sched|bps|bpc|cn|cnli)_[0-9A-Za-z]{10,}`)

// busyAccount has gone through everything that makes objects.
func busyAccount(t *testing.T) *account {
	t.Helper()
	a := newAccount(t, stripeemu.Config{})
	a.Register("http://127.0.0.1:1/none", secret, "made.up")
	monthly, pack := a.price(t, 1000, "month"), a.price(t, 500, "")
	declined := a.session(t, monthly, nil)
	submit(t, declined.URL, url.Values{"action": {"decline"}, "email": {"ada@example.com"}})
	a.pay(t, declined)
	a.pay(t, a.session(t, monthly, func(p *stripe.CheckoutSessionParams) {
		p.LineItems = append(p.LineItems, &stripe.CheckoutSessionLineItemParams{Price: stripe.String(pack.ID), Quantity: stripe.Int64(2)})
		p.SubscriptionData = &stripe.CheckoutSessionSubscriptionDataParams{TrialPeriodDays: stripe.Int64(14)}
	}))
	a.pay(t, a.session(t, pack, func(p *stripe.CheckoutSessionParams) {
		p.InvoiceCreation = &stripe.CheckoutSessionInvoiceCreationParams{Enabled: stripe.Bool(true)}
	}))
	left := a.session(t, monthly, nil)
	submit(t, left.URL, url.Values{"action": {"decline"}, "email": {"ada@example.com"}})
	must(a.api.CheckoutSessions.Expire(left.ID, nil))(t)
	a.session(t, pack, nil)
	return a
}

// checkState walks the whole state: every id in it leads somewhere, every object
// and event fits Stripe's document, and the sums between them hold.
func (a *account) checkState(t *testing.T) {
	t.Helper()
	contract := must(stripecontract.Load())(t)
	known := map[string]bool{}
	for _, objectType := range objectTypes {
		for _, o := range a.Objects(objectType) {
			collect(o, known)
		}
	}
	for _, objectType := range objectTypes {
		for _, o := range a.Objects(objectType) {
			walk(o, objectType, func(path, value string) {
				id, _, _ := strings.Cut(value, "_secret_")
				history := objectType == "event" && strings.HasPrefix(id, "txn_") // no event has it as its object
				if idShape.MatchString(value) && !known[id] && !history && !strings.HasSuffix(path, "request.id") {
					t.Errorf("%s: %s leads nowhere", path, value)
				}
			})
			if err := contract.CheckObject(o); err != nil {
				t.Error(err)
			}
		}
	}
	a.checkEvents(t, contract)
	a.checkSums(t)
}

func (a *account) checkEvents(t *testing.T, contract *stripecontract.Contract) {
	t.Helper()
	for _, event := range a.Objects("event") {
		about := event["data"].(map[string]any)["object"].(map[string]any)
		if want := eventObject(t, event["type"].(string)); want != "" && about["object"] != want {
			t.Errorf("%s is about a %v, want %s", event["type"], about["object"], want)
		}
		if err := contract.CheckObject(about); err != nil {
			t.Errorf("%s: %v", event["type"], err)
		}
	}
}

func (a *account) checkSums(t *testing.T) {
	t.Helper()
	for _, invoice := range a.Objects("invoice") {
		var sum, off int64
		for _, line := range list(invoice["lines"].(map[string]any)["data"]) {
			sum += line["amount"].(int64)
			for _, part := range list(line["discount_amounts"]) {
				off += part["amount"].(int64)
			}
		}
		if sum != invoice["subtotal"] || invoice["total"] != sum-off ||
			invoice["amount_due"] != invoice["amount_paid"].(int64)+invoice["amount_remaining"].(int64) {
			t.Errorf("invoice %s: lines %d less %d, subtotal %v, total %v, due %v, paid %v, remaining %v", invoice["id"], sum, off,
				invoice["subtotal"], invoice["total"], invoice["amount_due"], invoice["amount_paid"], invoice["amount_remaining"])
		}
	}
	for _, charge := range a.Objects("charge") {
		if charge["amount_refunded"].(int64) > charge["amount"].(int64) {
			t.Errorf("charge %s: refunded %v of %v", charge["id"], charge["amount_refunded"], charge["amount"])
		}
	}
}

func list(value any) []map[string]any {
	var all []map[string]any
	elements, _ := value.([]any)
	for _, element := range elements {
		all = append(all, element.(map[string]any))
	}
	return all
}

func TestCheckoutState(t *testing.T) {
	t.Parallel()
	busyAccount(t).checkState(t)
}

// collect notes the ids of objects, also of those inside others.
func collect(value any, known map[string]bool) {
	switch value := value.(type) {
	case map[string]any:
		if id, ok := value["id"].(string); ok && value["object"] != nil {
			known[id] = true
		}
		for _, element := range value {
			collect(element, known)
		}
	case []any:
		for _, element := range value {
			collect(element, known)
		}
	}
}

func walk(value any, path string, visit func(path, value string)) {
	switch value := value.(type) {
	case map[string]any:
		for key, element := range value {
			walk(element, path+"."+key, visit)
		}
	case []any:
		for _, element := range value {
			walk(element, path+"[]", visit)
		}
	case string:
		visit(path, value)
	}
}

// TestStateFile ends an emulator with an event on its way and starts another
// one on its file: the objects are there, the event arrives, an idempotency key
// still answers.
func TestStateFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "stripe.json")
	first := newAccount(t, stripeemu.Config{StateFile: file})
	refuses := newInbox(t, func(int) int { return http.StatusServiceUnavailable })
	endpoint := first.Register(refuses.url, secret, "customer.created")
	params := &stripe.CustomerParams{Email: stripe.String("ada@example.com")}
	params.SetIdempotencyKey("key-1")
	customer := must(first.api.Customers.New(params))(t)
	first.Advance(12 * time.Hour)
	first.Close()

	second := newAccount(t, stripeemu.Config{StateFile: file})
	if ahead := time.Until(second.Time()); ahead < 11*time.Hour {
		t.Errorf("after restart the clock is ahead by %s", ahead)
	}
	in := newInbox(t, nil)
	must(second.api.WebhookEndpoints.Update(endpoint, &stripe.WebhookEndpointParams{URL: stripe.String(in.url)}))(t)
	if again := must(second.api.Customers.New(params))(t); again.ID != customer.ID {
		t.Errorf("same key: %s, then %s", customer.ID, again.ID)
	}
	if got := must(second.api.Customers.Get(customer.ID, nil))(t); got.Email != "ada@example.com" || got.Created != customer.Created {
		t.Errorf("customer after restart: %+v", got)
	}
	if events := in.received(t, second); len(events) != 1 || events[0].Type != "customer.created" {
		t.Errorf("after restart: %d events", len(events))
	}
}
