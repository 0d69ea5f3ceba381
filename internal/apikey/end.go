package apikey

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/problem"
)

// Revoke ends a key of the account: here before it returns, elsewhere within a second. Doing it again changes nothing. It fails
// with [problem.NotFound] where the account has no such key.
func (s *Service) Revoke(ctx context.Context, accountID, keyID uuid.UUID, actor audit.Actor) error {
	return s.revoke(ctx, actor, func(q *db.Queries) (db.APIKey, error) { return q.LockAPIKey(ctx, keyID, accountID) })
}

// RevokeAny ends a key whoever it belongs to. It is for the operator.
func (s *Service) RevokeAny(ctx context.Context, keyID uuid.UUID, actor audit.Actor) error {
	return s.revoke(ctx, actor, func(q *db.Queries) (db.APIKey, error) { return q.LockAnyAPIKey(ctx, keyID) })
}

func (s *Service) revoke(ctx context.Context, actor audit.Actor, find func(*db.Queries) (db.APIKey, error)) error {
	now := s.now()
	var hash []byte
	err := postgres.InTx(ctx, s.cfg.Pool, func(q *db.Queries) error {
		row, err := find(q)
		if err != nil {
			return absent(err)
		}
		hash = row.Hash
		if row.RevokedAt == nil {
			if _, err := q.RevokeAPIKey(ctx, now, row.ID); err != nil {
				return fmt.Errorf("end key: %w", err)
			}
			if err := record(ctx, q, now, actor, "api_key.revoke", toKey(row), described(toKey(row)), nil); err != nil {
				return err
			}
		}
		s.forget(ctx, nil, hash)
		return nil
	})
	if err != nil {
		return fmt.Errorf("revoke key: %w", err)
	}
	s.forget(ctx, nil, hash)
	return nil
}

// Rotate replaces a key by a new one with the same name, scopes, expiry and addresses. The old one works until the overlap
// ends. An overlap of an earlier rotation ends at once, so that a key has one predecessor at most. It fails with
// [problem.NotFound], and with [problem.Conflict] where the key has expired or been replaced.
func (s *Service) Rotate(
	ctx context.Context, accountID, keyID uuid.UUID, createdBy *uuid.UUID, overlap time.Duration, key idempotency.Key, actor audit.Actor,
) (Created, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return Created{}, invalid("body.overlap_seconds", "an overlap is at most %d seconds", int(MaxOverlap.Seconds()))
	}
	r := rotation{accountID: accountID, keyID: keyID, overlap: overlap, now: s.now(), actor: actor}
	secret := s.seal(&r.next)
	r.next.ID, r.next.AccountID, r.next.CreatedBy, r.next.Now = postgres.NewID(), &accountID, createdBy, r.now
	var created Created
	var ended [][]byte
	err := postgres.InTx(ctx, s.cfg.Pool, func(q *db.Queries) (err error) {
		created.Key, created.Replayed, err = idempotency.Do(ctx, q, r.now, key, func() (k Key, err error) {
			k, ended, err = r.run(ctx, q)
			return k, err
		})
		s.forget(ctx, err, ended...)
		return err
	})
	if err != nil {
		return Created{}, fmt.Errorf("rotate key: %w", err)
	}
	s.forget(ctx, nil, ended...)
	if !created.Replayed {
		created.Secret = secret
	}
	return created, nil
}

// A rotation is one call of Rotate.
type rotation struct {
	accountID, keyID uuid.UUID
	overlap          time.Duration
	now              time.Time
	actor            audit.Actor
	next             db.InsertAPIKeyParams // lacks what it takes over
}

// run returns the new key, and the hashes of those that ended or will.
func (r rotation) run(ctx context.Context, q *db.Queries) (Key, [][]byte, error) {
	old, err := lock(ctx, q, r.accountID, r.keyID)
	switch {
	case err != nil:
		return Key{}, nil, err
	case old.ReplacedBy != nil:
		return Key{}, nil, problem.Conflict.Errorf("the key has been replaced already, by %s", old.ReplacedBy)
	case !toKey(old).Live(r.now):
		return Key{}, nil, problem.Conflict.Errorf("the key has expired; make a new one")
	}
	next := r.next
	next.Name, next.Scopes, next.AllowedIps, next.ExpiresAt = old.Name, old.Scopes, old.AllowedIps, old.ExpiresAt
	created, err := insert(ctx, q, next, r.actor)
	if err != nil {
		return Key{}, nil, err
	}
	ended, err := r.replace(ctx, q, created)
	return created, ended, err
}

// replace ends the old key, and what it has replaced itself.
func (r rotation) replace(ctx context.Context, q *db.Queries, by Key) ([][]byte, error) {
	params := db.ReplaceAPIKeyParams{
		ReplacedBy: by.ID, Now: r.now, EndsAt: r.now.Add(r.overlap), ID: r.keyID, AccountID: r.accountID,
	}
	if r.overlap == 0 {
		params.RevokedAt = &r.now
	}
	old, err := q.ReplaceAPIKey(ctx, params)
	if err != nil {
		return nil, fmt.Errorf("replace key: %w", err)
	}
	ended, err := q.RevokeReplacedAPIKeys(ctx, r.now, r.keyID, r.accountID)
	if err != nil {
		return nil, fmt.Errorf("end earlier overlap: %w", err)
	}
	after := map[string]any{"replaced_by": by.ID, "ends_at": old.ExpiresAt}
	return append(ended, old.Hash), record(ctx, q, r.now, r.actor, "api_key.rotate", toKey(old), nil, after)
}
