package httpapi

import (
	"context"
	"encoding/json"

	"example.com/saaskit/internal/api"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/stripehook"
)

// ListStripeEvents answers GET /v1/admin/stripe-events.
func (s *Server) ListStripeEvents(ctx context.Context, req api.ListStripeEventsRequestObject) (api.ListStripeEventsResponseObject, error) {
	p := req.Params
	filter := stripehook.Filter{
		Reason: valueOr(p.Reason, ""), Type: valueOr(p.Type, ""), ObjectID: valueOr(p.Object, ""), Status: string(valueOr(p.Status, "")),
	}
	found, err := s.Stripe.Events(ctx, filter, pageOf(p.Limit, p.Cursor))
	if err != nil {
		return nil, err
	}
	list := api.StripeEventList{Data: make([]api.StripeEvent, len(found.Data)), NextCursor: optional(found.Next)}
	for i, e := range found.Data {
		list.Data[i] = toStripeEvent(e)
	}
	return api.ListStripeEvents200JSONResponse(list), nil
}

// GetStripeEvent answers GET /v1/admin/stripe-events/{event_id}.
func (s *Server) GetStripeEvent(ctx context.Context, req api.GetStripeEventRequestObject) (api.GetStripeEventResponseObject, error) {
	e, err := s.Stripe.Event(ctx, req.EventID)
	if err != nil {
		return nil, err
	}
	return api.GetStripeEvent200JSONResponse(toStoredEvent(e)), nil
}

// ReplayStripeEvent answers POST /v1/admin/stripe-events/{event_id}/replay.
func (s *Server) ReplayStripeEvent(ctx context.Context, req api.ReplayStripeEventRequestObject) (api.ReplayStripeEventResponseObject, error) {
	c := callerOf(ctx)
	key, err := c.idempotencyKey("replayStripeEvent", req.Params.IdempotencyKey, req.EventID)
	if err != nil {
		return nil, err
	}
	e, again, err := s.Stripe.Replay(ctx, key, req.EventID, c.actor())
	if err != nil {
		return nil, err
	}
	return api.ReplayStripeEvent200JSONResponse{
		Body: toStoredEvent(e), Headers: api.ReplayStripeEvent200ResponseHeaders{IdempotentReplayed: replayed(again)},
	}, nil
}

// ListAuditLog answers GET /v1/admin/audit-log.
func (s *Server) ListAuditLog(ctx context.Context, req api.ListAuditLogRequestObject) (api.ListAuditLogResponseObject, error) {
	p := req.Params
	filter := audit.Filter{AccountID: p.AccountID, Action: valueOr(p.Action, ""), TargetID: valueOr(p.Target, "")}
	found, err := s.Audit.List(ctx, filter, pageOf(p.Limit, p.Cursor))
	if err != nil {
		return nil, err
	}
	list := api.AuditLog{Data: make([]api.AuditLogEntry, len(found.Data)), NextCursor: optional(found.Next)}
	for i, e := range found.Data {
		list.Data[i] = toAuditLogEntry(e)
	}
	return api.ListAuditLog200JSONResponse(list), nil
}

func toStripeEvent(e stripehook.Event) api.StripeEvent {
	return api.StripeEvent{
		ID: e.ID, Type: e.Type, APIVersion: optional(e.APIVersion), Livemode: e.Livemode, ObjectKind: optional(e.ObjectKind),
		ObjectID: optional(e.ObjectID), RootID: optional(e.RootID), CustomerID: optional(e.CustomerID), Source: api.StripeEventSource(e.Source),
		Status: api.StripeEventStatus(e.Status), Reason: optional(e.Reason), DeliveryCount: e.DeliveryCount, Replays: e.Replays,
		Attempts: e.Attempts, LastError: optional(e.LastError), CreatedAt: e.EventCreated, ReceivedAt: e.ReceivedAt, DoneAt: e.DoneAt,
	}
}

func toStoredEvent(e stripehook.StoredEvent) api.StripeEvent {
	shown := toStripeEvent(stripehook.Event{
		ID: e.ID, Type: e.Type, APIVersion: e.APIVersion, Livemode: e.Livemode, ObjectKind: e.ObjectKind, ObjectID: e.ObjectID, RootID: e.RootID,
		CustomerID: e.CustomerID, Source: e.Source, Status: e.Status, Reason: e.Reason, DeliveryCount: e.DeliveryCount, Replays: e.Replays,
		Attempts: e.Attempts, LastError: e.LastError, EventCreated: e.EventCreated, ReceivedAt: e.ReceivedAt, DoneAt: e.DoneAt,
	})
	shown.Payload = object(e.Payload)
	return shown
}

func toAuditLogEntry(e audit.Row) api.AuditLogEntry {
	return api.AuditLogEntry{
		ID: e.ID, AccountID: e.AccountID, Action: e.Action, ActorKind: e.ActorKind, ActorID: e.ActorID, TargetKind: e.TargetKind,
		TargetID: e.TargetID, Before: object(e.Before), After: object(e.After), RequestID: optional(e.RequestID), IP: optional(e.IP),
		CreatedAt: e.CreatedAt,
	}
}

// object is JSON as it was stored; nothing where it is none.
func object(raw []byte) map[string]any {
	var fields map[string]any
	if json.Unmarshal(raw, &fields) != nil {
		return nil
	}
	return fields
}
