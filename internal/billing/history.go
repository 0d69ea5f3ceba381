package billing

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/page"
)

// An Invoice is one row of invoices, with its lines.
type Invoice struct {
	db.Invoice
	Lines []db.InvoiceLine
}

// A Total is what has moved in one currency by one kind of transaction. There is no sum of different currencies.
type Total = db.SumTransactionsRow

// A Transaction is one row of transactions: a payment, a refund or a movement of a dispute.
type Transaction = db.Transaction

// endOfTime is after every row: where a first page begins.
var endOfTime = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// A position is where a page begins: after the row with this time and id.
type position[ID any] struct {
	Time time.Time `json:"t"`
	ID   ID        `json:"i"`
}

// Invoices lists the account's invoices, newest first, without drafts.
func (s *Service) Invoices(ctx context.Context, accountID uuid.UUID, r page.Request) (page.Page[Invoice], error) {
	after := position[string]{Time: endOfTime}
	if _, err := r.Decode(&after); err != nil {
		return page.Page[Invoice]{}, err
	}
	rows, err := s.queries().ListInvoices(ctx, db.ListInvoicesParams{
		AccountID: accountID, BeforeTime: after.Time, BeforeID: after.ID, MaxRows: int32(r.Limit) + 1,
	})
	if err != nil {
		return page.Page[Invoice]{}, fmt.Errorf("list invoices: %w", err)
	}
	found, err := page.New(r, rows, func(i db.Invoice) any { return position[string]{i.CreatedAt, i.ID} })
	if err != nil {
		return page.Page[Invoice]{}, err
	}
	invoices, err := s.withLines(ctx, accountID, found.Data)
	return page.Page[Invoice]{Data: invoices, Next: found.Next}, err
}

func (s *Service) withLines(ctx context.Context, accountID uuid.UUID, rows []db.Invoice) ([]Invoice, error) {
	invoices, ids := make([]Invoice, len(rows)), make([]string, len(rows))
	for i, row := range rows {
		invoices[i].Invoice, ids[i] = row, row.ID
	}
	lines, err := s.queries().ListInvoiceLines(ctx, accountID, ids)
	if err != nil {
		return nil, fmt.Errorf("list invoice lines: %w", err)
	}
	for _, line := range lines {
		i := slices.Index(ids, line.InvoiceID)
		invoices[i].Lines = append(invoices[i].Lines, line)
	}
	return invoices, nil
}

// Totals adds the account's transactions up, for each currency and kind by itself.
func (s *Service) Totals(ctx context.Context, accountID uuid.UUID) ([]Total, error) {
	totals, err := s.queries().SumTransactions(ctx, accountID)
	if err != nil {
		return nil, fmt.Errorf("sum transactions: %w", err)
	}
	return totals, nil
}

// Transactions lists the account's payments, newest first.
func (s *Service) Transactions(ctx context.Context, accountID uuid.UUID, r page.Request) (page.Page[Transaction], error) {
	after := position[uuid.UUID]{Time: endOfTime}
	if _, err := r.Decode(&after); err != nil {
		return page.Page[Transaction]{}, err
	}
	rows, err := s.queries().ListTransactions(ctx, db.ListTransactionsParams{
		AccountID: accountID, BeforeTime: after.Time, BeforeID: after.ID, MaxRows: int32(r.Limit) + 1,
	})
	if err != nil {
		return page.Page[Transaction]{}, fmt.Errorf("list transactions: %w", err)
	}
	return page.New(r, rows, func(t Transaction) any { return position[uuid.UUID]{t.OccurredAt, t.ID} })
}
