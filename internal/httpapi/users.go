package httpapi

import (
	"context"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/api"
)

// GetMe answers GET /v1/users/me.
func (s *Server) GetMe(ctx context.Context, _ api.GetMeRequestObject) (api.GetMeResponseObject, error) {
	p, err := s.Accounts.Profile(ctx, *callerOf(ctx).UserID)
	if err != nil {
		return nil, err
	}
	return api.GetMe200JSONResponse(toUser(p)), nil
}

// UpdateMe answers PATCH /v1/users/me.
func (s *Server) UpdateMe(ctx context.Context, req api.UpdateMeRequestObject) (api.UpdateMeResponseObject, error) {
	c := callerOf(ctx)
	key, err := c.idempotencyKey("updateMe", req.Params.IdempotencyKey, req.Body)
	if err != nil {
		return nil, err
	}
	p, again, err := s.Accounts.Rename(ctx, key, *c.UserID, req.Body.DisplayName, c.actor())
	if err != nil {
		return nil, err
	}
	return api.UpdateMe200JSONResponse{Body: toUser(p), Headers: api.UpdateMe200ResponseHeaders{IdempotentReplayed: replayed(again)}}, nil
}

// DeleteMe answers DELETE /v1/users/me.
func (s *Server) DeleteMe(ctx context.Context, _ api.DeleteMeRequestObject) (api.DeleteMeResponseObject, error) {
	c := callerOf(ctx)
	if err := s.Accounts.Delete(ctx, *c.UserID, c.actor()); err != nil {
		return nil, err
	}
	return api.DeleteMe202Response{}, nil
}

// ListUsers answers GET /v1/users.
func (s *Server) ListUsers(ctx context.Context, req api.ListUsersRequestObject) (api.ListUsersResponseObject, error) {
	p, err := s.Accounts.List(ctx, valueOr(req.Params.Query, ""), pageOf(req.Params.Limit, req.Params.Cursor))
	if err != nil {
		return nil, err
	}
	list := api.UserList{Data: make([]api.User, len(p.Data)), NextCursor: optional(p.Next)}
	for i, u := range p.Data {
		list.Data[i] = toUser(u)
	}
	return api.ListUsers200JSONResponse(list), nil
}

// GetUser answers GET /v1/users/{user_id}.
func (s *Server) GetUser(ctx context.Context, req api.GetUserRequestObject) (api.GetUserResponseObject, error) {
	p, err := s.Accounts.Profile(ctx, req.UserID)
	if err != nil {
		return nil, err
	}
	return api.GetUser200JSONResponse(toUser(p)), nil
}

// UpdateUser answers PATCH /v1/users/{user_id}.
func (s *Server) UpdateUser(ctx context.Context, req api.UpdateUserRequestObject) (api.UpdateUserResponseObject, error) {
	c := callerOf(ctx)
	key, err := c.idempotencyKey("updateUser", req.Params.IdempotencyKey, req.UserID, req.Body)
	if err != nil {
		return nil, err
	}
	p, again, err := s.Accounts.SetStatus(ctx, key, req.UserID, string(req.Body.Status), valueOr(req.Body.Reason, ""), c.actor())
	if err != nil {
		return nil, err
	}
	return api.UpdateUser200JSONResponse{Body: toUser(p), Headers: api.UpdateUser200ResponseHeaders{IdempotentReplayed: replayed(again)}}, nil
}

func toUser(p account.Profile) api.User {
	confirmed := p.EmailConfirmedAt != nil
	return api.User{
		ID: p.ID, Email: p.Email, EmailConfirmed: &confirmed, DisplayName: optional(p.DisplayName), AccountID: p.AccountID,
		Tier: p.Tier, Status: api.UserStatus(p.Status), CreatedAt: p.CreatedAt,
	}
}
