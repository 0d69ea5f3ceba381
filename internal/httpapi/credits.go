package httpapi

import (
	"context"

	"example.com/saaskit/internal/api"
	"example.com/saaskit/internal/credit"
)

// GetCredits answers GET /v1/credits.
func (s *Server) GetCredits(ctx context.Context, _ api.GetCreditsRequestObject) (api.GetCreditsResponseObject, error) {
	accountID, err := callerOf(ctx).account(ctx, nil)
	if err != nil {
		return nil, err
	}
	b, err := s.Credits.Balance(ctx, accountID)
	if err != nil {
		return nil, err
	}
	return api.GetCredits200JSONResponse(toCredits(b)), nil
}

// ListCreditTransactions answers GET /v1/credits/transactions.
func (s *Server) ListCreditTransactions(
	ctx context.Context, req api.ListCreditTransactionsRequestObject,
) (api.ListCreditTransactionsResponseObject, error) {
	accountID, err := callerOf(ctx).account(ctx, nil)
	if err != nil {
		return nil, err
	}
	p, err := s.Credits.Transactions(ctx, accountID, pageOf(req.Params.Limit, req.Params.Cursor))
	if err != nil {
		return nil, err
	}
	list := api.CreditTransactionList{Data: make([]api.CreditTransaction, len(p.Data)), NextCursor: optional(p.Next)}
	for i, e := range p.Data {
		list.Data[i] = toCreditTransaction(e)
	}
	return api.ListCreditTransactions200JSONResponse(list), nil
}

// ConsumeCredits answers POST /v1/credits/consume.
func (s *Server) ConsumeCredits(ctx context.Context, req api.ConsumeCreditsRequestObject) (api.ConsumeCreditsResponseObject, error) {
	spending, err := toSpending(ctx, req)
	if err != nil {
		return nil, err
	}
	spent, err := s.Credits.Consume(ctx, spending)
	if err != nil {
		return nil, err
	}
	return api.ConsumeCredits200JSONResponse{
		Body:    api.ConsumeResult{TransactionID: spent.TransactionID, Amount: spent.Amount, Available: spent.Available},
		Headers: api.ConsumeCredits200ResponseHeaders{IdempotentReplayed: replayed(spent.Replayed)},
	}, nil
}

func toSpending(ctx context.Context, req api.ConsumeCreditsRequestObject) (credit.Spending, error) {
	c, body := callerOf(ctx), *req.Body
	accountID, err := c.account(ctx, body.AccountID)
	if err != nil {
		return credit.Spending{}, err
	}
	body.AccountID = nil // named in the header or here, it is the same request
	key, err := c.idempotencyKey("consumeCredits", req.Params.IdempotencyKey, accountID, body)
	return credit.Spending{
		AccountID: accountID, Amount: body.Amount, Description: valueOr(body.Description, ""), Reference: valueOr(body.Reference, ""),
		Key: key, Actor: c.actor(),
	}, err
}

func toCredits(b credit.Balance) api.Credits {
	c := api.Credits{Available: b.Available, Held: b.Held, Balance: b.Balance, Lots: make([]api.CreditLot, len(b.Lots))}
	for i, l := range b.Lots {
		c.Lots[i] = api.CreditLot{
			ID: l.ID, Source: api.CreditLotSource(l.Source), Granted: l.Granted, Remaining: l.Remaining,
			ExpiresAt: l.ExpiresAt, CreatedAt: l.CreatedAt,
		}
	}
	return c
}

func toCreditTransaction(e credit.Entry) api.CreditTransaction {
	return api.CreditTransaction{
		ID: e.ID, Kind: api.CreditTransactionKind(e.Kind), Amount: e.Amount, BalanceAfter: e.BalanceAfter,
		Description: optional(e.Description), Reference: e.Reference, EffectiveAt: e.EffectiveAt, CreatedAt: e.CreatedAt,
	}
}
