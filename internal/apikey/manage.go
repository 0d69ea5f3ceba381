package apikey

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/page"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/problem"
)

// A Wish is what a new key shall be.
type Wish struct {
	Name       string
	Scopes     []string
	ExpiresAt  *time.Time
	AllowedIPs []string // addresses and networks
}

// Create issues a key to an account. It fails with [problem.InvalidRequest], and with [problem.LimitReached] where the account
// holds as many live keys as its tier allows.
func (s *Service) Create(
	ctx context.Context, accountID uuid.UUID, createdBy *uuid.UUID, w Wish, key idempotency.Key, actor audit.Actor,
) (Created, error) {
	row, err := s.draft(w, Scopes())
	if err != nil {
		return Created{}, err
	}
	row.AccountID, row.CreatedBy = &accountID, createdBy
	secret := s.seal(&row)
	var created Created
	err = postgres.InTx(ctx, s.cfg.Pool, func(q *db.Queries) (err error) {
		created.Key, created.Replayed, err = idempotency.Do(ctx, q, row.Now, key, func() (Key, error) {
			if _, err := account.Open(ctx, q, accountID); err != nil {
				return Key{}, err
			}
			if err := s.room(ctx, q, accountID, row.Now); err != nil {
				return Key{}, err
			}
			return insert(ctx, q, row, actor)
		})
		return err
	})
	if err != nil {
		return Created{}, fmt.Errorf("create key: %w", err)
	}
	if !created.Replayed {
		created.Secret = secret
	}
	return created, nil
}

// draft checks a wish and makes a row of it, which lacks owner and secret.
func (s *Service) draft(w Wish, vocabulary []string) (row db.InsertAPIKeyParams, err error) {
	row.ID, row.Now = postgres.NewID(), s.now()
	if row.Name, err = nameOf(w.Name); err != nil {
		return row, err
	}
	if row.Scopes, err = scopesOf(w.Scopes, vocabulary); err != nil {
		return row, err
	}
	if row.AllowedIps, err = networksOf(w.AllowedIPs); err != nil {
		return row, err
	}
	row.ExpiresAt, err = expiryOf(w.ExpiresAt, row.Now)
	return row, err
}

// seal gives a row a secret, and returns it.
func (s *Service) seal(row *db.InsertAPIKeyParams) Secret {
	secret := newSecret(s.cfg.Prefix)
	row.Hash, row.Start = hashOf(secret), startOf(s.cfg.Prefix, secret)
	return Secret(secret)
}

// room fails where the account may not have one more live key. The caller holds the account's lock.
func (s *Service) room(ctx context.Context, q *db.Queries, accountID uuid.UUID, now time.Time) error {
	standing, err := account.StandingOf(ctx, q, s.cfg.Policy, accountID, now)
	if err != nil {
		return err
	}
	tier, found, err := catalog.TierByID(ctx, q, standing.Tier)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("find limit of keys: tier %q is not in the catalogue", standing.Tier)
	}
	live, err := q.CountLiveAPIKeys(ctx, accountID, now)
	if err != nil {
		return fmt.Errorf("count keys: %w", err)
	}
	if live >= int64(tier.Limits.APIKeys) {
		return problem.LimitReached.Errorf("the tier %s allows %d API keys; revoke one or choose a larger tier", tier.ID, tier.Limits.APIKeys)
	}
	return nil
}

func insert(ctx context.Context, q *db.Queries, row db.InsertAPIKeyParams, actor audit.Actor) (Key, error) {
	inserted, err := q.InsertAPIKey(ctx, row)
	if err != nil {
		return Key{}, fmt.Errorf("insert key: %w", err)
	}
	key := toKey(inserted)
	return key, record(ctx, q, row.Now, actor, "api_key.create", key, nil, described(key))
}

func record(ctx context.Context, q *db.Queries, now time.Time, actor audit.Actor, action string, k Key, before, after any) error {
	return audit.Record(ctx, q, now, audit.Entry{
		Actor: actor, AccountID: k.AccountID, Action: action, Target: "api_key", TargetID: k.ID.String(), Before: before, After: after,
	})
}

// Get returns a key of the account. It fails with [problem.NotFound] where it belongs to another or has been revoked.
func (s *Service) Get(ctx context.Context, accountID, keyID uuid.UUID) (Key, error) {
	row, err := s.queries().GetAPIKey(ctx, keyID, accountID)
	if err != nil {
		return Key{}, absent(err)
	}
	return toKey(row), nil
}

// absent makes a refusal of "no rows".
func absent(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return problem.NotFound.Errorf("there is no such API key")
	}
	return fmt.Errorf("read key: %w", err)
}

// A position is where a page begins.
type position struct {
	At time.Time `json:"t"`
	ID uuid.UUID `json:"i"`
}

// List returns the account's keys that are not revoked, newest first.
func (s *Service) List(ctx context.Context, accountID uuid.UUID, r page.Request) (page.Page[Key], error) {
	params := db.ListAPIKeysParams{AccountID: accountID, MaxRows: int32(r.Limit) + 1} //nolint:gosec // at most 100
	var after position
	if ok, err := r.Decode(&after); err != nil {
		return page.Page[Key]{}, err
	} else if ok {
		params.AfterTime, params.AfterID = &after.At, &after.ID
	}
	rows, err := s.queries().ListAPIKeys(ctx, params)
	if err != nil {
		return page.Page[Key]{}, fmt.Errorf("list keys: %w", err)
	}
	return page.New(r, toKeys(rows), func(k Key) any { return position{k.CreatedAt, k.ID} })
}

func toKeys(rows []db.APIKey) []Key {
	keys := make([]Key, len(rows))
	for i, row := range rows {
		keys[i] = toKey(row)
	}
	return keys
}

// A Change is what of a key shall be different; nil stays as it is.
type Change struct {
	Name       *string
	Scopes     *[]string
	AllowedIPs *[]string
	Expiry     *Expiry
}

// An Expiry is a new expiry.
type Expiry struct {
	At *time.Time // nil is never
}

// Update changes a key. A key that had expired comes to life again where its expiry is moved, if there is room for it.
func (s *Service) Update(
	ctx context.Context, accountID, keyID uuid.UUID, c Change, key idempotency.Key, actor audit.Actor,
) (changed Key, replayed bool, err error) {
	var hash []byte
	now := s.now()
	err = postgres.InTx(ctx, s.cfg.Pool, func(q *db.Queries) (err error) {
		changed, replayed, err = idempotency.Do(ctx, q, now, key, func() (k Key, err error) {
			k, hash, err = s.update(ctx, q, accountID, keyID, c, now, actor)
			return k, err
		})
		s.forget(ctx, err, hash)
		return err
	})
	if err != nil {
		return Key{}, false, fmt.Errorf("update key: %w", err)
	}
	s.forget(ctx, nil, hash)
	return changed, replayed, nil
}

// forget is [Service.Forget] for one key, where there is one and nothing has failed.
func (s *Service) forget(ctx context.Context, err error, hashes ...[]byte) {
	if err != nil {
		return
	}
	var known [][]byte
	for _, hash := range hashes {
		if hash != nil {
			known = append(known, hash)
		}
	}
	s.Forget(ctx, known)
}

func (s *Service) update(
	ctx context.Context, q *db.Queries, accountID, keyID uuid.UUID, c Change, now time.Time, actor audit.Actor,
) (Key, []byte, error) {
	old, err := lock(ctx, q, accountID, keyID)
	if err != nil {
		return Key{}, nil, err
	}
	before := toKey(old)
	params, err := c.applyTo(before, now)
	if err != nil {
		return Key{}, nil, err
	}
	if !before.Live(now) && (params.ExpiresAt == nil || params.ExpiresAt.After(now)) {
		if err := s.room(ctx, q, accountID, now); err != nil {
			return Key{}, nil, err
		}
	}
	params.AccountID = accountID
	row, err := q.UpdateAPIKey(ctx, params)
	if err != nil {
		return Key{}, nil, fmt.Errorf("change key: %w", err)
	}
	after := toKey(row)
	return after, row.Hash, record(ctx, q, now, actor, "api_key.update", after, described(before), described(after))
}

// lock takes the locks of the account and of a key of it that is not revoked, in that order.
func lock(ctx context.Context, q *db.Queries, accountID, keyID uuid.UUID) (db.APIKey, error) {
	if _, err := account.Open(ctx, q, accountID); err != nil {
		return db.APIKey{}, err
	}
	row, err := q.LockAPIKey(ctx, keyID, accountID)
	if err == nil && row.RevokedAt != nil {
		err = pgx.ErrNoRows
	}
	if err != nil {
		return db.APIKey{}, absent(err)
	}
	return row, nil
}

// applyTo checks a change and makes a row of it, which lacks the owner.
func (c Change) applyTo(k Key, now time.Time) (row db.UpdateAPIKeyParams, err error) {
	row = db.UpdateAPIKeyParams{ID: k.ID, Now: now, Name: k.Name, Scopes: k.Scopes, AllowedIps: k.AllowedIPs, ExpiresAt: k.ExpiresAt}
	if c.Name != nil {
		if row.Name, err = nameOf(*c.Name); err != nil {
			return row, err
		}
	}
	if c.Scopes != nil {
		if row.Scopes, err = scopesOf(*c.Scopes, Scopes()); err != nil {
			return row, err
		}
	}
	if c.AllowedIPs != nil {
		var networks []netip.Prefix
		if networks, err = networksOf(*c.AllowedIPs); err != nil {
			return row, err
		}
		row.AllowedIps = networks
	}
	if c.Expiry != nil {
		if k.ReplacedBy != nil {
			return row, problem.Conflict.Errorf("the key has been replaced and ends with its overlap")
		}
		row.ExpiresAt, err = expiryOf(c.Expiry.At, now)
	}
	return row, err
}
