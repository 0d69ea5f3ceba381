package account

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/db"
)

// exportPage is how many rows an export holds in memory at a time.
const exportPage = 500

// The rows of an export are those of the tables, without the hashes of keys.

// ExportedKey is an API key of the account.
type ExportedKey = db.ExportKeysRow

// ExportedInvoice is an invoice as Stripe has it.
type ExportedInvoice = db.Invoice

// ExportedTransaction is a movement of money.
type ExportedTransaction = db.Transaction

// ExportedCreditEntry is a line of the ledger.
type ExportedCreditEntry = db.CreditEntry

// ExportedUsage is an hour of a meter.
type ExportedUsage = db.ExportUsageRow

// ExportedAuditEntry is what was done to the account or by the user.
type ExportedAuditEntry = db.ExportAuditRow

// An Export is everything that is kept about a user. Its lists are read page by page while they are walked, each page by a
// statement of its own, so that neither memory nor a connection is held for a client that reads slowly. A walk that fails ends
// with the error.
type Export struct {
	At       time.Time
	User     Profile
	Accounts []ExportedAccount
}

// An ExportedAccount is one account of the user and what belongs to it.
type ExportedAccount struct {
	Account
	Role          string
	Standing      Standing
	Subscriptions []SubscriptionState

	Keys          iter.Seq2[ExportedKey, error]
	Invoices      iter.Seq2[ExportedInvoice, error]
	Transactions  iter.Seq2[ExportedTransaction, error]
	CreditEntries iter.Seq2[ExportedCreditEntry, error]
	Usage         iter.Seq2[ExportedUsage, error]
	AuditLog      iter.Seq2[ExportedAuditEntry, error]
}

// Export returns what is kept about a user. Accounts of others are told of only where the user owns them.
func (s *Service) Export(ctx context.Context, userID uuid.UUID) (Export, error) {
	profile, err := s.Profile(ctx, userID)
	if err != nil {
		return Export{}, err
	}
	q := s.queries()
	rows, err := q.ListMemberAccounts(ctx, userID)
	if err != nil {
		return Export{}, fmt.Errorf("list accounts: %w", err)
	}
	export := Export{At: s.now(), User: profile}
	for _, row := range rows {
		if row.Role != RoleOwner {
			continue
		}
		a, err := s.exportAccount(ctx, q, row.Account, row.Role)
		if err != nil {
			return Export{}, err
		}
		export.Accounts = append(export.Accounts, a)
	}
	return export, nil
}

func (s *Service) exportAccount(ctx context.Context, q *db.Queries, a Account, role string) (ExportedAccount, error) {
	all, err := factsOf(ctx, q, []uuid.UUID{a.ID})
	if err != nil {
		return ExportedAccount{}, err
	}
	f, now := all[a.ID], s.now()
	e := ExportedAccount{Account: a, Role: role, Standing: f.derive(s.cfg.Policy, now)}
	for _, row := range f.Subscriptions {
		e.Subscriptions = append(e.Subscriptions, judge(row, s.cfg.Policy, now))
	}
	e.Keys = walk(func(after uuid.UUID) ([]ExportedKey, error) { return q.ExportKeys(ctx, a.ID, after, exportPage) },
		func(k ExportedKey) uuid.UUID { return k.ID })
	e.Invoices = walk(func(after string) ([]ExportedInvoice, error) { return q.ExportInvoices(ctx, a.ID, after, exportPage) },
		func(i ExportedInvoice) string { return i.ID })
	e.Transactions = walk(func(after uuid.UUID) ([]ExportedTransaction, error) {
		return q.ExportTransactions(ctx, a.ID, after, exportPage)
	}, func(t ExportedTransaction) uuid.UUID { return t.ID })
	e.CreditEntries = walk(func(after int64) ([]ExportedCreditEntry, error) {
		return q.ExportCreditEntries(ctx, a.ID, after, exportPage)
	}, func(c ExportedCreditEntry) int64 { return c.Seq })
	e.AuditLog = walk(func(after uuid.UUID) ([]ExportedAuditEntry, error) {
		return q.ExportAudit(ctx, a.ID, after, exportPage)
	},
		func(l ExportedAuditEntry) uuid.UUID { return l.ID })
	e.Usage = once(func() ([]ExportedUsage, error) { return q.ExportUsage(ctx, a.ID) }) // as many as meters and months
	return e, nil
}

// walk yields rows in the order of their keys, one page after the other.
func walk[T, K any](read func(after K) ([]T, error), key func(T) K) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var after K
		for {
			rows, err := read(after)
			if err != nil {
				var none T
				yield(none, fmt.Errorf("read rows to export: %w", err))
				return
			}
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
			if len(rows) < exportPage {
				return
			}
			after = key(rows[len(rows)-1])
		}
	}
}

func once[T any](read func() ([]T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		rows, err := read()
		if err != nil {
			var none T
			yield(none, fmt.Errorf("read rows to export: %w", err))
			return
		}
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}
