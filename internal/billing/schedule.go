package billing

import (
	"context"
	"fmt"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/problem"
)

// ownSchedule fails with [problem.Conflict] where the subscription follows a schedule that somebody else has made: what they have agreed
// with the customer we neither see nor undo. One of ours that was interrupted has no mark yet, one phase, and changes nothing.
func (s *Service) ownSchedule(sub *stripe.Subscription) error {
	schedule := sub.Schedule
	if schedule == nil || schedule.Metadata[metaEnv] == s.AppEnv {
		return nil
	}
	if len(schedule.Metadata) == 0 && len(schedule.Phases) <= 1 && schedule.EndBehavior == stripe.SubscriptionScheduleEndBehaviorRelease {
		return nil
	}
	return problem.Conflict.Errorf("the subscription follows a schedule that was made elsewhere; ask support to change it")
}

func upcomingPhase(schedule *stripe.SubscriptionSchedule) bool {
	if schedule.CurrentPhase == nil {
		return false
	}
	for _, phase := range schedule.Phases {
		if phase.StartDate >= schedule.CurrentPhase.EndDate {
			return true
		}
	}
	return false
}

// kept is what of a subscription stays as it is while its tier changes by a schedule.
type kept struct {
	Others   []keptItem `json:"others,omitempty"` // the items that are no tier of ours
	TaxRates []string   `json:"tax_rates,omitempty"`
	Item     []string   `json:"item_tax_rates,omitempty"` // those of the tier's own item
	// Coupon is the one in use, and After the same where it is still in use when the tier changes.
	Coupon string `json:"coupon,omitempty"`
	After  string `json:"coupon_after,omitempty"`
}

type keptItem struct {
	Price    string   `json:"price"`
	Quantity int64    `json:"quantity"`
	TaxRates []string `json:"tax_rates,omitempty"`
}

func keptOf(sub *stripe.Subscription, tier *stripe.SubscriptionItem) kept {
	k := kept{TaxRates: rateIDs(sub.DefaultTaxRates), Item: rateIDs(tier.TaxRates)}
	for _, item := range sub.Items.Data {
		if item.ID != tier.ID {
			k.Others = append(k.Others, keptItem{item.Price.ID, item.Quantity, rateIDs(item.TaxRates)})
		}
	}
	if d := sub.Discount; d != nil && d.Coupon != nil {
		k.Coupon = d.Coupon.ID
		if outlasts(d, sub) {
			k.After = k.Coupon
		}
	}
	return k
}

// outlasts tells whether a discount is still in use when the subscription's period is over. One for a single invoice has been used up by
// the one that began the period.
func outlasts(d *stripe.Discount, sub *stripe.Subscription) bool {
	if d == nil || d.Coupon == nil || d.Coupon.Duration == stripe.CouponDurationOnce && d.Start <= sub.CurrentPeriodStart {
		return false
	}
	return d.End == 0 || d.End > sub.CurrentPeriodEnd
}

func rateIDs(rates []*stripe.TaxRate) []string {
	var ids []string
	for _, rate := range rates {
		ids = append(ids, rate.ID)
	}
	return ids
}

// moveLater lets a schedule change the subscription when the period that is paid is over.
func (s *Service) moveLater(ctx context.Context, row db.SubscriptionChange, p *plan) error {
	schedule, start := p.Schedule, p.PhaseStart
	if schedule == "" {
		params := &stripe.SubscriptionScheduleParams{FromSubscription: stripe.String(row.SubscriptionID)}
		params.Context = ctx
		params.SetIdempotencyKey(stripeKey(row, "schedule"))
		made, err := s.Stripe.SubscriptionSchedules.New(params)
		if err != nil {
			return refusal("make schedule", err)
		}
		if made.CurrentPhase == nil {
			return fmt.Errorf("make schedule: %s has no current phase", made.ID)
		}
		schedule, start = made.ID, made.CurrentPhase.StartDate
	}
	now, then := p.phase(p.FromPrice, p.FromQuantity), p.phase(p.Price, p.Quantity)
	if p.Kept.Coupon != "" {
		now.Coupon = stripe.String(p.Kept.Coupon)
	}
	if p.Kept.After != "" {
		then.Coupon = stripe.String(p.Kept.After)
	}
	now.StartDate, now.EndDate = stripe.Int64(start), stripe.Int64(p.PeriodEnd)
	then.Iterations = stripe.Int64(1)
	params := &stripe.SubscriptionScheduleParams{
		Phases: []*stripe.SubscriptionSchedulePhaseParams{now, then}, EndBehavior: stripe.String("release"),
		ProrationBehavior: stripe.String(prorateNone),
		Metadata:          map[string]string{metaEnv: s.AppEnv, metaAccount: row.AccountID.String()},
	}
	params.Context = ctx
	params.SetIdempotencyKey(stripeKey(row, "phases"))
	_, err := s.Stripe.SubscriptionSchedules.Update(schedule, params)
	return refusal("set schedule", err)
}

// phase is a phase with the tier at a price, and everything else as the subscription has it now. What of it Stripe keeps as the
// schedule's default settings, as the payment method, needs no word.
func (p *plan) phase(price string, quantity int64) *stripe.SubscriptionSchedulePhaseParams {
	item := func(i keptItem) *stripe.SubscriptionSchedulePhaseItemParams {
		return &stripe.SubscriptionSchedulePhaseItemParams{
			Price: stripe.String(i.Price), Quantity: stripe.Int64(i.Quantity), TaxRates: rates(i.TaxRates),
		}
	}
	phase := &stripe.SubscriptionSchedulePhaseParams{
		Items:             []*stripe.SubscriptionSchedulePhaseItemParams{item(keptItem{price, quantity, p.Kept.Item})},
		ProrationBehavior: stripe.String(prorateNone), DefaultTaxRates: rates(p.Kept.TaxRates),
	}
	for _, other := range p.Kept.Others {
		phase.Items = append(phase.Items, item(other))
	}
	return phase
}

// rates is nothing where there are none: the library writes an empty list as a parameter of its own.
func rates(ids []string) []*string {
	if len(ids) == 0 {
		return nil
	}
	return stripe.StringSlice(ids)
}

// release lets the subscription go on without the schedule that it follows.
func (s *Service) release(ctx context.Context, row db.SubscriptionChange, p *plan) error {
	return s.releaseBy(ctx, p, stripeKey(row, "release"))
}

// releaseBy is release with a key of the caller's; without one each call is one of its own.
func (s *Service) releaseBy(ctx context.Context, p *plan, key string) error {
	if p.Schedule == "" {
		return nil
	}
	params := &stripe.SubscriptionScheduleReleaseParams{}
	params.Context = ctx
	if key != "" {
		params.SetIdempotencyKey(key)
	}
	_, err := s.Stripe.SubscriptionSchedules.Release(p.Schedule, params)
	if settled(err) {
		// It is over already, where it was released by other hands meanwhile.
		look := &stripe.SubscriptionScheduleParams{}
		look.Context = ctx
		if found, failed := s.Stripe.SubscriptionSchedules.Get(p.Schedule, look); failed == nil &&
			found.Status != stripe.SubscriptionScheduleStatusActive && found.Status != stripe.SubscriptionScheduleStatusNotStarted {
			return nil
		}
	}
	return refusal("release schedule", err)
}
