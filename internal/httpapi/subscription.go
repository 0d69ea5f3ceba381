package httpapi

import (
	"context"
	"time"

	"example.com/saaskit/internal/api"
	"example.com/saaskit/internal/billing"
)

// PreviewSubscription answers POST /v1/subscription/preview.
func (s *Server) PreviewSubscription(ctx context.Context, req api.PreviewSubscriptionRequestObject) (api.PreviewSubscriptionResponseObject, error) {
	change, err := toChange(ctx, "previewSubscription", nil, req.Body)
	if err != nil {
		return nil, err
	}
	preview, err := s.Billing.PreviewChange(ctx, change)
	if err != nil {
		return nil, err
	}
	return api.PreviewSubscription200JSONResponse(toPreview(preview)), nil
}

// UpdateSubscription answers PATCH /v1/subscription.
func (s *Server) UpdateSubscription(ctx context.Context, req api.UpdateSubscriptionRequestObject) (api.UpdateSubscriptionResponseObject, error) {
	change, err := toChange(ctx, "updateSubscription", req.Params.IdempotencyKey, req.Body)
	if err != nil {
		return nil, err
	}
	state, again, err := s.Billing.ChangeSubscription(ctx, change)
	if err != nil {
		return nil, err
	}
	return api.UpdateSubscription200JSONResponse{
		Body: toSubscription(state), Headers: api.UpdateSubscription200ResponseHeaders{IdempotentReplayed: replayed(again)},
	}, nil
}

// CancelSubscription answers POST /v1/subscription/cancel.
func (s *Server) CancelSubscription(ctx context.Context, req api.CancelSubscriptionRequestObject) (api.CancelSubscriptionResponseObject, error) {
	when := valueOr(req.Body.When, api.SubscriptionCancelWhenPeriodEnd)
	change, err := toChange(ctx, "cancelSubscription:"+string(when), req.Params.IdempotencyKey, nil)
	if err != nil {
		return nil, err
	}
	state, again, err := s.Billing.CancelSubscription(ctx, change, when == api.SubscriptionCancelWhenNow)
	if err != nil {
		return nil, err
	}
	return api.CancelSubscription200JSONResponse{
		Body: toSubscription(state), Headers: api.CancelSubscription200ResponseHeaders{IdempotentReplayed: replayed(again)},
	}, nil
}

// ResumeSubscription answers POST /v1/subscription/resume.
func (s *Server) ResumeSubscription(ctx context.Context, req api.ResumeSubscriptionRequestObject) (api.ResumeSubscriptionResponseObject, error) {
	change, err := toChange(ctx, "resumeSubscription", req.Params.IdempotencyKey, nil)
	if err != nil {
		return nil, err
	}
	state, again, err := s.Billing.ResumeSubscription(ctx, change)
	if err != nil {
		return nil, err
	}
	return api.ResumeSubscription200JSONResponse{
		Body: toSubscription(state), Headers: api.ResumeSubscription200ResponseHeaders{IdempotentReplayed: replayed(again)},
	}, nil
}

// CreatePortalSession answers POST /v1/billing/portal-sessions.
func (s *Server) CreatePortalSession(ctx context.Context, req api.CreatePortalSessionRequestObject) (api.CreatePortalSessionResponseObject, error) {
	accountID, err := callerOf(ctx).account(ctx, nil)
	if err != nil {
		return nil, err
	}
	url, err := s.Billing.OpenPortal(ctx, accountID, req.Body.ReturnURL)
	if err != nil {
		return nil, err
	}
	return api.CreatePortalSession201JSONResponse{URL: url}, nil
}

// toChange makes a change of a request; body is nil where the operation says all.
func toChange(ctx context.Context, operation string, header *string, body *api.SubscriptionChange) (billing.Change, error) {
	who := callerOf(ctx)
	accountID, err := who.account(ctx, nil)
	if err != nil {
		return billing.Change{}, err
	}
	c := billing.Change{AccountID: accountID, UserID: who.UserID, Actor: who.actor()}
	if body != nil {
		c.Tier, c.Interval, c.Quantity = valueOr(body.Tier, ""), string(valueOr(body.Interval, "")), valueOr(body.Quantity, 0)
		c.ProratedAt = body.ProratedAt
	}
	c.Key, err = who.idempotencyKey(operation, header, accountID, body)
	return c, err
}

func toSubscription(s billing.State) api.Subscription {
	answer := api.Subscription{
		ID: optional(s.ID), Tier: s.Tier, Status: s.Status, Interval: toInterval(s.Interval), Currency: optional(s.Currency),
		CurrentPeriodStart: s.CurrentPeriodStart, CurrentPeriodEnd: s.CurrentPeriodEnd, CancelAt: s.CancelAt,
		CancelAtPeriodEnd: s.CancelAtPeriodEnd, TrialEnd: s.TrialEnd, EndedAt: s.EndedAt,
		Access: s.Access, AccessUntil: s.AccessUntil, CollectionPaused: optional(s.PausedBy),
	}
	if s.ID != "" {
		answer.Quantity = &s.Quantity
	}
	if p := s.Pending; p != nil {
		answer.PendingChange = &api.PendingChange{
			Tier: p.Tier, Interval: toInterval(p.Interval), Quantity: p.Quantity, ExpiresAt: p.At, HostedInvoiceURL: optional(p.HostedInvoiceURL),
		}
	}
	if p := s.Scheduled; p != nil {
		answer.ScheduledChange = &api.ScheduledChange{Tier: p.Tier, Interval: toInterval(p.Interval), Quantity: p.Quantity, EffectiveAt: p.At}
	}
	if d := s.Due; d != nil {
		answer.PaymentDue = &api.PaymentDue{
			InvoiceID: d.InvoiceID, Amount: api.Money{Amount: d.Amount, Currency: d.Currency}, Attempts: d.Attempts,
			NextPaymentAttempt: d.NextPaymentAttempt, HostedInvoiceURL: optional(d.HostedInvoiceURL), Remedy: api.PaymentDueRemedy(d.Remedy),
		}
	}
	return answer
}

func toInterval(interval string) *api.Interval {
	if interval == "" {
		return nil
	}
	i := api.Interval(interval)
	return &i
}

func toPreview(p billing.Preview) api.SubscriptionPreview {
	money := func(amount int64) api.Money { return api.Money{Amount: amount, Currency: p.Currency} }
	answer := api.SubscriptionPreview{
		Effective: api.SubscriptionPreviewEffective(p.Effective), EffectiveAt: p.At, Tier: p.Tier, Interval: api.Interval(p.Interval),
		Quantity: p.Quantity, ProratedAt: p.ProratedAt, DueNow: money(p.DueNow),
	}
	c := p.Charge
	if c == nil {
		return answer
	}
	answer.Charge = &api.PreviewedCharge{
		ChargedAt: c.At, Subtotal: money(c.Subtotal), Discount: money(c.Discount), Tax: money(c.Tax), Total: money(c.Total),
		AppliedBalance: money(c.AppliedBalance), AmountDue: money(c.AmountDue), Lines: make([]api.InvoiceLine, len(c.Lines)),
	}
	for i, l := range c.Lines {
		answer.Charge.Lines[i] = api.InvoiceLine{
			Description: l.Description, Amount: money(l.Amount), Quantity: l.Quantity, Proration: l.Proration,
			PeriodStart: optionalTime(l.From), PeriodEnd: optionalTime(l.To),
		}
	}
	return answer
}

// optionalTime leaves a time that is not known out of the answer.
func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
