package stripehook

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"example.com/saaskit/internal/db"
)

// What Stripe says of a credit note.
const (
	noteIssued      = "issued"
	noteVoid        = "void"
	notePostPayment = "post_payment"
)

// A creditNote gives something of a paid invoice back: by a refund, to the customer's balance, or outside Stripe. It is looked at with
// its invoice, whose fence it has.
type creditNote struct {
	ID       string     `json:"id"`
	Type     string     `json:"type"`
	Status   string     `json:"status"`
	Amount   int64      `json:"amount"`
	Currency string     `json:"currency"`
	Reason   string     `json:"reason"`
	Created  stamp      `json:"created"`
	Refund   noteRefund `json:"refund"`
}

// A noteRefund is the part of a credit note that a refund has given back. The refund takes its credits itself.
type noteRefund struct{ amount int64 }

// UnmarshalJSON reads the expanded refund; null is none.
func (r *noteRefund) UnmarshalJSON(raw []byte) error {
	var refund *struct {
		Amount int64 `json:"amount"`
	}
	if err := json.Unmarshal(raw, &refund); err != nil {
		return fmt.Errorf("read refund of credit note: %w", err)
	}
	if r.amount = 0; refund != nil {
		r.amount = refund.Amount
	}
	return nil
}

// credited is what the note gives back beside its refund.
func (n creditNote) credited() int64 {
	if n.Status != noteIssued {
		return 0
	}
	return max(n.Amount-n.Refund.amount, 0)
}

// fetchCreditNotes lists those that were issued after the payment: one before it only lowers what the invoice asks for.
func fetchCreditNotes(ctx context.Context, api *client.API, invoice string) ([]creditNote, error) {
	params := &stripe.CreditNoteListParams{Invoice: stripe.String(invoice)}
	params.Context, params.Limit, params.Single = ctx, stripe.Int64(pageSize), true
	params.AddExpand("data.refund")
	all, err := pages(&params.ListParams, func() (*stripe.APIResponse, error) {
		list := api.CreditNotes.List(params)
		return list.CreditNoteList().LastResponse, list.Err()
	}, func(n creditNote) string { return n.ID })
	notes := all[:0]
	for _, n := range all {
		if n.Type == notePostPayment {
			notes = append(notes, n)
		}
	}
	return notes, err
}

// storeCreditNotes mirrors the credit notes of a paid invoice. One that Stripe does not list any more is void.
func (t *settling) storeCreditNotes(ctx context.Context, in *invoice) error {
	rows, err := t.q.ListCreditNotes(ctx, t.account, in.ID)
	if err != nil {
		return fmt.Errorf("list credit notes: %w", err)
	}
	old := make(map[string]db.CreditNote, len(rows))
	for _, row := range rows {
		old[row.ID] = row
	}
	for _, n := range in.notes {
		row := db.UpsertCreditNoteParams{
			ID: n.ID, AccountID: t.account, InvoiceID: in.ID, Status: n.Status, Amount: n.Amount, Credited: n.credited(),
			Currency: n.Currency, Reason: n.Reason, CreatedAt: n.Created.orElse(t.now), Now: t.now,
		}
		if err := t.storeCreditNote(ctx, row, old[n.ID]); err != nil {
			return err
		}
		delete(old, n.ID)
	}
	for _, was := range old {
		row := db.UpsertCreditNoteParams{
			ID: was.ID, AccountID: t.account, InvoiceID: in.ID, Status: noteVoid, Amount: was.Amount, Currency: was.Currency,
			Reason: was.Reason, CreatedAt: was.CreatedAt, Now: t.now,
		}
		if err := t.storeCreditNote(ctx, row, was); err != nil {
			return err
		}
	}
	return nil
}

func (t *settling) storeCreditNote(ctx context.Context, row db.UpsertCreditNoteParams, old db.CreditNote) error {
	if err := need(row.Status, row.Currency); err != nil {
		return err
	}
	rows, err := t.q.UpsertCreditNote(ctx, row)
	if err := moved(rows, err, "credit note"); err != nil {
		return err
	}
	if old.Status == row.Status && old.Credited == row.Credited {
		return nil
	}
	return t.audit(ctx, kindCreditNote, row.ID, old.Status, row.Status, map[string]any{
		"invoice": row.InvoiceID, "amount": row.Amount, "credited": row.Credited, "currency": row.Currency,
	})
}
