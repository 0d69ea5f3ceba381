//go:build stripe

package stripeemu_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"example.com/saaskit/internal/stripecontract"
)

// TestObserveStripe writes down what Stripe's test mode does. Run TestObservations afterwards.
//
//	STRIPE_TEST_KEY=sk_test_… go test -tags stripe ./internal/stripeemu -run TestObserveStripe -v -timeout 30m
func TestObserveStripe(t *testing.T) {
	t.Parallel()
	for _, seen := range observations() {
		t.Run(seen.name, func(t *testing.T) {
			t.Parallel()
			record(t, observedFile(seen.name), seen.look(t, newObserver(t, newStripeClient(t))))
		})
	}
}

func record(t *testing.T, file string, facts map[string]any) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(written(t, facts)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// newStripeClient speaks to Stripe itself, with keys of test mode only.
func newStripeClient(t *testing.T) *client.API {
	t.Helper()
	key := os.Getenv("STRIPE_TEST_KEY")
	if !strings.HasPrefix(key, "sk_test_") && !strings.HasPrefix(key, "rk_test_") {
		t.Fatal("set STRIPE_TEST_KEY to a key of test mode")
	}
	contract := must(stripecontract.Load())(t)
	backend := stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{
		EnableTelemetry: stripe.Bool(false), LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull},
		HTTPClient: &http.Client{Transport: &stripecontract.Transport{Contract: contract}, Timeout: 80 * time.Second},
	})
	return client.New(key, &stripe.Backends{API: backend, Connect: backend, Uploads: backend})
}

// TestContractSuiteWithStripe holds the same calls against Stripe's own test mode. It leaves objects there.
//
//	STRIPE_TEST_KEY=sk_test_… go test -tags stripe ./internal/stripeemu -run TestContractSuiteWithStripe -v
func TestContractSuiteWithStripe(t *testing.T) {
	t.Parallel()
	api := newStripeClient(t)
	w := newStripeWorld(t, api)
	for _, call := range slices.Concat(goodBillingCalls(), goodCalls()) {
		if err := call.call(api, w); err != nil {
			t.Errorf("%s: the emulator takes what Stripe refuses: %v", call.name, err)
		}
	}
	for _, call := range badCalls() {
		if call.call(api, w) == nil {
			t.Errorf("%s: Stripe takes it", call.name)
		}
	}
}

// newStripeWorld makes the same world by the API alone: nobody fills in a payment page there.
func newStripeWorld(t *testing.T, api *client.API) world {
	t.Helper()
	product := must(api.Products.New(&stripe.ProductParams{Name: stripe.String("Contract")}))(t).ID
	price := func(recurring *stripe.PriceRecurringParams) string {
		return must(api.Prices.New(&stripe.PriceParams{Product: stripe.String(product), Currency: stripe.String("usd"),
			UnitAmount: stripe.Int64(1000), Recurring: recurring}))(t).ID
	}
	monthly, once := price(&stripe.PriceRecurringParams{Interval: stripe.String("month")}), price(nil)
	customer := must(api.Customers.New(&stripe.CustomerParams{Email: stripe.String("ada@example.com"), PaymentMethod: stripe.String("pm_card_visa"),
		InvoiceSettings: &stripe.CustomerInvoiceSettingsParams{DefaultPaymentMethod: stripe.String("pm_card_visa")}}))(t)
	params := &stripe.SubscriptionParams{Customer: stripe.String(customer.ID), Items: []*stripe.SubscriptionItemsParams{{Price: stripe.String(monthly)}}}
	params.AddExpand("latest_invoice.payment_intent")
	subscription := must(api.Subscriptions.New(params))(t)
	paid := subscription.LatestInvoice
	session := must(api.CheckoutSessions.New(&stripe.CheckoutSessionParams{
		Mode: stripe.String(string(stripe.CheckoutSessionModeSubscription)), Customer: stripe.String(customer.ID),
		SuccessURL: stripe.String("https://shop.example/done"),
		LineItems:  []*stripe.CheckoutSessionLineItemParams{{Price: stripe.String(monthly), Quantity: stripe.Int64(1)}},
	}))(t)
	endpoint := must(api.WebhookEndpoints.New(&stripe.WebhookEndpointParams{
		URL: stripe.String("https://shop.example/none"), EnabledEvents: stripe.StringSlice([]string{"invoice.paid"}),
	}))(t)
	t.Cleanup(func() { _, _ = api.WebhookEndpoints.Del(endpoint.ID, nil) })
	return world{
		customer: customer.ID, product: product, price: monthly, oneTime: once, session: session.ID, subscription: subscription.ID,
		item: subscription.Items.Data[0].ID, invoice: paid.ID, intent: paid.PaymentIntent.ID, charge: paid.PaymentIntent.LatestCharge.ID,
		method: customer.InvoiceSettings.DefaultPaymentMethod.ID, event: newestEvent(t, api), endpoint: endpoint.ID, dispute: disputed(t, api),
	}
}

func newestEvent(t *testing.T, api *client.API) string {
	t.Helper()
	events := api.Events.List(&stripe.EventListParams{})
	if !events.Next() {
		t.Fatalf("there is no event: %v", events.Err())
	}
	return events.Event().ID
}

// disputed pays with the card whose payments are disputed, and waits for that.
func disputed(t *testing.T, api *client.API) string {
	t.Helper()
	intent := must(api.PaymentIntents.New(&stripe.PaymentIntentParams{
		Amount: stripe.Int64(1000), Currency: stripe.String("usd"), Confirm: stripe.Bool(true),
		PaymentMethod: stripe.String("pm_card_createDispute"), PaymentMethodTypes: stripe.StringSlice([]string{"card"}),
	}))(t)
	for range 60 {
		disputes := api.Disputes.List(&stripe.DisputeListParams{PaymentIntent: stripe.String(intent.ID)})
		if disputes.Next() {
			return disputes.Dispute().ID
		}
		time.Sleep(time.Second)
	}
	t.Fatal("the payment is not disputed after a minute")
	return ""
}
