package stripehook

import (
	"context"
	"fmt"
	"time"

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
	for _, line := range in.Lines.Data {
		if line.Proration || line.credited() || line.Price.ID == "" {
			continue
		}
		if err := t.grantLine(ctx, in, line, gives == credit.GivesPeriods); err != nil {
			return fmt.Errorf("grant line %s: %w", line.ID, err)
		}
	}
	return t.grantUpgrades(ctx, in.ID, in.StatusTransitions.PaidAt.orElse(t.now))
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

// grantUpgrades gives what changes in the middle of a period have added to an allowance, as a paid invoice that is stored bills them:
// of each change the difference between what the item gives now and what it gave before, which the invoice credits from the same
// moment on. A change down takes nothing: what was granted was paid for.
func (t *settling) grantUpgrades(ctx context.Context, invoiceID string, paid time.Time) error {
	lines, err := t.q.ListInvoiceProrations(ctx, invoiceID, t.account)
	if err != nil {
		return fmt.Errorf("list prorations: %w", err)
	}
	for _, line := range lines {
		if line.Credited || line.PriceID == "" {
			continue
		}
		sold, ok, err := t.soldPrice(ctx, line.PriceID, line.Currency, invoiceID)
		if err != nil {
			return err
		}
		if !ok || t.noUpgrade || sold.TierID == "" || line.SubscriptionItemID == nil || line.PeriodStart == nil || line.PeriodEnd == nil {
			continue
		}
		before, err := t.allowanceBefore(ctx, lines, line)
		if err != nil {
			return err
		}
		if err := t.grantUpgrade(ctx, line, sold, before, paid); err != nil {
			return fmt.Errorf("grant upgrade %s: %w", line.ID, err)
		}
	}
	return nil
}

// grantUpgrade gives the difference of one change, for the rest of the month of the allowance that it falls into. In one month all
// changes together give no more than the way from the lowest to the highest, so going up and down and up again gains nothing; what has
// gone back with its money may be bought again.
func (t *settling) grantUpgrade(ctx context.Context, line db.InvoiceLine, sold catalog.Price, before int64, paid time.Time) error {
	start, end := credit.MonthBefore(*line.PeriodEnd, *line.PeriodStart)
	bounds, err := t.q.GetUpgradeBounds(ctx, db.GetUpgradeBoundsParams{
		AccountID: t.account, SubscriptionItemID: *line.SubscriptionItemID, PeriodEnd: *line.PeriodEnd, MonthStart: start, MonthEnd: end,
	})
	if err != nil {
		return fmt.Errorf("read upgrades of the month: %w", err)
	}
	after := sold.Credits * line.Quantity
	amount := min(after-before, max(after, bounds.Highest)-min(before, bounds.Lowest)-bounds.Granted)
	if amount <= 0 {
		return nil
	}
	if !paid.Before(end) { // billed with the next renewal, or paid late: the month that was paid for is over
		if !paid.Before(*line.PeriodEnd) && end.Before(*line.PeriodEnd) {
			return t.tellOperator(ctx, "upgrade_billed_late", line.InvoiceID+":"+line.ID, map[string]any{
				"monthly": after - before, "from": line.PeriodStart, "to": line.PeriodEnd,
			})
		}
		start, end = paid, paid.AddDate(0, 1, 0)
	}
	lot, _ := credit.AllowanceLot(credit.Allowance{
		AccountID: t.account, NaturalKey: lineKey(line.InvoiceID, line.ID), Tier: sold.TierID, Quantity: 1, Start: start, End: end,
		Monthly: catalog.Allowance{Amount: amount, Rollover: sold.Rollover}, Actor: t.actor,
	})
	_, err = credit.Grant(ctx, t.q, t.now, lot)
	return err
}

// allowanceBefore is what the item of a line gave before the change: the invoice gives the rest of its period back from the moment on
// from which it bills the line.
func (t *settling) allowanceBefore(ctx context.Context, lines []db.InvoiceLine, line db.InvoiceLine) (int64, error) {
	var before int64
	for _, other := range lines {
		if !other.Credited || other.SubscriptionItemID == nil || *other.SubscriptionItemID != *line.SubscriptionItemID ||
			other.PeriodStart == nil || !other.PeriodStart.Equal(*line.PeriodStart) {
			continue
		}
		sold, known, err := catalog.PriceByStripeID(ctx, t.q, other.PriceID)
		if err != nil {
			return 0, err
		}
		if known {
			before += sold.Credits * other.Quantity
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

// withheldGrants lists what was withheld and can be granted by now.
func (s *Service) withheldGrants(ctx context.Context, most int32) ([]db.ListWithheldGrantsRow, error) {
	return s.queries().ListWithheldGrants(ctx, db.ListWithheldGrantsParams{
		ReasonsOfPeriods: credit.ReasonsGiving(credit.GivesPeriods), ReasonsOfChanges: credit.ReasonsGiving(credit.GivesChanges),
		Upgrades: !s.noUpgrade, MaxRows: most,
	})
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
