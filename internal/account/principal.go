package account

import (
	"github.com/google/uuid"

	"example.com/saaskit/internal/audit"
)

// Kinds of principals.
const (
	KindUser    = "user"
	KindAPIKey  = "api_key"
	KindService = "service"
)

// A Principal is the caller of a request, after its credential was verified.
type Principal struct {
	Kind      string
	UserID    *uuid.UUID // of a user
	AccountID *uuid.UUID // the account to act for; nil for a service key that named none
	Role      string     // of the user in that account: owner or member
	Scopes    []string   // of a key
	KeyID     *uuid.UUID // of a key
	SessionID *uuid.UUID // of a user
	AAL       string     // of a user's session: aal1 or aal2
	Admin     bool       // a user with the administrator's claim, or a service key with scope admin
	Token     Token      // of a user
}

// ID names the principal within its kind: the user's or the key's id.
func (p Principal) ID() string {
	switch {
	case p.KeyID != nil:
		return p.KeyID.String()
	case p.UserID != nil:
		return p.UserID.String()
	}
	return ""
}

// String is kind and id, as logs and idempotency keys want it.
func (p Principal) String() string { return p.Kind + ":" + p.ID() }

// Actor is the principal as the audit log names it.
func (p Principal) Actor(requestID, ip string) audit.Actor {
	return audit.Actor{Kind: p.Kind, ID: p.ID(), RequestID: requestID, IP: ip}
}
