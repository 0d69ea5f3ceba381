package httpapi

import (
	"context"
	"time"

	"github.com/oapi-codegen/nullable"

	"example.com/saaskit/internal/api"
	"example.com/saaskit/internal/apikey"
)

// ListAPIKeys answers GET /v1/api-keys.
func (s *Server) ListAPIKeys(ctx context.Context, req api.ListAPIKeysRequestObject) (api.ListAPIKeysResponseObject, error) {
	accountID, err := callerOf(ctx).account(ctx, nil)
	if err != nil {
		return nil, err
	}
	keys, err := s.Keys.List(ctx, accountID, pageOf(req.Params.Limit, req.Params.Cursor))
	if err != nil {
		return nil, err
	}
	list := make([]api.APIKey, len(keys.Data))
	for i, k := range keys.Data {
		list[i] = toAPIKey(k)
	}
	return api.ListAPIKeys200JSONResponse{Data: list, NextCursor: optional(keys.Next)}, nil
}

// CreateAPIKey answers POST /v1/api-keys.
func (s *Server) CreateAPIKey(ctx context.Context, req api.CreateAPIKeyRequestObject) (api.CreateAPIKeyResponseObject, error) {
	c := callerOf(ctx)
	accountID, err := c.account(ctx, nil)
	if err != nil {
		return nil, err
	}
	key, err := c.idempotencyKey("createAPIKey", req.Params.IdempotencyKey, accountID, req.Body)
	if err != nil {
		return nil, err
	}
	created, err := s.Keys.Create(ctx, accountID, c.UserID, toWish(req.Body), key, c.actor())
	if err != nil {
		return nil, err
	}
	return api.CreateAPIKey201JSONResponse{
		Body:    toCreatedAPIKey(created),
		Headers: api.CreateAPIKey201ResponseHeaders{IdempotentReplayed: replayed(created.Replayed)},
	}, nil
}

// GetAPIKey answers GET /v1/api-keys/{key_id}.
func (s *Server) GetAPIKey(ctx context.Context, req api.GetAPIKeyRequestObject) (api.GetAPIKeyResponseObject, error) {
	accountID, err := callerOf(ctx).account(ctx, nil)
	if err != nil {
		return nil, err
	}
	key, err := s.Keys.Get(ctx, accountID, req.KeyID)
	if err != nil {
		return nil, err
	}
	return api.GetAPIKey200JSONResponse(toAPIKey(key)), nil
}

// UpdateAPIKey answers PATCH /v1/api-keys/{key_id}.
func (s *Server) UpdateAPIKey(ctx context.Context, req api.UpdateAPIKeyRequestObject) (api.UpdateAPIKeyResponseObject, error) {
	c := callerOf(ctx)
	accountID, err := c.account(ctx, nil)
	if err != nil {
		return nil, err
	}
	key, err := c.idempotencyKey("updateAPIKey", req.Params.IdempotencyKey, accountID, req.KeyID, req.Body)
	if err != nil {
		return nil, err
	}
	changed, again, err := s.Keys.Update(ctx, accountID, req.KeyID, toKeyChange(req.Body), key, c.actor())
	if err != nil {
		return nil, err
	}
	return api.UpdateAPIKey200JSONResponse{
		Body:    toAPIKey(changed),
		Headers: api.UpdateAPIKey200ResponseHeaders{IdempotentReplayed: replayed(again)},
	}, nil
}

// RevokeAPIKey answers DELETE /v1/api-keys/{key_id}.
func (s *Server) RevokeAPIKey(ctx context.Context, req api.RevokeAPIKeyRequestObject) (api.RevokeAPIKeyResponseObject, error) {
	c := callerOf(ctx)
	accountID, err := c.account(ctx, nil)
	if err != nil {
		return nil, err
	}
	if err := s.Keys.Revoke(ctx, accountID, req.KeyID, c.actor()); err != nil {
		return nil, err
	}
	return api.RevokeAPIKey204Response{}, nil
}

// RotateAPIKey answers POST /v1/api-keys/{key_id}/rotate.
func (s *Server) RotateAPIKey(ctx context.Context, req api.RotateAPIKeyRequestObject) (api.RotateAPIKeyResponseObject, error) {
	c := callerOf(ctx)
	accountID, err := c.account(ctx, nil)
	if err != nil {
		return nil, err
	}
	overlap := overlapOf(req.Body)
	key, err := c.idempotencyKey("rotateAPIKey", req.Params.IdempotencyKey, accountID, req.KeyID, overlap)
	if err != nil {
		return nil, err
	}
	created, err := s.Keys.Rotate(ctx, accountID, req.KeyID, c.UserID, overlap, key, c.actor())
	if err != nil {
		return nil, err
	}
	return api.RotateAPIKey201JSONResponse{
		Body:    toCreatedAPIKey(created),
		Headers: api.RotateAPIKey201ResponseHeaders{IdempotentReplayed: replayed(created.Replayed)},
	}, nil
}

func overlapOf(body *api.RotateRequest) time.Duration {
	if body == nil {
		return 0
	}
	return time.Duration(valueOr(body.OverlapSeconds, 0)) * time.Second
}

func toWish(body *api.NewAPIKey) apikey.Wish {
	return apikey.Wish{Name: body.Name, Scopes: toScopes(body.Scopes), ExpiresAt: timeOf(body.ExpiresAt), AllowedIPs: body.AllowedIps}
}

// toKeyChange tells expires_at left out (it stays) from null (never).
func toKeyChange(body *api.APIKeyUpdate) apikey.Change {
	change := apikey.Change{Name: body.Name, AllowedIPs: body.AllowedIps}
	if body.Scopes != nil {
		scopes := toScopes(*body.Scopes)
		change.Scopes = &scopes
	}
	if body.ExpiresAt.IsSpecified() {
		change.Expiry = &apikey.Expiry{At: timeOf(body.ExpiresAt)}
	}
	return change
}

// timeOf returns nothing for a field that is null or was left out.
func timeOf(field nullable.Nullable[time.Time]) *time.Time {
	at, err := field.Get()
	if err != nil {
		return nil
	}
	return &at
}

func toScopes(list []api.Scope) []string {
	scopes := make([]string, len(list))
	for i, scope := range list {
		scopes[i] = string(scope)
	}
	return scopes
}

func toAPIKey(k apikey.Key) api.APIKey {
	scopes := make([]api.Scope, len(k.Scopes))
	for i, scope := range k.Scopes {
		scopes[i] = api.Scope(scope)
	}
	var ips []string
	for _, network := range k.AllowedIPs {
		ips = append(ips, network.String())
	}
	return api.APIKey{
		ID: k.ID, Name: k.Name, Start: k.Start, Scopes: scopes, AllowedIps: ips,
		CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt, LastUsedAt: k.LastUsedAt,
	}
}

func toCreatedAPIKey(created apikey.Created) api.CreatedAPIKey {
	k := toAPIKey(created.Key)
	return api.CreatedAPIKey{
		ID: k.ID, Name: k.Name, Start: k.Start, Scopes: k.Scopes, AllowedIps: k.AllowedIps, CreatedAt: k.CreatedAt,
		ExpiresAt: k.ExpiresAt, LastUsedAt: k.LastUsedAt, Secret: optional(string(created.Secret)),
	}
}
