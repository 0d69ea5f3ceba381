package httpapi

import (
	"context"

	"example.com/saaskit/internal/api"
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
