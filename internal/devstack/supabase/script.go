package supabase

import (
	"crypto/ecdsa"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// SignUpOptions shape a user made by [Server.SignUp].
type SignUpOptions struct {
	UserMetadata map[string]any
	AppMetadata  map[string]any
	Unconfirmed  bool // the address is not confirmed, though there is a session
}

// SignUp makes a user with a confirmed address and signs them in, whatever the
// configuration asks of sign-ups through the API.
func (s *Server) SignUp(email, password string, opts SignUpOptions) (userID string, sess Session, err error) {
	if email, err = normalizeEmail(email); err != nil {
		return "", Session{}, fmt.Errorf("sign up: %w", err)
	}
	hash, err := s.hash(password)
	if err != nil {
		return "", Session{}, fmt.Errorf("sign up: %w", err)
	}
	err = s.update(func() error {
		if s.state.userByEmail(email) != nil {
			return errEmailTaken()
		}
		u := s.newUser(signupRequest{Email: email, Data: opts.UserMetadata}, hash)
		u.AppMetadata = merge(u.AppMetadata, opts.AppMetadata)
		if !opts.Unconfirmed {
			u.confirm(s.now())
		}
		sess, err = s.signIn(u, "password")
		return err
	})
	if err != nil {
		return "", Session{}, fmt.Errorf("sign up: %w", err)
	}
	return sess.User.ID, sess, nil
}

// SignUpAnonymous makes an anonymous user, whether or not the configuration
// allows it through the API.
func (s *Server) SignUpAnonymous() (userID string, sess Session, err error) {
	err = s.update(func() error {
		u := s.state.addUser(user{Anonymous: true, AppMetadata: map[string]any{}, UserMetadata: map[string]any{}}, s.now())
		sess, err = s.signIn(u, "anonymous")
		return err
	})
	if err != nil {
		return "", Session{}, fmt.Errorf("sign up: %w", err)
	}
	return sess.User.ID, sess, nil
}

// SetAppMetadata merges meta into the app_metadata of a user; a nil removes a
// member. Tokens show it from their next refresh on.
func (s *Server) SetAppMetadata(userID string, meta map[string]any) error {
	return s.script(userID, func(u *user) { u.AppMetadata = merge(u.AppMetadata, meta) })
}

// SetEmailConfirmed confirms the address of a user, or takes that back.
func (s *Server) SetEmailConfirmed(userID string, confirmed bool) error {
	return s.script(userID, func(u *user) {
		u.confirm(s.now())
		if !confirmed {
			u.EmailConfirmedAt = nil
			u.UserMetadata = merge(u.UserMetadata, map[string]any{"email_verified": false})
		}
	})
}

// Ban refuses sign-ins and refreshes of a user for d; zero or less ends that.
func (s *Server) Ban(userID string, d time.Duration) error {
	return s.script(userID, func(u *user) {
		u.BannedUntil = nil
		if d > 0 {
			until := s.now().Add(d)
			u.BannedUntil = &until
		}
	})
}

// DeleteUser deletes a user with its sessions.
func (s *Server) DeleteUser(userID string) error {
	return s.script(userID, s.state.dropUser)
}

func (s *Server) script(userID string, f func(*user)) error {
	return s.update(func() error {
		u := s.state.Users[userID]
		if u == nil {
			return fmt.Errorf("there is no user %q", userID)
		}
		f(u)
		u.UpdatedAt = s.now()
		return nil
	})
}

// Mail returns the messages so far, oldest first.
func (s *Server) Mail() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mail)
}

// LastMail returns the last message to an address.
func (s *Server) LastMail(to string) (m Message, found bool) {
	for _, m := range slices.Backward(s.Mail()) {
		if m.To == to {
			return m, true
		}
	}
	return Message{}, false
}

// Claims returns the claims of a good access token of a user that need not
// exist, for tests to change before they mint it.
func (s *Server) Claims(userID string) map[string]any {
	u := &user{
		ID: userID, Role: roleAuthenticated, Email: "ana@example.com",
		AppMetadata:  map[string]any{"provider": "email", "providers": []any{"email"}},
		UserMetadata: map[string]any{"email": "ana@example.com", "email_verified": true, "phone_verified": false, "sub": userID},
	}
	return s.claimsFor(u, &session{ID: uuid.NewString(), AMR: []amr{{Method: "password", Timestamp: s.now().Unix()}}})
}

// Mint signs claims with the shared secret, without a kid. Like the other
// minting methods it panics where the claims are not JSON: a mistake of the
// test that asks for them.
func (s *Server) Mint(claims map[string]any) string { return s.MintHS256("", claims) }

// MintHS256 signs claims with the shared secret and names a kid.
func (s *Server) MintHS256(kid string, claims map[string]any) string {
	return MintWith(jwt.SigningMethodHS256, kid, claims, []byte(s.cfg.JWTSecret))
}

// MintES256 signs claims with the current key pair, which the JWKS shows only
// in the modes ES256 and Both.
func (s *Server) MintES256(claims map[string]any) string {
	kid, key := s.SigningKey()
	return MintWith(jwt.SigningMethodES256, kid, claims, key)
}

// MintWith signs claims with any method, kid and key, for tokens that must be
// refused. The key for [jwt.SigningMethodNone] is
// [jwt.UnsafeAllowNoneSignatureType].
func MintWith(method jwt.SigningMethod, kid string, claims map[string]any, key any) string {
	token, err := encode(method, kid, claims, key)
	if err != nil {
		panic(err)
	}
	return token
}

// SigningKey returns the current key pair and its kid.
func (s *Server) SigningKey() (kid string, key *ecdsa.PrivateKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.state.signing()
	return k.kid, k.private
}

// RotateKey makes a new key pair sign and returns its kid. The old ones stay
// in the JWKS until [Server.RevokeKey].
func (s *Server) RotateKey() (kid string, err error) {
	err = s.update(func() error {
		if err := s.state.addKey(); err != nil {
			return err
		}
		kid = s.state.signing().kid
		return nil
	})
	return kid, err
}

// RevokeKey takes a key pair out of the JWKS. The one that signs cannot be.
func (s *Server) RevokeKey(kid string) error {
	return s.update(func() error {
		if s.state.signing().kid == kid {
			return fmt.Errorf("key %q signs: rotate first", kid)
		}
		kept := slices.DeleteFunc(slices.Clone(s.state.Keys), func(k signingKey) bool { return k.kid == kid })
		if len(kept) == len(s.state.Keys) {
			return fmt.Errorf("there is no key %q", kid)
		}
		s.state.Keys = kept
		return nil
	})
}

// SetMode changes which keys sign and verify, as a migration does.
func (s *Server) SetMode(m Mode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode = m
}

// ServiceRoleKey returns a key for the admin endpoints: the configured one, or
// a token that the current mode accepts. In the modes HS256 and Both it is the
// same after a restart.
func (s *Server) ServiceRoleKey() string {
	if s.cfg.ServiceRoleKey != "" {
		return s.cfg.ServiceRoleKey
	}
	return s.roleKey(roleService)
}

// AnonKey returns the public key of the project, what front ends send as apikey.
func (s *Server) AnonKey() string { return s.roleKey(roleAnon) }

func (s *Server) roleKey(role string) string {
	s.mu.Lock()
	created, mode := s.state.CreatedAt, s.mode
	s.mu.Unlock()
	claims := map[string]any{"iss": "supabase", "role": role, "iat": created.Unix(), "exp": created.AddDate(10, 0, 0).Unix()}
	if mode == ES256 {
		return s.MintES256(claims)
	}
	return s.Mint(claims)
}
