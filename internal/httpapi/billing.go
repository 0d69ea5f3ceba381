package httpapi

import (
	"context"

	"example.com/saaskit/internal/api"
	"example.com/saaskit/internal/billing"
)

// CreateCheckoutSession answers POST /v1/billing/checkout-sessions.
func (s *Server) CreateCheckoutSession(
	ctx context.Context, req api.CreateCheckoutSessionRequestObject,
) (api.CreateCheckoutSessionResponseObject, error) {
	wish, err := toCheckout(ctx, req)
	if err != nil {
		return nil, err
	}
	session, again, err := s.Billing.OpenCheckout(ctx, wish)
	if err != nil {
		return nil, err
	}
	return api.CreateCheckoutSession201JSONResponse{
		Body:    api.CheckoutSession{ID: session.ID, URL: session.URL, ExpiresAt: session.ExpiresAt},
		Headers: api.CreateCheckoutSession201ResponseHeaders{IdempotentReplayed: replayed(again)},
	}, nil
}

// GetCheckoutSession answers GET /v1/billing/checkout-sessions/{session_id}.
func (s *Server) GetCheckoutSession(ctx context.Context, req api.GetCheckoutSessionRequestObject) (api.GetCheckoutSessionResponseObject, error) {
	accountID, err := callerOf(ctx).account(ctx, nil)
	if err != nil {
		return nil, err
	}
	attempt, err := s.Billing.Checkout(ctx, accountID, req.SessionID)
	if err != nil {
		return nil, err
	}
	return api.GetCheckoutSession200JSONResponse(toCheckoutStatus(attempt)), nil
}

// GetSubscription answers GET /v1/subscription.
func (s *Server) GetSubscription(ctx context.Context, _ api.GetSubscriptionRequestObject) (api.GetSubscriptionResponseObject, error) {
	accountID, err := callerOf(ctx).account(ctx, nil)
	if err != nil {
		return nil, err
	}
	state, err := s.Billing.State(ctx, accountID)
	if err != nil {
		return nil, err
	}
	return api.GetSubscription200JSONResponse(toSubscription(state)), nil
}

// ListInvoices answers GET /v1/invoices.
func (s *Server) ListInvoices(ctx context.Context, req api.ListInvoicesRequestObject) (api.ListInvoicesResponseObject, error) {
	accountID, err := callerOf(ctx).account(ctx, nil)
	if err != nil {
		return nil, err
	}
	list, err := s.Billing.Invoices(ctx, accountID, pageOf(req.Params.Limit, req.Params.Cursor))
	if err != nil {
		return nil, err
	}
	answer := api.ListInvoices200JSONResponse{Data: make([]api.Invoice, len(list.Data)), NextCursor: optional(list.Next)}
	for i, row := range list.Data {
		answer.Data[i] = toInvoice(row)
	}
	return answer, nil
}

// ListTransactions answers GET /v1/transactions.
func (s *Server) ListTransactions(ctx context.Context, req api.ListTransactionsRequestObject) (api.ListTransactionsResponseObject, error) {
	accountID, err := callerOf(ctx).account(ctx, nil)
	if err != nil {
		return nil, err
	}
	list, err := s.Billing.Transactions(ctx, accountID, pageOf(req.Params.Limit, req.Params.Cursor))
	if err != nil {
		return nil, err
	}
	totals, err := s.Billing.Totals(ctx, accountID)
	if err != nil {
		return nil, err
	}
	answer := api.ListTransactions200JSONResponse{
		Data: make([]api.Transaction, len(list.Data)), NextCursor: optional(list.Next), Totals: toTotals(totals),
	}
	for i, row := range list.Data {
		answer.Data[i] = toTransaction(row)
	}
	return answer, nil
}

func toCheckout(ctx context.Context, req api.CreateCheckoutSessionRequestObject) (billing.Wish, error) {
	who, body := callerOf(ctx), *req.Body
	accountID, err := who.account(ctx, nil)
	if err != nil {
		return billing.Wish{}, err
	}
	key, err := who.idempotencyKey("createCheckoutSession", req.Params.IdempotencyKey, accountID, body)
	return billing.Wish{
		AccountID: accountID, UserID: who.UserID, Tier: valueOr(body.Tier, ""), Interval: string(valueOr(body.Interval, "")),
		CreditPack: valueOr(body.CreditPack, ""), Quantity: valueOr(body.Quantity, 1), Currency: body.Currency,
		SuccessURL: body.SuccessURL, CancelURL: body.CancelURL, Key: key, Actor: who.actor(),
	}, err
}

func toInvoice(i billing.Invoice) api.Invoice {
	money := func(amount int64) api.Money { return api.Money{Amount: amount, Currency: i.Currency} }
	lines := make([]api.InvoiceLine, len(i.Lines))
	for n, l := range i.Lines {
		lines[n] = api.InvoiceLine{
			ID: &i.Lines[n].ID, Description: l.Description, Amount: api.Money{Amount: l.Amount, Currency: l.Currency}, Quantity: l.Quantity,
			Proration: l.Proration, PeriodStart: l.PeriodStart, PeriodEnd: l.PeriodEnd,
		}
	}
	return api.Invoice{
		Subtotal: new(money(i.Subtotal)), AmountRemaining: new(money(i.AmountRemaining)), NextPaymentAttempt: i.NextPaymentAttempt,
		Lines: lines,
		ID:    i.ID, Number: i.Number, Status: i.Status, BillingReason: optional(i.BillingReason), SubscriptionID: i.SubscriptionID,
		Total: money(i.Total), AmountDue: money(i.AmountDue), AmountPaid: money(i.AmountPaid), PaidOutOfBand: &i.PaidOutOfBand,
		HostedInvoiceURL: i.HostedInvoiceURL, InvoicePdf: i.InvoicePDF, CreatedAt: i.CreatedAt, PaidAt: i.PaidAt,
	}
}

func toTotals(totals []billing.Total) []api.TransactionTotal {
	list := make([]api.TransactionTotal, len(totals))
	for i, t := range totals {
		list[i] = api.TransactionTotal{
			Kind: api.TransactionTotalKind(t.Kind), Amount: api.Money{Amount: t.Amount, Currency: t.Currency}, Count: t.Number,
		}
	}
	return list
}

// toCheckoutStatus shows an address only where something can be paid there.
func toCheckoutStatus(a billing.Attempt) api.CheckoutStatus {
	answer := api.CheckoutStatus{
		ID: *a.StripeSessionID, Status: api.CheckoutStatusStatus(a.Status), Tier: a.TierID, CreditPack: a.PackID,
		Interval: toInterval(valueOr(a.Interval, "")), Currency: a.Currency, Quantity: a.Quantity, ExpiresAt: a.ExpiresAt,
	}
	if a.TrialDays > 0 {
		answer.TrialDays = new(int(a.TrialDays))
	}
	switch answer.Status {
	case api.CheckoutStatusStatusOpen:
		answer.URL = a.URL
	case "creating", "expiring": // ours on the way
		answer.Status = api.CheckoutStatusStatusOpen
	default:
	}
	return answer
}

func toTransaction(t billing.Transaction) api.Transaction {
	shown := api.Transaction{
		ID: t.ID, Kind: api.TransactionKind(t.Kind), Status: t.Status, Amount: api.Money{Amount: t.Amount, Currency: t.Currency},
		InvoiceID: t.InvoiceID, ChargeID: t.ChargeID, Description: optional(t.Description), OccurredAt: t.OccurredAt,
	}
	if t.Fee != 0 {
		shown.Fee = &t.Fee
	}
	return shown
}
