package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"example.com/saaskit/internal/api"
)

// ReceiveStripeEvent answers POST /v1/webhooks/stripe.
func (s *Server) ReceiveStripeEvent(ctx context.Context, req api.ReceiveStripeEventRequestObject) (api.ReceiveStripeEventResponseObject, error) {
	body, err := io.ReadAll(req.Body)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, slowBody(err)
	case err != nil:
		return nil, fmt.Errorf("read body: %w", err)
	}
	if err := s.Stripe.Receive(ctx, valueOr(req.Params.StripeSignature, ""), body); err != nil {
		return nil, err
	}
	return api.ReceiveStripeEvent200Response{}, nil
}
