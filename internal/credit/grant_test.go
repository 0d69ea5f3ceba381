package credit_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/postgres/pgtest"
)

func TestGrantTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if !w.grant(w.lot("a", 100, 10, time.Hour)) {
		t.Fatal("the first grant did nothing")
	}
	again := w.lot("a", 900, 1, 0)
	if w.grant(again) {
		t.Error("the second grant says that it granted")
	}
	want := []row{{Seq: 1, Amount: 100, BalanceAfter: 100, Kind: credit.KindGrant, EffectiveAt: day0}}
	if diff := cmp.Diff(want, w.ledger()); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
	other := again
	other.AccountID = w.newAccount(day0, true)
	if !w.grant(other) {
		t.Error("the natural key of one account keeps another account from its grant")
	}
}

func TestGrantRefusesNonsense(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, l := range []credit.Lot{w.lot("a", 0, 10, 0), w.lot("a", -5, 10, 0), w.lot("", 5, 10, 0)} {
		err := postgres.InTx(t.Context(), w.pool, func(q *db.Queries) error {
			_, err := credit.Grant(t.Context(), q, day0, l)
			return err
		})
		if err == nil {
			t.Errorf("Grant(%+v) passed", l)
		}
	}
}

// A renewal adds a lot; what is left of the lot before stays until its own end.
func TestRenewalAddsALot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(w.lot("march", 100, 10, 31*24*time.Hour))
	w.mustConsume(60)
	w.clock.Set(day0.Add(30 * 24 * time.Hour))
	w.grant(w.lot("april", 100, 10, 61*24*time.Hour))
	if diff := cmp.Diff(map[string]int64{"march": 40, "april": 100}, w.remaining()); diff != "" {
		t.Errorf("lots (-want +got):\n%s", diff)
	}
	if got := w.balance().Available; got != 140 {
		t.Errorf("available: got %d, want 140", got)
	}
}

// Two transactions that bring the same credits: one waits for the other and then finds them there.
func TestGrantRivals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Rollback(t.Context()) // committed below
	granted, err := credit.Grant(t.Context(), db.New(first), day0, w.lot("a", 100, 10, 0))
	if err != nil || !granted {
		t.Fatalf("first grant: %t, %v", granted, err)
	}
	second := make(chan bool)
	go func() { second <- w.grant(w.lot("a", 100, 10, 0)) }()
	pgtest.AwaitLock(t, w.pool)
	if err := first.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if <-second {
		t.Error("the rival granted a second time")
	}
	if got := w.balance().Available; got != 100 {
		t.Errorf("available: got %d, want 100", got)
	}
}

// A lot whose webhook came too late is in the ledger and never in the balance.
func TestGrantAfterItsExpiry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock.Set(day0.Add(2 * time.Hour))
	if !w.grant(w.lot("late", 100, 10, time.Hour)) {
		t.Fatal("not granted")
	}
	want := []row{
		{Seq: 1, Amount: 100, BalanceAfter: 100, Kind: credit.KindGrant, EffectiveAt: day0.Add(2 * time.Hour)},
		{Seq: 2, Amount: -100, BalanceAfter: 0, Kind: credit.KindExpire, EffectiveAt: day0.Add(time.Hour)},
	}
	if diff := cmp.Diff(want, w.ledger()); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
}
