package stripeemu_test

import (
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/stripeemu"
)

// TestSubscriptionCheckout follows a purchase from the session to the signed
// webhooks and reads everything back through stripe-go.
func TestSubscriptionCheckout(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	in := newInbox(t, nil)
	price := a.price(t, 2900, "month")
	a.Register(in.url, secret)
	session := a.session(t, price, func(p *stripe.CheckoutSessionParams) {
		p.ClientReferenceID = stripe.String("order-7")
		p.SubscriptionData = &stripe.CheckoutSessionSubscriptionDataParams{Metadata: map[string]string{"account": "a1"}}
	})
	if session.Status != stripe.CheckoutSessionStatusOpen || session.PaymentStatus != stripe.CheckoutSessionPaymentStatusUnpaid || session.AmountTotal != 2900 {
		t.Fatalf("new session: %s, %s, %d", session.Status, session.PaymentStatus, session.AmountTotal)
	}
	if page := open(t, session.URL); page.status != http.StatusOK {
		t.Fatalf("page: status %d", page.status)
	}
	got := submit(t, session.URL, url.Values{"action": {"pay"}, "email": {"ada@example.com"}, "card_number": {"4242 4242 4242 4242"}})
	if got.status != http.StatusSeeOther || got.location != "https://shop.example/done?session="+session.ID {
		t.Fatalf("pay: %d to %q", got.status, got.location)
	}

	want := []string{
		"customer.created", "customer.updated", "invoice.created", "invoice.finalized", "payment_intent.created",
		"customer.subscription.created", "charge.succeeded", "payment_intent.succeeded", "invoice.updated", "invoice.paid",
		"invoice.payment_succeeded", "payment_method.attached", "customer.subscription.updated", "checkout.session.completed",
	}
	happened := slices.DeleteFunc(a.eventTypes(), func(s string) bool { return s == "product.created" || s == "price.created" })
	if diff := cmp.Diff(want, happened); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	var delivered []string
	for _, event := range in.received(t, a) {
		delivered = append(delivered, string(event.Type))
	}
	slices.Sort(want)
	slices.Sort(delivered)
	if diff := cmp.Diff(want, delivered); diff != "" {
		t.Errorf("deliveries (-want +got):\n%s", diff)
	}
	checkPurchase(t, a, session.ID, price)
}

func checkPurchase(t *testing.T, a *account, sessionID string, price *stripe.Price) {
	t.Helper()
	params := &stripe.CheckoutSessionParams{}
	for _, path := range []string{"line_items", "customer", "subscription.latest_invoice.payment_intent"} {
		params.AddExpand(path)
	}
	done := must(a.api.CheckoutSessions.Get(sessionID, params))(t)
	if done.Status != stripe.CheckoutSessionStatusComplete || done.PaymentStatus != stripe.CheckoutSessionPaymentStatusPaid {
		t.Errorf("session: %s, %s", done.Status, done.PaymentStatus)
	}
	if len(done.LineItems.Data) != 1 || done.LineItems.Data[0].Price.ID != price.ID {
		t.Errorf("line items: %+v", done.LineItems.Data)
	}
	if done.Customer.Email != "ada@example.com" || done.ClientReferenceID != "order-7" {
		t.Errorf("customer %q, reference %q", done.Customer.Email, done.ClientReferenceID)
	}
	s := done.Subscription
	if s.Status != stripe.SubscriptionStatusActive || s.Metadata["account"] != "a1" || s.CurrentPeriodEnd <= s.CurrentPeriodStart {
		t.Errorf("subscription: %s, %v, period %d to %d", s.Status, s.Metadata, s.CurrentPeriodStart, s.CurrentPeriodEnd)
	}
	i := s.LatestInvoice
	if !i.Paid || i.AmountPaid != 2900 || i.BillingReason != stripe.InvoiceBillingReasonSubscriptionCreate || i.Charge == nil {
		t.Errorf("invoice: paid %t, %d, %s, charge %v", i.Paid, i.AmountPaid, i.BillingReason, i.Charge)
	}
	line := i.Lines.Data[0]
	if line.Price.ID != price.ID || line.Period.End != s.CurrentPeriodEnd || line.Amount != 2900 {
		t.Errorf("line: %s, until %d, %d", line.Price.ID, line.Period.End, line.Amount)
	}
	charge := must(a.api.Charges.Get(i.Charge.ID, nil))(t)
	if charge.Invoice.ID != i.ID || charge.PaymentIntent.ID != i.PaymentIntent.ID || charge.BalanceTransaction == nil {
		t.Errorf("charge: invoice %v, intent %v, balance transaction %v", charge.Invoice, charge.PaymentIntent, charge.BalanceTransaction)
	}
}
