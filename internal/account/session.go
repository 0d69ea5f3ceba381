package account

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
)

// SignOut denies the tokens of one session, until expiresAt, when no token of it lives any more.
func (s *Service) SignOut(ctx context.Context, b Bearer, session uuid.UUID, expiresAt time.Time, actor audit.Actor) error {
	return s.deny(ctx, b, actor, "session.sign_out", func(q *db.Queries, id Identity, now time.Time) error {
		return q.RevokeSession(ctx, db.RevokeSessionParams{SessionID: session, UserID: id.ID, Now: now, ExpiresAt: expiresAt})
	})
}

// SignOutAll denies every token issued before validAfter, except those of the session kept, where there is one.
func (s *Service) SignOutAll(ctx context.Context, b Bearer, validAfter time.Time, kept *uuid.UUID, actor audit.Actor) error {
	action := "session.sign_out_all"
	if kept != nil {
		action = "session.sign_out_others"
	}
	return s.deny(ctx, b, actor, action, func(q *db.Queries, id Identity, now time.Time) error {
		return q.RevokeTokens(ctx, db.RevokeTokensParams{ID: id.ID, ValidAfter: validAfter, KeptSession: kept, Now: now})
	})
}

// deny changes which tokens are admitted. The lock and the second look keep a session that was signed out a moment ago from
// signing out the others and exempting itself.
func (s *Service) deny(ctx context.Context, b Bearer, actor audit.Actor, action string, change func(*db.Queries, Identity, time.Time) error) error {
	key, now := identityKey(b.Issuer, b.Subject), s.now()
	err := postgres.InTx(ctx, s.cfg.Pool, func(q *db.Queries) error {
		row, err := q.GetIdentity(ctx, now, b.Issuer, b.Subject)
		if err != nil {
			return fmt.Errorf("read identity: %w", err)
		}
		if _, err := q.LockUser(ctx, row.ID); err != nil {
			return fmt.Errorf("lock user: %w", err)
		}
		if row, err = q.GetIdentity(ctx, now, b.Issuer, b.Subject); err != nil {
			return fmt.Errorf("read identity again: %w", err)
		}
		id := Identity(row)
		if err := id.refuse(b); err != nil {
			return err
		}
		if err := change(q, id, now); err != nil {
			return err
		}
		err = audit.Record(ctx, q, now, audit.Entry{
			Actor: actor, AccountID: &id.AccountID, Action: action, Target: "user", TargetID: id.ID.String(),
		})
		s.identities.Invalidate(ctx, key)
		return err
	})
	s.identities.Invalidate(ctx, key)
	if err != nil {
		return fmt.Errorf("sign out: %w", err)
	}
	return nil
}
