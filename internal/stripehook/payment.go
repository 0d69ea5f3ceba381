package stripehook

import (
	"context"

	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
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

type charge struct {
	common
	Status         string `json:"status"`
	Amount         int64  `json:"amount"`
	AmountCaptured int64  `json:"amount_captured"`
	Captured       bool   `json:"captured"`
	Currency       string `json:"currency"`
	Description    string `json:"description"`
	Invoice        ref    `json:"invoice"`
}

func fetchCharge(ctx context.Context, api *client.API, id string) (object, error) {
	got, err := api.Charges.Get(id, &stripe.ChargeParams{Params: stripe.Params{Context: ctx}})
	if err != nil {
		return nil, err
	}
	c := new(charge)
	return c, read(got.LastResponse, c)
}

// storeCharge writes the payment: what has been captured, or what is reserved until then.
func storeCharge(ctx context.Context, t *settling, c *charge) error {
	if err := need(c.Status, c.Currency); err != nil {
		return err
	}
	amount := c.Amount
	if c.Captured {
		amount = c.AmountCaptured
	}
	return t.payment(ctx, db.UpsertPaymentTransactionParams{
		NaturalKey: "charge:" + c.ID, Status: c.Status, Amount: amount, Currency: c.Currency, InvoiceID: c.Invoice.pointer(),
		ChargeID: &c.ID, Description: c.Description, OccurredAt: c.Created.orElse(t.now),
	})
}

func (t *settling) payment(ctx context.Context, row db.UpsertPaymentTransactionParams) error {
	row.ID, row.AccountID, row.Now = postgres.NewID(), t.account, t.now
	rows, err := t.q.UpsertPaymentTransaction(ctx, row)
	return moved(rows, err, "payment")
}
