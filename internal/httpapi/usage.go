package httpapi

import (
	"context"

	"example.com/saaskit/internal/api"
	"example.com/saaskit/internal/usage"
)

// RecordUsage answers POST /v1/usage/events.
func (s *Server) RecordUsage(ctx context.Context, req api.RecordUsageRequestObject) (api.RecordUsageResponseObject, error) {
	c := callerOf(ctx)
	accountID, err := c.account(ctx, req.Body.AccountID)
	if err != nil {
		return nil, err
	}
	key, err := c.idempotencyKey("recordUsage", req.Params.IdempotencyKey, accountID, req.Body.Events)
	if err != nil {
		return nil, err
	}
	accepted, again, err := s.Usage.Record(ctx, accountID, toEvents(req.Body.Events), key, c.actor())
	if err != nil {
		return nil, err
	}
	return api.RecordUsage202JSONResponse{
		Body:    api.UsageAccepted{Accepted: accepted.Accepted, Duplicates: accepted.Duplicates},
		Headers: api.RecordUsage202ResponseHeaders{IdempotentReplayed: replayed(again)},
	}, nil
}

// GetUsage answers GET /v1/usage.
func (s *Server) GetUsage(ctx context.Context, req api.GetUsageRequestObject) (api.GetUsageResponseObject, error) {
	accountID, err := callerOf(ctx).account(ctx, nil)
	if err != nil {
		return nil, err
	}
	p, window := req.Params, valueOr(req.Params.Window, api.WindowDay)
	series, err := s.Usage.Series(ctx, usage.Query{AccountID: accountID, Meter: p.Meter, Window: string(window), From: p.From, To: p.To})
	if err != nil {
		return nil, err
	}
	return api.GetUsage200JSONResponse{Meter: p.Meter, Window: window, Total: series.Total, Data: toUsageWindows(series.Windows)}, nil
}

func toEvents(list []api.UsageEvent) []usage.Event {
	events := make([]usage.Event, len(list))
	for i, e := range list {
		events[i] = usage.Event{ID: e.ID, Meter: e.Meter, Quantity: e.Quantity, OccurredAt: e.OccurredAt, Dimension: valueOr(e.Dimension, "")}
	}
	return events
}

func toUsageWindows(list []usage.Window) []api.UsageWindow {
	windows := make([]api.UsageWindow, len(list))
	for i, w := range list {
		windows[i] = api.UsageWindow{Start: w.Start, End: w.End, Quantity: w.Quantity, Events: w.Events}
	}
	return windows
}
