package billing

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v76"
)

// A Preview is what a change would come to: when it takes effect, and the next invoice that it leads to, line by line.
type Preview struct {
	Effective  string // now, period_end or nothing
	At         time.Time
	Tier       string
	Interval   string
	Quantity   int64
	ProratedAt *time.Time // hand it in with the change to be charged exactly this
	Currency   string
	DueNow     int64
	Charge     *Charge // nil where nothing changes
}

// A Charge is an invoice to come.
type Charge struct {
	At             time.Time
	Subtotal       int64
	Discount       int64
	Tax            int64
	Total          int64 // negative where it is credited to the customer's balance
	AppliedBalance int64 // what of the customer's balance is set off against the total; negative lessens what is due
	AmountDue      int64
	Lines          []ChargeLine
}

// A ChargeLine is one line of an invoice to come.
type ChargeLine struct {
	Description string
	Amount      int64
	Quantity    int64
	Proration   bool
	From, To    time.Time
}

// PreviewChange tells what [Service.ChangeSubscription] would do and charge, and changes nothing. The lines are Stripe's own: what
// it would bill at this moment.
func (s *Service) PreviewChange(ctx context.Context, c Change) (Preview, error) {
	p, err := s.previewChange(ctx, c)
	return p, s.told(ctx, err)
}

func (s *Service) previewChange(ctx context.Context, c Change) (Preview, error) {
	row, err := s.subscriptionShown(ctx, s.queries(), c.AccountID)
	if err != nil {
		return Preview{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, stripeBudget)
	defer cancel()
	sub, err := s.subscriptionAtStripe(ctx, row.ID)
	if err != nil {
		return Preview{}, fmt.Errorf("preview: %w", err)
	}
	p, err := s.makePlan(ctx, changePlan, c, sub)
	if err != nil {
		return Preview{}, err
	}
	return s.preview(ctx, sub, p)
}

func (s *Service) preview(ctx context.Context, sub *stripe.Subscription, p plan) (Preview, error) {
	shown := Preview{
		Effective: p.Action, At: s.now(), Tier: p.to.TierID, Interval: p.to.Interval, Quantity: p.Quantity, Currency: string(sub.Currency),
	}
	end := time.Unix(sub.CurrentPeriodEnd, 0).UTC()
	params := upcomingParams(sub, p)
	switch p.Action {
	case actNothing, actRelease, actWithdraw:
		shown.Effective = actNothing
		return shown, nil
	case actPeriodEnd:
		shown.At = end
	case actNow:
		if p.ProratedAt > 0 {
			shown.ProratedAt = new(time.Unix(p.ProratedAt, 0).UTC())
		}
	}
	params.Context = ctx
	next, err := s.Stripe.Invoices.Upcoming(params)
	if err != nil {
		return shown, s.notPreviewed(ctx, p, err)
	}
	if next.Lines.HasMore {
		if next.Lines.Data, err = s.upcomingLines(ctx, params); err != nil {
			return shown, s.notPreviewed(ctx, p, err)
		}
	}
	charged := shown.At
	if p.Proration != prorateNow {
		charged = end // a trial, or a period that is paid: nothing is charged before
	}
	shown.Charge = chargeOf(next, charged)
	if p.Proration == prorateNow {
		shown.DueNow = shown.Charge.AmountDue
	} else {
		shown.Charge.moveTo(end)
	}
	return shown, nil
}

// notPreviewed explains why Stripe shows no invoice to come.
func (s *Service) notPreviewed(ctx context.Context, p plan, err error) error {
	told := refusal("preview", err)
	if e := (*stripe.Error)(nil); errors.As(err, &e) && strings.HasSuffix(e.Param, "items[0][price]") {
		return s.notOnSale(ctx, p.to.LookupKey, p.Price, told)
	}
	return told
}

func upcomingParams(sub *stripe.Subscription, p plan) *stripe.InvoiceUpcomingParams {
	params := &stripe.InvoiceUpcomingParams{
		Subscription: stripe.String(sub.ID),
		SubscriptionItems: []*stripe.SubscriptionItemsParams{{
			ID: stripe.String(p.Item), Price: stripe.String(p.Price), Quantity: stripe.Int64(p.Quantity),
		}},
		SubscriptionProrationBehavior: stripe.String(p.Proration),
	}
	if p.Action == actPeriodEnd {
		// Shown as a period that begins now, whatever a schedule has planned; preview moves it to where it begins.
		params.SubscriptionProrationBehavior = stripe.String(prorateNone)
		params.SubscriptionBillingCycleAnchorNow = stripe.Bool(true)
		params.Discounts = discountsThen(sub)
	}
	if p.ProratedAt > 0 {
		params.SubscriptionProrationDate = stripe.Int64(p.ProratedAt)
	}
	return params
}

// discountsThen are the discounts at the end of the period, where they are others than now; nil where they are the same, and empty where
// there are none any more. A subscription that has none of its own has that of its customer.
func discountsThen(sub *stripe.Subscription) []*stripe.InvoiceDiscountParams {
	var customers *stripe.Discount
	if sub.Customer != nil {
		customers = sub.Customer.Discount
	}
	now, then := sub.Discount, sub.Discount
	if now == nil {
		now = customers
	}
	if !outlasts(then, sub) {
		then = customers
	}
	switch {
	case !outlasts(then, sub) && now == nil, then == now && outlasts(then, sub):
		return nil
	case !outlasts(then, sub):
		return []*stripe.InvoiceDiscountParams{}
	}
	return []*stripe.InvoiceDiscountParams{{Discount: stripe.String(then.ID)}}
}

// upcomingLines reads all lines of an invoice to come: it embeds the first ten.
func (s *Service) upcomingLines(ctx context.Context, of *stripe.InvoiceUpcomingParams) ([]*stripe.InvoiceLineItem, error) {
	params := &stripe.InvoiceUpcomingLinesParams{
		Subscription: of.Subscription, SubscriptionProrationBehavior: of.SubscriptionProrationBehavior,
		SubscriptionProrationDate: of.SubscriptionProrationDate, SubscriptionBillingCycleAnchorNow: of.SubscriptionBillingCycleAnchorNow,
	}
	if of.Discounts != nil {
		params.Discounts = []*stripe.InvoiceUpcomingLinesDiscountParams{}
	}
	for _, d := range of.Discounts {
		params.Discounts = append(params.Discounts, &stripe.InvoiceUpcomingLinesDiscountParams{Discount: d.Discount})
	}
	for _, item := range of.SubscriptionItems {
		params.SubscriptionItems = append(params.SubscriptionItems, &stripe.InvoiceUpcomingLinesSubscriptionItemParams{
			ID: item.ID, Price: item.Price, Quantity: item.Quantity,
		})
	}
	params.Context, params.Limit = ctx, stripe.Int64(100)
	var lines []*stripe.InvoiceLineItem
	list := s.Stripe.Invoices.UpcomingLines(params)
	for list.Next() {
		lines = append(lines, list.InvoiceLineItem())
	}
	return lines, list.Err()
}

func chargeOf(in *stripe.Invoice, at time.Time) *Charge {
	c := &Charge{
		At: at, Subtotal: in.Subtotal, Tax: in.Tax, Total: in.Total, AmountDue: in.AmountDue,
	}
	if in.Total > 0 {
		c.AppliedBalance = in.AmountDue - in.Total // never more than there is to pay, whatever the balance has
	}
	for _, d := range in.TotalDiscountAmounts {
		c.Discount += d.Amount
	}
	for _, line := range in.Lines.Data {
		l := ChargeLine{Description: line.Description, Amount: line.Amount, Quantity: line.Quantity, Proration: line.Proration}
		if line.Period != nil {
			l.From, l.To = time.Unix(line.Period.Start, 0).UTC(), time.Unix(line.Period.End, 0).UTC()
		}
		c.Lines = append(c.Lines, l)
	}
	return c
}

// moveTo shifts lines that Stripe shows as of now to when they are billed: it previews another interval only as if it began at
// once.
func (c *Charge) moveTo(at time.Time) {
	for i := range c.Lines {
		l := &c.Lines[i]
		if l.Proration || !l.From.Before(at) || l.To.IsZero() {
			continue
		}
		days := l.To.Sub(l.From)
		l.From, l.To = at, at.Add(days)
		if days > 300*24*time.Hour {
			l.To = at.AddDate(1, 0, 0)
		} else if days >= 28*24*time.Hour {
			l.To = at.AddDate(0, 1, 0)
		}
	}
}
