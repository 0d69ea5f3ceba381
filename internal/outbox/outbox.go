// Package outbox holds what has to be told to somebody. A message is written in the transaction of what it tells of and
// delivered later; its natural key makes writing it twice one message.
package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
)

// A Message is one thing to tell.
type Message struct {
	AccountID  *uuid.UUID
	Kind       string // receipt, payment_failed
	NaturalKey string // once for ever: receipt:in_123
	Payload    any    // as JSON
}

// Add writes m in the transaction of q and tells whether it is new.
func Add(ctx context.Context, q *db.Queries, now time.Time, m Message) (bool, error) {
	payload, err := json.Marshal(m.Payload)
	if err != nil {
		return false, fmt.Errorf("encode outbox message %s: %w", m.Kind, err)
	}
	added, err := q.InsertOutbox(ctx, db.InsertOutboxParams{
		ID: postgres.NewID(), AccountID: m.AccountID, Kind: m.Kind, NaturalKey: m.NaturalKey, Payload: payload, CreatedAt: now,
	})
	if err != nil {
		return false, fmt.Errorf("write outbox message %s: %w", m.Kind, err)
	}
	return added > 0, nil
}
