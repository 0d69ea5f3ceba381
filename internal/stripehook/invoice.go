package stripehook

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/outbox"
)

// Statuses of invoices that decide something.
const (
	invoicePaid = "paid"
	invoiceOpen = "open"
)

type invoice struct {
	common
	Subscription      ref    `json:"subscription"`
	Number            string `json:"number"`
	Status            string `json:"status"`
	BillingReason     string `json:"billing_reason"`
	Currency          string `json:"currency"`
	Subtotal          int64  `json:"subtotal"`
	Total             int64  `json:"total"`
	AmountDue         int64  `json:"amount_due"`
	AmountPaid        int64  `json:"amount_paid"`
	AmountRemaining   int64  `json:"amount_remaining"`
	StartingBalance   int64  `json:"starting_balance"`
	EndingBalance     *int64 `json:"ending_balance"`
	AttemptCount      int64  `json:"attempt_count"`
	NextAttempt       stamp  `json:"next_payment_attempt"`
	PaymentIntent     ref    `json:"payment_intent"`
	Charge            ref    `json:"charge"`
	PaidOutOfBand     bool   `json:"paid_out_of_band"`
	HostedInvoiceURL  string `json:"hosted_invoice_url"`
	InvoicePDF        string `json:"invoice_pdf"`
	PeriodStart       stamp  `json:"period_start"`
	PeriodEnd         stamp  `json:"period_end"`
	FinalizationError *struct {
		Code string `json:"code"`
		Type string `json:"type"`
	} `json:"last_finalization_error"`
	StatusTransitions struct {
		FinalizedAt stamp `json:"finalized_at"`
		PaidAt      stamp `json:"paid_at"`
	} `json:"status_transitions"`
	Parent struct {
		SubscriptionDetails struct {
			Subscription ref `json:"subscription"`
		} `json:"subscription_details"`
	} `json:"parent"`
	Lines struct {
		Data    []invoiceLine `json:"data"`
		HasMore bool          `json:"has_more"`
	} `json:"lines"`
	// CreditedBefore is the sum of the credit notes that took something off before the payment, Credited of those that gave something of
	// the payment back.
	CreditedBefore int64 `json:"pre_payment_credit_notes_amount"`
	Credited       int64 `json:"post_payment_credit_notes_amount"`

	notes []creditNote
}

type invoiceLine struct {
	ID               string `json:"id"`
	Amount           int64  `json:"amount"`
	Currency         string `json:"currency"`
	Description      string `json:"description"`
	Quantity         *int64 `json:"quantity"`
	Proration        bool   `json:"proration"`
	ProrationDetails struct {
		CreditedItems *struct{} `json:"credited_items"`
	} `json:"proration_details"`
	SubscriptionItem ref   `json:"subscription_item"`
	Price            price `json:"price"`
	Period           struct {
		Start stamp `json:"start"`
		End   stamp `json:"end"`
	} `json:"period"`
}

// count is the quantity; lines without one count once.
func (l invoiceLine) count() int64 {
	if l.Quantity == nil {
		return 1
	}
	return *l.Quantity
}

// credited is whether the line gives back what another has billed. Stripe names that other line; a full discount leaves no amount to
// tell by, and an amount below zero tells it by itself.
func (l invoiceLine) credited() bool {
	return l.ProrationDetails.CreditedItems != nil || l.Amount < 0
}

func fetchInvoice(ctx context.Context, api *client.API, id string) (object, error) {
	got, err := api.Invoices.Get(id, &stripe.InvoiceParams{Params: stripe.Params{Context: ctx}})
	if err != nil {
		return nil, err
	}
	in := new(invoice)
	if err := read(got.LastResponse, in); err != nil {
		return nil, err
	}
	if in.Subscription == "" {
		in.Subscription = in.Parent.SubscriptionDetails.Subscription
	}
	if in.Credited > 0 {
		if in.notes, err = fetchCreditNotes(ctx, api, id); err != nil {
			return nil, err
		}
	}
	if !in.Lines.HasMore {
		return in, nil
	}
	params := &stripe.InvoiceListLinesParams{Invoice: stripe.String(id)}
	params.Context, params.Limit, params.Single = ctx, stripe.Int64(pageSize), true
	in.Lines.Data, err = pages(&params.ListParams, func() (*stripe.APIResponse, error) {
		list := api.Invoices.ListLines(params)
		return list.InvoiceLineItemList().LastResponse, list.Err()
	}, func(l invoiceLine) string { return l.ID })
	return in, err
}

// beforeInvoice looks at the invoice's subscription where it was never seen, and at it and the payment intent where a message depends on
// their state.
func beforeInvoice(ctx context.Context, q *db.Queries, o object, event db.StripeEvent) ([]root, error) {
	in, ok := o.(*invoice)
	if !ok {
		return nil, nil
	}
	subscription := root{kindSubscription, string(in.Subscription)}
	if event.ObjectID == in.ID && looks[event.Type].moment != nil {
		roots := []root{subscription, {kindPaymentIntent, string(in.PaymentIntent)}}
		return slices.DeleteFunc(roots, func(r root) bool { return r.id == "" }), nil
	}
	if in.Subscription == "" {
		return nil, nil
	}
	seen, err := q.IsStripeObjectApplied(ctx, subscription.id)
	if err != nil {
		return nil, fmt.Errorf("look for subscription: %w", err)
	}
	if seen {
		return nil, nil
	}
	return []root{subscription}, nil
}

// storeInvoice mirrors the invoice with its lines and, once it is paid, brings about what was paid for. Which event has
// led here does not matter: invoice.paid and invoice.payment_succeeded are often both sent, and sometimes only one.
func storeInvoice(ctx context.Context, t *settling, in *invoice) error {
	if err := need(in.Status, in.Currency); err != nil {
		return err
	}
	deleted, err := t.deleted(ctx)
	if err != nil {
		return err
	}
	if deleted { // their pages show name and address
		in.HostedInvoiceURL, in.InvoicePDF = "", ""
	}
	old, err := t.q.GetMirroredInvoice(ctx, in.ID, t.account)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read invoice: %w", err)
	}
	rows, err := t.q.UpsertInvoice(ctx, invoiceRow(t, in))
	if err := moved(rows, err, "invoice"); err != nil {
		return err
	}
	if err := t.storeLines(ctx, in); err != nil {
		return err
	}
	if old.Status != in.Status {
		err := t.audit(ctx, "invoice", in.ID, old.Status, in.Status, map[string]any{
			"total": in.Total, "amount_paid": in.AmountPaid, "currency": in.Currency, "billing_reason": in.BillingReason,
		})
		if err != nil {
			return err
		}
	}
	if in.Status != invoicePaid {
		return nil
	}
	if err := t.grantInvoice(ctx, in); err != nil {
		return err
	}
	if err := t.storeCreditNotes(ctx, in); err != nil {
		return err
	}
	if err := t.reverseInvoice(ctx, in.ID, in.Total-in.CreditedBefore, in.Charge.pointer()); err != nil {
		return err
	}
	if err := t.recordOutOfBand(ctx, in); err != nil {
		return err
	}
	return t.receipt(ctx, in)
}

func invoiceRow(t *settling, in *invoice) db.UpsertInvoiceParams {
	row := db.UpsertInvoiceParams{
		ID: in.ID, AccountID: t.account, CustomerID: string(in.Customer), SubscriptionID: in.Subscription.pointer(),
		Number: optional(in.Number), Status: in.Status, BillingReason: in.BillingReason, Currency: in.Currency,
		Subtotal: in.Subtotal, Total: in.Total, PrePaymentCredited: in.CreditedBefore, AmountDue: in.AmountDue, AmountPaid: in.AmountPaid,
		AmountRemaining: in.AmountRemaining, StartingBalance: in.StartingBalance, EndingBalance: in.EndingBalance,
		AttemptCount: in.AttemptCount, PaymentIntentID: in.PaymentIntent.pointer(), ChargeID: in.Charge.pointer(),
		PaidOutOfBand: in.PaidOutOfBand, HostedInvoiceURL: optional(in.HostedInvoiceURL), InvoicePDF: optional(in.InvoicePDF),
		PeriodStart: in.PeriodStart.Time, PeriodEnd: in.PeriodEnd.Time, CreatedAt: in.Created.orElse(t.now),
		FinalizedAt: in.StatusTransitions.FinalizedAt.Time, PaidAt: in.StatusTransitions.PaidAt.Time,
		NextPaymentAttempt: in.NextAttempt.Time, Now: t.now,
	}
	if e := in.FinalizationError; e != nil {
		row.FinalizationError = optional(e.Code)
		if e.Code == "" {
			row.FinalizationError = optional(e.Type)
		}
	}
	return row
}

func (t *settling) storeLines(ctx context.Context, in *invoice) error {
	ids := make([]string, 0, len(in.Lines.Data))
	for _, line := range in.Lines.Data {
		ids = append(ids, line.ID)
	}
	if err := t.q.DeleteOtherInvoiceLines(ctx, in.ID, t.account, ids); err != nil {
		return fmt.Errorf("remove invoice lines: %w", err)
	}
	for _, line := range in.Lines.Data {
		rows, err := t.q.UpsertInvoiceLine(ctx, db.UpsertInvoiceLineParams{
			ID: line.ID, InvoiceID: in.ID, AccountID: t.account, PriceID: line.Price.ID,
			SubscriptionItemID: line.SubscriptionItem.pointer(), Description: line.Description, Amount: line.Amount,
			Currency: line.Currency, Quantity: line.count(), Proration: line.Proration, Credited: line.credited(),
			PeriodStart: line.Period.Start.Time, PeriodEnd: line.Period.End.Time,
		})
		if err := moved(rows, err, "invoice line"); err != nil {
			return err
		}
	}
	return nil
}

// recordOutOfBand writes the payment of an invoice that was paid outside Stripe: no charge will tell of it.
func (t *settling) recordOutOfBand(ctx context.Context, in *invoice) error {
	if !in.PaidOutOfBand || in.AmountPaid == 0 {
		return nil
	}
	return t.movement(ctx, db.UpsertTransactionParams{
		Kind: "payment", NaturalKey: "invoice:" + in.ID, Status: "succeeded", Amount: in.AmountPaid, Currency: in.Currency, InvoiceID: &in.ID,
		Description: "Paid outside Stripe", OccurredAt: in.StatusTransitions.PaidAt.orElse(in.Created.orElse(t.now)),
	})
}

// receipt confirms, once for each invoice, what we have received. Where that is nothing, for nothing was to pay or the customer's balance
// has paid it all, there is nothing to confirm.
func (t *settling) receipt(ctx context.Context, in *invoice) error {
	if in.AmountPaid <= 0 {
		return nil
	}
	_, err := outbox.Add(ctx, t.q, t.now, outbox.Message{
		AccountID: &t.account, Kind: "receipt", NaturalKey: "receipt:" + in.ID,
		Payload: map[string]any{
			"invoice": in.ID, "number": in.Number, "amount": in.AmountPaid, "total": in.Total, "from_balance": in.fromBalance(), "currency": in.Currency,
			"out_of_band": in.PaidOutOfBand, "hosted_invoice_url": in.HostedInvoiceURL,
		},
	})
	return err
}

// fromBalance is what the customer's balance has paid of the invoice: a credit is negative there.
func (in *invoice) fromBalance() int64 {
	if in.EndingBalance == nil || in.StartingBalance >= 0 {
		return 0
	}
	return max(0, *in.EndingBalance-in.StartingBalance)
}

// invoiceGone marks an invoice that Stripe has deleted, which it does with drafts only.
func invoiceGone(ctx context.Context, t *settling, id string) error {
	if _, err := t.q.DeleteInvoice(ctx, t.now, id, t.account); err != nil {
		return fmt.Errorf("delete invoice: %w", err)
	}
	return nil
}
