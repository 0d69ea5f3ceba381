package billing

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/problem"
)

// What a plan does.
const (
	actNothing   = "nothing"    // the subscription is as it is wished
	actNow       = "now"        // change at once
	actPeriodEnd = "period_end" // change when the paid period is over, by a schedule
	actRelease   = "release"    // drop the change that was scheduled
	actCancel    = "cancel"     // end when the paid period is over
	actCancelNow = "cancel_now"
	actResume    = "resume"   // take a cancellation back
	actUnpause   = "unpause"  // go on after a trial that has ended without a payment method
	actWithdraw  = "withdraw" // drop the change that waits for its payment
)

const (
	prorateNow  = "always_invoice" // bill the difference at once
	prorateNone = "none"
	// previewLife is how long the second of a preview may be used.
	previewLife = 15 * time.Minute
)

// A plan is what Stripe is told. It is written down before the first call, so that whoever resumes it tells the same.
type plan struct {
	Action       string `json:"action"`
	Item         string `json:"item,omitempty"`
	Price        string `json:"price,omitempty"`
	Quantity     int64  `json:"quantity,omitempty"`
	FromPrice    string `json:"from_price,omitempty"`
	FromQuantity int64  `json:"from_quantity,omitempty"`
	Proration    string `json:"proration,omitempty"`
	ProratedAt   int64  `json:"prorated_at,omitempty"`
	PeriodEnd    int64  `json:"period_end,omitempty"`
	// The schedule that the subscription follows already, and when its current phase began.
	Schedule   string `json:"schedule,omitempty"`
	PhaseStart int64  `json:"phase_start,omitempty"`
	// Whether that schedule has a change to come.
	Scheduled bool `json:"scheduled,omitempty"`
	// What a schedule has to repeat, for it takes away what its phases do not name.
	Kept kept `json:"kept,omitzero"`
	// The latest invoice, where a pending change or a pause may wait for its payment.
	Awaited string `json:"awaited,omitempty"`
	// Whether the end to take back is a date of its own, as the portal sets it, and not the end of the period.
	EndsByDate bool `json:"ends_by_date,omitempty"`
	// When it was made, and who asked for it: to whoever takes it up without being asked.
	MadeAt int64 `json:"made_at,omitempty"`
	Asker  asker `json:"asker,omitzero"`

	invoice string        // what the change was billed by
	to      catalog.Price // not kept: for previews
}

// An asker is the actor of a change, less the address, which is kept in the audit log alone.
type asker struct {
	Kind      string `json:"kind"`
	ID        string `json:"id"`
	RequestID string `json:"request_id,omitempty"`
}

// planWritten reads the plan of a change; an empty one where there is none yet.
func planWritten(row db.SubscriptionChange) (plan, error) {
	var p plan
	if row.Plan == nil {
		return p, nil
	}
	if err := json.Unmarshal(row.Plan, &p); err != nil {
		return p, fmt.Errorf("read plan: %w", err)
	}
	return p, nil
}

// age is how long ago the plan of a change was made.
func (p plan) age(row db.SubscriptionChange, now time.Time) time.Duration {
	if p.MadeAt == 0 {
		return now.Sub(row.CreatedAt)
	}
	return now.Sub(time.Unix(p.MadeAt, 0))
}

func (p plan) before() any {
	return map[string]any{"price": p.FromPrice, "quantity": p.FromQuantity}
}

func (p plan) after() any {
	after := map[string]any{"action": p.Action}
	if p.Price != "" {
		after["price"], after["quantity"] = p.Price, p.Quantity
	}
	return after
}

// planOf reads the plan of a change, or makes it by what Stripe says of the subscription now.
func (s *Service) planOf(ctx context.Context, c Change, row db.SubscriptionChange) (plan, error) {
	p, err := planWritten(row)
	if err != nil || row.Plan != nil {
		return p, err
	}
	sub, err := s.subscriptionAtStripe(ctx, row.SubscriptionID)
	if err != nil {
		return p, err
	}
	if p, err = s.makePlan(ctx, row.Kind, c, sub); err != nil {
		return p, err
	}
	p.MadeAt, p.Asker = s.now().Unix(), asker{c.Actor.Kind, c.Actor.ID, c.Actor.RequestID}
	raw, err := json.Marshal(p)
	if err != nil {
		return p, fmt.Errorf("encode plan: %w", err)
	}
	planned, err := s.queries().PlanChange(ctx, db.PlanChangeParams{
		Plan: raw, Now: s.now(), ID: row.ID, AccountID: row.AccountID, LeaseUntil: row.LeaseUntil,
	})
	if err != nil {
		return p, fmt.Errorf("write plan: %w", err)
	}
	if planned == 0 {
		return p, errTakenOver
	}
	return p, nil
}

// subscriptionAtStripe fetches a living subscription. Where it has ended our mirror learns of it, and the caller is told.
func (s *Service) subscriptionAtStripe(ctx context.Context, id string) (*stripe.Subscription, error) {
	params := &stripe.SubscriptionParams{}
	params.Context = ctx
	params.AddExpand("schedule")
	params.AddExpand("customer") // for its discount
	sub, err := s.Stripe.Subscriptions.Get(id, params)
	if err != nil {
		return nil, refusal("look at subscription", err)
	}
	if sub.Status == stripe.SubscriptionStatusCanceled || sub.Status == stripe.SubscriptionStatusIncompleteExpired {
		if err := s.sync(ctx, "subscription", id); err != nil {
			return nil, err
		}
		return nil, errNoSubscription()
	}
	return sub, nil
}

func (s *Service) makePlan(ctx context.Context, kind string, c Change, sub *stripe.Subscription) (plan, error) {
	p := plan{Action: actNothing, PeriodEnd: sub.CurrentPeriodEnd}
	if sub.Schedule != nil {
		p.Schedule, p.PhaseStart, p.Scheduled = sub.Schedule.ID, sub.CurrentPeriodStart, upcomingPhase(sub.Schedule)
		if current := sub.Schedule.CurrentPhase; current != nil {
			p.PhaseStart = current.StartDate
		}
	}
	ending := sub.CancelAtPeriodEnd || sub.CancelAt > 0
	switch kind {
	case changeCancel:
		// A date long after the period is no cancellation: it is replaced by the end of the period.
		if sub.CancelAtPeriodEnd || sub.CancelAt > 0 && sub.CancelAt <= sub.CurrentPeriodEnd {
			return p, nil
		}
		p.Action = actCancel
		return p, s.ownSchedule(sub)
	case changeCancelNow:
		p.Action = actCancelNow
		return p, nil
	case changeResume:
		switch {
		case sub.Status == stripe.SubscriptionStatusPaused:
			p.Action = actUnpause
			if sub.LatestInvoice != nil {
				p.Awaited = sub.LatestInvoice.ID
			}
		case ending:
			p.Action, p.EndsByDate = actResume, !sub.CancelAtPeriodEnd
			return p, s.ownSchedule(sub)
		}
		return p, nil
	case changeMigrate:
		return planMigration(c, sub, p, ending)
	}
	switch sub.Status {
	case stripe.SubscriptionStatusActive, stripe.SubscriptionStatusTrialing:
	case stripe.SubscriptionStatusPaused:
		return p, problem.PaymentOverdue.Errorf("the trial has ended without a payment method: add one, and resume the subscription before changing it")
	default:
		return p, problem.PaymentOverdue.Errorf("the subscription is %s: pay what is due before changing it", sub.Status)
	}
	if ending {
		return p, problem.SubscriptionEnding.Errorf("the subscription is to end: resume it before changing it")
	}
	return s.planMove(ctx, c, sub, p)
}

// planMove decides when a move to another price or quantity takes effect.
func (s *Service) planMove(ctx context.Context, c Change, sub *stripe.Subscription, p plan) (plan, error) {
	item, from, err := s.soldItem(ctx, sub)
	if err != nil {
		return p, err
	}
	p.Item, p.FromPrice, p.FromQuantity, p.Quantity = item.ID, item.Price.ID, item.Quantity, item.Quantity
	if c.Quantity > 0 {
		p.Quantity = c.Quantity
	}
	if p.to, err = s.target(ctx, c, from, p.Quantity, string(sub.Currency)); err != nil {
		return p, err
	}
	p.Price = p.to.StripePriceID
	if p.to.Interval != from.Interval && len(sub.Items.Data) > 1 {
		return p, problem.Conflict.Errorf("the subscription has other items that are billed by the %s; ask support to change it", from.Interval)
	}
	rise, err := s.rise(ctx, from, p)
	if err != nil {
		return p, err
	}
	trial := sub.Status == stripe.SubscriptionStatusTrialing
	switch {
	case rise == 0 && sub.PendingUpdate != nil && sub.LatestInvoice != nil:
		p.Action, p.Awaited = actWithdraw, sub.LatestInvoice.ID
		return p, nil
	case rise == 0 && p.Scheduled:
		p.Action = actRelease
		return p, s.ownSchedule(sub)
	case rise == 0:
		return p, nil
	case rise < 0 && !trial:
		p.Action, p.Kept = actPeriodEnd, keptOf(sub, item)
		if sub.PendingUpdate != nil {
			return p, problem.ChangePending.Errorf("an earlier change waits for its payment: pay its invoice, or ask for what there is now to withdraw it")
		}
		return p, s.ownSchedule(sub)
	}
	if err := s.ownSchedule(sub); err != nil {
		return p, err
	}
	p.Action, p.Proration = actNow, prorateNow
	if trial {
		p.Proration = prorateNone // nothing of a trial was paid
		return p, nil
	}
	p.ProratedAt, err = s.prorationDate(c, sub)
	return p, err
}

// soldItem finds the item of the subscription that is a tier of ours.
func (s *Service) soldItem(ctx context.Context, sub *stripe.Subscription) (*stripe.SubscriptionItem, catalog.Price, error) {
	for _, item := range sub.Items.Data {
		price, known, err := catalog.PriceByStripeID(ctx, s.queries(), item.Price.ID)
		if err != nil {
			return nil, price, err
		}
		if known && price.TierID != "" {
			return item, price, nil
		}
	}
	return nil, catalog.Price{}, problem.Conflict.Errorf("the price of the subscription is not in the catalogue; ask support to change it")
}

// target is the price to move to. Who stays at tier and interval keeps the price that was sold, on sale or not.
func (s *Service) target(ctx context.Context, c Change, from catalog.Price, quantity int64, currency string) (catalog.Price, error) {
	tier, interval := c.Tier, c.Interval
	if tier == "" {
		tier = from.TierID
	}
	if interval == "" {
		interval = from.Interval
	}
	offer, err := s.Catalog.Tier(ctx, tier)
	if err != nil {
		return catalog.Price{}, problem.PriceNotFound.Errorf("there is no tier %q", tier)
	}
	if c.Quantity > 0 || tier != from.TierID {
		if err := withinQuantity(offer.Tier, quantity); err != nil {
			return catalog.Price{}, err
		}
	}
	if tier == from.TierID && interval == from.Interval {
		return from, nil
	}
	return s.Catalog.TierPrice(ctx, tier, interval, currency)
}

func withinQuantity(t catalog.Tier, quantity int64) error {
	if limit := max(t.MaxQuantity, 1); quantity > limit {
		return problem.InvalidRequest.Errorf("the tier %s is sold up to %d times, and this would be %d: ask for a quantity that it is sold at",
			t.ID, limit, quantity).In("body.quantity", fmt.Sprintf("is above %d", limit))
	}
	return nil
}

// rise tells whether a move is up (1), down (-1) or none (0): by the rank of the tier first, then by the length of the interval,
// then by the quantity.
func (s *Service) rise(ctx context.Context, from catalog.Price, p plan) (int, error) {
	if p.to.TierID != from.TierID {
		old, err := s.Catalog.Tier(ctx, from.TierID)
		if err != nil {
			return 0, err
		}
		next, err := s.Catalog.Tier(ctx, p.to.TierID)
		if err != nil {
			return 0, err
		}
		if next.Rank > old.Rank {
			return 1, nil
		}
		return -1, nil
	}
	switch {
	case p.to.Interval != from.Interval && p.to.Interval == catalog.Year:
		return 1, nil
	case p.to.Interval != from.Interval:
		return -1, nil
	case p.Quantity > p.FromQuantity:
		return 1, nil
	case p.Quantity < p.FromQuantity:
		return -1, nil
	}
	return 0, nil
}

// prorationDate is the second from which the new price counts. A preview's may be used for a while: what it said is charged then.
func (s *Service) prorationDate(c Change, sub *stripe.Subscription) (int64, error) {
	now := s.now()
	if c.ProratedAt == nil {
		return min(max(now.Unix(), sub.CurrentPeriodStart), sub.CurrentPeriodEnd), nil
	}
	at := *c.ProratedAt
	if at.After(now.Add(time.Second)) || at.Before(now.Add(-previewLife)) || at.Unix() < sub.CurrentPeriodStart {
		return 0, problem.InvalidRequest.Errorf("the preview is too old: ask for another one").
			In("body.prorated_at", "is not the time of a preview of the last minutes")
	}
	return at.Unix(), nil
}
