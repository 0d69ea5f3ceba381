package httpapi

import (
	"context"

	"github.com/google/uuid"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/problem"
)

const (
	headerAccount     = "Saaskit-Account"
	headerAPIKey      = "X-Api-Key"
	headerIdempotency = "Idempotency-Key"
)

// A caller is what the middleware found out about a request.
type caller struct {
	account.Principal
	requestID string
	ip        string
	actFor    func(ctx context.Context, id uuid.UUID) error // of a service key
}

type visitKey struct{}

func withVisit(ctx context.Context, v *visit) context.Context {
	return context.WithValue(ctx, visitKey{}, v)
}

// callerOf returns who makes the request. Operations without security have a caller without a principal.
func callerOf(ctx context.Context) caller {
	if v, ok := ctx.Value(visitKey{}).(*visit); ok {
		return v.caller
	}
	return caller{}
}

// actor is the caller as the audit log names it.
func (c caller) actor() audit.Actor { return c.Actor(c.requestID, c.ip) }

// account returns the account that the request works on. named is the account_id of the body, where the operation has one:
// only a service key may name another account there than in the header.
func (c caller) account(ctx context.Context, named *uuid.UUID) (uuid.UUID, error) {
	switch {
	case named == nil && c.AccountID == nil:
		return uuid.Nil, problem.AccountRequired.Errorf("name the account in the %s header", headerAccount)
	case named == nil:
		return *c.AccountID, nil
	case c.AccountID == nil && c.Kind == account.KindService:
		return *named, c.actFor(ctx, *named)
	case c.AccountID != nil && *c.AccountID == *named:
		return *named, nil
	}
	return uuid.Nil, problem.AccountForbidden.Errorf("account_id is not the account that the credential works for")
}

// idempotencyKey makes the key of a request from its Idempotency-Key header; request is all that decides what it does:
// path parameters, account and body.
func (c caller) idempotencyKey(operation string, header *string, request ...any) (idempotency.Key, error) {
	if header == nil {
		return idempotency.Key{}, nil
	}
	return idempotency.New(c.String(), operation, *header, request)
}
