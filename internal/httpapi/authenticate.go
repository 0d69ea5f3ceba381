package httpapi

import (
	"context"
	"net/http"
	"net/netip"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/apikey"
	"example.com/saaskit/internal/problem"
)

// admit finds out who is calling, from the document's own security requirements, counts the request, and refuses who may not. It
// counts before it refuses, or a program in a loop would never meet a limit.
func (r *router) admit(o *operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			v := visitOf(c)
			v.caller = caller{requestID: v.requestID, ip: c.RealIP()}
			if o.public() {
				if err := r.limitPublic(o, c); err != nil {
					return err
				}
				return next(c)
			}
			p, err := r.credential(c, o, v.caller.ip)
			if err != nil {
				return err
			}
			v.caller.Principal = p
			counted, err := r.limitPrincipal(o, c, p)
			if err != nil {
				return err
			}
			if err := r.allowed(o, p); err != nil {
				return err
			}
			if o.takesAccount {
				if v.caller.Principal, err = r.actingFor(c, p); err != nil {
					return err
				}
				if err := r.limitNamed(o, c, counted, p, v.caller.Principal); err != nil {
					return err
				}
			}
			if p.Kind == account.KindService {
				v.caller.actFor = r.actFor(v.caller.Principal)
			}
			return next(c)
		}
	}
}

// actFor tells whether a service key may work for an account that only the body names.
func (r *router) actFor(p account.Principal) func(context.Context, uuid.UUID) error {
	return func(ctx context.Context, id uuid.UUID) error {
		_, err := r.services.Accounts.ActFor(ctx, p, id)
		return err
	}
}

// credential verifies the credential.
func (r *router) credential(c echo.Context, o *operation, ip string) (account.Principal, error) {
	ctx, header := c.Request().Context(), c.Request().Header
	if err := single(header, headerAPIKey, echo.HeaderAuthorization); err != nil {
		return account.Principal{}, err
	}
	key, token := header.Get(headerAPIKey), ""
	if scheme, value, ok := strings.Cut(header.Get(echo.HeaderAuthorization), " "); ok && strings.EqualFold(scheme, "bearer") {
		token = strings.TrimSpace(value)
	}
	switch {
	case key != "" && token != "":
		return account.Principal{}, problem.InvalidRequest.Errorf("send one credential, not two").In("header.X-API-Key", "comes beside Authorization")
	case key == "" && token == "":
		return account.Principal{}, problem.Unauthenticated.Errorf("send %s", wanted(o))
	case key == "" && r.services.Keys.LooksLikeKey(token):
		key = token
	}
	if key == "" {
		if !o.schemes[schemeUser] {
			return account.Principal{}, problem.CredentialNotAllowed.Errorf("send %s", wanted(o))
		}
		return r.services.Auth.Authenticate(ctx, token)
	}
	if !o.takesKey() {
		return account.Principal{}, problem.CredentialNotAllowed.Errorf("only a signed-in user may do this, with an access token")
	}
	addr, _ := netip.ParseAddr(ip) // the zero address is in no allow-list
	return r.services.Keys.Authenticate(ctx, key, addr)
}

// wanted says which credentials an operation takes.
func wanted(o *operation) string {
	switch {
	case o.schemes[schemeUser] && o.takesKey():
		return "an access token (Authorization: Bearer …) or an API key (X-API-Key: …)"
	case o.schemes[schemeUser]:
		return "an access token (Authorization: Bearer …)"
	}
	return "an API key (X-API-Key: …)"
}

// allowed holds scope, role and assurance level against the operation.
func (r *router) allowed(o *operation, p account.Principal) error {
	switch {
	case p.Kind == account.KindAPIKey && !o.schemes[schemeAPIKey]:
		return problem.CredentialNotAllowed.Errorf("an account's key may not do this; a service key may")
	case p.Kind == account.KindService && !o.schemes[schemeServiceKey]:
		return problem.CredentialNotAllowed.Errorf("a service key may not do this")
	case p.Kind != account.KindUser && !apikey.Allows(p, o.scope):
		return problem.InsufficientScope.Errorf("the key needs the scope %s", o.scope)
	case p.Kind == account.KindUser && o.admin && !p.Admin:
		return problem.AdminRequired.Errorf("ask an administrator")
	case p.Kind == account.KindUser && o.sensitive && r.requireAAL2 && p.AAL != "aal2":
		return problem.StrongerSignIn.Errorf("sign in with a second factor and try again")
	}
	return nil
}

// single refuses headers that come more than once: which of them counts would be for the reader to guess, and a proxy may guess
// otherwise. Names are in the canonical form.
func single(h http.Header, names ...string) error {
	for _, name := range names {
		if len(h[name]) > 1 {
			return problem.InvalidRequest.Errorf("see errors for the parts that are wrong").In("header."+name, "comes more than once")
		}
	}
	return nil
}

// confirmAdmin asks Supabase whether the user is an administrator still, before an administrator changes something: a token says
// so until it expires. Service keys have their scope.
func (r *router) confirmAdmin(o *operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		if !o.admin || !changes(o.method) {
			return next
		}
		return func(c echo.Context) error {
			p := callerOf(c.Request().Context()).Principal
			if p.Kind != account.KindUser {
				return next(c)
			}
			if err := r.services.Auth.ConfirmAdmin(c.Request().Context(), p); err != nil {
				return err
			}
			return next(c)
		}
	}
}

// actingFor resolves the Saaskit-Account header.
func (r *router) actingFor(c echo.Context, p account.Principal) (account.Principal, error) {
	if err := single(c.Request().Header, headerAccount); err != nil {
		return p, err
	}
	named := c.Request().Header.Get(headerAccount)
	if named == "" {
		return p, nil
	}
	id, err := uuid.Parse(named)
	if err != nil {
		return p, problem.InvalidRequest.Errorf("see errors for the parts that are wrong").In("header."+headerAccount, "is not a UUID")
	}
	if p.Kind == account.KindAPIKey {
		if p.AccountID == nil || *p.AccountID != id {
			return p, problem.AccountForbidden.Errorf("the key belongs to another account")
		}
		return p, nil
	}
	return r.services.Accounts.ActFor(c.Request().Context(), p, id)
}
