package supabase

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// claimsFor are the claims of an access token of u in sess. The order of the
// members is the only difference to the real server.
func (s *Server) claimsFor(u *user, sess *session) jwt.MapClaims {
	now := s.now()
	return jwt.MapClaims{
		"iss": s.cfg.Issuer, "sub": u.ID, "aud": audience,
		"exp": now.Add(s.cfg.TokenTTL).Unix(), "iat": now.Unix(),
		"email": u.Email, "phone": u.Phone,
		"app_metadata": u.AppMetadata, "user_metadata": u.UserMetadata,
		"role": u.Role, "aal": "aal1", "amr": sess.AMR,
		"session_id": sess.ID, "is_anonymous": u.Anonymous,
	}
}

// signed signs claims with the key that signs in the current mode. The caller
// holds the lock.
func (s *Server) signed(claims jwt.MapClaims) (string, error) {
	if s.mode == HS256 {
		return encode(jwt.SigningMethodHS256, s.cfg.KeyID, claims, []byte(s.cfg.JWTSecret))
	}
	k := s.state.signing()
	return encode(jwt.SigningMethodES256, k.kid, claims, k.private)
}

// encode signs claims. The header has a kid only where there is one.
func encode(method jwt.SigningMethod, kid string, claims jwt.MapClaims, key any) (string, error) {
	t := jwt.NewWithClaims(method, claims)
	if kid != "" {
		t.Header["kid"] = kid
	}
	token, err := t.SignedString(key)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return token, nil
}

// parse verifies a token as the real server does: signature, and exp where
// there is one. It asks for no exp and looks at neither iss nor aud.
func (s *Server) parse(token string) (jwt.MapClaims, error) {
	s.mu.Lock()
	mode, keys := s.mode, s.state.Keys
	s.mu.Unlock()
	methods := map[Mode][]string{HS256: {"HS256"}, ES256: {"ES256"}, Both: {"HS256", "ES256"}}[mode]
	claims := jwt.MapClaims{}
	parser := jwt.NewParser(jwt.WithValidMethods(methods), jwt.WithTimeFunc(s.cfg.Now))
	_, err := parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		if t.Method == jwt.SigningMethodHS256 { // whatever its kid
			return []byte(s.cfg.JWTSecret), nil
		}
		i := slices.IndexFunc(keys, func(k signingKey) bool { return k.kid == t.Header["kid"] })
		if i < 0 {
			return nil, fmt.Errorf("unrecognized JWT kid %v for algorithm %s", t.Header["kid"], t.Method.Alg())
		}
		return &keys[i].private.PublicKey, nil
	})
	if err != nil {
		return nil, badJWTf("invalid JWT: unable to parse or verify signature, %v", err)
	}
	return claims, nil
}

func bearer(r *http.Request) (string, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", failf(http.StatusUnauthorized, "no_authorization", "This endpoint requires a valid Bearer token")
	}
	return token, nil
}

// A caller is the user and session that a token names.
type caller struct {
	userID    string
	sessionID string // "" where the token names none
}

// authenticate finds the caller of a request.
func (s *Server) authenticate(r *http.Request) (caller, error) {
	token, err := bearer(r)
	if err != nil {
		return caller{}, err
	}
	claims, err := s.parse(token)
	if err != nil {
		return caller{}, err
	}
	var c caller
	c.userID, _ = claims["sub"].(string)
	c.sessionID, _ = claims["session_id"].(string)
	if c.userID == "" {
		return caller{}, badJWTf("invalid claim: missing sub claim")
	}
	if uuid.Validate(c.userID) != nil {
		return caller{}, badJWTf("invalid claim: sub claim must be a UUID")
	}
	if c.sessionID != "" && uuid.Validate(c.sessionID) != nil {
		return caller{}, badJWTf("invalid claim: session_id claim must be a UUID")
	}
	return c, s.view(func() error {
		_, _, err := s.find(c)
		return err
	})
}

// find returns the rows of a caller; the session is nil where the token names
// none. The caller of find holds the lock.
func (s *Server) find(c caller) (*user, *session, error) {
	u := s.state.Users[c.userID]
	if u == nil {
		return nil, nil, failf(http.StatusForbidden, "user_not_found", "User from sub claim in JWT does not exist")
	}
	if c.sessionID == "" {
		return u, nil, nil
	}
	sess := s.state.Sessions[c.sessionID]
	if sess == nil || sess.UserID != u.ID {
		return nil, nil, failf(http.StatusForbidden, "session_not_found", "Session from session_id claim in JWT does not exist")
	}
	return u, sess, nil
}

// admin guards an endpoint: only a service key passes.
func (s *Server) admin(f endpoint) endpoint {
	return func(r *http.Request) (answer, error) {
		token, err := bearer(r)
		if err != nil {
			return answer{}, err
		}
		if s.isServiceKey(token) {
			return f(r)
		}
		claims, err := s.parse(token)
		if err != nil {
			return answer{}, err
		}
		if role := claims["role"]; role != roleService && role != "supabase_admin" {
			return answer{}, failf(http.StatusForbidden, "not_admin", "User not allowed")
		}
		return f(r)
	}
}
