package stripeemu_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/stripeemu"
)

// byKey reads the prices that have a lookup key.
func (a *account) byKey(t *testing.T, keys ...string) []*stripe.Price {
	t.Helper()
	var found []*stripe.Price
	params := &stripe.PriceListParams{LookupKeys: stripe.StringSlice(keys), Active: stripe.Bool(true)}
	params.AddExpand("data.currency_options")
	iterator := a.api.Prices.List(params)
	for iterator.Next() {
		found = append(found, iterator.Price())
	}
	if err := iterator.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

// TestLookupKeys keeps a key on one price, and moves it when asked.
func TestLookupKeys(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	product := must(a.api.Products.New(&stripe.ProductParams{ID: stripe.String("prod_pro"), Name: stripe.String("Pro")}))(t)
	newPrice := func(amount int64, transfer bool) (*stripe.Price, error) {
		params := &stripe.PriceParams{
			Product: stripe.String(product.ID), Currency: stripe.String("USD"), UnitAmount: stripe.Int64(amount),
			LookupKey: stripe.String("pro"), CurrencyOptions: map[string]*stripe.PriceCurrencyOptionsParams{"eur": {UnitAmount: stripe.Int64(amount - 1)}},
		}
		if transfer {
			params.TransferLookupKey = stripe.Bool(true)
		}
		return a.api.Prices.New(params)
	}
	first := must(newPrice(1000, false))(t)
	if _, err := newPrice(2000, false); err == nil {
		t.Fatal("two prices have one key")
	}
	found := a.byKey(t, "pro", "other")
	if len(found) != 1 || found[0].ID != first.ID || found[0].Currency != "usd" || found[0].CurrencyOptions["eur"].UnitAmount != 999 {
		t.Fatalf("by key: %+v", found)
	}
	second := must(newPrice(2000, true))(t)
	if found := a.byKey(t, "pro"); len(found) != 1 || found[0].ID != second.ID {
		t.Errorf("after the transfer: %+v", found)
	}
	if old := must(a.api.Prices.Get(first.ID, nil))(t); old.LookupKey != "" || old.CurrencyOptions != nil {
		t.Errorf("the old price: key %q, unexpanded options %v", old.LookupKey, old.CurrencyOptions)
	}
	if _, err := a.api.Products.New(&stripe.ProductParams{ID: stripe.String("prod_pro"), Name: stripe.String("x")}); codeOf(err) != "resource_already_exists" {
		t.Errorf("second product of one id: %v", err)
	}
}

func TestArchive(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	price := a.price(t, 1000, "month")
	a.pay(t, a.session(t, price, nil))
	must(a.api.Products.Update(price.Product.ID, &stripe.ProductParams{DefaultPrice: stripe.String(price.ID)}))(t)
	archive := &stripe.PriceParams{Active: stripe.Bool(false)}
	if _, err := a.api.Prices.Update(price.ID, archive); err == nil {
		t.Error("a product's default price was archived")
	}
	must(a.api.Products.Update(price.Product.ID, &stripe.ProductParams{DefaultPrice: stripe.String("")}))(t)
	if got := must(a.api.Prices.Update(price.ID, archive))(t); got.Active {
		t.Error("still active")
	}
	s := must(a.api.Subscriptions.Get(a.Objects("subscription")[0]["id"].(string), nil))(t)
	if s.Items.Data[0].Price.Active {
		t.Error("the subscription shows the price as it was, not as it is")
	}
	if _, err := a.api.Products.Del(price.Product.ID, nil); err == nil {
		t.Error("a product with a price was deleted")
	}
}

func TestUpdatesTellWhatChanged(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	params := &stripe.CustomerParams{Name: stripe.String("Ada")}
	params.AddMetadata("a", "1")
	params.AddMetadata("b", "2")
	customer := must(a.api.Customers.New(params))(t)
	change := &stripe.CustomerParams{}
	change.AddMetadata("a", "")
	change.AddMetadata("c", "3")
	got := must(a.api.Customers.Update(customer.ID, change))(t)
	if len(got.Metadata) != 2 || got.Metadata["b"] != "2" || got.Metadata["c"] != "3" || got.Name != "Ada" {
		t.Errorf("metadata %v, name %q", got.Metadata, got.Name)
	}
	must(a.api.Customers.Update(customer.ID, change))(t) // changes nothing, says nothing
	events := a.eventTypes()
	if !slices.Equal(events, []string{"customer.created", "customer.updated"}) {
		t.Errorf("events %v", events)
	}
	event := must(a.api.Events.Get(a.Objects("event")[0]["id"].(string), nil))(t)
	previous, _ := event.Data.PreviousAttributes["metadata"].(map[string]any)
	if len(event.Data.PreviousAttributes) != 1 || previous["a"] != "1" || previous["c"] != nil || len(previous) != 2 {
		t.Errorf("previous attributes %v", event.Data.PreviousAttributes)
	}
}

func TestDeletedCustomer(t *testing.T) {
	t.Parallel()
	a := newAccount(t, stripeemu.Config{})
	customer := must(a.api.Customers.New(&stripe.CustomerParams{Email: stripe.String("ada@example.com")}))(t)
	session := a.session(t, a.price(t, 1000, "month"), func(p *stripe.CheckoutSessionParams) { p.Customer = stripe.String(customer.ID) })
	a.pay(t, session)
	before := len(a.eventTypes())
	must(a.api.Customers.Del(customer.ID, nil))(t)
	if got := a.after(before); !slices.Equal(got, []string{"customer.subscription.deleted", "customer.deleted"}) {
		t.Errorf("events %v", got)
	}
	if got := must(a.api.Customers.Get(customer.ID, nil))(t); !got.Deleted {
		t.Error("reading it does not say deleted")
	}
	if a.api.Customers.List(&stripe.CustomerListParams{}).Next() {
		t.Error("it is still listed")
	}
	if _, err := a.api.Customers.Update(customer.ID, &stripe.CustomerParams{Name: stripe.String("x")}); codeOf(err) != "resource_missing" {
		t.Errorf("update: %v", err)
	}
	params := &stripe.SubscriptionParams{}
	params.AddExpand("customer")
	s := must(a.api.Subscriptions.Get(a.Objects("subscription")[0]["id"].(string), params))(t)
	if s.Status != stripe.SubscriptionStatusCanceled || !s.Customer.Deleted {
		t.Errorf("subscription %s, customer deleted %t", s.Status, s.Customer.Deleted)
	}
}

func TestCancelSubscription(t *testing.T) {
	t.Parallel()
	clock := newClock("2025-03-01T12:00:00Z")
	a := newAccount(t, stripeemu.Config{Now: clock.now})
	price := a.price(t, 1000, "month")
	for range 2 {
		a.pay(t, a.session(t, price, nil))
	}
	now, later := a.Objects("subscription")[0]["id"].(string), a.Objects("subscription")[1]["id"].(string)

	ended := must(a.api.Subscriptions.Cancel(now, nil))(t)
	if ended.Status != stripe.SubscriptionStatusCanceled || ended.EndedAt != clock.now().Unix() || ended.CurrentPeriodEnd <= ended.EndedAt {
		t.Errorf("canceled: %s at %d", ended.Status, ended.EndedAt)
	}
	if _, err := a.api.Subscriptions.Cancel(now, nil); codeOf(err) != "resource_missing" {
		t.Errorf("canceled twice: %v", err)
	}
	atEnd := func(value bool) *stripe.Subscription {
		return must(a.api.Subscriptions.Update(later, &stripe.SubscriptionParams{CancelAtPeriodEnd: stripe.Bool(value)}))(t)
	}
	if s := atEnd(true); s.CancelAt != s.CurrentPeriodEnd || s.CanceledAt == 0 || s.Status != stripe.SubscriptionStatusActive {
		t.Errorf("to be canceled at %d, %s", s.CancelAt, s.Status)
	}
	if s := atEnd(false); s.CancelAt != 0 || s.CanceledAt != 0 {
		t.Errorf("resumed, yet canceled at %d", s.CancelAt)
	}
	atEnd(true)
	clock.advance(31 * 24 * time.Hour)
	if s := must(a.api.Subscriptions.Get(later, nil))(t); s.Status != stripe.SubscriptionStatusCanceled {
		t.Errorf("after its period: %s", s.Status)
	}
	count := func(status string) (n int) {
		params := &stripe.SubscriptionListParams{}
		if status != "" {
			params.Status = stripe.String(status)
		}
		for iterator := a.api.Subscriptions.List(params); iterator.Next(); {
			n++
		}
		return n
	}
	if count("") != 0 || count("all") != 2 || count("canceled") != 2 || count("active") != 0 {
		t.Errorf("listed: %d, all %d, canceled %d, active %d", count(""), count("all"), count("canceled"), count("active"))
	}
}
