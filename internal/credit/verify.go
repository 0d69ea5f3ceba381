package credit

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/db"
)

// A Violation is something in the ledger that must never be so.
type Violation struct {
	AccountID uuid.UUID
	What      string
}

// String names the account and what is wrong with it.
func (v Violation) String() string { return fmt.Sprintf("account %s: %s", v.AccountID, v.What) }

// A Report is what [Verify] has looked at and found.
type Report struct {
	Accounts   int64
	Entries    int64
	Violations int
	// Truncated is whether one kind of violation was so frequent that not all of its cases were listed.
	Truncated bool
}

// worstCase bounds how many violations of one kind are listed.
const worstCase = 1000

// verification is one run over one snapshot.
type verification struct {
	q      *db.Queries
	found  func(Violation)
	report Report
}

// Verify proves the ledger and calls found for each violation. It reads one snapshot, so that it may run while others write,
// and changes nothing. For each account:
//
//   - the entries are numbered 1, 2, 3 … and each balance is the one before and the amount;
//   - the balance is the sum of the entries and the sum of what remains in the lots;
//   - what remains in a lot is what was granted less what entries took from it, and never negative;
//   - an entry is the sum of what it put into lots or took from them;
//   - refunds and disputes have taken from a lot what their entries say;
//   - what is held is not more than the balance;
//   - no lot outlives its expiry unseen.
func Verify(ctx context.Context, pool *pgxpool.Pool, found func(Violation)) (Report, error) {
	v := verification{found: found}
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, pool, options, func(tx pgx.Tx) error {
		v.q = db.New(tx)
		counts, err := v.q.CountCredits(ctx)
		if err != nil {
			return err
		}
		v.report.Accounts, v.report.Entries = counts.Accounts, counts.Entries
		for _, check := range []func(context.Context) error{v.chains, v.accounts, v.lots, v.entries, v.clawbacks, v.orphans} {
			if err := check(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Report{}, fmt.Errorf("verify ledger: %w", err)
	}
	return v.report, nil
}

func (v *verification) add(account uuid.UUID, format string, args ...any) {
	v.report.Violations++
	v.found(Violation{AccountID: account, What: fmt.Sprintf(format, args...)})
}

// listed notes whether a list may have been cut off.
func (v *verification) listed(n int) { v.report.Truncated = v.report.Truncated || n == worstCase }

func (v *verification) chains(ctx context.Context) error {
	rows, err := v.q.FindBrokenCreditChains(ctx, worstCase)
	v.listed(len(rows))
	for _, r := range rows {
		if r.Seq != r.PreviousSeq+1 {
			v.add(r.AccountID, "entry %d follows entry %d", r.Seq, r.PreviousSeq)
		}
		if r.BalanceAfter != r.PreviousBalance+r.Amount {
			v.add(r.AccountID, "entry %d: %d and %d are not %d", r.Seq, r.PreviousBalance, r.Amount, r.BalanceAfter)
		}
		if r.HeldAfter < 0 || r.HeldAfter > r.BalanceAfter {
			v.add(r.AccountID, "entry %d: %d are held of %d", r.Seq, r.HeldAfter, r.BalanceAfter)
		}
	}
	return err
}

func (v *verification) accounts(ctx context.Context) error {
	rows, err := v.q.FindBrokenCreditAccounts(ctx, worstCase)
	v.listed(len(rows))
	for _, r := range rows {
		if r.Balance != r.LotsRemaining {
			v.add(r.AccountID, "the balance is %d and the lots hold %d", r.Balance, r.LotsRemaining)
		}
		if r.Balance != r.EntriesTotal {
			v.add(r.AccountID, "the balance is %d and the entries add up to %d", r.Balance, r.EntriesTotal)
		}
		if r.Held < 0 || r.Held > r.Balance {
			v.add(r.AccountID, "%d are held of %d", r.Held, r.Balance)
		}
		if r.NextSeq != r.LastSeq+1 {
			v.add(r.AccountID, "the next entry would be %d after %d", r.NextSeq, r.LastSeq)
		}
		if r.Unseen {
			v.add(r.AccountID, "a lot expires at %s and nobody would see it before %s", r.ExpiresAt, stamp(r.NextChangeAt))
		}
	}
	return err
}

func (v *verification) lots(ctx context.Context) error {
	rows, err := v.q.FindBrokenCreditLots(ctx, worstCase)
	v.listed(len(rows))
	for _, r := range rows {
		if r.Remaining != r.Total {
			v.add(r.AccountID, "lot %s holds %d and its entries leave %d", r.ID, r.Remaining, r.Total)
		}
		if r.Granted != r.Filled {
			v.add(r.AccountID, "lot %s says that %d were granted and its entry says %d", r.ID, r.Granted, r.Filled)
		}
		if r.Remaining < 0 || r.Remaining > r.Granted {
			v.add(r.AccountID, "lot %s holds %d of %d", r.ID, r.Remaining, r.Granted)
		}
	}
	return err
}

func (v *verification) entries(ctx context.Context) error {
	rows, err := v.q.FindBrokenCreditEntries(ctx, worstCase)
	v.listed(len(rows))
	for _, r := range rows {
		if r.Amount != r.Parts {
			v.add(r.AccountID, "entry %d is of %d and moved %d in lots", r.Seq, r.Amount, r.Parts)
		}
		if (r.Kind == KindGrant || r.Kind == KindRestore) != (r.Amount > 0) {
			v.add(r.AccountID, "entry %d is a %s of %d", r.Seq, r.Kind, r.Amount)
		}
	}
	return err
}

func (v *verification) clawbacks(ctx context.Context) error {
	rows, err := v.q.FindBrokenCreditClawbacks(ctx, worstCase)
	v.listed(len(rows))
	for _, r := range rows {
		v.add(r.AccountID, "lot %s: refunds and disputes took %d and their entries say %d", r.ID, r.Taken, r.Entries)
	}
	return err
}

func (v *verification) orphans(ctx context.Context) error {
	rows, err := v.q.FindOrphanedCredits(ctx, worstCase)
	v.listed(len(rows))
	for _, r := range rows {
		v.add(r.AccountID, "%s belongs to nothing", r.What)
	}
	return err
}

func stamp(t *time.Time) string {
	if t == nil {
		return "ever"
	}
	return t.UTC().Format(time.RFC3339Nano)
}
