package stripeemu_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"
)

func (l tierLife) portal(t *testing.T, configuration string) string {
	t.Helper()
	params := &stripe.BillingPortalSessionParams{Customer: stripe.String(l.customer.ID), ReturnURL: stripe.String("https://shop.example/account")}
	if configuration != "" {
		params.Configuration = stripe.String(configuration)
	}
	return must(l.api.BillingPortalSessions.New(params))(t).URL
}

func TestPortalCancel(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "")
	page := l.portal(t, "")
	if got := open(t, page); got.status != http.StatusOK || !strings.Contains(got.body, "Renews on 15 February 2025") || !strings.Contains(got.body, "$10.00 per month") {
		t.Errorf("page: %d %s", got.status, got.body)
	}
	act := func(action string) browserAnswer {
		return submit(t, page, url.Values{"action": {action}, "subscription": {l.sub.ID}})
	}
	if got := act("cancel"); got.status != http.StatusOK || !strings.Contains(got.body, "Ends on 15 February 2025") {
		t.Errorf("cancel: %d", got.status)
	}
	if s := l.subscription(t, l.sub.ID); !s.CancelAtPeriodEnd {
		t.Error("nothing is canceled")
	}
	act("resume")
	if s := l.subscription(t, l.sub.ID); s.CancelAtPeriodEnd || s.CancelAt != 0 {
		t.Error("nothing is resumed")
	}
	if got := submit(t, page, url.Values{"action": {"cancel"}, "subscription": {"sub_none"}}); got.status != http.StatusBadRequest {
		t.Errorf("somebody else's subscription: %d", got.status)
	}
	l.Advance(time.Hour + time.Second)
	if got := open(t, page); got.status != http.StatusGone {
		t.Errorf("an old link: %d", got.status)
	}
}

// TestPortalUpdate offers the plans of a configuration and no other.
func TestPortalUpdate(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "")
	configuration := must(l.api.BillingPortalConfigurations.New(&stripe.BillingPortalConfigurationParams{
		BusinessProfile: &stripe.BillingPortalConfigurationBusinessProfileParams{Headline: stripe.String("Hello")},
		Features: &stripe.BillingPortalConfigurationFeaturesParams{SubscriptionUpdate: &stripe.BillingPortalConfigurationFeaturesSubscriptionUpdateParams{
			Enabled: stripe.Bool(true), DefaultAllowedUpdates: stripe.StringSlice([]string{"price"}), ProrationBehavior: stripe.String("always_invoice"),
			Products: []*stripe.BillingPortalConfigurationFeaturesSubscriptionUpdateProductParams{{Product: stripe.String(l.pro.Product.ID), Prices: stripe.StringSlice([]string{l.pro.ID})}},
		}},
	}))(t)
	page := l.portal(t, configuration.ID)
	update := func(price string) browserAnswer {
		return submit(t, page, url.Values{"action": {"update"}, "subscription": {l.sub.ID}, "price": {price}})
	}
	if got := update(l.yearly.ID); got.status != http.StatusBadRequest {
		t.Errorf("a plan that is not offered: %d", got.status)
	}
	if got := update(l.pro.ID); got.status != http.StatusOK {
		t.Errorf("update: %d %s", got.status, got.body)
	}
	if s := l.subscription(t, l.sub.ID); s.Items.Data[0].Price.ID != l.pro.ID || s.LatestInvoice.AmountPaid != 1355 {
		t.Errorf("%s, paid %d", s.Items.Data[0].Price.ID, s.LatestInvoice.AmountPaid)
	}
}

func TestPortalCards(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "insufficient_funds")
	page := l.portal(t, "")
	if got := submit(t, page, url.Values{"action": {"add_card"}, "card_number": {"4000000000000002"}}); got.status != http.StatusBadRequest {
		t.Errorf("a declined card: %d", got.status)
	}
	if got := submit(t, page, url.Values{"action": {"add_card"}, "card_number": {"5555555555554444"}}); got.status != http.StatusOK || !strings.Contains(got.body, "mastercard") {
		t.Errorf("add: %d", got.status)
	}
	l.Advance(21*days + time.Hour)
	if s := l.subscription(t, l.sub.ID); !s.LatestInvoice.Paid {
		t.Error("the new card does not pay the renewal")
	}
	page = l.portal(t, "")
	if got := submit(t, page, url.Values{"action": {"email"}, "email": {"new@example.com"}}); got.status != http.StatusOK {
		t.Errorf("email: %d", got.status)
	}
	if c := must(l.api.Customers.Get(l.customer.ID, nil))(t); c.Email != "new@example.com" {
		t.Errorf("email is %s", c.Email)
	}
}

// TestPortalFlow sends the customer back once the card is changed.
func TestPortalFlow(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "")
	session := must(l.api.BillingPortalSessions.New(&stripe.BillingPortalSessionParams{
		Customer: stripe.String(l.customer.ID),
		FlowData: &stripe.BillingPortalSessionFlowDataParams{Type: stripe.String("payment_method_update"),
			AfterCompletion: &stripe.BillingPortalSessionFlowDataAfterCompletionParams{Type: stripe.String("redirect"),
				Redirect: &stripe.BillingPortalSessionFlowDataAfterCompletionRedirectParams{ReturnURL: stripe.String("https://shop.example/paid")}}},
	}))(t)
	if session.Flow.Type != "payment_method_update" {
		t.Errorf("flow %+v", session.Flow)
	}
	if got := submit(t, session.URL, url.Values{"action": {"add_card"}}); got.status != http.StatusSeeOther || got.location != "https://shop.example/paid" {
		t.Errorf("done: %d to %s", got.status, got.location)
	}
	other := must(l.api.Customers.New(&stripe.CustomerParams{}))(t)
	_, err := l.api.BillingPortalSessions.New(&stripe.BillingPortalSessionParams{Customer: stripe.String(other.ID),
		FlowData: &stripe.BillingPortalSessionFlowDataParams{Type: stripe.String("subscription_cancel"),
			SubscriptionCancel: &stripe.BillingPortalSessionFlowDataSubscriptionCancelParams{Subscription: stripe.String(l.sub.ID)}}})
	if err == nil {
		t.Error("a customer cancels somebody else's subscription")
	}
}
