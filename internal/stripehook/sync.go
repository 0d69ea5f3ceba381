package stripehook

import (
	"context"
	"fmt"

	"example.com/saaskit/internal/db"
)

// Kinds of roots that somebody else may ask to be looked at.
const (
	KindSession      = kindSession
	KindSubscription = kindSubscription
	KindInvoice      = kindInvoice
)

// Sync looks at an object now, without an event: by the same fence, the same transaction and the same natural keys, so that it
// may run beside a webhook about the same object. Whose the object is follows from our own table, as ever.
func (s *Service) Sync(ctx context.Context, kind, id string) error {
	if _, known := keepers[kind]; !known {
		return fmt.Errorf("sync %s: unknown kind %q", id, kind)
	}
	if err := s.settle(ctx, root{kind, id}, db.StripeEvent{Source: "stripe.sync"}, false, nil); err != nil {
		return fmt.Errorf("sync %s: %w", id, err)
	}
	return nil
}
