package credit_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/page"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/problem"
)

func TestBurnOrder(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	tests := []struct {
		name string
		lots []func(w *world) credit.Lot // granted a minute after each other
		take int64
		want map[string]int64
	}{
		{
			name: "priority before expiry",
			lots: []func(*world) credit.Lot{
				func(w *world) credit.Lot { return w.lot("pack", 10, 20, hour) },
				func(w *world) credit.Lot { return w.lot("allowance", 10, 10, 0) },
			},
			take: 10, want: map[string]int64{"pack": 10},
		},
		{
			name: "soonest expiry before oldest",
			lots: []func(*world) credit.Lot{
				func(w *world) credit.Lot { return w.lot("later", 10, 10, 5*hour) },
				func(w *world) credit.Lot { return w.lot("soon", 10, 10, 2*hour) },
			},
			take: 10, want: map[string]int64{"later": 10},
		},
		{
			name: "never comes last",
			lots: []func(*world) credit.Lot{
				func(w *world) credit.Lot { return w.lot("never", 10, 10, 0) },
				func(w *world) credit.Lot { return w.lot("soon", 10, 10, 2*hour) },
			},
			take: 10, want: map[string]int64{"never": 10},
		},
		{
			name: "oldest first among equals",
			lots: []func(*world) credit.Lot{
				func(w *world) credit.Lot { return w.lot("old", 10, 10, 2*hour) },
				func(w *world) credit.Lot { return w.lot("new", 10, 10, 2*hour) },
			},
			take: 10, want: map[string]int64{"new": 10},
		},
		{
			name: "across lots",
			lots: []func(*world) credit.Lot{
				func(w *world) credit.Lot { return w.lot("a", 10, 10, 2*hour) },
				func(w *world) credit.Lot { return w.lot("b", 10, 10, 3*hour) },
				func(w *world) credit.Lot { return w.lot("c", 10, 20, 0) },
			},
			take: 25, want: map[string]int64{"c": 5},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for i, lot := range tt.lots {
				w.clock.Set(day0.Add(time.Duration(i) * time.Minute))
				w.grant(lot(w))
			}
			var order []string
			for _, l := range w.balance().Lots {
				order = append(order, l.ID.String())
			}
			if len(order) != len(tt.lots) {
				t.Errorf("Balance lists %d lots, want %d", len(order), len(tt.lots))
			}
			w.mustConsume(tt.take)
			if diff := cmp.Diff(tt.want, w.remaining()); diff != "" {
				t.Errorf("left (-want +got):\n%s", diff)
			}
			// What is left was last in the list.
			left := w.balance().Lots
			if len(left) != 1 || left[0].ID.String() != order[len(order)-1] {
				t.Errorf("Balance lists the lots in another order than they are spent")
			}
		})
	}
}

// More lots than are read at first.
func TestConsumeManyLots(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 40 {
		w.grant(w.lot(fmt.Sprint(i), 1, 10, 0))
	}
	if spent := w.mustConsume(39); spent.Available != 1 {
		t.Errorf("available: got %d, want 1", spent.Available)
	}
	if _, err := w.consume(2); !errors.Is(err, problem.InsufficientCredits) {
		t.Errorf("consume more than there is: %v", err)
	}
}

func TestConsumeWholeOrNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.consume(1); !errors.Is(err, problem.InsufficientCredits) {
		t.Errorf("an account without credits: %v", err)
	}
	w.grant(w.lot("a", 10, 10, 0))
	_, err := w.consume(11)
	if !errors.Is(err, problem.InsufficientCredits) {
		t.Fatalf("consume 11 of 10: %v", err)
	}
	if detail := problem.Of(err).Detail; !strings.Contains(detail, "11") || !strings.Contains(detail, "10") {
		t.Errorf("the refusal does not say what is needed and what is there: %q", detail)
	}
	if diff := cmp.Diff(map[string]int64{"a": 10}, w.remaining()); diff != "" {
		t.Errorf("after the refusal (-want +got):\n%s", diff)
	}
	spent := w.mustConsume(10)
	if spent.Amount != 10 || spent.Available != 0 {
		t.Errorf("got %+v", spent)
	}
	for _, amount := range []int64{0, -1} {
		if _, err := w.consume(amount); !errors.Is(err, problem.InvalidRequest) {
			t.Errorf("consume %d: %v", amount, err)
		}
	}
}

func TestReference(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(w.lot("a", 100, 10, 0))
	first := w.mustConsume(10, reference("job-1"))
	w.mustConsume(5)
	if again := w.mustConsume(10, reference("job-1")); again != first {
		t.Errorf("again: got %+v, want %+v", again, first)
	}
	if _, err := w.consume(11, reference("job-1")); !errors.Is(err, problem.ReferenceReused) {
		t.Errorf("other amount: %v", err)
	}
	w.mustConsume(85)
	if again := w.mustConsume(10, reference("job-1")); again != first {
		t.Errorf("again without credits left: got %+v, want %+v", again, first)
	}
	if n := len(w.ledger()); n != 4 {
		t.Errorf("%d entries, want 4", n)
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(w.lot("a", 20, 10, 0))
	first := w.mustConsume(10, key("k1", "ten"))
	again := w.mustConsume(10, key("k1", "ten"))
	if !again.Replayed || first.Replayed {
		t.Errorf("Replayed: first %t, again %t", first.Replayed, again.Replayed)
	}
	if again.Replayed = false; again != first {
		t.Errorf("again: got %+v, want %+v", again, first)
	}
	if _, err := w.consume(11, key("k1", "eleven")); !errors.Is(err, problem.IdempotencyMismatch) {
		t.Errorf("other body: %v", err)
	}
	// A refusal is not kept.
	if _, err := w.consume(15, key("k2", "fifteen")); !errors.Is(err, problem.InsufficientCredits) {
		t.Errorf("too much: %v", err)
	}
	w.grant(w.lot("b", 20, 10, 0))
	if spent := w.mustConsume(15, key("k2", "fifteen")); spent.Replayed {
		t.Error("a refusal was replayed")
	}
	if n := len(w.ledger()); n != 4 {
		t.Errorf("%d entries, want 4", n)
	}
}

// A key belongs to one request, and a request names its account.
func TestIdempotencyKeyOfAnotherAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(w.lot("a", 20, 10, 0))
	w.mustConsume(10, key("k1", "ten of a"))
	w.account = w.newAccount(day0, true)
	w.grant(w.lot("b", 20, 10, 0))
	if _, err := w.consume(10, key("k1", "ten of b")); !errors.Is(err, problem.IdempotencyMismatch) {
		t.Errorf("on another account: %v", err)
	}
	w.mustConsume(5, reference("r"))
	if _, err := w.consume(5, key("k1", "five of b"), reference("r")); !errors.Is(err, problem.IdempotencyMismatch) {
		t.Errorf("on another account, with a reference that is there: %v", err)
	}
	if got := w.balance().Available; got != 15 {
		t.Errorf("available: got %d, want 15", got)
	}
}

func TestKeyAndReferenceTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(w.lot("a", 100, 10, 0))
	first := w.mustConsume(10, key("k1", "ten, r1"), reference("r1"))
	// Another key with the same reference is answered with the first transaction, and from then on belongs to that request.
	byReference := w.mustConsume(10, key("k2", "ten, r1"), reference("r1"))
	if byReference != first {
		t.Errorf("same reference: got %+v, want %+v", byReference, first)
	}
	if again := w.mustConsume(10, key("k2", "ten, r1"), reference("r1")); !again.Replayed || again.TransactionID != first.TransactionID {
		t.Errorf("second key again: got %+v", again)
	}
	if _, err := w.consume(7, key("k2", "seven, r2"), reference("r2")); !errors.Is(err, problem.IdempotencyMismatch) {
		t.Errorf("second key, other body: %v", err)
	}
	if _, err := w.consume(10, key("k1", "ten, r2"), reference("r2")); !errors.Is(err, problem.IdempotencyMismatch) {
		t.Errorf("first key, other reference: %v", err)
	}
	if _, err := w.consume(11, key("k3", "eleven, r1"), reference("r1")); !errors.Is(err, problem.ReferenceReused) {
		t.Errorf("new key, other amount: %v", err)
	}
	// That was a refusal: the key is free.
	w.mustConsume(1, key("k3", "one, r3"), reference("r3"))
	if n := len(w.ledger()); n != 3 {
		t.Errorf("%d entries, want 3", n)
	}
}

// The rule about the lock: the rival commits between our start and our turn, and the chain of balances must hold.
func TestConsumeWaitsForTheLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(w.lot("a", 100, 10, 0))
	rival := w.holdLock()
	ours := make(chan result, 1)
	go func() {
		spent, err := w.consume(30)
		ours <- result{spent, err}
	}()
	pgtest.AwaitLock(t, w.pool)
	if _, err := credit.Grant(t.Context(), db.New(rival), day0, w.lot("b", 50, 5, 0)); err != nil {
		t.Fatal(err)
	}
	if err := rival.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := <-ours
	if got.err != nil {
		t.Fatalf("consume: %v", got.err)
	}
	if got.spent.Available != 120 {
		t.Errorf("available: got %d, want 120", got.spent.Available)
	}
	want := []row{
		{1, 100, 100, credit.KindGrant, day0}, {2, 50, 150, credit.KindGrant, day0}, {3, -30, 120, credit.KindConsume, day0},
	}
	if diff := cmp.Diff(want, w.ledger()); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
	// The rival's lot is to be spent first: ours must have seen it.
	if diff := cmp.Diff(map[string]int64{"a": 100, "b": 20}, w.remaining()); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// The same Idempotency-Key twice at once: one spends, the other waits and answers the same.
func TestConsumeSameKeyRivals(t *testing.T) {
	t.Parallel()
	for _, same := range []struct {
		name   string
		change func(*credit.Spending)
	}{{"key", key("k", "body")}, {"reference", reference("r")}} {
		t.Run(same.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.grant(w.lot("a", 100, 10, 0))
			holder := w.holdLock()
			const rivals = 3
			ended := make(chan result, rivals)
			for range rivals {
				go func() {
					spent, err := w.consume(30, same.change)
					ended <- result{spent, err}
				}()
			}
			pgtest.AwaitLocks(t, w.pool, rivals)
			if err := holder.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			ids := map[string]bool{}
			for range rivals {
				r := <-ended
				if r.err != nil {
					t.Fatalf("consume: %v", r.err)
				}
				ids[r.spent.TransactionID.String()] = true
				if r.spent.Available != 70 {
					t.Errorf("available: got %d, want 70", r.spent.Available)
				}
			}
			if len(ids) != 1 {
				t.Errorf("%d transactions, want 1", len(ids))
			}
			if got := w.balance().Available; got != 70 {
				t.Errorf("available: got %d, want 70", got)
			}
		})
	}
}

func TestTransactionsPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(w.lot("a", 100, 10, 0))
	for i := range 6 {
		w.mustConsume(int64(i + 1))
	}
	var seqs []int64
	r := page.Request{Limit: 3}
	for range 4 {
		p, err := w.credits.Transactions(t.Context(), w.account, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range p.Data {
			seqs = append(seqs, e.Seq)
		}
		if r.Cursor = p.Next; r.Cursor == "" {
			break
		}
	}
	if diff := cmp.Diff([]int64{7, 6, 5, 4, 3, 2, 1}, seqs); diff != "" {
		t.Errorf("seqs (-want +got):\n%s", diff)
	}
	if _, err := w.credits.Transactions(t.Context(), w.account, page.Request{Limit: 3, Cursor: "x!"}); !errors.Is(err, problem.InvalidCursor) {
		t.Errorf("bad cursor: %v", err)
	}
}
