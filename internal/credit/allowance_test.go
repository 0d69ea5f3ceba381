package credit_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/catalog/catalogtest"
	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/problem"
)

func date(month time.Month, day int) time.Time {
	return time.Date(2026, month, day, 12, 0, 0, 0, time.UTC)
}

func TestAllowanceLot(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		give    credit.Allowance
		amount  int64
		expires *time.Time
	}{
		{"month", credit.Allowance{Monthly: catalog.Allowance{Amount: 10}, Quantity: 1, Start: date(1, 31), End: date(2, 28)}, 10, at(date(2, 28))},
		{"month as long as it gets", credit.Allowance{Monthly: catalog.Allowance{Amount: 10}, Quantity: 1, Start: date(2, 28), End: date(3, 31)}, 10, at(date(3, 31))},
		{"first month of a year", credit.Allowance{Monthly: catalog.Allowance{Amount: 10}, Quantity: 1, Start: date(1, 31),
			End: date(1, 31).AddDate(1, 0, 0)}, 10, at(date(2, 28))},
		{"seats", credit.Allowance{Monthly: catalog.Allowance{Amount: 10}, Quantity: 3, Start: date(3, 1), End: date(4, 1)}, 30, at(date(4, 1))},
		{"roll-over", credit.Allowance{Monthly: catalog.Allowance{Amount: 10, Rollover: true}, Quantity: 1, Start: date(3, 1), End: date(4, 1)}, 10, nil},
		{"none", credit.Allowance{Quantity: 1, Start: date(3, 1), End: date(4, 1)}, 0, at(date(4, 1))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.give.NaturalKey, tt.give.Tier = "k", "pro"
			lot, ok := credit.AllowanceLot(tt.give)
			want := credit.Lot{
				Source: credit.SourceAllowance, NaturalKey: "k", Priority: credit.PriorityAllowance, Amount: tt.amount,
				ExpiresAt: tt.expires, Description: "Allowance of tier pro",
			}
			if diff := cmp.Diff(want, lot); diff != "" || ok != (tt.amount > 0) {
				t.Errorf("ok %t (-want +got):\n%s", ok, diff)
			}
		})
	}
}

func at(t time.Time) *time.Time { return &t }

// withCatalogue is a world with the tiers free (5 credits a month), basic (10) and pro (30).
func withCatalogue(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	catalogtest.Apply(t, w.pool)
	w.credits = credit.New(credit.Config{Pool: w.pool, Now: w.clock.Now, Policy: account.DefaultPolicy()})
	return w
}

// subscribe gives the account a subscription that began at start.
func (w *world) subscribe(status, tier, price string, quantity int, start, end time.Time) {
	w.t.Helper()
	w.exec(`INSERT INTO subscriptions (id, account_id, customer_id, status, tier_id, price_id, quantity, current_period_start,
			current_period_end, access_end, livemode, created_at, updated_at)
		VALUES ('sub_1', $1, 'cus_1', $2, $3, $4, $5, $6, $7, $7, false, $6, $6)`, w.account, status, tier, price, quantity, start, end)
	w.exec(`INSERT INTO subscription_items (id, subscription_id, account_id, price_id, quantity, current_period_start, current_period_end)
		VALUES ('si_1', 'sub_1', $1, $2, $3, $4, $5)`, w.account, price, quantity, start, end)
}

// invoice writes down the invoice of the period that begins at start, or what has become of it.
func (w *world) invoice(id, status string, start, end time.Time) {
	w.t.Helper()
	w.exec(`INSERT INTO invoices (id, account_id, customer_id, subscription_id, status, billing_reason, currency, subtotal, total, amount_due, amount_paid,
			amount_remaining, created_at, updated_at) VALUES ($1, $2, 'cus_1', 'sub_1', $3, 'subscription_cycle', 'usd', 1, 1, 1, 1, 0, $4, $4)
		ON CONFLICT (id) DO UPDATE SET status = EXCLUDED.status`, id, w.account, status, start)
	w.exec(`INSERT INTO invoice_lines (id, invoice_id, account_id, subscription_item_id, price_id, amount, currency, quantity, proration, period_start, period_end)
		SELECT 'il_1', $1, $2, 'si_1', i.price_id, 1, 'usd', i.quantity, false, $3, $4 FROM subscription_items i WHERE i.id = 'si_1' ON CONFLICT DO NOTHING`,
		id, w.account, start, end)
}

// ensure looks at the account, which grants what is owed.
func (w *world) ensure() {
	w.t.Helper()
	w.balance()
}

// lots is the natural key and amount of every lot ever granted to the account.
func (w *world) lots() map[string]int64 {
	w.t.Helper()
	rows, err := w.pool.Query(context.Background(), "SELECT natural_key, granted FROM credit_lots WHERE account_id = $1", w.account)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	lots := map[string]int64{}
	for rows.Next() {
		var key string
		var granted int64
		if err := rows.Scan(&key, &granted); err != nil {
			w.t.Fatal(err)
		}
		lots[key] = granted
	}
	return lots
}

func TestFreeAllowance(t *testing.T) {
	t.Parallel()
	w := withCatalogue(t)
	w.account = w.newAccount(date(1, 31), true)
	w.clock.Set(date(1, 31))
	if b := w.balance(); b.Available != 5 || len(b.Lots) != 1 || !b.Lots[0].ExpiresAt.Equal(date(2, 28)) {
		t.Errorf("at first sight: %+v", b)
	}
	w.mustConsume(3)
	for range 3 { // looking again grants nothing
		w.ensure()
	}
	if b := w.balance(); b.Available != 2 {
		t.Errorf("after spending: %+v", b)
	}
	w.clock.Set(date(2, 28).Add(-time.Microsecond))
	if b := w.balance(); b.Available != 2 {
		t.Errorf("right before the next month: %+v", b)
	}
	w.clock.Set(date(2, 28))
	if b := w.balance(); b.Available != 5 || !b.Lots[0].ExpiresAt.Equal(date(3, 31)) {
		t.Errorf("next month: %+v", b)
	}
	w.clock.Set(date(5, 2)) // two months that nobody looked at are gone
	if b := w.balance(); b.Available != 5 || !b.Lots[0].ExpiresAt.Equal(date(5, 31)) {
		t.Errorf("much later: %+v", b)
	}
	want := map[string]int64{"clock:free:2026-01-31T12:00:00Z": 5, "clock:free:2026-02-28T12:00:00Z": 5, "clock:free:2026-04-30T12:00:00Z": 5}
	if diff := cmp.Diff(want, w.lots()); diff != "" {
		t.Errorf("lots (-want +got):\n%s", diff)
	}
}

func TestFreeAllowanceWaitsForTheAddress(t *testing.T) {
	t.Parallel()
	w := withCatalogue(t)
	w.account = w.newAccount(day0, false)
	if b := w.balance(); b.Available != 0 {
		t.Errorf("not confirmed: %+v", b)
	}
	if granted, err := w.credits.GrantAllowances(t.Context()); err != nil || granted != 1 { // the other account of the world
		t.Errorf("job: granted %d, %v", granted, err)
	}
	w.exec("UPDATE users SET email_confirmed_at = $1 WHERE id = (SELECT personal_of FROM accounts WHERE id = $2)", day0, w.account)
	w.ensure()
	if b := w.balance(); b.Available != 5 {
		t.Errorf("confirmed: %+v", b)
	}
}

func TestNoAllowanceForClosedAccounts(t *testing.T) {
	t.Parallel()
	w := withCatalogue(t)
	w.exec("UPDATE accounts SET status = 'disabled'")
	if b := w.balance(); b.Available != 0 {
		t.Errorf("disabled: %+v", b)
	}
	if _, err := w.credits.Balance(t.Context(), uuid.New()); err != nil {
		t.Errorf("an account that is not there: %v", err)
	}
}

// A spending in a month that nobody has looked at yet.
func TestConsumeOfANewMonth(t *testing.T) {
	t.Parallel()
	w := withCatalogue(t)
	if spent := w.mustConsume(4); spent.Available != 1 {
		t.Errorf("first: %+v", spent)
	}
	if _, err := w.consume(2); !errors.Is(err, problem.InsufficientCredits) {
		t.Errorf("more than there is: %v", err)
	}
	w.clock.Set(date(4, 1))
	if spent := w.mustConsume(2); spent.Available != 3 {
		t.Errorf("next month: %+v", spent)
	}
}

func TestPaidMonthsComeByInvoice(t *testing.T) {
	t.Parallel()
	w := withCatalogue(t)
	w.subscribe("active", "basic", catalogtest.PriceBasic, 1, day0, day0.AddDate(0, 1, 0))
	w.grant(w.lot("invoice:in_1:il_1", 10, 10, 0))
	if b := w.balance(); b.Available != 10 {
		t.Errorf("the clock granted what an invoice brings: %+v", b)
	}
	// It ends: the free tier holds again, at once for those who say so.
	w.exec("UPDATE subscriptions SET status = 'canceled'")
	if b := w.balance(); b.Available != 10 {
		t.Errorf("before anybody looked again: %+v", b)
	}
	if err := postgres.InTx(t.Context(), w.pool, func(q *db.Queries) error { return credit.Reconsider(t.Context(), q, w.account) }); err != nil {
		t.Fatal(err)
	}
	if b := w.balance(); b.Available != 15 {
		t.Errorf("ended: %+v", b)
	}
}

// Nobody says anything when a grace is over: the clock looks by itself.
func TestAllowanceAfterGrace(t *testing.T) {
	t.Parallel()
	w := withCatalogue(t)
	w.subscribe("past_due", "basic", catalogtest.PriceBasic, 1, day0, day0.AddDate(0, 1, 0))
	w.exec("UPDATE subscriptions SET past_due_since = $1", day0)
	w.ensure()
	w.exec("UPDATE credit_accounts SET next_allowance_at = $1", day0.Add(7*24*time.Hour)) // as a look shortly before would
	w.clock.Set(day0.Add(7*24*time.Hour - time.Microsecond))
	if b := w.balance(); b.Available != 0 {
		t.Errorf("in the grace: %+v", b)
	}
	w.clock.Set(day0.Add(7 * 24 * time.Hour))
	if b := w.balance(); b.Available != 5 {
		t.Errorf("after the grace: %+v", b)
	}
}

func TestYearlyMonths(t *testing.T) {
	t.Parallel()
	for _, rollover := range []bool{false, true} {
		t.Run(fmt.Sprintf("rollover %t", rollover), func(t *testing.T) {
			t.Parallel()
			w := withCatalogue(t)
			w.exec("UPDATE tiers SET allowance_rollover = $1", rollover)
			start := date(1, 31)
			w.clock.Set(start)
			w.subscribe("active", "basic", catalogtest.PriceBasicYear, 2, start, start.AddDate(1, 0, 0))
			w.invoice("in_1", "paid", start, start.AddDate(1, 0, 0))
			w.ensure()
			if got := w.lots(); len(got) != 0 {
				t.Errorf("the first month, which an invoice brings: %v", got)
			}
			w.clock.Set(date(2, 28))
			w.ensure()
			if diff := cmp.Diff(map[string]int64{"clock:si_1:2026-02-28T12:00:00Z": 20}, w.lots()); diff != "" {
				t.Errorf("second month (-want +got):\n%s", diff)
			}
			w.clock.Set(date(5, 30)) // in the fourth month; the third went by unseen
			w.ensure()
			want := map[string]int64{"clock:si_1:2026-02-28T12:00:00Z": 20, "clock:si_1:2026-04-30T12:00:00Z": 20}
			if rollover {
				want["clock:si_1:2026-03-31T12:00:00Z"] = 20
			}
			if diff := cmp.Diff(want, w.lots()); diff != "" {
				t.Errorf("fourth month (-want +got):\n%s", diff)
			}
			w.clock.Set(start.AddDate(1, 0, 0).Add(-time.Second))
			w.ensure()
			last := w.lots()["clock:si_1:2026-12-31T12:00:00Z"]
			w.clock.Set(start.AddDate(1, 0, 3)) // renewed, and Stripe has not told us yet: the new year's invoice brings its month
			w.ensure()
			lots := w.lots()
			if rollover && len(lots) != 11 || !rollover && len(lots) != 3 || last != 20 {
				t.Errorf("in the end: %v", lots)
			}
			if got := w.balance().Available; rollover && got != 220 || !rollover && got != 0 {
				t.Errorf("available: %d", got)
			}
		})
	}
}

// A year is renewed and its invoice is not paid: access may go on for long, by a grace or a pause, and its months do not come.
func TestYearlyMonthsWaitForThePayment(t *testing.T) {
	t.Parallel()
	first, second := day0.AddDate(-1, 0, 0), day0
	secondMonth := map[string]int64{"clock:si_1:2026-04-01T12:00:00Z": 10}
	tests := []struct {
		name, status, pause, invoice string
		want                         map[string]int64
	}{
		{"paid", "active", "", "paid", secondMonth},
		{"trial, whose invoice is paid with nothing", "trialing", "", "paid", secondMonth},
		{"overdue", "past_due", "", "open", map[string]int64{}},
		{"collection paused, invoice kept as a draft", "active", account.PauseKeepAsDraft, "draft", map[string]int64{}},
		{"collection paused, invoice marked uncollectible", "active", account.PauseMarkUncollectible, "uncollectible", map[string]int64{}},
		{"collection paused after the payment", "active", account.PauseVoid, "paid", secondMonth},
		{"status unknown, invoice void", "novel", "", "void", map[string]int64{}},
		{"no invoice that we know of", "active", "", "", map[string]int64{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := withCatalogue(t)
			w.credits = credit.New(credit.Config{Pool: w.pool, Now: w.clock.Now, Policy: account.Policy{
				Grace: 90 * 24 * time.Hour, PauseEndsAccess: []string{account.PauseVoid}}})
			w.subscribe(tt.status, "basic", catalogtest.PriceBasicYear, 1, second, second.AddDate(1, 0, 0))
			w.exec("UPDATE subscriptions SET access_known = true, past_due_since = $1, pause_behavior = nullif($2, ''), paused_since = $3", second, tt.pause, second.AddDate(0, 0, 1))
			w.invoice("in_1", "paid", first, second)
			if tt.invoice != "" {
				w.invoice("in_2", tt.invoice, second, second.AddDate(1, 0, 0))
			}
			w.clock.Set(date(4, 2))
			w.ensure()
			if diff := cmp.Diff(tt.want, w.lots()); diff != "" {
				t.Errorf("lots (-want +got):\n%s", diff)
			}
			// It is paid after all.
			w.invoice("in_2", "paid", second, second.AddDate(1, 0, 0))
			w.clock.Set(date(4, 2).Add(time.Hour))
			w.ensure()
			if diff := cmp.Diff(secondMonth, w.lots()); diff != "" {
				t.Errorf("lots after the payment (-want +got):\n%s", diff)
			}
		})
	}
}

// Two that look at once, and the job beside them: one month is one lot.
func TestAllowanceRivals(t *testing.T) {
	t.Parallel()
	w := withCatalogue(t)
	w.ensure()
	holder := w.holdLock()
	w.clock.Set(date(4, 1))
	const rivals = 3
	ended := make(chan error, rivals)
	for range rivals {
		go func() { _, err := w.credits.Balance(context.Background(), w.account); ended <- err }()
	}
	pgtest.AwaitLocks(t, w.pool, rivals)
	// The job does not wait for an account that is held.
	if granted, err := w.credits.GrantAllowances(t.Context()); err != nil || granted != 0 {
		t.Errorf("job beside a holder: granted %d, %v", granted, err)
	}
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range rivals {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if got := w.balance().Available; got != 5 || len(w.lots()) != 2 {
		t.Errorf("available %d, lots %v", got, w.lots())
	}
}

// More accounts than a batch: with rows of credits and without, due and not.
func TestGrantAllowances(t *testing.T) {
	t.Parallel()
	w := withCatalogue(t)
	w.ensure()
	const fresh = 230
	w.exec(`WITH u AS (INSERT INTO users (id, issuer, subject, email, email_confirmed_at, created_at, updated_at)
			SELECT gen_random_uuid(), 'many', n::text, 'a@example.com', $1, $1, $1 FROM generate_series(1, $2::int) AS n RETURNING id)
		INSERT INTO accounts (id, kind, name, personal_of, created_at, updated_at) SELECT gen_random_uuid(), 'personal', 'a', id, $1, $1 FROM u`,
		day0, fresh)
	for _, step := range []struct {
		now  time.Time
		want int
	}{{day0, fresh}, {day0, 0}, {date(4, 1), fresh + 1}, {date(4, 1), 0}} {
		w.clock.Set(step.now)
		if granted, err := w.credits.GrantAllowances(t.Context()); err != nil || granted != step.want {
			t.Errorf("at %s: granted %d, %v; want %d", step.now, granted, err, step.want)
		}
	}
	report, err := credit.Verify(t.Context(), w.pool, func(v credit.Violation) { t.Error(v) })
	if err != nil || report.Accounts != fresh+1 {
		t.Errorf("verified %+v, %v", report, err)
	}
	w.clock.Set(date(6, 1))
	if err := w.credits.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := w.pool.QueryRow(t.Context(), "SELECT sum(balance) FROM credit_accounts").Scan(&left); err != nil || left != 0 {
		t.Errorf("after the sweep %d credits are left, %v", left, err)
	}
}

// The clock grants right after a spending has found nothing and before it looks why: the credits are there all the same.
func TestAllowanceThatTheClockWasQuickerWith(t *testing.T) {
	t.Parallel()
	w := withCatalogue(t)
	w.clock.Set(date(1, 31))
	w.account = w.newAccount(date(1, 31), true)
	config := w.pool.Config()
	config.ConnConfig.Tracer = &ahead{of: "-- name: GetCreditAccount :one", do: func() {
		if granted, err := w.credits.GrantAllowances(context.WithoutCancel(t.Context())); err != nil || granted == 0 {
			t.Errorf("the clock has granted %d lots, %v", granted, err)
		}
	}}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	slower := credit.New(credit.Config{Pool: pool, Now: w.clock.Now, Policy: account.DefaultPolicy()})
	spent, err := slower.Consume(t.Context(), credit.Spending{AccountID: w.account, Amount: 3, Actor: audit.System("test")})
	if err != nil || spent.Available != 2 {
		t.Errorf("spent %+v, %v", spent, err)
	}
}

// ahead does something before the first query of a name.
type ahead struct {
	of   string
	do   func()
	once sync.Once
}

func (a *ahead) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if strings.HasPrefix(data.SQL, a.of) {
		a.once.Do(a.do)
	}
	return ctx
}

func (*ahead) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
