package apikey_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"example.com/saaskit/internal/apikey"
	"example.com/saaskit/internal/cache/redistest"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/problem"
)

// Two whole services on one Redis, and on none.
func TestRevokedEverywhereWithinASecond(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]bool{"redis": false, "redis gone": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			w := newWorld(t, server.URL())
			other := w.instance(server.URL())
			created := w.create(apikey.Wish{})
			w.want(w.Service, created.Secret, nil)
			w.want(other, created.Secret, nil)
			if gone {
				server.Stop()
				w.want(w.Service, created.Secret, nil)
				w.await(other, created.Secret, nil, 0)
			}
			if err := w.Revoke(t.Context(), w.account, created.ID, w.actor()); err != nil {
				t.Fatal(err)
			}
			w.want(w.Service, created.Secret, problem.InvalidAPIKey) // here before Revoke has returned
			w.await(other, created.Secret, problem.InvalidAPIKey, bound)
		})
	}
}

// The other instance reads the key before the commit and is slow to take it over: it must not keep the key alive.
func TestRevokedWhileAReaderIsBetweenReadAndFill(t *testing.T) {
	t.Parallel()
	url := redistest.New(t)
	w := newWorld(t, url)
	other := w.instance(url)
	created := w.create(apikey.Wish{})

	// What is held is the revocation, after its first call of the cache and before its commit, by a lock on the audit log.
	tx, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "LOCK TABLE audit_log IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.Revoke(context.WithoutCancel(t.Context()), w.account, created.ID, w.actor()) }()
	pgtest.AwaitLock(t, w.pool)
	w.want(other, created.Secret, nil) // it is not revoked yet, and cached now
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	w.want(w.Service, created.Secret, problem.InvalidAPIKey)
	w.await(other, created.Secret, problem.InvalidAPIKey, bound)
	time.Sleep(bound)
	w.want(other, created.Secret, problem.InvalidAPIKey)
}

// Others change what keys may do as well; Forget tells everybody.
func TestForget(t *testing.T) {
	t.Parallel()
	url := redistest.New(t)
	w := newWorld(t, url)
	other := w.instance(url)
	created := w.create(apikey.Wish{})
	w.want(other, created.Secret, nil)
	w.exec("UPDATE accounts SET status = 'disabled' WHERE id = $1", w.account)
	var hash []byte
	if err := w.pool.QueryRow(t.Context(), "SELECT hash FROM api_keys").Scan(&hash); err != nil {
		t.Fatal(err)
	}
	w.Forget(t.Context(), [][]byte{hash})
	w.want(w.Service, created.Secret, problem.UserDisabled)
	w.await(other, created.Secret, problem.UserDisabled, bound)
}

func TestRotate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		overlap time.Duration
	}{{"at once", 0}, {"with an overlap", time.Hour}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "")
			w.allow(1) // a rotation needs no further place
			expires := w.clock.now().Add(48 * time.Hour)
			old := w.create(apikey.Wish{Name: "x", Scopes: []string{"usage:read"}, ExpiresAt: &expires, AllowedIPs: []string{"192.0.2.0/24"}})
			w.want(w.Service, old.Secret, nil)
			next, err := w.Rotate(t.Context(), w.account, old.ID, &w.user, tt.overlap, idempotency.Key{}, w.actor())
			if err != nil {
				t.Fatal(err)
			}
			if next.ID == old.ID || next.Secret == old.Secret || next.Name != "x" || next.Scopes[0] != "usage:read" ||
				!next.ExpiresAt.Equal(expires) || next.AllowedIPs[0] != old.AllowedIPs[0] {
				t.Errorf("new key: got %+v", next.Key)
			}
			w.want(w.Service, next.Secret, nil)
			if tt.overlap == 0 {
				w.want(w.Service, old.Secret, problem.InvalidAPIKey)
				return
			}
			w.want(w.Service, old.Secret, nil)
			w.clock.move(tt.overlap)
			w.want(w.Service, old.Secret, problem.APIKeyExpired)
			w.want(w.Service, next.Secret, nil)
			if n := w.number("SELECT count(*) FROM api_keys WHERE id = $1 AND replaced_by = $2", old.ID, next.ID); n != 1 {
				t.Error("the old key does not name the new one")
			}
		})
	}
}

func TestRotateRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	soon := w.clock.now().Add(time.Minute)
	expired := w.create(apikey.Wish{ExpiresAt: &soon})
	w.clock.move(time.Minute)
	replaced, revoked := w.create(apikey.Wish{}), w.create(apikey.Wish{})
	rotate := func(k apikey.Created, overlap time.Duration) error {
		_, err := w.Rotate(t.Context(), w.account, k.ID, nil, overlap, idempotency.Key{}, w.actor())
		return err
	}
	if err := errors.Join(rotate(replaced, time.Hour), w.Revoke(t.Context(), w.account, revoked.ID, w.actor())); err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]struct {
		err, want error
	}{
		"expired":          {rotate(expired, 0), problem.Conflict},
		"replaced":         {rotate(replaced, 0), problem.Conflict},
		"revoked":          {rotate(revoked, 0), problem.NotFound},
		"negative":         {rotate(replaced, -time.Second), problem.InvalidRequest},
		"overlap too long": {rotate(replaced, apikey.MaxOverlap+time.Second), problem.InvalidRequest},
	} {
		if !errors.Is(try.err, try.want) {
			t.Errorf("%s: got %v, want %v", name, try.err, try.want)
		}
	}
	// Its end cannot be moved either.
	_, _, err := w.Update(t.Context(), w.account, replaced.ID, apikey.Change{Expiry: &apikey.Expiry{}}, idempotency.Key{}, w.actor())
	if !errors.Is(err, problem.Conflict) {
		t.Errorf("Update: got %v, want %v", err, problem.Conflict)
	}
}

// Rotating again and again does not gather living keys.
func TestRotateEndsTheOverlapBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	first := w.create(apikey.Wish{})
	rotate := func(k apikey.Created) apikey.Created {
		t.Helper()
		next, err := w.Rotate(t.Context(), w.account, k.ID, nil, time.Hour, idempotency.Key{}, w.actor())
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	second := rotate(first)
	w.want(w.Service, first.Secret, nil)
	third := rotate(second)
	w.want(w.Service, first.Secret, problem.InvalidAPIKey)
	w.want(w.Service, second.Secret, nil)
	w.want(w.Service, third.Secret, nil)
}

func TestRotateReplays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	old := w.create(apikey.Wish{})
	key, err := idempotency.New("user:u", "rotateAPIKey", "abc", "body")
	if err != nil {
		t.Fatal(err)
	}
	var got [2]apikey.Created
	for i := range got {
		if got[i], err = w.Rotate(t.Context(), w.account, old.ID, nil, time.Hour, key, w.actor()); err != nil {
			t.Fatal(err)
		}
	}
	if got[0].ID != got[1].ID || got[0].Secret == "" || got[1].Secret != "" || !got[1].Replayed {
		t.Errorf("got %+v and then %+v", got[0], got[1])
	}
	w.want(w.Service, got[0].Secret, nil)
}
