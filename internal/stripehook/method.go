package stripehook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"example.com/saaskit/internal/db"
)

// A paymentMethod is what a customer may be charged with. Cards are shown by brand and last digits.
type paymentMethod struct {
	common
	Type string `json:"type"`
	Card struct {
		Brand    string `json:"brand"`
		Last4    string `json:"last4"`
		ExpMonth int32  `json:"exp_month"`
		ExpYear  int32  `json:"exp_year"`
	} `json:"card"`
}

func fetchPaymentMethod(ctx context.Context, api *client.API, id string) (object, error) {
	got, err := api.PaymentMethods.Get(id, &stripe.PaymentMethodParams{Params: stripe.Params{Context: ctx}})
	if err != nil {
		return nil, err
	}
	m := new(paymentMethod)
	return m, read(got.LastResponse, m)
}

// storePaymentMethod mirrors a payment method. One that was detached names no customer any more; it stays whose it was.
func storePaymentMethod(ctx context.Context, t *settling, m *paymentMethod) error {
	if err := need(m.Type); err != nil {
		return err
	}
	row := db.UpsertPaymentMethodParams{
		ID: m.ID, AccountID: t.account, CustomerID: string(m.Customer), Type: m.Type, Brand: m.Card.Brand, Last4: m.Card.Last4,
		ExpMonth: m.Card.ExpMonth, ExpYear: m.Card.ExpYear, CreatedAt: m.Created.orElse(t.now), Now: t.now,
	}
	if m.Customer == "" {
		row.CustomerID, row.DetachedAt = t.event.CustomerID, &t.now
	}
	deleted, err := t.deleted(ctx)
	if err != nil {
		return err
	}
	if deleted { // Stripe may go on telling of the card of somebody who is gone
		row.Brand, row.Last4, row.ExpMonth, row.ExpYear = "", "", 0, 0
	}
	old, err := t.q.GetMirroredPaymentMethod(ctx, m.ID, t.account)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read payment method: %w", err)
	}
	rows, err := t.q.UpsertPaymentMethod(ctx, row)
	if err := moved(rows, err, "payment method"); err != nil {
		return err
	}
	return t.auditPaymentMethod(ctx, row, old)
}

// auditPaymentMethod writes down that a payment method has come, gone, or is another one under the same id, as a card that the bank has
// renewed. Which digits it has is not written: the audit log outlives the account.
func (t *settling) auditPaymentMethod(ctx context.Context, row db.UpsertPaymentMethodParams, old db.PaymentMethod) error {
	was, is := "", methodStatus(row.DetachedAt)
	if old.ID != "" {
		was = methodStatus(old.DetachedAt)
	}
	changed := row.Brand != old.Brand || row.Last4 != old.Last4 || row.ExpMonth != old.ExpMonth || row.ExpYear != old.ExpYear ||
		row.CustomerID != old.CustomerID
	if was == is && !changed {
		return nil
	}
	detail := map[string]any{"type": row.Type}
	if row.ExpYear != 0 {
		detail["expires"] = fmt.Sprintf("%04d-%02d", row.ExpYear, row.ExpMonth)
	}
	return t.audit(ctx, kindPaymentMethod, row.ID, was, is, detail)
}

func methodStatus(detached *time.Time) string {
	if detached != nil {
		return "detached"
	}
	return "attached"
}

type setupIntent struct {
	common
	Status        string `json:"status"`
	PaymentMethod ref    `json:"payment_method"`
}

func fetchSetupIntent(ctx context.Context, api *client.API, id string) (object, error) {
	got, err := api.SetupIntents.Get(id, &stripe.SetupIntentParams{Params: stripe.Params{Context: ctx}})
	if err != nil {
		return nil, err
	}
	i := new(setupIntent)
	return i, read(got.LastResponse, i)
}

// storeSetupIntent keeps nothing of it: what it has set up is looked at by itself.
func storeSetupIntent(_ context.Context, _ *settling, i *setupIntent) error { return need(i.Status) }

// afterSetupIntent looks at the payment method that was saved, and at the customer, of whom it may be the default now.
func afterSetupIntent(_ context.Context, _ *db.Queries, o object) ([]root, error) {
	i, ok := o.(*setupIntent)
	if !ok || i.Status != "succeeded" || i.PaymentMethod == "" || i.Customer == "" {
		return nil, nil
	}
	return []root{{kindCustomer, string(i.Customer)}, {kindPaymentMethod, string(i.PaymentMethod)}}, nil
}
