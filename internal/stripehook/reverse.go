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

// reverseInvoice takes back of the lots that an invoice has bought. Where it took, further changes of the same month may give now what
// this invoice gave before: they are asked again.
func (t *settling) reverseInvoice(ctx context.Context, id string, total int64, chargeID *string) error {
	taken, err := t.reclaimInvoice(ctx, id, total, chargeID)
	if err != nil {
		return err
	}
	// Of a year whose money has come back the clock owes months again.
	if err := credit.Reconsider(ctx, t.q, t.account); err != nil || taken == 0 {
		return err
	}
	others, err := t.q.ListOtherUpgradeInvoices(ctx, id, t.account)
	if err != nil {
		return fmt.Errorf("list other upgrades: %w", err)
	}
	for _, other := range others {
		paid := stamp{other.PaidAt}
		if err := t.grantUpgrades(ctx, other.ID, paid.orElse(t.now)); err != nil {
			return err
		}
		if _, err := t.reclaimInvoice(ctx, other.ID, other.Payable, other.ChargeID); err != nil {
			return err
		}
	}
	return nil
}

// reclaimInvoice tells how many credits it took. What was to be paid counts, whatever of it was paid from the balance: a charge is
// spread over the lines by their amounts, so each lot loses the same share.
func (t *settling) reclaimInvoice(ctx context.Context, id string, total int64, chargeID *string) (taken int64, err error) {
	causes, err := t.reversals(ctx, db.ListReversalsParams{AccountID: t.account, InvoiceID: &id, ChargeID: chargeID})
	if err != nil || len(causes) == 0 {
		return 0, err
	}
	lines, err := t.q.ListInvoiceLinesPaid(ctx, id, t.account)
	if err != nil {
		return 0, fmt.Errorf("list invoice lines: %w", err)
	}
	var keys, prefixes []string
	for _, line := range lines {
		keys = append(keys, lineKey(id, line.ID))
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
	_, err = t.reclaim(ctx, credit.Reversal{
		Paid: total, Causes: causes, NaturalKeys: []string{sessionKey(id)}, Prefixes: []string{sessionKey(id) + ":"},
	})
	return err
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

// reclaim tells how many credits it took.
func (t *settling) reclaim(ctx context.Context, r credit.Reversal) (taken int64, err error) {
	r.AccountID, r.Actor = t.account, t.actor
	done, err := credit.Reclaim(ctx, t.q, t.now, r)
	if err != nil {
		return 0, fmt.Errorf("take credits back: %w", err)
	}
	if done.Shortfall > 0 {
		t.alarm("credit_shortfall", "account", t.account, "shortfall", done.Shortfall)
	}
	return done.Taken, nil
}

func lineKey(invoice, line string) string { return "invoice:" + invoice + ":" + line }

func sessionKey(session string) string { return "session:" + session }
