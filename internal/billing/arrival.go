package billing

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/problem"
)

// An Attempt is one row of checkout_attempts: a checkout that was opened for an account.
type Attempt = db.CheckoutAttempt

// Checkout tells how a checkout of the account stands. It looks at Stripe by the fenced way that events take, so that what was
// bought is there when the customer comes back, whether the webhook comes before, at the same time or never. It fails with
// [problem.AccountForbidden] for a session that was not opened for the account, known or not.
func (s *Service) Checkout(ctx context.Context, accountID uuid.UUID, sessionID string) (Attempt, error) {
	attempt, err := s.sessionAttempt(ctx, accountID, sessionID)
	if err != nil || attempt.Status == attemptExpired || attempt.Status == "failed" {
		return attempt, err
	}
	ctx, cancel := context.WithTimeout(ctx, stripeBudget)
	defer cancel()
	if err := s.sync(ctx, "checkout.session", sessionID); err != nil {
		return attempt, fmt.Errorf("look at checkout: %w", err)
	}
	return s.sessionAttempt(ctx, accountID, sessionID)
}

func (s *Service) sessionAttempt(ctx context.Context, accountID uuid.UUID, sessionID string) (Attempt, error) {
	attempt, err := s.queries().GetSessionAttempt(ctx, accountID, sessionID)
	if errors.Is(err, pgx.ErrNoRows) {
		return attempt, problem.AccountForbidden.Errorf("the session was not opened for this account")
	}
	if err != nil {
		return attempt, fmt.Errorf("read checkout: %w", err)
	}
	return attempt, nil
}
