package stripehook

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/outbox"
)

// intentRequiresAction is the status of a payment intent that waits for the customer, mostly at the bank.
const intentRequiresAction = "requires_action"

// paymentFailed asks the customer for a payment that failed, unless it has been paid since or the bank only wants a confirmation, for
// which there is an event of its own. While a subscription is incomplete the customer is in the middle of the checkout, which has said
// so already.
func paymentFailed(ctx context.Context, t *settling) error {
	in, due, err := t.dueInvoice(ctx)
	if err != nil || !due || in.intent == intentRequiresAction {
		return err
	}
	m := outbox.Message{
		AccountID: &t.account, Kind: "payment_failed", NaturalKey: fmt.Sprintf("payment_failed:%s:%d", in.ID, in.AttemptCount),
		Payload: map[string]any{
			"invoice": in.ID, "attempt": in.AttemptCount, "amount": in.AmountRemaining, "currency": in.Currency,
			"hosted_invoice_url": in.HostedInvoiceURL, "next_payment_attempt": in.NextPaymentAttempt, "last_attempt": in.NextPaymentAttempt == nil,
		},
	}
	if in.change() { // nothing ends: the subscription goes on as it is, and the change is dropped
		m.Kind, m.NaturalKey = "change_payment_failed", "change_"+m.NaturalKey
		m.Payload = map[string]any{
			"invoice": in.ID, "amount": in.AmountRemaining, "currency": in.Currency, "hosted_invoice_url": in.HostedInvoiceURL,
			"expires_at": in.subscription.PendingExpiresAt,
		}
	}
	_, err = outbox.Add(ctx, t.q, t.now, m)
	return err
}

// paymentActionRequired tells the customer, once for each attempt, that the bank wants a confirmation. One that it wants no more, because
// it failed or was given, has an event of its own.
func paymentActionRequired(ctx context.Context, t *settling) error {
	in, due, err := t.dueInvoice(ctx)
	if err != nil || !due || in.intent != intentRequiresAction {
		return err
	}
	key := fmt.Sprintf("payment_action_required:%s:%s", in.ID, *in.PaymentIntentID)
	if in.AttemptCount > 1 { // the same payment intent serves all attempts
		key = fmt.Sprintf("%s:%d", key, in.AttemptCount)
	}
	_, err = outbox.Add(ctx, t.q, t.now, outbox.Message{
		AccountID: &t.account, Kind: "payment_action_required", NaturalKey: key,
		Payload: map[string]any{"invoice": in.ID, "hosted_invoice_url": in.HostedInvoiceURL},
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

// A demand is an invoice that the customer is still to pay, with what decides about the words for it.
type demand struct {
	db.Invoice
	intent       string // the status of its payment intent; empty where there is none
	subscription db.Subscription
}

// change tells whether the invoice is of a change that waits for its payment. Stripe tries such a payment once, and the subscription stays
// in good standing, whatever becomes of it.
func (d demand) change() bool {
	s := d.subscription
	waits := s.PendingExpiresAt != nil || s.Status == "active" || s.Status == "trialing"
	return d.BillingReason == "subscription_update" && d.NextPaymentAttempt == nil && waits
}

// dueInvoice reads the stored invoice of the event and tells whether it is still to be paid by the customer.
func (t *settling) dueInvoice(ctx context.Context) (d demand, due bool, err error) {
	d.Invoice, err = t.q.GetMirroredInvoice(ctx, t.event.ObjectID, t.account)
	if errors.Is(err, pgx.ErrNoRows) {
		return d, false, nil
	}
	if err != nil {
		return d, false, fmt.Errorf("read invoice: %w", err)
	}
	if d.Status != invoiceOpen {
		return d, false, nil
	}
	if d.PaymentIntentID != nil {
		d.intent, err = t.q.GetPaymentIntentStatus(ctx, *d.PaymentIntentID, t.account)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return d, false, fmt.Errorf("read payment intent: %w", err)
		}
	}
	if d.SubscriptionID == nil {
		return d, true, nil
	}
	d.subscription, err = t.q.GetMirroredSubscription(ctx, *d.SubscriptionID, t.account)
	if err != nil {
		return d, false, fmt.Errorf("read subscription: %w", err)
	}
	return d, d.subscription.Status != "incomplete" && d.subscription.Status != "incomplete_expired", nil
}
