package account_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"example.com/saaskit/internal/account"
)

// Whatever fails goes on failing: a job ends after its attempts, and the next one follows for as long as it takes.
func TestDeletionIsNeverGivenUp(t *testing.T) {
	t.Parallel()
	refused := true
	w := newWorld(t, func(c *account.Config) {
		c.CloseBilling = func(context.Context, uuid.UUID) error {
			if refused {
				return errors.New("no")
			}
			return nil
		}
	})
	b := w.bearer()
	id := w.leaving(b)
	if got := w.count(`SELECT max_attempts FROM river_job WHERE kind = 'account.delete_user'`); got > 6 {
		t.Errorf("a job has %d attempts: the last ones come after hours or days, and no other job before them", got)
	}
	for day := range 3 {
		if err := w.FinishDeletion(t.Context(), id.ID); err == nil {
			t.Fatal("billing was not closed, and the deletion is finished")
		}
		w.exec(`UPDATE river_job SET state = 'discarded', finalized_at = now()`)
		w.Add(24 * time.Hour)
		if err := w.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := w.count(`SELECT count(*) FROM river_job WHERE state = 'available'`); got != 1 {
			t.Errorf("day %d: %d jobs, want 1", day, got)
		}
	}
	refused = false
	if err := w.FinishDeletion(t.Context(), id.ID); err != nil {
		t.Fatal(err)
	}
	w.left(b, id)
}

// A whole batch that never ends must not keep the next one from being taken up.
func TestSweepTakesUpAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const people = 205
	w.exec(`WITH u AS (INSERT INTO users (id, issuer, subject, email, email_as_of, status, created_at, updated_at)
			SELECT gen_random_uuid(), 'i', n::text, '', now(), 'deleting', now(), now() FROM generate_series(1, $1::int) n RETURNING id),
		a AS (INSERT INTO accounts (id, kind, name, personal_of, created_at, updated_at)
			SELECT gen_random_uuid(), 'personal', '', id, now(), now() FROM u RETURNING id, personal_of)
		INSERT INTO user_deletions (user_id, account_id, requested_at) SELECT personal_of, id, now() - interval '1 hour' FROM a`, people)
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.count(`SELECT count(DISTINCT args->>'user_id') FROM river_job WHERE kind = 'account.delete_user'`); got != people {
		t.Errorf("%d deletions were taken up, want %d", got, people)
	}
}

// Somebody has to look at a deletion that a day was not enough for.
func TestOverdueDeletion(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	w := newWorld(t, func(c *account.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	registry := prometheus.NewRegistry()
	registry.MustRegister(w.Service)
	age := func() time.Duration {
		t.Helper()
		families, err := registry.Gather()
		if err != nil || len(families) != 1 || families[0].GetName() != "saaskit_user_deletion_oldest_seconds" {
			t.Fatalf("metrics: got %v, %v", families, err)
		}
		return time.Duration(families[0].GetMetric()[0].GetGauge().GetValue() * float64(time.Second))
	}
	alarmed := func() bool {
		t.Helper()
		log.Reset()
		if err := w.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(log.String(), "level=ERROR")
	}
	if got := age(); got != 0 {
		t.Errorf("nothing is open: its age is %v", got)
	}
	id := w.leaving(w.bearer())
	w.Add(23 * time.Hour)
	if got := age(); got < 23*time.Hour || alarmed() {
		t.Errorf("after 23 hours: age %v, logged %q", got, log.String())
	}
	w.Add(2 * time.Hour)
	if got := age(); got < 25*time.Hour || !alarmed() || !strings.Contains(log.String(), id.ID.String()) {
		t.Errorf("after 25 hours: age %v, logged %q", got, log.String())
	}
	if err := w.FinishDeletion(t.Context(), id.ID); err != nil {
		t.Fatal(err)
	}
	if got := age(); got != 0 || alarmed() {
		t.Errorf("at the end: age %v, logged %q", got, log.String())
	}
}

// Without the right to delete identities a user is gone all the same, and the identity waits for a process that has the right.
func TestIdentityWaitsForTheRight(t *testing.T) {
	t.Parallel()
	var closed []string
	w := newWorld(t)
	b := w.bearer()
	id := w.leaving(b)
	jobs := func() int {
		return w.count(`SELECT count(*) FROM river_job WHERE kind = 'account.delete_user' AND state = 'available'`)
	}
	if err := w.FinishDeletion(t.Context(), id.ID); err != nil {
		t.Fatal(err)
	}
	w.exec(`UPDATE river_job SET state = 'completed', finalized_at = now()`)
	w.left(b, id)
	if got := w.count(`SELECT count(*) FROM user_deletions WHERE identity_closed_at IS NULL AND finished_at IS NOT NULL`); got != 1 {
		t.Fatalf("%d deletions are finished with an open identity, want 1", got)
	}
	if err := w.Sweep(t.Context()); err != nil || jobs() != 0 {
		t.Errorf("without the right: %d jobs, %v", jobs(), err)
	}
	w.shape = func(c *account.Config) {
		c.CloseIdentity = func(_ context.Context, subject string) error {
			closed = append(closed, subject)
			return nil
		}
	}
	able := w.instance()
	if err := able.Sweep(t.Context()); err != nil || jobs() != 1 {
		t.Fatalf("with the right: %d jobs, %v", jobs(), err)
	}
	for range 2 {
		if err := able.FinishDeletion(t.Context(), id.ID); err != nil {
			t.Fatal(err)
		}
	}
	if len(closed) != 1 || closed[0] != b.Subject {
		t.Errorf("closed were %v, want %s once", closed, b.Subject)
	}
	w.exec(`UPDATE river_job SET state = 'completed', finalized_at = now()`)
	if err := able.Sweep(t.Context()); err != nil || jobs() != 0 {
		t.Errorf("with everything done: %d jobs, %v", jobs(), err)
	}
}

// A deletion whose job is out of attempts gets another one, and only then.
func TestSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bearer()
	w.leaving(b)
	jobs := func() int {
		return w.count(`SELECT count(*) FROM river_job WHERE kind = 'account.delete_user' AND state = 'available'`)
	}
	sweep := func() {
		t.Helper()
		if err := w.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.exec(`UPDATE river_job SET state = 'discarded', finalized_at = now()`)
	sweep()
	if got := jobs(); got != 0 {
		t.Errorf("jobs for a young deletion: got %d, want 0", got)
	}
	w.Add(time.Hour)
	for range 2 {
		sweep()
		if got := jobs(); got != 1 {
			t.Errorf("jobs for a stranded deletion: got %d, want 1", got)
		}
	}
	other := w.bearer()
	w.admitted(other)
	if err := w.SignOut(t.Context(), other, *other.SessionID, w.Now().Add(time.Hour), operator()); err != nil {
		t.Fatal(err)
	}
	sweep()
	if got := w.count(`SELECT count(*) FROM revoked_sessions`); got != 1 {
		t.Errorf("signed-out sessions whose tokens live: got %d, want 1", got)
	}
	w.Add(time.Hour)
	sweep()
	if got := w.count(`SELECT count(*) FROM revoked_sessions`); got != 0 {
		t.Errorf("signed-out sessions that are over: got %d, want 0", got)
	}
}
