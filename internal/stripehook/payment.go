package stripehook

import (
	"context"

	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"example.com/saaskit/internal/db"
)

type paymentIntent struct {
	common
	Status       string `json:"status"`
	Amount       int64  `json:"amount"`
	Currency     string `json:"currency"`
	Invoice      ref    `json:"invoice"`
	LatestCharge ref    `json:"latest_charge"`
}

func fetchPaymentIntent(ctx context.Context, api *client.API, id string) (object, error) {
	got, err := api.PaymentIntents.Get(id, &stripe.PaymentIntentParams{Params: stripe.Params{Context: ctx}})
	if err != nil {
		return nil, err
	}
	p := new(paymentIntent)
	return p, read(got.LastResponse, p)
}

func storePaymentIntent(ctx context.Context, t *settling, p *paymentIntent) error {
	if err := need(p.Status, p.Currency); err != nil {
		return err
	}
	rows, err := t.q.UpsertPaymentIntent(ctx, db.UpsertPaymentIntentParams{
		ID: p.ID, AccountID: t.account, CustomerID: string(p.Customer), Status: p.Status, Amount: p.Amount, Currency: p.Currency,
		InvoiceID: p.Invoice.pointer(), LatestChargeID: p.LatestCharge.pointer(), CreatedAt: p.Created.orElse(t.now), Now: t.now,
	})
	return moved(rows, err, "payment intent")
}
