package apikey

import (
	"slices"
	"strings"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/problem"
)

// ScopeNone marks an operation that every key may call.
const ScopeNone = "none"

// ScopeAdmin makes a service key an administrator.
const ScopeAdmin = "admin"

// Scopes lists what a key of an account may be allowed, as the document does.
func Scopes() []string {
	return []string{"account:read", "credits:read", "credits:write", "usage:read", "usage:write"}
}

// ServiceScopes lists what a service key may be allowed. Each covers the scopes that begin with it and a colon.
func ServiceScopes() []string {
	return []string{"account", ScopeAdmin, "authorize", "credits", "usage", "worker"}
}

// Allows tells whether p may do what needs a scope. People are not limited by scopes.
func Allows(p account.Principal, scope string) bool {
	switch {
	case scope == ScopeNone || p.Kind == account.KindUser:
		return true
	case p.Kind == account.KindService:
		area, _, _ := strings.Cut(scope, ":")
		return slices.Contains(p.Scopes, area)
	case p.Kind == account.KindAPIKey:
		return slices.Contains(p.Scopes, scope)
	}
	return false
}

// scopesOf returns the scopes without repetition, or a refusal where one is not in the vocabulary.
func scopesOf(scopes, vocabulary []string) ([]string, error) {
	chosen := make([]string, 0, len(scopes))
	for _, scope := range scopes {
		if !slices.Contains(vocabulary, scope) {
			return nil, invalid("body.scopes", "%q is not one of %s", scope, strings.Join(vocabulary, ", "))
		}
		if !slices.Contains(chosen, scope) {
			chosen = append(chosen, scope)
		}
	}
	return chosen, nil
}

// invalid refuses a part of the request.
func invalid(location, format string, args ...any) error {
	p := problem.InvalidRequest.Errorf(format, args...)
	return p.In(location, p.Detail)
}
