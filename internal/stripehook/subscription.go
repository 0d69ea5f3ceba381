package stripehook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/outbox"
)

type subscription struct {
	common
	period
	Status            string        `json:"status"`
	Currency          string        `json:"currency"`
	CancelAt          stamp         `json:"cancel_at"`
	CancelAtPeriodEnd bool          `json:"cancel_at_period_end"`
	CanceledAt        stamp         `json:"canceled_at"`
	EndedAt           stamp         `json:"ended_at"`
	TrialStart        stamp         `json:"trial_start"`
	TrialEnd          stamp         `json:"trial_end"`
	LatestInvoice     latestInvoice `json:"latest_invoice"`
	Schedule          schedule      `json:"schedule"`
	PendingUpdate     *struct {
		ExpiresAt stamp              `json:"expires_at"`
		Items     []subscriptionItem `json:"subscription_items"`
	} `json:"pending_update"`
	PauseCollection *struct {
		Behavior string `json:"behavior"`
	} `json:"pause_collection"`
	Items struct {
		Data    []subscriptionItem `json:"data"`
		HasMore bool               `json:"has_more"`
	} `json:"items"`
}

type subscriptionItem struct {
	period
	ID       string `json:"id"`
	Price    price  `json:"price"`
	Quantity *int64 `json:"quantity"`
}

// A latestInvoice tells when a subscription stopped being paid. Payloads of events have its id only, our own fetch expands it.
type latestInvoice struct {
	ID            ref    `json:"id"`
	Status        string `json:"status"`
	BillingReason string `json:"billing_reason"`
	Created       stamp  `json:"created"`
}

// UnmarshalJSON takes an id for an invoice, too.
func (l *latestInvoice) UnmarshalJSON(raw []byte) error {
	*l = latestInvoice{}
	if json.Unmarshal(raw, &l.ID) == nil && len(raw) > 0 && raw[0] != '{' {
		return nil
	}
	type plain latestInvoice
	return json.Unmarshal(raw, (*plain)(l))
}

// A period is on the subscription in older API versions, on its items in newer ones, and on both in between.
type period struct {
	Start stamp `json:"current_period_start"`
	End   stamp `json:"current_period_end"`
}

// count is the quantity; metered items have none and count once.
func (i subscriptionItem) count() int64 {
	if i.Quantity == nil {
		return 1
	}
	return *i.Quantity
}

func fetchSubscription(ctx context.Context, api *client.API, id string) (object, error) {
	params := &stripe.SubscriptionParams{Params: stripe.Params{Context: ctx}}
	params.AddExpand("schedule")
	params.AddExpand("latest_invoice")
	got, err := api.Subscriptions.Get(id, params)
	if err != nil {
		return nil, err
	}
	s := new(subscription)
	if err := read(got.LastResponse, s); err != nil || !s.Items.HasMore {
		return s, err
	}
	items := &stripe.SubscriptionItemListParams{Subscription: stripe.String(id)}
	items.Context, items.Limit, items.Single = ctx, stripe.Int64(pageSize), true
	s.Items.Data, err = pages(&items.ListParams, func() (*stripe.APIResponse, error) {
		list := api.SubscriptionItems.List(items)
		return list.SubscriptionItemList().LastResponse, list.Err()
	}, func(i subscriptionItem) string { return i.ID })
	return s, err
}

// spans returns the period in which the subscription renews next, and the latest end of access. What Stripe does not say is
// unknown: nothing ends in 1970.
func (s *subscription) spans() (current period, access stamp) {
	for _, item := range s.Items.Data {
		if item.End.Time == nil {
			continue
		}
		if current.End.Time == nil || item.End.Before(*current.End.Time) {
			current = item.period
		}
		if access.Time == nil || item.End.After(*access.Time) {
			access = item.End
		}
	}
	if current.End.Time == nil {
		return s.period, s.End
	}
	return current, access
}

func storeSubscription(ctx context.Context, t *settling, s *subscription) error {
	if err := need(s.Status); err != nil {
		return err
	}
	old, err := t.q.GetMirroredSubscription(ctx, s.ID, t.account)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read subscription: %w", err)
	}
	row, err := t.subscriptionRow(ctx, s, old)
	if err != nil {
		return err
	}
	rows, err := t.q.UpsertSubscription(ctx, row)
	if err := moved(rows, err, "subscription"); err != nil {
		return err
	}
	if err := t.storeItems(ctx, s); err != nil {
		return err
	}
	if err := credit.Reconsider(ctx, t.q, t.account); err != nil {
		return err
	}
	t.standing = t.account
	if err := t.announceEnd(ctx, s, old); err != nil {
		return err
	}
	if err := t.checkSeats(ctx, row, old); err != nil {
		return err
	}
	return t.auditSubscription(ctx, old, row)
}

func (t *settling) subscriptionRow(ctx context.Context, s *subscription, old db.Subscription) (db.UpsertSubscriptionParams, error) {
	item, sold, err := t.soldItem(ctx, s)
	if err != nil {
		return db.UpsertSubscriptionParams{}, err
	}
	current, access := s.spans()
	if current.End.Time == nil {
		t.alarm("no_period", "subscription", s.ID)
	}
	row := db.UpsertSubscriptionParams{
		ID: s.ID, AccountID: t.account, CustomerID: string(s.Customer), Status: s.Status, TierID: optional(sold.TierID),
		PriceID: item.Price.ID, Interval: optional(item.Price.Recurring.Interval), Currency: s.Currency, Quantity: item.count(),
		CurrentPeriodStart: current.Start.Time, CurrentPeriodEnd: current.End.Time, AccessEnd: access.Time,
		CancelAt: s.CancelAt.Time, CancelAtPeriodEnd: s.CancelAtPeriodEnd, CanceledAt: s.CanceledAt.Time, EndedAt: s.EndedAt.Time,
		TrialStart: s.TrialStart.Time, TrialEnd: s.TrialEnd.Time, PastDueSince: t.pastDueSince(s, old.PastDueSince),
		LatestInvoiceID: s.LatestInvoice.ID.pointer(), Livemode: s.Livemode, AccessKnown: old.AccessKnown,
		CreatedAt: s.Created.orElse(t.now), Now: t.now,
	}
	s.foresee(&row)
	if s.PauseCollection != nil {
		row.PauseBehavior, row.PausedSince = &s.PauseCollection.Behavior, t.pausedSince(s, old.PausedSince, current.Start)
	}
	if worth, known := t.policy.Worth(s.Status); known {
		row.AccessKnown = worth != account.NoAccess
	} else {
		t.alarm("unknown_status", "subscription", s.ID, "status", s.Status)
	}
	return row, nil
}

// pastDueSince is when the invoice came that is not paid, whenever we hear of it: the grace is counted from there, and begins anew after a
// payment. What is written down stays, for a later invoice may be open, too. Where Stripe shows no open invoice, it is the event, or now.
func (t *settling) pastDueSince(s *subscription, since *time.Time) *time.Time {
	switch {
	case s.Status != "past_due" && s.Status != "unpaid":
		return nil
	case since != nil:
		return since
	}
	at := t.saidAt(s, func(told *subscription) bool { return told.Status == "past_due" || told.Status == "unpaid" })
	if in := s.LatestInvoice; in.Status == invoiceOpen && in.Created.Time != nil && in.Created.Before(at) {
		at = *in.Created.Time
	}
	return &at
}

// pausedSince is when the pause of a subscription's collection began, at the latest: when the event that tells of it was made, and
// before the current period where that was renewed without being paid.
func (t *settling) pausedSince(s *subscription, since *time.Time, period stamp) *time.Time {
	if since != nil {
		return since
	}
	at := t.saidAt(s, func(told *subscription) bool { return told.PauseCollection != nil })
	in := s.LatestInvoice
	renewed := in.BillingReason == "subscription_cycle" && in.Created.Time != nil && period.Time != nil && !in.Created.Before(*period.Time)
	if renewed && in.Status != invoicePaid && !at.Before(*period.Time) {
		at = period.Add(-time.Second)
	}
	return &at
}

// saidAt is when the event was made, where it is about the subscription and told then already what is the case now; else it is now.
func (t *settling) saidAt(s *subscription, told func(*subscription) bool) time.Time {
	var payload struct {
		Data struct {
			Object subscription `json:"object"`
		} `json:"data"`
	}
	e := t.event
	if e.ObjectID != s.ID || e.EventCreated == nil || e.EventCreated.After(t.now) || json.Unmarshal(e.Payload, &payload) != nil || !told(&payload.Data.Object) {
		return t.now
	}
	return *e.EventCreated
}

// soldItem finds the item that our catalogue knows as a tier. A price that it does not know leaves the tier open: the
// subscription is kept, and applying the catalogue and looking again resolves it.
func (t *settling) soldItem(ctx context.Context, s *subscription) (subscriptionItem, catalog.Price, error) {
	for _, item := range s.Items.Data {
		sold, known, err := catalog.PriceByStripeID(ctx, t.q, item.Price.ID)
		if err != nil {
			return subscriptionItem{}, catalog.Price{}, err
		}
		if known && sold.TierID != "" {
			return item, sold, nil
		}
	}
	first := subscriptionItem{}
	if len(s.Items.Data) > 0 {
		first = s.Items.Data[0]
	}
	t.alarm("unknown_price", "subscription", s.ID, "price", first.Price.ID)
	return first, catalog.Price{}, nil
}

func (t *settling) storeItems(ctx context.Context, s *subscription) error {
	ids := make([]string, 0, len(s.Items.Data))
	for _, item := range s.Items.Data {
		ids = append(ids, item.ID)
	}
	if err := t.q.DeleteOtherSubscriptionItems(ctx, s.ID, t.account, ids); err != nil {
		return fmt.Errorf("remove subscription items: %w", err)
	}
	for _, item := range s.Items.Data {
		rows, err := t.q.UpsertSubscriptionItem(ctx, db.UpsertSubscriptionItemParams{
			ID: item.ID, SubscriptionID: s.ID, AccountID: t.account, PriceID: item.Price.ID, Quantity: item.count(),
			CurrentPeriodStart: item.Start.Time, CurrentPeriodEnd: item.End.Time, OwnStart: s.Start.Time, OwnEnd: s.End.Time,
		})
		if err := moved(rows, err, "subscription item"); err != nil {
			return err
		}
	}
	return nil
}

// auditSubscription writes down what changed for the account.
func (t *settling) auditSubscription(ctx context.Context, old db.Subscription, row db.UpsertSubscriptionParams) error {
	type state struct {
		Status string  `json:"status"`
		Tier   *string `json:"tier,omitempty"`
		Price  string  `json:"price"`

		Quantity int64 `json:"quantity"`
		Ends     bool  `json:"ends"`
	}
	was := state{old.Status, old.TierID, old.PriceID, old.Quantity, old.CancelAtPeriodEnd || old.CancelAt != nil}
	is := state{row.Status, row.TierID, row.PriceID, row.Quantity, row.CancelAtPeriodEnd || row.CancelAt != nil}
	if was.Status == is.Status && was.Price == is.Price && was.Quantity == is.Quantity && was.Ends == is.Ends {
		return nil
	}
	entry := audit.Entry{
		Actor: t.actor, AccountID: &t.account, Action: "subscription.update", Target: "subscription", TargetID: row.ID, After: is,
	}
	if old.ID == "" {
		entry.Action = "subscription.create"
	} else {
		entry.Before = was
	}
	return audit.Record(ctx, t.q, t.now, entry)
}

// subscriptionGone ends a subscription that cannot be fetched any more by what the event tells of it.
func subscriptionGone(ctx context.Context, t *settling, id string) error {
	var payload struct {
		Data struct {
			Object subscription `json:"object"`
		} `json:"data"`
	}
	if err := json.Unmarshal(t.event.Payload, &payload); err != nil {
		return fmt.Errorf("read subscription from the event: %w", &ending{statusQuarantined, reasonDecode})
	}
	s := &payload.Data.Object
	if s.ID != id {
		return nil
	}
	s.Status = "canceled"
	if s.EndedAt.Time == nil {
		ended := s.CanceledAt.orElse(t.now)
		s.EndedAt.Time = &ended
	}
	return storeSubscription(ctx, t, s)
}

// renewalUpcoming announces the next charge, once for each period. The event's object is a preview without an id; what is still
// to come is judged by the subscription. An event that comes when its renewal is over, late or replayed, announces nothing.
func renewalUpcoming(ctx context.Context, t *settling) error {
	s, err := t.q.GetMirroredSubscription(ctx, t.event.RootID, t.account)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read subscription: %w", err)
	}
	if worth, _ := t.policy.Worth(s.Status); worth == account.NoAccess || s.CurrentPeriodEnd == nil || s.CancelAtPeriodEnd || s.CancelAt != nil {
		return nil
	}
	if told := periodEnd(t.event.Payload); told != nil && s.CurrentPeriodEnd.Sub(*told).Abs() > 24*time.Hour {
		return nil
	}
	_, err = outbox.Add(ctx, t.q, t.now, outbox.Message{
		AccountID: &t.account, Kind: "renewal_upcoming", NaturalKey: fmt.Sprintf("renewal_upcoming:%s:%d", s.ID, s.CurrentPeriodEnd.Unix()),
		Payload: map[string]any{"subscription": s.ID, "renews_at": s.CurrentPeriodEnd},
	})
	return err
}

// periodEnd reads when the period ends that a preview of an invoice is about.
func periodEnd(payload []byte) *time.Time {
	var event struct {
		Data struct {
			Object struct {
				PeriodEnd stamp `json:"period_end"`
			} `json:"object"`
		} `json:"data"`
	}
	if json.Unmarshal(payload, &event) != nil {
		return nil
	}
	return event.Data.Object.PeriodEnd.Time
}

// announceEnd tells the customer, once for each end, that the subscription will end.
func (t *settling) announceEnd(ctx context.Context, s *subscription, old db.Subscription) error {
	end := s.CancelAt.Time
	if current, _ := s.spans(); end == nil && s.CancelAtPeriodEnd {
		end = current.End.Time
	}
	if end == nil || s.EndedAt.Time != nil || old.CancelAtPeriodEnd || old.CancelAt != nil {
		return nil
	}
	_, err := outbox.Add(ctx, t.q, t.now, outbox.Message{
		AccountID: &t.account, Kind: "cancellation_scheduled", NaturalKey: fmt.Sprintf("cancellation_scheduled:%s:%d", s.ID, end.Unix()),
		Payload: map[string]any{"subscription": s.ID, "ends_at": end},
	})
	return err
}

// checkSeats tells the operator, once for each number, where more people are members than seats were bought.
func (t *settling) checkSeats(ctx context.Context, row db.UpsertSubscriptionParams, old db.Subscription) error {
	if old.ID == "" || row.Quantity >= old.Quantity {
		return nil
	}
	members, err := t.q.CountSeatsTaken(ctx, t.account)
	if err != nil {
		return fmt.Errorf("count members: %w", err)
	}
	if members <= row.Quantity {
		return nil
	}
	return t.tellOperator(ctx, "over_seats", fmt.Sprintf("%s:%d", row.ID, row.Quantity), map[string]any{"members": members, "seats": row.Quantity})
}

// trialWillEnd announces the end of a trial and the charge that comes with it, unless the trial is over by now or the subscription ends
// with it: then nothing is charged.
func trialWillEnd(ctx context.Context, t *settling) error {
	s, err := t.q.GetMirroredSubscription(ctx, t.event.ObjectID, t.account)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && (s.Status != "trialing" || s.TrialEnd == nil) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read subscription: %w", err)
	}
	if s.CancelAtPeriodEnd || s.CancelAt != nil && !s.CancelAt.After(*s.TrialEnd) {
		return nil
	}
	_, err = outbox.Add(ctx, t.q, t.now, outbox.Message{
		AccountID: &t.account, Kind: "trial_will_end", NaturalKey: fmt.Sprintf("trial_will_end:%s:%d", s.ID, s.TrialEnd.Unix()),
		Payload: map[string]any{"subscription": s.ID, "trial_end": s.TrialEnd},
	})
	return err
}
