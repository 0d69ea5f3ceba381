package account

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/problem"
)

const (
	// enrolPatience bounds making a user, for which other requests of the same user wait.
	enrolPatience = 10 * time.Second
	// emailCheckEvery is how often Supabase Auth is asked whether an address is confirmed by now.
	emailCheckEvery = time.Minute
)

// A Bearer is what a verified token says of who sends it.
type Bearer struct {
	Issuer    string
	Subject   string
	Email     string
	SessionID *uuid.UUID
	IssuedAt  time.Time
}

// An Identity is what every request asks of a user.
type Identity db.GetIdentityRow

// Admit returns the user that a token belongs to. First sight makes user and personal account. It fails with
// [problem.UserDeleted], [problem.UserDisabled] and [problem.SessionRevoked].
func (s *Service) Admit(ctx context.Context, b Bearer) (Identity, error) {
	id, found, err := s.identities.Get(ctx, identityKey(b.Issuer, b.Subject))
	if err == nil && !found {
		id, err = s.enrol(ctx, b)
	}
	if err != nil {
		return id, err
	}
	if err := id.refuse(b); err != nil {
		return id, err
	}
	if b.Email != id.Email && b.IssuedAt.After(id.EmailAsOf) {
		return s.changeEmail(ctx, id, b)
	}
	return id, nil
}

// refuse says why a token is not admitted, if it is not.
func (id Identity) refuse(b Bearer) error {
	switch {
	case id.Status == StatusDeleting || id.Status == StatusDeleted:
		return problem.UserDeleted.Errorf("the user has been deleted")
	case id.Status != StatusActive:
		return problem.UserDisabled.Errorf("ask the operator")
	case b.SessionID != nil && slices.Contains(id.Revoked, *b.SessionID):
		return problem.SessionRevoked.Errorf("sign in again")
	case id.TokensValidAfter == nil || !b.IssuedAt.Before(*id.TokensValidAfter):
		return nil
	case b.SessionID != nil && id.KeptSession != nil && *b.SessionID == *id.KeptSession:
		return nil
	}
	return problem.SessionRevoked.Errorf("sign in again")
}

// EmailCheckDue tells whether it is time to ask Supabase Auth for a confirmed address.
func (id Identity) EmailCheckDue(now time.Time) bool {
	return id.EmailConfirmedAt == nil && id.Email != "" &&
		(id.EmailCheckedAt == nil || !now.Before(id.EmailCheckedAt.Add(emailCheckEvery)))
}

// enrol makes the user. One request of this process does it for all that wait.
func (s *Service) enrol(ctx context.Context, b Bearer) (Identity, error) {
	key := identityKey(b.Issuer, b.Subject)
	flight := s.enrolling.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), enrolPatience)
		defer cancel()
		return s.insertUser(ctx, b)
	})
	select {
	case <-ctx.Done():
		return Identity{}, fmt.Errorf("make user: %w", context.Cause(ctx))
	case result := <-flight:
		if result.Err != nil {
			return Identity{}, result.Err
		}
		return result.Val.(Identity), nil
	}
}

func (s *Service) insertUser(ctx context.Context, b Bearer) (Identity, error) {
	key, now := identityKey(b.Issuer, b.Subject), s.now()
	err := postgres.InTx(ctx, s.cfg.Pool, func(q *db.Queries) error {
		userID, accountID := postgres.NewID(), postgres.NewID()
		inserted, err := q.InsertUser(ctx, db.InsertUserParams{
			ID: userID, Issuer: b.Issuer, Subject: b.Subject, Email: b.Email, EmailAsOf: b.IssuedAt, Now: now,
		})
		if err != nil || inserted == 0 {
			return err // another instance was first
		}
		if err := s.insertPersonalAccount(ctx, q, userID, accountID, now); err != nil {
			return err
		}
		s.identities.Invalidate(ctx, key)
		return nil
	})
	s.identities.Invalidate(ctx, key)
	if err != nil {
		return Identity{}, fmt.Errorf("make user: %w", err)
	}
	id, found, err := s.loadIdentity(ctx, key)
	if err == nil && !found {
		err = fmt.Errorf("user %s is not there after it was made", key)
	}
	return id, err
}

func (s *Service) insertPersonalAccount(ctx context.Context, q *db.Queries, userID, accountID uuid.UUID, now time.Time) error {
	if err := q.InsertPersonalAccount(ctx, db.InsertPersonalAccountParams{ID: accountID, Name: "Personal", UserID: userID, Now: now}); err != nil {
		return fmt.Errorf("insert personal account: %w", err)
	}
	if err := q.InsertMembership(ctx, db.InsertMembershipParams{AccountID: accountID, UserID: userID, Role: RoleOwner, Now: now}); err != nil {
		return fmt.Errorf("insert membership: %w", err)
	}
	return audit.Record(ctx, q, now, audit.Entry{
		Actor: audit.Actor{Kind: audit.ByUser, ID: userID.String()}, AccountID: &accountID,
		Action: "user.create", Target: "user", TargetID: userID.String(),
	})
}

// changeEmail keeps the address of a later token.
func (s *Service) changeEmail(ctx context.Context, id Identity, b Bearer) (Identity, error) {
	key := identityKey(b.Issuer, b.Subject)
	err := postgres.InTx(ctx, s.cfg.Pool, func(q *db.Queries) error {
		_, err := q.SetEmail(ctx, db.SetEmailParams{ID: id.ID, Email: b.Email, AsOf: b.IssuedAt, Now: s.now()})
		s.identities.Invalidate(ctx, key)
		return err
	})
	s.identities.Invalidate(ctx, key)
	if err != nil {
		return id, fmt.Errorf("change e-mail: %w", err)
	}
	id, found, err := s.loadIdentity(ctx, key)
	if err == nil && !found {
		err = fmt.Errorf("user %s is gone", key)
	}
	return id, err
}

// ClaimEmailCheck gives the right to ask Supabase Auth for a confirmed address, to one of all instances once a minute.
func (s *Service) ClaimEmailCheck(ctx context.Context, b Bearer, userID uuid.UUID) (bool, error) {
	now := s.now()
	claimed, err := s.queries().ClaimEmailCheck(ctx, now, userID, now.Add(-emailCheckEvery))
	if err != nil {
		return false, fmt.Errorf("claim e-mail check: %w", err)
	}
	s.identities.Invalidate(ctx, identityKey(b.Issuer, b.Subject))
	return claimed > 0, nil
}

// RecordEmail keeps what Supabase Auth answered about a user's address at a time. A user that we have not seen yet is nobody's
// concern: first sight asks.
func (s *Service) RecordEmail(ctx context.Context, issuer, subject, email string, confirmedAt *time.Time, asOf time.Time) error {
	if email == "" {
		return nil
	}
	key := identityKey(issuer, subject)
	changed := int64(0)
	err := postgres.InTx(ctx, s.cfg.Pool, func(q *db.Queries) (err error) {
		changed, err = q.RecordEmail(ctx, db.RecordEmailParams{
			Issuer: issuer, Subject: subject, Email: email, ConfirmedAt: confirmedAt, AsOf: asOf.UTC().Truncate(time.Microsecond), Now: s.now(),
		})
		if err == nil && changed > 0 {
			s.identities.Invalidate(ctx, key)
		}
		return err
	})
	if changed > 0 {
		s.identities.Invalidate(ctx, key)
	}
	if err != nil {
		return fmt.Errorf("record e-mail: %w", err)
	}
	return nil
}

// identityKey is the name of an identity in the cache. Issuers are addresses: they have no space in them.
func identityKey(issuer, subject string) string { return issuer + " " + subject }

func (s *Service) loadIdentity(ctx context.Context, key string) (Identity, bool, error) {
	issuer, subject, _ := strings.Cut(key, " ")
	row, found, err := maybe(s.queries().GetIdentity(ctx, s.now(), issuer, subject))
	return Identity(row), found, err
}
