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

// An ExportedInvoice is an invoice as Stripe has it, with its lines.
type ExportedInvoice struct {
	db.Invoice
	Lines []db.InvoiceLine
}

// ExportedTransaction is a movement of money.
type ExportedTransaction = db.Transaction

// ExportedCreditEntry is a line of the ledger.
type ExportedCreditEntry = db.CreditEntry

// ExportedUsage is a month of a meter.
type ExportedUsage = db.ExportUsageRow

// ExportedCustomer is a customer of the account at Stripe.
type ExportedCustomer = db.StripeCustomer

// ExportedPaymentMethod is a card or another way to pay.
type ExportedPaymentMethod = db.PaymentMethod

// ExportedCheckoutAttempt is what was put into a checkout.
type ExportedCheckoutAttempt = db.CheckoutAttempt

// ExportedCheckoutSession is what Stripe says of a checkout.
type ExportedCheckoutSession = db.CheckoutSession

// ExportedSubscriptionChange is what was asked of a subscription.
type ExportedSubscriptionChange = db.SubscriptionChange

// ExportedPayment is a payment intent, whatever became of it.
type ExportedPayment = db.PaymentIntent

// ExportedCharge is an attempt to take money.
type ExportedCharge = db.Charge

// ExportedRefund is money that goes back.
type ExportedRefund = db.Refund

// ExportedDispute is a payment that the bank has called back.
type ExportedDispute = db.Dispute

// ExportedCreditNote is a correction of an invoice.
type ExportedCreditNote = db.CreditNote

// ExportedCreditLot is a grant of credits and what remains of it.
type ExportedCreditLot = db.CreditLot

// ExportedMessage is what was told to the user.
type ExportedMessage = db.Outbox

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

	Customers           iter.Seq2[ExportedCustomer, error]
	PaymentMethods      iter.Seq2[ExportedPaymentMethod, error]
	CheckoutAttempts    iter.Seq2[ExportedCheckoutAttempt, error]
	CheckoutSessions    iter.Seq2[ExportedCheckoutSession, error]
	SubscriptionChanges iter.Seq2[ExportedSubscriptionChange, error]
	Payments            iter.Seq2[ExportedPayment, error]
	Charges             iter.Seq2[ExportedCharge, error]
	Refunds             iter.Seq2[ExportedRefund, error]
	Disputes            iter.Seq2[ExportedDispute, error]
	CreditNotes         iter.Seq2[ExportedCreditNote, error]
	CreditLots          iter.Seq2[ExportedCreditLot, error]
	Messages            iter.Seq2[ExportedMessage, error]
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
		a, err := s.exportAccount(ctx, q, userID, row.Account, row.Role)
		if err != nil {
			return Export{}, err
		}
		export.Accounts = append(export.Accounts, a)
	}
	return export, nil
}

func (s *Service) exportAccount(ctx context.Context, q *db.Queries, userID uuid.UUID, a Account, role string) (ExportedAccount, error) {
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
	e.Invoices = walk(func(after string) ([]ExportedInvoice, error) { return exportInvoices(ctx, q, a.ID, after) },
		func(i ExportedInvoice) string { return i.ID })
	e.Transactions = walk(func(after uuid.UUID) ([]ExportedTransaction, error) {
		return q.ExportTransactions(ctx, a.ID, after, exportPage)
	}, func(t ExportedTransaction) uuid.UUID { return t.ID })
	e.CreditEntries = walk(func(after int64) ([]ExportedCreditEntry, error) {
		return q.ExportCreditEntries(ctx, a.ID, after, exportPage)
	}, func(c ExportedCreditEntry) int64 { return c.Seq })
	e.AuditLog = walk(func(after uuid.UUID) ([]ExportedAuditEntry, error) {
		return q.ExportAudit(ctx, db.ExportAuditParams{UserID: userID.String(), AccountID: a.ID, AfterID: after, MaxRows: exportPage})
	},
		func(l ExportedAuditEntry) uuid.UUID { return l.ID })
	e.Usage = once(func() ([]ExportedUsage, error) { return q.ExportUsage(ctx, a.ID) }) // as many as meters and months
	e.exportPayments(ctx, q, a.ID)
	return e, nil
}

// exportPayments adds what is kept of payments and of what was paid for.
func (e *ExportedAccount) exportPayments(ctx context.Context, q *db.Queries, id uuid.UUID) {
	e.Customers = walk(func(after uuid.UUID) ([]ExportedCustomer, error) {
		return q.ExportCustomers(ctx, id, after, exportPage)
	}, func(row ExportedCustomer) uuid.UUID { return row.ID })
	e.PaymentMethods = walk(func(after string) ([]ExportedPaymentMethod, error) {
		return q.ExportPaymentMethods(ctx, id, after, exportPage)
	}, func(row ExportedPaymentMethod) string { return row.ID })
	e.CheckoutAttempts = walk(func(after uuid.UUID) ([]ExportedCheckoutAttempt, error) {
		return q.ExportCheckoutAttempts(ctx, id, after, exportPage)
	}, func(row ExportedCheckoutAttempt) uuid.UUID { return row.ID })
	e.CheckoutSessions = walk(func(after string) ([]ExportedCheckoutSession, error) {
		return q.ExportCheckoutSessions(ctx, id, after, exportPage)
	}, func(row ExportedCheckoutSession) string { return row.ID })
	e.SubscriptionChanges = walk(func(after uuid.UUID) ([]ExportedSubscriptionChange, error) {
		return q.ExportSubscriptionChanges(ctx, id, after, exportPage)
	}, func(row ExportedSubscriptionChange) uuid.UUID { return row.ID })
	e.Payments = walk(func(after string) ([]ExportedPayment, error) { return q.ExportPayments(ctx, id, after, exportPage) }, func(row ExportedPayment) string { return row.ID })
	e.Charges = walk(func(after string) ([]ExportedCharge, error) { return q.ExportCharges(ctx, id, after, exportPage) }, func(row ExportedCharge) string { return row.ID })
	e.Refunds = walk(func(after string) ([]ExportedRefund, error) { return q.ExportRefunds(ctx, id, after, exportPage) }, func(row ExportedRefund) string { return row.ID })
	e.Disputes = walk(func(after string) ([]ExportedDispute, error) { return q.ExportDisputes(ctx, id, after, exportPage) }, func(row ExportedDispute) string { return row.ID })
	e.CreditNotes = walk(func(after string) ([]ExportedCreditNote, error) {
		return q.ExportCreditNotes(ctx, id, after, exportPage)
	}, func(row ExportedCreditNote) string { return row.ID })
	e.CreditLots = walk(func(after uuid.UUID) ([]ExportedCreditLot, error) {
		return q.ExportCreditLots(ctx, id, after, exportPage)
	}, func(row ExportedCreditLot) uuid.UUID { return row.ID })
	e.Messages = walk(func(after uuid.UUID) ([]ExportedMessage, error) { return q.ExportMessages(ctx, id, after, exportPage) }, func(row ExportedMessage) uuid.UUID { return row.ID })
}

func exportInvoices(ctx context.Context, q *db.Queries, id uuid.UUID, after string) ([]ExportedInvoice, error) {
	rows, err := q.ExportInvoices(ctx, id, after, exportPage)
	if err != nil {
		return nil, err
	}
	ids, at := make([]string, len(rows)), make(map[string]int, len(rows))
	invoices := make([]ExportedInvoice, len(rows))
	for i, row := range rows {
		ids[i], at[row.ID], invoices[i].Invoice = row.ID, i, row
	}
	lines, err := q.ExportInvoiceLines(ctx, id, ids)
	for _, l := range lines {
		i := &invoices[at[l.InvoiceID]]
		i.Lines = append(i.Lines, l)
	}
	return invoices, err
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
