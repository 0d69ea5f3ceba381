package httpapi

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"example.com/saaskit/internal/api"
	"example.com/saaskit/internal/auth"
	"example.com/saaskit/internal/problem"
)

// SignUp answers POST /v1/auth/signup.
func (s *Server) SignUp(ctx context.Context, req api.SignUpRequestObject) (api.SignUpResponseObject, error) {
	session, err := s.Auth.SignUp(ctx, callerOf(ctx).ip, auth.NewUser{
		Email: string(req.Body.Email), Password: req.Body.Password,
		Data: valueOr(req.Body.Data, nil), RedirectTo: valueOr(req.Body.RedirectTo, ""),
	})
	if err != nil {
		return nil, err
	}
	if session == nil {
		return api.SignUp202JSONResponse{Code: api.ConfirmationRequiredCodeConfirmationRequired, Email: string(req.Body.Email)}, nil
	}
	body, err := toSession(session)
	return api.SignUp200JSONResponse{SessionJSONResponse: body}, err
}

// LogIn answers POST /v1/auth/login.
func (s *Server) LogIn(ctx context.Context, req api.LogInRequestObject) (api.LogInResponseObject, error) {
	session, err := s.Auth.LogIn(ctx, callerOf(ctx).ip, string(req.Body.Email), req.Body.Password)
	if err != nil {
		return nil, err
	}
	body, err := toSession(session)
	return api.LogIn200JSONResponse{SessionJSONResponse: body}, err
}

// RefreshSession answers POST /v1/auth/refresh.
func (s *Server) RefreshSession(ctx context.Context, req api.RefreshSessionRequestObject) (api.RefreshSessionResponseObject, error) {
	session, err := s.Auth.Refresh(ctx, callerOf(ctx).ip, req.Body.RefreshToken)
	if err != nil {
		return nil, err
	}
	body, err := toSession(session)
	return api.RefreshSession200JSONResponse{SessionJSONResponse: body}, err
}

// LogOut answers POST /v1/auth/logout.
func (s *Server) LogOut(ctx context.Context, req api.LogOutRequestObject) (api.LogOutResponseObject, error) {
	scope := api.LogOutRequestScopeLocal
	if req.Body != nil {
		scope = valueOr(req.Body.Scope, scope)
	}
	c := callerOf(ctx)
	if err := s.Auth.LogOut(ctx, c.Principal, string(scope), c.ip, c.actor()); err != nil {
		return nil, err
	}
	return api.LogOut204Response{}, nil
}

// VerifyEmail answers POST /v1/auth/verify.
func (s *Server) VerifyEmail(ctx context.Context, req api.VerifyEmailRequestObject) (api.VerifyEmailResponseObject, error) {
	session, err := s.Auth.Verify(ctx, callerOf(ctx).ip, auth.Code{
		Type: string(req.Body.Type), Token: valueOr(req.Body.Token, ""),
		TokenHash: valueOr(req.Body.TokenHash, ""), Email: string(valueOr(req.Body.Email, "")),
	})
	if err != nil {
		return nil, err
	}
	body, err := toSession(session)
	return api.VerifyEmail200JSONResponse{SessionJSONResponse: body}, err
}

// ResendEmail answers POST /v1/auth/resend.
func (s *Server) ResendEmail(ctx context.Context, req api.ResendEmailRequestObject) (api.ResendEmailResponseObject, error) {
	kind := valueOr(req.Body.Type, api.ResendRequestTypeSignup)
	err := s.Auth.Resend(ctx, callerOf(ctx).ip, string(kind), string(req.Body.Email), valueOr(req.Body.RedirectTo, ""))
	if err != nil {
		return nil, err
	}
	return api.ResendEmail202Response{}, nil
}

// RequestPasswordReset answers POST /v1/auth/password-reset.
func (s *Server) RequestPasswordReset(
	ctx context.Context, req api.RequestPasswordResetRequestObject,
) (api.RequestPasswordResetResponseObject, error) {
	err := s.Auth.ResetPassword(ctx, callerOf(ctx).ip, string(req.Body.Email), valueOr(req.Body.RedirectTo, ""))
	if err != nil {
		return nil, err
	}
	return api.RequestPasswordReset202Response{}, nil
}

// UpdateAuthUser answers PATCH /v1/auth/user.
func (s *Server) UpdateAuthUser(ctx context.Context, req api.UpdateAuthUserRequestObject) (api.UpdateAuthUserResponseObject, error) {
	c := callerOf(ctx)
	u, err := s.Auth.UpdateUser(ctx, c.Principal, c.ip, auth.UserChange{
		Email: string(valueOr(req.Body.Email, "")), Password: valueOr(req.Body.Password, ""), Data: valueOr(req.Body.Data, nil),
	}, c.actor())
	if err != nil {
		return nil, err
	}
	body, err := toAuthUser(u)
	return api.UpdateAuthUser200JSONResponse(body), err
}

// WhoAmI answers GET /v1/auth/whoami.
func (s *Server) WhoAmI(ctx context.Context, _ api.WhoAmIRequestObject) (api.WhoAmIResponseObject, error) {
	return api.WhoAmI200JSONResponse(toPrincipal(callerOf(ctx))), nil
}

func toSession(session *auth.Session) (api.SessionJSONResponse, error) {
	user, err := toAuthUser(session.User)
	return api.SessionJSONResponse{
		AccessToken: session.AccessToken, RefreshToken: session.RefreshToken,
		TokenType: session.TokenType, ExpiresIn: session.ExpiresIn, User: user,
	}, err
}

func toAuthUser(u auth.User) (api.AuthUser, error) {
	id, err := uuid.Parse(u.ID)
	if err != nil {
		return api.AuthUser{}, problem.SupabaseFailed.Errorf("Supabase Auth answers a user without an id").
			Because(fmt.Errorf("read user id: %w", err))
	}
	user := api.AuthUser{ID: id, Email: optional(u.Email), EmailConfirmedAt: u.EmailConfirmedAt, CreatedAt: u.CreatedAt}
	if u.UserMetadata != nil {
		user.UserMetadata = (*api.UserMetadata)(&u.UserMetadata)
	}
	return user, nil
}

func toPrincipal(c caller) api.Principal {
	scopes := c.Scopes
	if scopes == nil {
		scopes = []string{}
	}
	return api.Principal{
		Kind: api.PrincipalKind(c.Kind), UserID: c.UserID, AccountID: c.AccountID, Scopes: scopes, KeyID: c.KeyID,
		SessionID: c.SessionID, Aal: optional(c.AAL), Admin: &c.Admin,
	}
}
