package credit_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/problem"
)

// model is the ledger in a few lines: what the real one has to agree with after whatever happens.
type model struct {
	w        *world
	now      time.Time
	lots     []*modelLot
	byRef    map[string]modelSpending
	byKey    map[string]modelSpending
	sequence int
}

type modelLot struct {
	key       string
	priority  int
	expires   *time.Time
	created   time.Time
	order     int
	remaining int64
}

type modelSpending struct {
	id     uuid.UUID
	amount int64
	body   string
}

// active lists the lots that can be spent, in the order of spending.
func (m *model) active() []*modelLot {
	var lots []*modelLot
	for _, l := range m.lots {
		if l.remaining > 0 && (l.expires == nil || l.expires.After(m.now)) {
			lots = append(lots, l)
		}
	}
	slices.SortFunc(lots, func(a, b *modelLot) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), compareExpiry(a.expires, b.expires), a.created.Compare(b.created), cmp.Compare(a.order, b.order))
	})
	return lots
}

func compareExpiry(a, b *time.Time) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return a.Compare(*b)
}

func (m *model) available() (sum int64) {
	for _, l := range m.active() {
		sum += l.remaining
	}
	return sum
}

func (m *model) grant(t *rapid.T) {
	key := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h"}).Draw(t, "natural key")
	amount := rapid.Int64Range(1, 50).Draw(t, "amount")
	priority := rapid.SampledFrom([]int{10, 15, 20}).Draw(t, "priority")
	expires := rapid.SampledFrom([]time.Duration{0, -time.Hour, time.Hour, 2 * time.Hour, 3 * time.Hour}).Draw(t, "expires")
	l := m.w.lot(key, amount, priority, 0)
	if expires != 0 {
		at := m.now.Add(expires)
		l.ExpiresAt = &at
	}
	isNew := !slices.ContainsFunc(m.lots, func(l *modelLot) bool { return l.key == key })
	if got := m.w.grant(l); got != isNew {
		t.Fatalf("grant %s: got %t, want %t", key, got, isNew)
	}
	if isNew {
		m.sequence++
		m.lots = append(m.lots, &modelLot{key, priority, l.ExpiresAt, m.now, m.sequence, amount})
	}
}

func (m *model) consume(t *rapid.T) {
	amount := rapid.Int64Range(1, 60).Draw(t, "amount")
	ref := rapid.SampledFrom([]string{"", "", "", "r1", "r2", "r3"}).Draw(t, "reference")
	idem := rapid.SampledFrom([]string{"", "", "", "k1", "k2", "k3"}).Draw(t, "key")
	body := fmt.Sprint(amount, ref)
	changes := []func(*credit.Spending){reference(ref)}
	if idem != "" {
		changes = append(changes, key(m.w.account.String()+idem, body))
	}
	spent, err := m.w.consume(amount, changes...)
	want, wantErr := m.expect(amount, ref, idem, body)
	if !errors.Is(err, wantErr) {
		t.Fatalf("consume %d: got %v, want %v", amount, err, wantErr)
	}
	if err != nil {
		return
	}
	if want != nil { // answered before
		if spent.TransactionID != want.id || spent.Amount != want.amount {
			t.Fatalf("consume %d: got %+v, want %+v again", amount, spent, *want)
		}
	} else {
		m.burn(amount)
		if spent.Available != m.available() {
			t.Fatalf("consume %d: %d are available, want %d", amount, spent.Available, m.available())
		}
	}
	done := modelSpending{spent.TransactionID, amount, body}
	if ref != "" {
		m.byRef[ref] = done
	}
	if idem != "" {
		m.byKey[idem] = done
	}
}

// expect says how a spending has to end: with an earlier one, with a refusal, or (neither) as a new one.
func (m *model) expect(amount int64, ref, idem, body string) (*modelSpending, error) {
	if before, ok := m.byKey[idem]; ok {
		if before.body != body {
			return nil, problem.IdempotencyMismatch
		}
		return &before, nil
	}
	if before, ok := m.byRef[ref]; ok {
		if before.amount != amount {
			return nil, problem.ReferenceReused
		}
		return &before, nil
	}
	if amount > m.available() {
		return nil, problem.InsufficientCredits
	}
	return nil, nil
}

func (m *model) burn(amount int64) {
	for _, l := range m.active() {
		taken := min(l.remaining, amount)
		l.remaining -= taken
		amount -= taken
	}
}

func (m *model) pass(t *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.Int64Range(1, int64(90*time.Minute/time.Microsecond)).Draw(t, "microseconds")) * time.Microsecond)
	m.w.clock.Set(m.now)
}

// toTheMoment moves the clock to when a lot expires: the edge that random times never meet.
func (m *model) toTheMoment(t *rapid.T) {
	var moments []time.Time
	for _, l := range m.active() {
		if l.expires != nil {
			moments = append(moments, *l.expires)
		}
	}
	if len(moments) == 0 {
		return // nothing expires
	}
	m.now = rapid.SampledFrom(moments).Draw(t, "moment")
	m.w.clock.Set(m.now)
}

func (m *model) sweep(t *rapid.T) {
	if err := m.w.credits.Sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func (m *model) look(t *rapid.T) {
	b, err := m.w.credits.Balance(context.Background(), m.w.account)
	if err != nil {
		t.Fatal(err)
	}
	got, want := []int64{}, []int64{}
	for _, l := range b.Lots {
		got = append(got, l.Remaining)
	}
	for _, l := range m.active() {
		want = append(want, l.remaining)
	}
	if diff := gocmp.Diff(want, got); diff != "" || b.Available != m.available() || b.Balance != b.Available {
		t.Fatalf("balance %+v, want %d (-want +got):\n%s", b, m.available(), diff)
	}
}

func TestLikeTheModel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rapid.Check(t, func(t *rapid.T) {
		w.clock.Set(day0)
		w.account = w.newAccount(day0, true)
		m := &model{w: w, now: day0, byRef: map[string]modelSpending{}, byKey: map[string]modelSpending{}}
		t.Repeat(map[string]func(*rapid.T){
			"grant": m.grant, "consume": m.consume, "consume again": m.consume, "time passes": m.pass, "a lot expires": m.toTheMoment,
			"sweep": m.sweep, "look": m.look,
		})
		m.look(t)
	})
	w.proven()
}
