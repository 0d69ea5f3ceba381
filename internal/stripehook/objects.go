package stripehook

import (
	"context"
	"fmt"

	"github.com/stripe/stripe-go/v76/client"

	"example.com/saaskit/internal/db"
)

// Kinds of objects, as Stripe names them.
const (
	kindCustomer      = "customer"
	kindSession       = "checkout.session"
	kindSubscription  = "subscription"
	kindInvoice       = "invoice"
	kindPaymentIntent = "payment_intent"
	kindCharge        = "charge"
	kindRefund        = "refund"
	kindCreditNote    = "credit_note"
	kindDispute       = "dispute"
	kindSchedule      = "subscription_schedule"
	kindPaymentMethod = "payment_method"
	kindSetupIntent   = "setup_intent"
	kindProduct       = "product"
	kindPrice         = "price"
)

// Names of the metadata that we put on what we create at Stripe.
const (
	metadataEnv     = "app_env"
	metadataAccount = "account_id"
	metadataAttempt = "attempt_id"
)

// An object is what a fetch has brought.
type object interface {
	names() (id, kind string)
	customer() string // whose it is; empty where no customer is named
	claim() string    // the account that its metadata names
}

// A keeper knows one kind of object. Everything that asks Stripe is in fetch; store and gone join the transaction that
// also ends the event.
type keeper struct {
	owned bool // belongs to an account
	fetch func(ctx context.Context, api *client.API, id string) (object, error)
	store func(ctx context.Context, t *settling, o object) error
	// gone stores that the object does not exist any more; nil where nothing of ours changes by that.
	gone func(ctx context.Context, t *settling, id string) error
	// before are roots to settle first, after those that the object leads to.
	before func(ctx context.Context, q *db.Queries, o object, event db.StripeEvent) ([]root, error)
	after  func(ctx context.Context, q *db.Queries, o object) ([]root, error)
}

var keepers = map[string]keeper{
	kindSession:      {owned: true, fetch: fetchSession, store: storing(storeSession), after: afterSession},
	kindCustomer:     {owned: true, fetch: fetchCustomer, store: storing(storeCustomer), after: afterCustomer, gone: customerGone},
	kindSubscription: {owned: true, fetch: fetchSubscription, store: storing(storeSubscription), gone: subscriptionGone},
	kindInvoice: {owned: true, fetch: fetchInvoice, store: storing(storeInvoice), before: beforeInvoice,
		gone: invoiceGone},
	kindPaymentIntent: {owned: true, fetch: fetchPaymentIntent, store: storing(storePaymentIntent)},
	kindCharge:        {owned: true, fetch: fetchCharge, store: storing(storeCharge)},
	kindPaymentMethod: {owned: true, fetch: fetchPaymentMethod, store: storing(storePaymentMethod)},
	kindSetupIntent:   {owned: true, fetch: fetchSetupIntent, store: storing(storeSetupIntent), after: afterSetupIntent},
	kindProduct:       {fetch: fetchProduct, store: storing(checkProduct), gone: productGone},
	kindPrice:         {fetch: fetchPrice, store: storing(checkPrice), gone: priceGone},
}

// storing adapts the function of one kind.
func storing[T object](store func(context.Context, *settling, T) error) func(context.Context, *settling, object) error {
	return func(ctx context.Context, t *settling, o object) error {
		fetched, ok := o.(T)
		if !ok {
			return fmt.Errorf("store %T: not what was asked for", o)
		}
		return store(ctx, t, fetched)
	}
}

// common is what all objects have.
type common struct {
	ID       string            `json:"id"`
	Object   string            `json:"object"`
	Customer ref               `json:"customer"`
	Livemode bool              `json:"livemode"`
	Created  stamp             `json:"created"`
	Metadata map[string]string `json:"metadata"`
}

func (c *common) names() (id, kind string) { return c.ID, c.Object }

func (c *common) customer() string { return string(c.Customer) }

func (c *common) claim() string { return c.Metadata[metadataAccount] }

// need is the error of an answer without a field that every such object has: a status or currency of "" is no value.
func need(fields ...string) error {
	for _, field := range fields {
		if field == "" {
			return &ending{statusQuarantined, reasonDecode}
		}
	}
	return nil
}
