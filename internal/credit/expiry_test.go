package credit_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/page"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/problem"
)

// No sweep runs in these tests: what a read or a spend sees must not depend on one.
func TestExpiryIsExact(t *testing.T) {
	t.Parallel()
	expiry := day0.Add(time.Hour)
	expired := []row{
		{1, 100, 100, credit.KindGrant, day0}, {2, -100, 0, credit.KindExpire, expiry},
	}
	tests := []struct {
		name string
		at   time.Time
		look func(t *testing.T, w *world)
		want []row
	}{
		{"spend right before", expiry.Add(-time.Microsecond), func(t *testing.T, w *world) {
			w.mustConsume(100)
		}, []row{{1, 100, 100, credit.KindGrant, day0}, {2, -100, 0, credit.KindConsume, expiry.Add(-time.Microsecond)}}},
		{"read right before", expiry.Add(-time.Microsecond), func(t *testing.T, w *world) {
			if b := w.balance(); b.Available != 100 || len(b.Lots) != 1 {
				t.Errorf("got %+v", b)
			}
		}, []row{{1, 100, 100, credit.KindGrant, day0}}},
		{"read at the moment", expiry, func(t *testing.T, w *world) {
			if b := w.balance(); b.Available != 0 || b.Balance != 0 || len(b.Lots) != 0 {
				t.Errorf("got %+v", b)
			}
		}, expired},
		{"list long after", expiry.Add(99 * time.Hour), func(t *testing.T, w *world) {
			p, err := w.credits.Transactions(t.Context(), w.account, page.Request{Limit: 10})
			if err != nil || len(p.Data) != 2 || p.Data[0].Kind != credit.KindExpire {
				t.Errorf("got %+v, %v", p, err)
			}
		}, expired},
		{"spend at the moment", expiry, func(t *testing.T, w *world) {
			if _, err := w.consume(1); !errors.Is(err, problem.InsufficientCredits) {
				t.Errorf("got %v", err)
			}
			w.balance() // the refusal has left no trace; this does
		}, expired},
		{"grant after", expiry.Add(time.Hour), func(t *testing.T, w *world) {
			w.grant(w.lot("b", 7, 10, 0))
		}, append(expired[:2:2], row{3, 7, 7, credit.KindGrant, expiry.Add(time.Hour)})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.grant(w.lot("a", 100, 10, time.Hour))
			w.clock.Set(tt.at)
			tt.look(t, w)
			if diff := cmp.Diff(tt.want, w.ledger()); diff != "" {
				t.Errorf("ledger (-want +got):\n%s", diff)
			}
		})
	}
}

// Several lots expire at their own moments, in order, and used-up lots leave no entry.
func TestExpiryOfSeveralLots(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(w.lot("late", 10, 10, 3*time.Hour))
	w.grant(w.lot("soon", 20, 10, time.Hour))
	w.grant(w.lot("next", 30, 10, 2*time.Hour))
	w.grant(w.lot("stays", 40, 10, 9*time.Hour))
	w.mustConsume(20) // all of "soon"
	w.clock.Set(day0.Add(3 * time.Hour))
	if b := w.balance(); b.Available != 40 {
		t.Errorf("available: got %d, want 40", b.Available)
	}
	want := []row{
		{6, -30, 50, credit.KindExpire, day0.Add(2 * time.Hour)}, {7, -10, 40, credit.KindExpire, day0.Add(3 * time.Hour)},
	}
	if diff := cmp.Diff(want, w.ledger()[5:]); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
	w.clock.Set(day0.Add(9 * time.Hour))
	if b := w.balance(); b.Available != 0 {
		t.Errorf("available: got %d, want 0", b.Available)
	}
}

// The credits expire while the spending waits for its turn.
func TestExpiryWhileWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(w.lot("a", 100, 10, time.Hour))
	holder := w.holdLock()
	ended := make(chan error, 1)
	go func() {
		_, err := w.consume(30)
		ended <- err
	}()
	pgtest.AwaitLock(t, w.pool)
	w.clock.Set(day0.Add(time.Hour))
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, problem.InsufficientCredits) {
		t.Errorf("spent credits that had expired: %v", err)
	}
}
