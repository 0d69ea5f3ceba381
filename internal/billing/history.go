package billing

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/page"
)

// An Invoice is one row of invoices.
type Invoice = db.Invoice

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
	return page.New(r, rows, func(i Invoice) any { return position[string]{i.CreatedAt, i.ID} })
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
