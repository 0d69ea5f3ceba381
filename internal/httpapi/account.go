package httpapi

import (
	"context"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/api"
)

// GetAccount answers GET /v1/account.
func (s *Server) GetAccount(ctx context.Context, _ api.GetAccountRequestObject) (api.GetAccountResponseObject, error) {
	c := callerOf(ctx)
	id, err := c.account(ctx, nil)
	if err != nil {
		return nil, err
	}
	a, err := s.Accounts.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	standing, err := s.Accounts.Standing(ctx, id)
	if err != nil {
		return nil, err
	}
	return api.GetAccount200JSONResponse(toAccount(a, standing, c.Role)), nil
}

func toAccount(a account.Account, standing account.Standing, role string) api.Account {
	out := api.Account{
		ID: a.ID, Kind: api.AccountKind(a.Kind), Name: a.Name, Tier: standing.Tier, Access: standing.Access, CreatedAt: a.CreatedAt,
	}
	if role != "" {
		out.Role = (*api.AccountRole)(&role)
	}
	return out
}
