package httpapi

import (
	"context"
	"time"

	"example.com/saaskit/internal/api"
	"example.com/saaskit/internal/problem"
)

// TestPublic answers GET /v1/test/public.
func (s *Server) TestPublic(context.Context, api.TestPublicRequestObject) (api.TestPublicResponseObject, error) {
	return api.TestPublic200JSONResponse{TestResultJSONResponse: api.TestResultJSONResponse{Ok: true}}, nil
}

// TestAuthenticated answers GET /v1/test/authenticated.
func (s *Server) TestAuthenticated(ctx context.Context, _ api.TestAuthenticatedRequestObject) (api.TestAuthenticatedResponseObject, error) {
	return api.TestAuthenticated200JSONResponse{TestResultJSONResponse: toTestResult(ctx)}, nil
}

// TestAPIKey answers GET /v1/test/api-key.
func (s *Server) TestAPIKey(ctx context.Context, _ api.TestAPIKeyRequestObject) (api.TestAPIKeyResponseObject, error) {
	return api.TestAPIKey200JSONResponse{TestResultJSONResponse: toTestResult(ctx)}, nil
}

func toTestResult(ctx context.Context) api.TestResultJSONResponse {
	principal := toPrincipal(callerOf(ctx))
	return api.TestResultJSONResponse{Ok: true, Principal: &principal}
}

// A Clock is time that can be moved. It is there only while every part of the server is embedded.
type Clock interface {
	// Time is now.
	Time() time.Time
	// AdvanceTo moves time on and returns when what fell due on the way has been done.
	AdvanceTo(ctx context.Context, at time.Time) error
}

// maxMove bounds one move: each day of it is worked through.
const maxMove = 2 * 365 * 24 * time.Hour

// MoveClock answers POST /v1/test/clock.
func (s *Server) MoveClock(ctx context.Context, req api.MoveClockRequestObject) (api.MoveClockResponseObject, error) {
	if s.Clock == nil {
		return nil, problem.Conflict.Errorf("time can be moved only while every part is embedded: " +
			"unset DATABASE_URL, REDIS_URL, SUPABASE_URL and STRIPE_API_KEY")
	}
	now := s.Clock.Time()
	to, err := destination(now, *req.Body)
	if err != nil {
		return nil, err
	}
	if err := s.Clock.AdvanceTo(ctx, to); err != nil {
		return nil, err
	}
	return api.MoveClock200JSONResponse{Now: s.Clock.Time().UTC()}, nil
}

func destination(now time.Time, move api.ClockMove) (time.Time, error) {
	switch {
	case (move.To == nil) == (move.Seconds == nil):
		return now, problem.InvalidRequest.Errorf("give one of to and seconds").In("body", "has to have exactly one of to and seconds")
	case move.Seconds != nil:
		return now.Add(time.Duration(*move.Seconds) * time.Second), nil
	case !move.To.After(now) || move.To.Sub(now) > maxMove:
		return now, problem.InvalidRequest.Errorf("it is %s; time moves on by two years at the most, and never back", now.UTC().Format(time.RFC3339)).
			In("body.to", "is not in the two years ahead")
	}
	return *move.To, nil
}
