package stripeemu_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"
	"github.com/stripe/stripe-mock/embedded"
	"github.com/stripe/stripe-mock/server"

	"example.com/saaskit/internal/stripeemu"
)

// newStripeMock serves Stripe's own mock in this process: stateless, but
// written by Stripe.
func newStripeMock(t *testing.T) string {
	t.Helper()
	spec := must(server.LoadSpec(embedded.OpenAPISpec, ""))(t)
	fixtures := must(server.LoadFixtures(embedded.OpenAPIFixtures, ""))(t)
	stub := must(server.NewStubServer(fixtures, spec, true, false))(t)
	mock := httptest.NewServer(&server.DoubleSlashFixHandler{Mux: http.HandlerFunc(stub.HandleRequest)})
	t.Cleanup(mock.Close)
	return mock.URL
}

// newPlainClient checks nothing by itself, so that bad requests reach the server.
func newPlainClient(base string) *client.API {
	backend := stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{
		URL: stripe.String(base), MaxNetworkRetries: stripe.Int64(0), EnableTelemetry: stripe.Bool(false),
		HTTPClient: &http.Client{Timeout: 20 * time.Second}, LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull},
	})
	return client.New("sk_test_emulator", &stripe.Backends{API: backend, Connect: backend, Uploads: backend})
}

// A world is what the typed calls of the suite work on.
type world struct {
	customer, product, price, oneTime, session, subscription, item, invoice, intent, charge, method, event, endpoint, dispute string
}

func newWorld(t *testing.T, a *account) world {
	t.Helper()
	price := a.price(t, 1000, "month")
	customer := must(a.api.Customers.New(&stripe.CustomerParams{Email: stripe.String("ada@example.com")}))(t)
	session := a.session(t, price, func(p *stripe.CheckoutSessionParams) { p.Customer = stripe.String(customer.ID) })
	a.pay(t, session)
	subscription := a.Objects("subscription")[0]
	invoice := a.Objects("invoice")[0]
	item := subscription["items"].(map[string]any)["data"].([]any)[0].(map[string]any)
	return world{
		item: item["id"].(string), dispute: must(a.Dispute(a.paid(t, "pm_card_visa").ID, stripeemu.DisputeOptions{}))(t),
		customer: customer.ID, product: price.Product.ID, price: price.ID, oneTime: a.price(t, 500, "").ID, session: session.ID,
		subscription: subscription["id"].(string), invoice: invoice["id"].(string), intent: invoice["payment_intent"].(string),
		charge: invoice["charge"].(string), method: subscription["default_payment_method"].(string),
		event: a.Objects("event")[0]["id"].(string), endpoint: a.Register("http://127.0.0.1:1/none", secret, "invoice.paid"),
	}
}

type typedCall struct {
	name string
	call func(api *client.API, w world) error
}

// drain reads a whole list, page by page.
func drain(iterator interface {
	Next() bool
	Err() error
}) error {
	for iterator.Next() { // the pages are what is wanted, not the objects
	}
	return iterator.Err()
}

func second[T any](_ T, err error) error { return err }

// goodCalls are accepted by the emulator, and so must be by Stripe's mock. The
// order matters: later ones cancel and delete.
func goodCalls() []typedCall {
	return []typedCall{
		{"customer update", func(api *client.API, w world) error {
			params := &stripe.CustomerParams{Name: stripe.String("Ada"), Address: &stripe.AddressParams{Country: stripe.String("DE")},
				InvoiceSettings: &stripe.CustomerInvoiceSettingsParams{DefaultPaymentMethod: stripe.String(w.method)}}
			params.AddMetadata("account_id", "a1")
			return second(api.Customers.Update(w.customer, params))
		}},
		{"customer get", func(api *client.API, w world) error { return second(api.Customers.Get(w.customer, nil)) }},
		{"customer list", func(api *client.API, _ world) error {
			return drain(api.Customers.List(&stripe.CustomerListParams{Email: stripe.String("ada@example.com")}))
		}},
		{"product update", func(api *client.API, w world) error {
			return second(api.Products.Update(w.product, &stripe.ProductParams{Description: stripe.String("All of it"), DefaultPrice: stripe.String(w.price)}))
		}},
		{"product get", func(api *client.API, w world) error {
			params := &stripe.ProductParams{}
			params.AddExpand("default_price")
			return second(api.Products.Get(w.product, params))
		}},
		{"product list", func(api *client.API, _ world) error {
			return drain(api.Products.List(&stripe.ProductListParams{Active: stripe.Bool(true)}))
		}},
		{"price with currency options", func(api *client.API, w world) error {
			return second(api.Prices.New(&stripe.PriceParams{
				Product: stripe.String(w.product), Currency: stripe.String("usd"), UnitAmount: stripe.Int64(900),
				Recurring: &stripe.PriceRecurringParams{Interval: stripe.String("year")}, LookupKey: stripe.String("pro_year"),
				CurrencyOptions: map[string]*stripe.PriceCurrencyOptionsParams{"eur": {UnitAmount: stripe.Int64(800)}},
			}))
		}},
		{"price with new product", func(api *client.API, _ world) error {
			return second(api.Prices.New(&stripe.PriceParams{Currency: stripe.String("jpy"), UnitAmount: stripe.Int64(90),
				ProductData: &stripe.PriceProductDataParams{Name: stripe.String("Pack")}}))
		}},
		{"price list", func(api *client.API, _ world) error {
			params := &stripe.PriceListParams{LookupKeys: stripe.StringSlice([]string{"pro_year"})}
			params.AddExpand("data.currency_options")
			return drain(api.Prices.List(params))
		}},
		{"price archive", func(api *client.API, w world) error {
			return second(api.Prices.Update(w.oneTime, &stripe.PriceParams{Active: stripe.Bool(false)}))
		}},
		{"session get", func(api *client.API, w world) error {
			params := &stripe.CheckoutSessionParams{}
			params.AddExpand("line_items.data.price.product")
			params.AddExpand("subscription.latest_invoice")
			return second(api.CheckoutSessions.Get(w.session, params))
		}},
		{"session list", func(api *client.API, w world) error {
			return drain(api.CheckoutSessions.List(&stripe.CheckoutSessionListParams{Customer: stripe.String(w.customer)}))
		}},
		{"session line items", func(api *client.API, w world) error {
			return drain(api.CheckoutSessions.ListLineItems(&stripe.CheckoutSessionListLineItemsParams{Session: stripe.String(w.session)}))
		}},
		{"subscription get", func(api *client.API, w world) error {
			params := &stripe.SubscriptionParams{}
			for _, path := range []string{"latest_invoice.payment_intent.latest_charge", "default_payment_method", "customer", "items.data.price.product"} {
				params.AddExpand(path)
			}
			return second(api.Subscriptions.Get(w.subscription, params))
		}},
		{"subscription list", func(api *client.API, w world) error {
			params := &stripe.SubscriptionListParams{Customer: stripe.String(w.customer), Status: stripe.String("all"), Price: stripe.String(w.price)}
			params.AddExpand("data.customer")
			return drain(api.Subscriptions.List(params))
		}},
		{"subscription update", func(api *client.API, w world) error {
			params := &stripe.SubscriptionParams{CancelAtPeriodEnd: stripe.Bool(true)}
			params.AddMetadata("tier", "pro")
			return second(api.Subscriptions.Update(w.subscription, params))
		}},
		{"invoice get", func(api *client.API, w world) error {
			params := &stripe.InvoiceParams{}
			params.AddExpand("subscription")
			params.AddExpand("charge.balance_transaction")
			return second(api.Invoices.Get(w.invoice, params))
		}},
		{"invoice list", func(api *client.API, w world) error {
			return drain(api.Invoices.List(&stripe.InvoiceListParams{Customer: stripe.String(w.customer), Status: stripe.String("paid")}))
		}},
		{"invoice lines", func(api *client.API, w world) error {
			return drain(api.Invoices.ListLines(&stripe.InvoiceListLinesParams{Invoice: stripe.String(w.invoice)}))
		}},
		{"intent get", func(api *client.API, w world) error { return second(api.PaymentIntents.Get(w.intent, nil)) }},
		{"intent list", func(api *client.API, w world) error {
			return drain(api.PaymentIntents.List(&stripe.PaymentIntentListParams{Customer: stripe.String(w.customer)}))
		}},
		{"charge get", func(api *client.API, w world) error {
			params := &stripe.ChargeParams{}
			params.AddExpand("refunds")
			return second(api.Charges.Get(w.charge, params))
		}},
		{"charge list", func(api *client.API, w world) error {
			return drain(api.Charges.List(&stripe.ChargeListParams{PaymentIntent: stripe.String(w.intent)}))
		}},
		{"method get", func(api *client.API, w world) error { return second(api.PaymentMethods.Get(w.method, nil)) }},
		{"methods of customer", func(api *client.API, w world) error {
			return drain(api.Customers.ListPaymentMethods(&stripe.CustomerListPaymentMethodsParams{Customer: stripe.String(w.customer)}))
		}},
		{"balance transactions", func(api *client.API, _ world) error {
			return drain(api.BalanceTransactions.List(&stripe.BalanceTransactionListParams{}))
		}},
		{"event get", func(api *client.API, w world) error { return second(api.Events.Get(w.event, nil)) }},
		{"event list", func(api *client.API, _ world) error {
			return drain(api.Events.List(&stripe.EventListParams{Types: stripe.StringSlice([]string{"invoice.paid"}), DeliverySuccess: stripe.Bool(true)}))
		}},
		{"endpoint create", func(api *client.API, _ world) error {
			return second(api.WebhookEndpoints.New(&stripe.WebhookEndpointParams{URL: stripe.String("https://hook.example/"),
				EnabledEvents: stripe.StringSlice([]string{"invoice.paid"}), APIVersion: stripe.String(stripe.APIVersion)}))
		}},
		{"endpoint update", func(api *client.API, w world) error {
			return second(api.WebhookEndpoints.Update(w.endpoint, &stripe.WebhookEndpointParams{Disabled: stripe.Bool(true)}))
		}},
		{"endpoint list", func(api *client.API, _ world) error {
			return drain(api.WebhookEndpoints.List(&stripe.WebhookEndpointListParams{}))
		}},
		{"endpoint delete", func(api *client.API, w world) error { return second(api.WebhookEndpoints.Del(w.endpoint, nil)) }},
		{"subscription cancel", func(api *client.API, w world) error {
			return second(api.Subscriptions.Cancel(w.subscription, &stripe.SubscriptionCancelParams{
				CancellationDetails: &stripe.SubscriptionCancelCancellationDetailsParams{Comment: stripe.String("bye")}}))
		}},
		{"customer delete", func(api *client.API, w world) error { return second(api.Customers.Del(w.customer, nil)) }},
	}
}

// goodBillingCalls are accepted like [goodCalls]: what time, money and changes
// of a subscription need.
func goodBillingCalls() []typedCall {
	return []typedCall{
		{"method create and attach", func(api *client.API, w world) error {
			method, err := api.PaymentMethods.New(&stripe.PaymentMethodParams{Type: stripe.String("card"), Card: &stripe.PaymentMethodCardParams{Token: stripe.String("tok_visa")}})
			if err != nil {
				return err
			}
			return second(api.PaymentMethods.Attach(method.ID, &stripe.PaymentMethodAttachParams{Customer: stripe.String(w.customer)}))
		}},
		{"methods", func(api *client.API, w world) error {
			return drain(api.PaymentMethods.List(&stripe.PaymentMethodListParams{Customer: stripe.String(w.customer), Type: stripe.String("card")}))
		}},
		{"setup intent", func(api *client.API, w world) error {
			return second(api.SetupIntents.New(&stripe.SetupIntentParams{Customer: stripe.String(w.customer),
				PaymentMethod: stripe.String(w.method), Confirm: stripe.Bool(true), Usage: stripe.String("off_session")}))
		}},
		{"payment intent", func(api *client.API, w world) error {
			return second(api.PaymentIntents.New(&stripe.PaymentIntentParams{Amount: stripe.Int64(700), Currency: stripe.String("usd"), Customer: stripe.String(w.customer),
				PaymentMethod: stripe.String(w.method), Confirm: stripe.Bool(true), OffSession: stripe.Bool(true)}))
		}},
		{"coupon", func(api *client.API, _ world) error {
			return second(api.Coupons.New(&stripe.CouponParams{ID: stripe.String("quarter"), PercentOff: stripe.Float64(25),
				Duration: stripe.String("repeating"), DurationInMonths: stripe.Int64(3)}))
		}},
		{"promotion code", func(api *client.API, _ world) error {
			return second(api.PromotionCodes.New(&stripe.PromotionCodeParams{Coupon: stripe.String("quarter"), Code: stripe.String("QUARTER"),
				Restrictions: &stripe.PromotionCodeRestrictionsParams{FirstTimeTransaction: stripe.Bool(true)}}))
		}},
		{"session with codes", func(api *client.API, w world) error {
			return second(api.CheckoutSessions.New(&stripe.CheckoutSessionParams{Mode: stripe.String("subscription"), Customer: stripe.String(w.customer),
				SuccessURL: stripe.String("https://shop.example/"), AllowPromotionCodes: stripe.Bool(true),
				LineItems:        []*stripe.CheckoutSessionLineItemParams{{Price: stripe.String(w.price), Quantity: stripe.Int64(1)}},
				SubscriptionData: &stripe.CheckoutSessionSubscriptionDataParams{TrialPeriodDays: stripe.Int64(7)},
				AutomaticTax:     &stripe.CheckoutSessionAutomaticTaxParams{Enabled: stripe.Bool(true)},
				CustomerUpdate:   &stripe.CheckoutSessionCustomerUpdateParams{Address: stripe.String("auto")}}))
		}},
		{"preview", func(api *client.API, w world) error {
			return second(api.Invoices.Upcoming(&stripe.InvoiceUpcomingParams{Customer: stripe.String(w.customer), Subscription: stripe.String(w.subscription),
				SubscriptionItems:             []*stripe.SubscriptionItemsParams{{ID: stripe.String(w.item), Quantity: stripe.Int64(3)}},
				SubscriptionProrationBehavior: stripe.String("always_invoice")}))
		}},
		{"preview lines", func(api *client.API, w world) error {
			return drain(api.Invoices.UpcomingLines(&stripe.InvoiceUpcomingLinesParams{Subscription: stripe.String(w.subscription)}))
		}},
		{"upgrade", func(api *client.API, w world) error {
			return second(api.Subscriptions.Update(w.subscription, &stripe.SubscriptionParams{ProrationBehavior: stripe.String("always_invoice"),
				PaymentBehavior: stripe.String("pending_if_incomplete"), Items: []*stripe.SubscriptionItemsParams{{ID: stripe.String(w.item), Quantity: stripe.Int64(3)}}}))
		}},
		{"coupon on subscription", func(api *client.API, w world) error {
			return second(api.Subscriptions.Update(w.subscription, &stripe.SubscriptionParams{Coupon: stripe.String("quarter")}))
		}},
		{"pause", func(api *client.API, w world) error {
			return second(api.Subscriptions.Update(w.subscription,
				&stripe.SubscriptionParams{PauseCollection: &stripe.SubscriptionPauseCollectionParams{Behavior: stripe.String("void")}}))
		}},
		{"items", func(api *client.API, w world) error {
			return drain(api.SubscriptionItems.List(&stripe.SubscriptionItemListParams{Subscription: stripe.String(w.subscription)}))
		}},
		{"subscription", func(api *client.API, w world) error {
			return second(api.Subscriptions.New(&stripe.SubscriptionParams{Customer: stripe.String(w.customer), DefaultPaymentMethod: stripe.String(w.method),
				Items: []*stripe.SubscriptionItemsParams{{Price: stripe.String(w.price), Quantity: stripe.Int64(2)}}, PaymentBehavior: stripe.String("error_if_incomplete")}))
		}},
		{"invoice of one's own", func(api *client.API, w world) error {
			if err := second(api.InvoiceItems.New(&stripe.InvoiceItemParams{Customer: stripe.String(w.customer), Amount: stripe.Int64(300), Currency: stripe.String("usd")})); err != nil {
				return err
			}
			invoice, err := api.Invoices.New(&stripe.InvoiceParams{Customer: stripe.String(w.customer),
				PendingInvoiceItemsBehavior: stripe.String("include"), AutoAdvance: stripe.Bool(false)})
			if err != nil {
				return err
			}
			if err := second(api.Invoices.FinalizeInvoice(invoice.ID, nil)); err != nil {
				return err
			}
			return second(api.Invoices.VoidInvoice(invoice.ID, nil))
		}},
		{"refund", func(api *client.API, w world) error {
			params := &stripe.RefundParams{Charge: stripe.String(w.charge), Amount: stripe.Int64(100), Reason: stripe.String("requested_by_customer")}
			params.AddMetadata("ticket", "7")
			return second(api.Refunds.New(params))
		}},
		{"refunds of charge", func(api *client.API, w world) error {
			return drain(api.Refunds.List(&stripe.RefundListParams{Charge: stripe.String(w.charge)}))
		}},
		{"credit note", func(api *client.API, w world) error {
			return second(api.CreditNotes.New(&stripe.CreditNoteParams{Invoice: stripe.String(w.invoice), Amount: stripe.Int64(50), CreditAmount: stripe.Int64(50)}))
		}},
		{"dispute", func(api *client.API, w world) error {
			return second(api.Disputes.Update(w.dispute,
				&stripe.DisputeParams{Evidence: &stripe.DisputeEvidenceParams{UncategorizedText: stripe.String("winning_evidence")}, Submit: stripe.Bool(true)}))
		}},
		{"disputes", func(api *client.API, w world) error {
			return drain(api.Disputes.List(&stripe.DisputeListParams{PaymentIntent: stripe.String(w.intent)}))
		}},
		{"schedule", func(api *client.API, w world) error {
			schedule, err := api.SubscriptionSchedules.New(&stripe.SubscriptionScheduleParams{FromSubscription: stripe.String(w.subscription)})
			if err != nil {
				return err
			}
			return second(api.SubscriptionSchedules.Release(schedule.ID, &stripe.SubscriptionScheduleReleaseParams{}))
		}},
		{"portal", func(api *client.API, w world) error {
			return second(api.BillingPortalSessions.New(&stripe.BillingPortalSessionParams{Customer: stripe.String(w.customer), ReturnURL: stripe.String("https://shop.example/")}))
		}},
		{"portal configuration", func(api *client.API, _ world) error {
			return second(api.BillingPortalConfigurations.New(&stripe.BillingPortalConfigurationParams{BusinessProfile: &stripe.BillingPortalConfigurationBusinessProfileParams{Headline: stripe.String("Hello")},
				Features: &stripe.BillingPortalConfigurationFeaturesParams{InvoiceHistory: &stripe.BillingPortalConfigurationFeaturesInvoiceHistoryParams{Enabled: stripe.Bool(true)}}}))
		}},
		{"balance", func(api *client.API, w world) error {
			return second(api.CustomerBalanceTransactions.New(&stripe.CustomerBalanceTransactionParams{Customer: stripe.String(w.customer), Amount: stripe.Int64(-500), Currency: stripe.String("usd")}))
		}},
		{"test clock", func(api *client.API, _ world) error {
			clock, err := api.TestHelpersTestClocks.New(&stripe.TestHelpersTestClockParams{FrozenTime: stripe.Int64(2000000000)})
			if err != nil {
				return err
			}
			return second(api.TestHelpersTestClocks.Advance(clock.ID, &stripe.TestHelpersTestClockAdvanceParams{FrozenTime: stripe.Int64(2000000100)}))
		}},
	}
}

// badCalls are refused by both.
func badCalls() []typedCall {
	return []typedCall{
		{"unknown parameter", func(api *client.API, w world) error {
			params := &stripe.CustomerParams{}
			params.AddExtra("bogus", "1")
			return second(api.Customers.Update(w.customer, params))
		}},
		{"enum", func(api *client.API, w world) error {
			return second(api.Prices.New(&stripe.PriceParams{Product: stripe.String(w.product), Currency: stripe.String("usd"),
				UnitAmount: stripe.Int64(1), Recurring: &stripe.PriceRecurringParams{Interval: stripe.String("fortnight")}}))
		}},
		{"missing", func(api *client.API, _ world) error { return second(api.Products.New(&stripe.ProductParams{})) }},
		{"event type", func(api *client.API, _ world) error {
			return second(api.WebhookEndpoints.New(&stripe.WebhookEndpointParams{URL: stripe.String("https://hook.example/"),
				EnabledEvents: stripe.StringSlice([]string{"made.up"})}))
		}},
	}
}

// TestContractSuite runs the same typed calls against Stripe's mock and the
// emulator: what the emulator takes, Stripe's mock must take. Every answer of
// the emulator fits Stripe's document, or the checking client would fail.
func TestContractSuite(t *testing.T) {
	t.Parallel()
	mock := newPlainClient(newStripeMock(t))
	a := newAccount(t, stripeemu.Config{})
	w := newWorld(t, a)
	for _, call := range slices.Concat(goodBillingCalls(), goodCalls()) {
		if err := call.call(a.api, w); err != nil {
			t.Errorf("%s: the emulator refuses: %v", call.name, err)
		} else if err := call.call(mock, w); err != nil {
			t.Errorf("%s: the emulator takes what Stripe's mock refuses: %v", call.name, err)
		}
	}
	plain := newPlainClient(a.url)
	for _, call := range badCalls() {
		if call.call(plain, w) == nil {
			t.Errorf("%s: the emulator takes it", call.name)
		}
		if call.call(mock, w) == nil {
			t.Errorf("%s: Stripe's mock takes it", call.name)
		}
	}
}
