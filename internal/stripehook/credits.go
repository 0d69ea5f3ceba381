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
// which lines count; a zero amount counts like any other.
func (t *settling) grantInvoice(ctx context.Context, in *invoice) error {
	var allowances bool
	switch in.BillingReason {
	case "subscription_create", "subscription_cycle", "subscription":
		allowances = true
	case "manual", "quote_accept", "automatic_pending_invoice_item_invoice":
	case "subscription_update":
		return t.grantUpgrade(ctx, in)
	case "subscription_threshold", "upcoming":
		return nil
	default:
		t.alarm("unknown_billing_reason", "invoice", in.ID, "billing_reason", in.BillingReason)
		return nil
	}
	for _, line := range in.Lines.Data {
		if line.Proration || line.Price.ID == "" {
			continue
		}
		if err := t.grantLine(ctx, in, line, allowances); err != nil {
			return fmt.Errorf("grant line %s: %w", line.ID, err)
		}
	}
	return nil
}

func (t *settling) grantLine(ctx context.Context, in *invoice, line invoiceLine, allowances bool) error {
	sold, ok, err := t.soldPrice(ctx, line.Price.ID, in.Currency, in.ID)
	if err != nil || !ok {
		return err
	}
	key := lineKey(in.ID, line.ID)
	switch {
	case sold.PackID != "":
		return t.grantPack(ctx, sold, line.count(), key, in.StatusTransitions.PaidAt)
	case allowances:
		return t.grantAllowance(ctx, line, sold, key)
	}
	return nil
}

// grantUpgrade gives what a change in the middle of a period has added to the period's allowance: the difference between what the
// item gives now and what it gave before, which the invoice credits on a line of its own. A change down takes nothing: what was
// granted was paid for. Nor does going up and down and up again give more than the way from the lowest to the highest.
func (t *settling) grantUpgrade(ctx context.Context, in *invoice) error {
	for _, line := range in.Lines.Data {
		if line.Amount <= 0 || line.Price.ID == "" {
			continue
		}
		sold, ok, err := t.soldPrice(ctx, line.Price.ID, in.Currency, in.ID)
		if err != nil {
			return err
		}
		switch {
		case !ok:
			continue
		case sold.PackID != "":
			if err := t.grantPack(ctx, sold, line.count(), lineKey(in.ID, line.ID), in.StatusTransitions.PaidAt); err != nil {
				return err
			}
			continue
		case t.noUpgrade || line.SubscriptionItem == "" || line.Period.End.Time == nil:
			continue
		}
		before, err := t.allowanceBefore(ctx, in, line)
		if err != nil {
			return err
		}
		bounds, err := t.q.GetUpgradeBounds(ctx, db.GetUpgradeBoundsParams{
			AccountID: t.account, SubscriptionItemID: string(line.SubscriptionItem), PeriodEnd: *line.Period.End.Time, InvoiceID: in.ID,
		})
		if err != nil {
			return fmt.Errorf("read upgrades of the period: %w", err)
		}
		after := sold.Credits * line.count()
		lowest, highest := before, max(after, bounds.Highest)
		if bounds.Others {
			lowest = min(lowest, bounds.Lowest)
		}
		sold.Credits = min(after-before, highest-lowest-bounds.Granted)
		one := int64(1)
		line.Quantity = &one
		if sold.Credits <= 0 {
			continue
		}
		if err := t.grantAllowance(ctx, line, sold, lineKey(in.ID, line.ID)); err != nil {
			return fmt.Errorf("grant upgrade %s: %w", line.ID, err)
		}
	}
	return nil
}

// allowanceBefore is what the item of a line gave before the change: the invoice credits the rest of its period.
func (t *settling) allowanceBefore(ctx context.Context, in *invoice, line invoiceLine) (int64, error) {
	var before int64
	for _, other := range in.Lines.Data {
		if other.Amount >= 0 || other.SubscriptionItem != line.SubscriptionItem {
			continue
		}
		sold, known, err := catalog.PriceByStripeID(ctx, t.q, other.Price.ID)
		if err != nil {
			return 0, err
		}
		if known {
			before += sold.Credits * other.count()
		}
	}
	return before, nil
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

// grantAllowance gives the month of credits that a line has paid for. The further months of a yearly price are given by the
// clock. A line without a period is for the month that begins with its payment.
func (t *settling) grantAllowance(ctx context.Context, line invoiceLine, sold catalog.Price, key string) error {
	start := line.Period.Start.orElse(t.now)
	lot, ok := credit.AllowanceLot(credit.Allowance{
		AccountID: t.account, NaturalKey: key, Tier: sold.TierID, Quantity: line.count(), Start: start,
		Monthly: catalog.Allowance{Amount: sold.Credits, Rollover: sold.Rollover},
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
