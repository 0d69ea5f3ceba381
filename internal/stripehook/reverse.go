package stripehook

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/db"
)

// What has gone back of a payment and what the payment has bought come to us in any order, so each of them asks for the claw-back,
// and it follows from what is stored: whoever comes last does it.

// reverseCharge takes back what went with the money of a charge, through its invoice or its checkout session. Where neither is
// known yet it will ask itself.
func (t *settling) reverseCharge(ctx context.Context, c *charge) error {
	in, err := t.q.FindInvoiceOfCharge(ctx, t.account, c.Invoice.pointer(), c.ID)
	if err == nil {
		return t.reverseInvoice(ctx, in.ID, in.Payable, in.ChargeID)
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("find invoice of charge: %w", err)
	}
	if c.PaymentIntent == "" {
		return nil
	}
	cs, err := t.q.FindSessionOfPayment(ctx, t.account, string(c.PaymentIntent))
	if errors.Is(err, pgx.ErrNoRows) || err == nil && cs.AmountTotal == nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find session of charge: %w", err)
	}
	return t.reverseSession(ctx, cs.ID, *cs.AmountTotal, string(c.PaymentIntent))
}

// reverseInvoice settles what the changes of its periods have bought, and takes back of the lots that the invoice has bought what went
// with its money. What it has bought no more others may have bought, and the other way round.
func (t *settling) reverseInvoice(ctx context.Context, id string, total int64, chargeID *string) error {
	changed, err := t.settleShares(ctx, id)
	if err != nil {
		return err
	}
	if err := t.reclaimInvoice(ctx, id, total, chargeID); err != nil {
		return err
	}
	done := map[string]bool{id: true}
	for _, line := range changed {
		if done[line.InvoiceID] {
			continue
		}
		done[line.InvoiceID] = true
		if err := t.reclaimInvoice(ctx, line.InvoiceID, line.Payable, line.ChargeID); err != nil {
			return err
		}
	}
	// Of a year whose money has come back the clock owes months again.
	return credit.Reconsider(ctx, t.q, t.account)
}

// reclaimInvoice counts what was to be paid, whatever of it was paid from the balance: a charge is spread over the lines by their amounts,
// so each lot loses the same share.
func (t *settling) reclaimInvoice(ctx context.Context, id string, total int64, chargeID *string) error {
	causes, err := t.reversals(ctx, db.ListReversalsParams{AccountID: t.account, InvoiceID: &id, ChargeID: chargeID})
	if err != nil || len(causes) == 0 {
		return err
	}
	lines, err := t.q.ListInvoiceLinesPaid(ctx, id, t.account)
	if err != nil {
		return fmt.Errorf("list invoice lines: %w", err)
	}
	var keys, prefixes []string
	for _, line := range lines {
		keys, prefixes = append(keys, lineKey(id, line.ID)), append(prefixes, lineKey(id, line.ID)+":")
		switch {
		case line.SubscriptionItemID == nil || line.PeriodStart == nil || line.PeriodEnd == nil:
		case line.Proration:
			prefixes = append(prefixes, credit.ChangePrefix(*line.SubscriptionItemID, line.ID))
		default:
			keys = append(keys, credit.MonthKeys(*line.SubscriptionItemID, *line.PeriodStart, *line.PeriodEnd)...)
		}
	}
	return t.reclaim(ctx, credit.Reversal{Paid: total, Causes: causes, NaturalKeys: keys, Prefixes: prefixes})
}

// reverseSession takes back of the lots that a single payment has bought.
func (t *settling) reverseSession(ctx context.Context, id string, total int64, intent string) error {
	causes, err := t.reversals(ctx, db.ListReversalsParams{AccountID: t.account, PaymentIntentID: &intent})
	if err != nil || len(causes) == 0 {
		return err
	}
	return t.reclaim(ctx, credit.Reversal{
		Paid: total, Causes: causes, NaturalKeys: []string{sessionKey(id)}, Prefixes: []string{sessionKey(id) + ":"},
	})
}

func (t *settling) reversals(ctx context.Context, of db.ListReversalsParams) ([]credit.Cause, error) {
	rows, err := t.q.ListReversals(ctx, of)
	if err != nil {
		return nil, fmt.Errorf("list reversals: %w", err)
	}
	causes := make([]credit.Cause, len(rows))
	for i, row := range rows {
		causes[i] = credit.Cause{Key: row.Cause, Amount: row.Amount}
	}
	return causes, nil
}

func (t *settling) reclaim(ctx context.Context, r credit.Reversal) error {
	r.AccountID, r.Actor = t.account, t.actor
	done, err := credit.Reclaim(ctx, t.q, t.now, r)
	if err != nil {
		return fmt.Errorf("take credits back: %w", err)
	}
	if done.Shortfall > 0 {
		t.alarm("credit_shortfall", "account", t.account, "shortfall", done.Shortfall)
	}
	return nil
}

func lineKey(invoice, line string) string { return "invoice:" + invoice + ":" + line }

func sessionKey(session string) string { return "session:" + session }
