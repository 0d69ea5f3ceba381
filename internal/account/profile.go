package account

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/page"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/problem"
)

// A Profile is a user with the personal account and its tier.
type Profile struct {
	db.User
	AccountID uuid.UUID
	Tier      string
}

// Profile returns a user. It fails with [problem.NotFound].
func (s *Service) Profile(ctx context.Context, userID uuid.UUID) (Profile, error) {
	q := s.queries()
	row, err := q.GetUser(ctx, userID)
	if err != nil {
		return Profile{}, userError(err)
	}
	return s.profile(ctx, q, row.User, row.AccountID)
}

// profile adds the tier, in the transaction of q.
func (s *Service) profile(ctx context.Context, q *db.Queries, u db.User, accountID uuid.UUID) (Profile, error) {
	standing, err := StandingOf(ctx, q, s.cfg.Policy, accountID, s.now())
	return Profile{User: u, AccountID: accountID, Tier: standing.Tier}, err
}

func userError(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return problem.NotFound.Errorf("there is no such user")
	}
	return fmt.Errorf("read user: %w", err)
}

// Rename changes the display name of an active user.
func (s *Service) Rename(ctx context.Context, key idempotency.Key, userID uuid.UUID, name *string, actor audit.Actor) (Profile, bool, error) {
	return s.change(ctx, key, userID, func(q *db.Queries, u db.LockUserRow, now time.Time) error {
		if u.User.Status != StatusActive {
			return problem.NotFound.Errorf("there is no such user")
		}
		if name == nil || *name == u.User.DisplayName {
			return nil
		}
		if _, err := q.SetDisplayName(ctx, *name, now, userID); err != nil {
			return fmt.Errorf("set display name: %w", err)
		}
		return audit.Record(ctx, q, now, audit.Entry{
			Actor: actor, AccountID: &u.AccountID, Action: "user.update", Target: "user", TargetID: userID.String(),
		})
	})
}

// SetStatus disables or enables a user, with the personal account and so with its keys. It fails with [problem.Conflict] for a
// user who is deleted.
func (s *Service) SetStatus(
	ctx context.Context, key idempotency.Key, userID uuid.UUID, status, reason string, actor audit.Actor,
) (Profile, bool, error) {
	var forget func()
	p, replayed, err := s.change(ctx, key, userID, func(q *db.Queries, u db.LockUserRow, now time.Time) error {
		switch {
		case u.User.Status == StatusDeleting || u.User.Status == StatusDeleted:
			return problem.Conflict.Errorf("the user has been deleted")
		case u.User.Status == status:
			return nil
		case actor.Kind == audit.ByUser && actor.ID == userID.String():
			return problem.Conflict.Errorf("nobody disables themselves: another administrator has to")
		}
		if err := q.SetUserStatus(ctx, status, now, userID); err != nil {
			return fmt.Errorf("set user status: %w", err)
		}
		if err := q.SetAccountStatus(ctx, status, now, u.AccountID); err != nil {
			return fmt.Errorf("set account status: %w", err)
		}
		hashes, err := q.ListLiveKeyHashes(ctx, u.AccountID)
		if err != nil {
			return fmt.Errorf("list keys: %w", err)
		}
		err = audit.Record(ctx, q, now, audit.Entry{
			Actor: actor, AccountID: &u.AccountID, Action: "user." + verb(status), Target: "user", TargetID: userID.String(),
			Before: map[string]string{"status": u.User.Status}, After: map[string]string{"status": status, "reason": reason},
		})
		forget = func() { s.forget(ctx, u, hashes) }
		forget()
		return err
	})
	if forget != nil {
		forget()
	}
	return p, replayed, err
}

// forget makes every instance read a user, the personal account and its keys again.
func (s *Service) forget(ctx context.Context, u db.LockUserRow, hashes [][]byte) {
	s.identities.Invalidate(ctx, identityKey(u.User.Issuer, u.User.Subject))
	s.accounts.Invalidate(ctx, u.AccountID.String())
	if len(hashes) > 0 {
		s.cfg.ForgetKeys(ctx, hashes)
	}
}

func verb(status string) string {
	if status == StatusActive {
		return "enable"
	}
	return "disable"
}

// change runs f on a locked user, once for a key, and returns the user as it is then.
func (s *Service) change(
	ctx context.Context, key idempotency.Key, userID uuid.UUID, f func(*db.Queries, db.LockUserRow, time.Time) error,
) (p Profile, replayed bool, err error) {
	err = postgres.InTx(ctx, s.cfg.Pool, func(q *db.Queries) error {
		now := s.now()
		p, replayed, err = idempotency.Do(ctx, q, now, key, func() (Profile, error) {
			locked, err := q.LockUser(ctx, userID)
			if err != nil {
				return Profile{}, userError(err)
			}
			if err := f(q, locked, now); err != nil {
				return Profile{}, err
			}
			row, err := q.GetUser(ctx, userID)
			if err != nil {
				return Profile{}, userError(err)
			}
			return s.profile(ctx, q, row.User, row.AccountID)
		})
		return err
	})
	if err != nil {
		return Profile{}, false, fmt.Errorf("change user: %w", err)
	}
	return p, replayed, nil
}

// userPosition is where a page of users ends.
type userPosition struct {
	CreatedAt time.Time `json:"t"`
	ID        uuid.UUID `json:"i"`
}

// List returns users, newest first: all of them, those whose address begins with query, or the one whose id it is.
func (s *Service) List(ctx context.Context, query string, r page.Request) (page.Page[Profile], error) {
	// Nobody was created in year 9999, and PostgreSQL can say so.
	at := userPosition{CreatedAt: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), ID: uuid.Max}
	if _, err := r.Decode(&at); err != nil {
		return page.Page[Profile]{}, err
	}
	q := s.queries()
	rows, err := s.search(ctx, q, query, at, r.Limit)
	if err != nil {
		return page.Page[Profile]{}, fmt.Errorf("list users: %w", err)
	}
	ids := make([]uuid.UUID, len(rows))
	for i, row := range rows {
		ids[i] = row.AccountID
	}
	standings, err := StandingsOf(ctx, q, s.cfg.Policy, ids, s.now())
	if err != nil {
		return page.Page[Profile]{}, err
	}
	profiles := make([]Profile, len(rows))
	for i, row := range rows {
		profiles[i] = Profile{User: row.User, AccountID: row.AccountID, Tier: standings[row.AccountID].Tier}
	}
	return page.New(r, profiles, func(p Profile) any { return userPosition{p.CreatedAt, p.ID} })
}

func (s *Service) search(ctx context.Context, q *db.Queries, query string, at userPosition, limit int) ([]db.ListUsersRow, error) {
	maxRows := int32(limit) + 1
	if query == "" {
		return q.ListUsers(ctx, at.CreatedAt, at.ID, maxRows)
	}
	if id, err := uuid.Parse(query); err == nil {
		row, found, err := maybe(q.GetUser(ctx, id))
		if err != nil || !found {
			return nil, err
		}
		return []db.ListUsersRow{db.ListUsersRow(row)}, nil
	}
	rows, err := q.SearchUsers(ctx, db.SearchUsersParams{
		Pattern: likeEscape.Replace(strings.ToLower(query)) + "%", BeforeCreatedAt: at.CreatedAt, BeforeID: at.ID, MaxRows: maxRows,
	})
	found := make([]db.ListUsersRow, len(rows))
	for i, row := range rows {
		found[i] = db.ListUsersRow(row)
	}
	return found, err
}

var likeEscape = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)
