// Package audit writes down who changed what. An entry joins the transaction of the change that it tells of, so there is
// never one without the other. Entries of the credits ledger are their own record and do not come here.
package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
)

// Kinds of actors.
const (
	ByUser     = "user"
	ByAPIKey   = "api_key"
	ByService  = "service"
	BySystem   = "system"   // periodic work
	ByStripe   = "stripe"   // an event
	ByOperator = "operator" // the command line
)

// An Actor is who does something: a principal of a request, or one of ours.
type Actor struct {
	Kind      string
	ID        string // user id, key id, event id, job name
	RequestID string
	IP        string
}

// System is the actor of periodic work.
func System(job string) Actor { return Actor{Kind: BySystem, ID: job} }

// Stripe is the actor of what an event brings about.
func Stripe(eventID string) Actor { return Actor{Kind: ByStripe, ID: eventID} }

// Operator is the actor of a command.
func Operator(command string) Actor { return Actor{Kind: ByOperator, ID: command} }

// An Entry is one change.
type Entry struct {
	Actor     Actor
	AccountID *uuid.UUID // whose, where it is somebody's
	Action    string     // api_key.create, user.disable
	Target    string     // kind of what was changed: api_key, user
	TargetID  string
	Before    any // as JSON, without secrets; nil is left out
	After     any
}

// Record writes e in the transaction of q.
func Record(ctx context.Context, q *db.Queries, now time.Time, e Entry) error {
	before, err := encode(e.Before)
	if err != nil {
		return err
	}
	after, err := encode(e.After)
	if err != nil {
		return err
	}
	err = q.InsertAuditEntry(ctx, db.InsertAuditEntryParams{
		ID: postgres.NewID(), AccountID: e.AccountID, ActorKind: e.Actor.Kind, ActorID: e.Actor.ID, Action: e.Action,
		TargetKind: e.Target, TargetID: e.TargetID, Before: before, After: after,
		RequestID: e.Actor.RequestID, IP: e.Actor.IP, CreatedAt: now,
	})
	if err != nil {
		return fmt.Errorf("write audit entry %s: %w", e.Action, err)
	}
	return nil
}

func encode(v any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode audit entry: %w", err)
	}
	return raw, nil
}
