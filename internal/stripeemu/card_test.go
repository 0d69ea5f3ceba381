package stripeemu_test

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/stripeemu"
)

func TestAttach(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	customer := a.newCustomer(t)
	attach := func(method string) (*stripe.PaymentMethod, error) {
		return a.api.PaymentMethods.Attach(method, &stripe.PaymentMethodAttachParams{Customer: stripe.String(customer.ID)})
	}
	first, second := must(attach("pm_card_visa"))(t), must(attach("pm_card_mastercard"))(t)
	if first.ID == "pm_card_visa" || first.Customer.ID != customer.ID || second.Card.Brand != stripe.PaymentMethodCardBrandMastercard {
		t.Errorf("attached %s to %v, %s", first.ID, first.Customer, second.Card.Brand)
	}
	if _, err := attach("pm_card_chargeDeclined"); err == nil {
		t.Error("a declined card is attached")
	}
	if _, err := attach("pm_card_chargeCustomerFail"); err != nil {
		t.Errorf("a card that fails later: %v", err)
	}
	must(a.api.Customers.Update(customer.ID, &stripe.CustomerParams{
		InvoiceSettings: &stripe.CustomerInvoiceSettingsParams{DefaultPaymentMethod: stripe.String(first.ID)}}))(t)
	must(a.api.PaymentMethods.Detach(first.ID, nil))(t)
	got := must(a.api.Customers.Get(customer.ID, nil))(t)
	if got.InvoiceSettings.DefaultPaymentMethod != nil {
		t.Error("a detached card is still the default")
	}
	if _, err := attach(first.ID); err == nil {
		// Stripe refuses to use a detached card again only for payments.
		must(a.api.PaymentMethods.Detach(first.ID, nil))(t)
	}
	token := must(a.api.PaymentMethods.New(&stripe.PaymentMethodParams{Type: stripe.String("card"), Card: &stripe.PaymentMethodCardParams{Token: stripe.String("tok_amex")}}))(t)
	if token.Card.Brand != stripe.PaymentMethodCardBrandAmex || token.Customer != nil {
		t.Errorf("token: %s of %v", token.Card.Brand, token.Customer)
	}
}

// TestOffSession charges a saved card without its holder.
func TestOffSession(t *testing.T) {
	t.Parallel()
	tests := []struct {
		card, code, decline string
	}{
		{"pm_card_visa", "", ""},
		{"pm_card_authenticationRequiredSetupForOffSession", "", ""},
		{"pm_card_authenticationRequired", "authentication_required", "authentication_required"},
		{"pm_card_chargeCustomerFail", "card_declined", "generic_decline"},
	}
	for _, tt := range tests {
		a := newLife(t, stripeemu.Config{})
		customer := a.cardholder(t, tt.card)
		intent, err := a.api.PaymentIntents.New(&stripe.PaymentIntentParams{
			Amount: stripe.Int64(700), Currency: stripe.String("usd"), Customer: stripe.String(customer.ID), Confirm: stripe.Bool(true),
			PaymentMethod: stripe.String(customer.InvoiceSettings.DefaultPaymentMethod.ID), OffSession: stripe.Bool(true),
		})
		if tt.code == "" {
			if err != nil || intent.Status != stripe.PaymentIntentStatusSucceeded || intent.AmountReceived != 700 {
				t.Errorf("%s: %v, %+v", tt.card, err, intent)
			}
			continue
		}
		refusal, ok := errors.AsType[*stripe.Error](err)
		if !ok || refusal.HTTPStatusCode != http.StatusPaymentRequired || string(refusal.Code) != tt.code || string(refusal.DeclineCode) != tt.decline {
			t.Errorf("%s: %v", tt.card, err)
			continue
		}
		if refusal.PaymentIntent == nil || refusal.PaymentIntent.Status != stripe.PaymentIntentStatusRequiresPaymentMethod {
			t.Errorf("%s: the error carries intent %+v", tt.card, refusal.PaymentIntent)
		}
	}
}

// TestThreeDSecureCheckout goes to the bank's page and back, once refused and
// once confirmed.
func TestThreeDSecureCheckout(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	session := a.session(t, a.price(t, 1000, "month"), nil)
	mark := len(a.eventTypes())
	got := submit(t, session.URL, url.Values{"action": {"pay"}, "email": {"ada@example.com"}, "card_number": {"4000002760003184"}})
	if got.status != http.StatusSeeOther || !strings.HasPrefix(got.location, "/3ds/pi_") {
		t.Fatalf("pay: %d to %q", got.status, got.location)
	}
	bank := a.url + got.location
	if page := open(t, bank); page.status != http.StatusOK || !strings.Contains(page.body, "$10.00") {
		t.Errorf("the bank's page: %d", page.status)
	}
	if s := a.Objects("subscription")[0]; s["status"] != "incomplete" {
		t.Errorf("meanwhile the subscription is %v", s["status"])
	}
	if types := a.after(mark); !slices.Contains(types, "invoice.payment_action_required") || slices.Contains(types, "invoice.payment_failed") {
		t.Errorf("events %v", types)
	}
	answer := func(action string) browserAnswer {
		return submit(t, bank, url.Values{"action": {action}, "return": {"/c/pay/" + session.ID}})
	}
	if failed := answer("fail"); failed.status != http.StatusPaymentRequired || !strings.Contains(failed.body, "unable to authenticate") {
		t.Errorf("refused: %d", failed.status)
	}
	submit(t, session.URL, url.Values{"action": {"pay"}, "email": {"ada@example.com"}, "card_number": {"4000002760003184"}})
	if done := answer("complete"); done.status != http.StatusSeeOther || !strings.HasPrefix(done.location, "https://shop.example/done") {
		t.Errorf("confirmed: %d to %q", done.status, done.location)
	}
	s := a.Objects("subscription")[0]
	if s["status"] != "active" || s["default_payment_method"] == nil || len(a.Objects("subscription")) != 1 {
		t.Errorf("subscription %v with card %v", s["status"], s["default_payment_method"])
	}
}

// TestRenewalNeedsAuthentication leaves a renewal open until its customer has
// been at the bank's page.
func TestRenewalNeedsAuthentication(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	s := a.subscribe(t, a.cardholder(t, "pm_card_authenticationRequired"), a.price(t, 1000, "month"), func(p *stripe.SubscriptionParams) {
		p.TrialPeriodDays = stripe.Int64(1)
	})
	a.Advance(1*days + time.Hour)
	s = a.subscription(t, s.ID)
	intent := s.LatestInvoice.PaymentIntent
	if s.Status != stripe.SubscriptionStatusPastDue || intent.Status != stripe.PaymentIntentStatusRequiresAction || intent.NextAction == nil {
		t.Fatalf("%s, intent %s", s.Status, intent.Status)
	}
	if !slices.Contains(a.eventTypes(), "invoice.payment_action_required") {
		t.Error("nobody is told")
	}
	if err := a.Authenticate(intent.ID, true); err != nil {
		t.Fatal(err)
	}
	if s = a.subscription(t, s.ID); s.Status != stripe.SubscriptionStatusActive || !s.LatestInvoice.Paid {
		t.Errorf("then %s, paid %t", s.Status, s.LatestInvoice.Paid)
	}
}

func TestSetupIntent(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	customer := a.newCustomer(t)
	setUp := func(method string) (*stripe.SetupIntent, error) {
		return a.api.SetupIntents.New(&stripe.SetupIntentParams{Customer: stripe.String(customer.ID), PaymentMethod: stripe.String(method), Confirm: stripe.Bool(true)})
	}
	if intent := must(setUp("pm_card_visa"))(t); intent.Status != stripe.SetupIntentStatusSucceeded || intent.PaymentMethod == nil {
		t.Errorf("visa: %s", intent.Status)
	}
	if _, err := setUp("pm_card_chargeDeclined"); err == nil {
		t.Error("a declined card is set up")
	}
	waits := must(setUp("pm_card_authenticationRequiredOnSetup"))(t)
	if waits.Status != stripe.SetupIntentStatusRequiresAction {
		t.Fatalf("3-D Secure: %s", waits.Status)
	}
	if err := a.Authenticate(waits.ID, true); err != nil {
		t.Fatal(err)
	}
	done := must(a.api.SetupIntents.Get(waits.ID, nil))(t)
	charge := &stripe.PaymentIntentParams{Amount: stripe.Int64(500), Currency: stripe.String("usd"), Customer: stripe.String(customer.ID),
		PaymentMethod: stripe.String(done.PaymentMethod.ID), Confirm: stripe.Bool(true), OffSession: stripe.Bool(true)}
	if intent := must(a.api.PaymentIntents.New(charge))(t); intent.Status != stripe.PaymentIntentStatusSucceeded {
		t.Errorf("a card that is set up: %s", intent.Status)
	}
}

func TestSetupCheckout(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	customer := a.newCustomer(t)
	session := must(a.api.CheckoutSessions.New(&stripe.CheckoutSessionParams{
		Mode: stripe.String("setup"), Customer: stripe.String(customer.ID), SuccessURL: stripe.String("https://shop.example/"), Currency: stripe.String("usd"),
	}))(t)
	a.pay(t, session)
	params := &stripe.CheckoutSessionParams{}
	params.AddExpand("setup_intent.payment_method")
	done := must(a.api.CheckoutSessions.Get(session.ID, params))(t)
	if done.Status != stripe.CheckoutSessionStatusComplete || done.SetupIntent.PaymentMethod.Customer.ID != customer.ID {
		t.Errorf("session %s, intent %+v", done.Status, done.SetupIntent)
	}
}

// TestCapture takes a part of the money that is held; the rest, and what is
// never captured, goes back.
func TestCapture(t *testing.T) {
	t.Parallel()
	a := newLife(t, stripeemu.Config{})
	hold := func() *stripe.PaymentIntent {
		return must(a.api.PaymentIntents.New(&stripe.PaymentIntentParams{Amount: stripe.Int64(1000), Currency: stripe.String("usd"),
			PaymentMethod: stripe.String("pm_card_visa"), Confirm: stripe.Bool(true), CaptureMethod: stripe.String("manual")}))(t)
	}
	intent := hold()
	if intent.Status != stripe.PaymentIntentStatusRequiresCapture || intent.AmountCapturable != 1000 {
		t.Errorf("held: %s, %d", intent.Status, intent.AmountCapturable)
	}
	intent = must(a.api.PaymentIntents.Capture(intent.ID, &stripe.PaymentIntentCaptureParams{AmountToCapture: stripe.Int64(600)}))(t)
	charge := must(a.api.Charges.Get(intent.LatestCharge.ID, nil))(t)
	if intent.Status != stripe.PaymentIntentStatusSucceeded || intent.AmountReceived != 600 || charge.AmountCaptured != 600 {
		t.Errorf("captured: %s, %d of %d", intent.Status, intent.AmountReceived, charge.AmountCaptured)
	}
	if _, err := a.api.PaymentIntents.Capture(intent.ID, nil); codeOf(err) != "payment_intent_unexpected_state" {
		t.Errorf("captured twice: %v", err)
	}
	forgotten := hold()
	a.Advance(7 * days)
	if got := must(a.api.PaymentIntents.Get(forgotten.ID, nil))(t); got.Status != stripe.PaymentIntentStatusCanceled {
		t.Errorf("forgotten: %s", got.Status)
	}
}

// TestDebit completes a session whose money comes days later, or never.
func TestDebit(t *testing.T) {
	t.Parallel()
	for action, want := range map[string]string{"debit": "checkout.session.async_payment_succeeded", "debit_fails": "checkout.session.async_payment_failed"} {
		a := newLife(t, stripeemu.Config{})
		session := a.session(t, a.price(t, 1000, ""), func(p *stripe.CheckoutSessionParams) {
			p.PaymentMethodTypes = stripe.StringSlice([]string{"card", "sepa_debit"})
		})
		got := submit(t, session.URL, url.Values{"action": {action}, "email": {"ada@example.com"}})
		session = must(a.api.CheckoutSessions.Get(session.ID, nil))(t)
		if got.status != http.StatusSeeOther || session.Status != stripe.CheckoutSessionStatusComplete || session.PaymentStatus != stripe.CheckoutSessionPaymentStatusUnpaid {
			t.Errorf("%s: %d, session %s and %s", action, got.status, session.Status, session.PaymentStatus)
		}
		mark := len(a.eventTypes())
		a.Advance(3 * days)
		session = must(a.api.CheckoutSessions.Get(session.ID, nil))(t)
		if paid := session.PaymentStatus == stripe.CheckoutSessionPaymentStatusPaid; paid != (action == "debit") || !slices.Contains(a.after(mark), want) {
			t.Errorf("%s: then %s, events %v", action, session.PaymentStatus, a.after(mark))
		}
	}
}
