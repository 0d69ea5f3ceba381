package stripehook

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/outbox"
)

// paymentFailed asks the customer for a payment that failed, unless it has been paid since. While a subscription is
// incomplete the customer is in the middle of the checkout, which has said so already.
func paymentFailed(ctx context.Context, t *settling) error {
	in, due, err := t.dueInvoice(ctx)
	if err != nil || !due {
		return err
	}
	_, err = outbox.Add(ctx, t.q, t.now, outbox.Message{
		AccountID: &t.account, Kind: "payment_failed", NaturalKey: fmt.Sprintf("payment_failed:%s:%d", in.ID, in.AttemptCount),
		Payload: map[string]any{
			"invoice": in.ID, "attempt": in.AttemptCount, "amount": in.AmountRemaining, "currency": in.Currency,
			"hosted_invoice_url": in.HostedInvoiceURL, "next_payment_attempt": in.NextPaymentAttempt, "last_attempt": in.NextPaymentAttempt == nil,
		},
	})
	return err
}

// paymentActionRequired tells the customer that the bank wants a confirmation.
func paymentActionRequired(ctx context.Context, t *settling) error {
	in, due, err := t.dueInvoice(ctx)
	if err != nil || !due || in.PaymentIntentID == nil {
		return err
	}
	_, err = outbox.Add(ctx, t.q, t.now, outbox.Message{
		AccountID: &t.account, Kind: "payment_action_required",
		NaturalKey: fmt.Sprintf("payment_action_required:%s:%s", in.ID, *in.PaymentIntentID),
		Payload:    map[string]any{"invoice": in.ID, "hosted_invoice_url": in.HostedInvoiceURL},
	})
	return err
}

// finalizationFailed tells the operator: nobody is charged until the cause is repaired.
func finalizationFailed(ctx context.Context, t *settling) error {
	in, err := t.q.GetMirroredInvoice(ctx, t.event.ObjectID, t.account)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && in.Status != "draft" {
		return nil // it was repaired
	}
	if err != nil {
		return fmt.Errorf("read invoice: %w", err)
	}
	return t.tellOperator(ctx, "finalization_failed", in.ID, map[string]any{"code": in.FinalizationError})
}

// dueInvoice reads the stored invoice of the event and tells whether it is still to be paid by the customer.
func (t *settling) dueInvoice(ctx context.Context) (db.Invoice, bool, error) {
	in, err := t.q.GetMirroredInvoice(ctx, t.event.ObjectID, t.account)
	if errors.Is(err, pgx.ErrNoRows) {
		return db.Invoice{}, false, nil
	}
	if err != nil {
		return db.Invoice{}, false, fmt.Errorf("read invoice: %w", err)
	}
	if in.Status != invoiceOpen || in.SubscriptionID == nil {
		return in, in.Status == invoiceOpen, nil
	}
	s, err := t.q.GetMirroredSubscription(ctx, *in.SubscriptionID, t.account)
	if err != nil {
		return db.Invoice{}, false, fmt.Errorf("read subscription: %w", err)
	}
	return in, s.Status != "incomplete" && s.Status != "incomplete_expired", nil
}
