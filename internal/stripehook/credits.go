package stripehook

import (
	"context"
	"fmt"

	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/outbox"
)

// grantInvoice gives the credits that a paid invoice carries, each line once for ever. Why the invoice was made decides
// which lines count; a zero amount counts like any other. Whatever of a change is not prorated begins a period, on an update as on a
// renewal: what is left of the period before stays until its own end.
func (t *settling) grantInvoice(ctx context.Context, in *invoice) error {
	gives, known := credit.InvoiceGives(in.BillingReason)
	if !known {
		t.alarm("unknown_billing_reason", "invoice", in.ID, "billing_reason", in.BillingReason)
	}
	if gives == credit.GivesNothing {
		return nil
	}
	worth, err := t.settleLines(ctx, in.ID)
	if err != nil {
		return err
	}
	for _, line := range in.Lines.Data {
		if line.credited() || line.Price.ID == "" {
			continue
		}
		if err := t.grantLine(ctx, in, line, gives == credit.GivesPeriods, worth[line.ID]); err != nil {
			return fmt.Errorf("grant line %s: %w", line.ID, err)
		}
	}
	return nil
}

// settleLines writes down what the lines of a paid invoice are worth a month, and returns it: an event that is replayed grants nothing
// that the catalogue has learned to give since.
func (t *settling) settleLines(ctx context.Context, invoiceID string) (map[string]int64, error) {
	if err := t.q.SettleInvoiceLines(ctx, t.noUpgrade, invoiceID, t.account); err != nil {
		return nil, fmt.Errorf("settle lines: %w", err)
	}
	rows, err := t.q.ListLineAllowances(ctx, invoiceID, t.account)
	if err != nil {
		return nil, fmt.Errorf("list what lines are worth: %w", err)
	}
	worth := make(map[string]int64, len(rows))
	for _, row := range rows {
		worth[row.ID] = *row.Allowance
	}
	return worth, nil
}

func (t *settling) grantLine(ctx context.Context, in *invoice, line invoiceLine, allowances bool, worth int64) error {
	sold, ok, err := t.soldPrice(ctx, line.Price.ID, in.Currency, in.ID)
	if err != nil || !ok {
		return err
	}
	key := lineKey(in.ID, line.ID)
	switch {
	case line.Proration: // a change has its share
		return nil
	case sold.PackID != "":
		return t.grantPack(ctx, sold, line.count(), key, in.StatusTransitions.PaidAt)
	case allowances:
		return t.grantAllowance(ctx, line, sold, worth, key)
	}
	return nil
}

// soldPrice finds what was sold. A price that the catalogue does not know, or one in another currency than was paid, grants
// nothing until somebody has looked.
func (t *settling) soldPrice(ctx context.Context, id, currency, paidBy string) (catalog.Price, bool, error) {
	sold, known, err := catalog.PriceByStripeID(ctx, t.q, id)
	if err != nil {
		return catalog.Price{}, false, err
	}
	switch {
	case !known:
		return catalog.Price{}, false, t.withhold(ctx, "unknown_price", paidBy, id, currency)
	case sold.Currency != currency:
		return catalog.Price{}, false, t.withhold(ctx, "grant_quarantined", paidBy, id, currency)
	}
	return sold, true, nil
}

// withhold tells the operator that something was paid for which nothing was granted.
func (t *settling) withhold(ctx context.Context, reason, paidBy, price, currency string) error {
	t.alarm(reason, "paid_by", paidBy, "price", price, "currency", currency)
	_, err := outbox.Add(ctx, t.q, t.now, outbox.Message{
		Kind: "operator_alarm", NaturalKey: reason + ":" + paidBy + ":" + price,
		Payload: map[string]any{"reason": reason, "account": t.account, "paid_by": paidBy, "price": price, "currency": currency},
	})
	return err
}

// withheldGrants lists what was withheld and can be granted by now.
func (s *Service) withheldGrants(ctx context.Context, most int32) ([]db.ListWithheldGrantsRow, error) {
	return s.queries().ListWithheldGrants(ctx, credit.ReasonsGiving(credit.GivesChanges), most)
}

// grantAllowance gives the month of credits that a line has paid for. The further months of a yearly price are given by the
// clock. A line without a period is for the month that begins with its payment.
func (t *settling) grantAllowance(ctx context.Context, line invoiceLine, sold catalog.Price, worth int64, key string) error {
	start := line.Period.Start.orElse(t.now)
	lot, ok := credit.AllowanceLot(credit.Allowance{
		AccountID: t.account, NaturalKey: key, Tier: sold.TierID, Quantity: 1, Start: start,
		Monthly: catalog.Allowance{Amount: worth, Rollover: sold.Rollover},
		End:     line.Period.End.orElse(start.AddDate(0, 1, 0)), Actor: t.actor,
	})
	if !ok {
		return nil
	}
	_, err := credit.Grant(ctx, t.q, t.now, lot)
	return err
}

// grantPack gives the credits of a pack. What counts is what was sold under the price, whatever the pack contains today; its life
// begins with the payment, whenever we hear of it.
func (t *settling) grantPack(ctx context.Context, sold catalog.Price, quantity int64, key string, paid stamp) error {
	if quantity <= 0 {
		return nil
	}
	lot := credit.Lot{
		AccountID: t.account, Source: credit.SourcePack, NaturalKey: key, Priority: credit.PriorityPack,
		Amount: sold.Credits * quantity, Description: "Credit pack " + sold.PackID, Actor: t.actor,
	}
	if sold.ExpiresAfterDays > 0 {
		expires := paid.orElse(t.now).AddDate(0, 0, sold.ExpiresAfterDays)
		lot.ExpiresAt = &expires
	}
	_, err := credit.Grant(ctx, t.q, t.now, lot)
	return err
}
