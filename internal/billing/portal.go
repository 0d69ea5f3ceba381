package billing

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/stripe/stripe-go/v76"
)

// OpenPortal returns the address of Stripe's customer portal, which sends the customer back to returnURL. The address opens the
// portal for whoever has it, so it is made anew each time and kept nowhere. It fails with [problem.RedirectNotAllowed],
// [problem.StripeFailed], and with [problem.StripeRefused] where nobody has saved the portal's settings at Stripe.
func (s *Service) OpenPortal(ctx context.Context, accountID uuid.UUID, returnURL string) (string, error) {
	if err := s.Origins.Allows("return_url", returnURL); err != nil {
		return "", err
	}
	for range 2 {
		customer, err := s.Customer(ctx, accountID)
		if err != nil {
			return "", s.told(ctx, err)
		}
		params := &stripe.BillingPortalSessionParams{Customer: stripe.String(customer), ReturnURL: stripe.String(returnURL)}
		params.Context = ctx
		made, err := s.Stripe.BillingPortalSessions.New(params)
		if err == nil {
			return made.URL, nil
		}
		var e *stripe.Error
		if !errors.As(err, &e) || e.Param != "customer" || e.Code != stripe.ErrorCodeResourceMissing {
			return "", s.told(ctx, refusal("open portal", err))
		}
		// Deleted at Stripe, and the event has not come yet.
		if err := s.queries().ForgetCustomer(ctx, s.now(), accountID, customer); err != nil {
			return "", fmt.Errorf("forget customer: %w", err)
		}
	}
	return "", errors.New("open portal: the customer does not stay")
}
