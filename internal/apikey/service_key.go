package apikey

import (
	"context"
	"fmt"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
)

// maxServiceKeys bounds the list of service keys; an operator has a handful.
const maxServiceKeys = 1000

// CreateService issues a service key: one that works for any account. Its scopes are mandatory; see [ServiceScopes].
func (s *Service) CreateService(ctx context.Context, w Wish, actor audit.Actor) (Created, error) {
	row, err := s.draft(w, ServiceScopes())
	if err != nil {
		return Created{}, err
	}
	if len(row.Scopes) == 0 {
		return Created{}, invalid("body.scopes", "a service key needs scopes")
	}
	created := Created{Secret: s.seal(&row)}
	err = postgres.InTx(ctx, s.cfg.Pool, func(q *db.Queries) (err error) {
		created.Key, err = insert(ctx, q, row, actor)
		return err
	})
	if err != nil {
		return Created{}, fmt.Errorf("create service key: %w", err)
	}
	return created, nil
}

// ListService returns the service keys that are not revoked, newest first.
func (s *Service) ListService(ctx context.Context) ([]Key, error) {
	rows, err := s.queries().ListServiceKeys(ctx, maxServiceKeys)
	if err != nil {
		return nil, fmt.Errorf("list service keys: %w", err)
	}
	return toKeys(rows), nil
}
