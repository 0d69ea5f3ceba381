package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/problem"
)

const (
	leeway = 30 * time.Second
	// maxToken is far above what Supabase issues; app_metadata is in the token.
	maxToken   = 16 << 10
	maxSubject = 255
	minSecret  = 16
)

// Algorithms that are verified. Each belongs to one kind of key.
const (
	algHS256 = "HS256"
	algRS256 = "RS256"
	algES256 = "ES256"
)

// claims are those that we read. user_metadata is left out: users write it.
type claims struct {
	jwt.RegisteredClaims
	Email       string         `json:"email"`
	Role        string         `json:"role"`
	AAL         string         `json:"aal"`
	SessionID   string         `json:"session_id"`
	IsAnonymous bool           `json:"is_anonymous"`
	AppMetadata map[string]any `json:"app_metadata"`

	session *uuid.UUID
	admin   bool
}

func (c *claims) bearer() account.Bearer {
	b := account.Bearer{Issuer: c.Issuer, Subject: c.Subject, Email: c.Email, SessionID: c.session}
	if c.IssuedAt != nil { // a token that does not say counts as old
		b.IssuedAt = c.IssuedAt.Time
	}
	return b
}

// A verifier checks access tokens.
type verifier struct {
	parser *jwt.Parser
	secret []byte
	keys   *keySet
	admin  claimRule
	cache  *claimCache
	now    func() time.Time
}

func newVerifier(cfg Config, keys *keySet, admin claimRule) *verifier {
	methods := []string{algRS256, algES256}
	if cfg.JWTSecret != "" {
		methods = append(methods, algHS256)
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods(methods), jwt.WithIssuer(cfg.Issuer), jwt.WithAudience(cfg.Audience), jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(), jwt.WithLeeway(leeway), jwt.WithTimeFunc(cfg.Now),
	)
	return &verifier{parser: parser, secret: []byte(cfg.JWTSecret), keys: keys, admin: admin, cache: newClaimCache(), now: cfg.Now}
}

// verify returns the claims of a good token. They are remembered for a minute: reading a token costs more than its signature.
func (v *verifier) verify(ctx context.Context, token string) (*claims, error) {
	if len(token) > maxToken {
		return nil, problem.InvalidToken.Errorf("the access token is too long")
	}
	digest := sum(token)
	generation := v.keys.generation()
	if c, ok := v.cache.get(digest, generation, v.now()); ok {
		return c, nil
	}
	c := &claims{}
	if _, err := v.parser.ParseWithClaims(token, c, func(t *jwt.Token) (any, error) { return v.key(ctx, t) }); err != nil {
		return nil, refusal(err)
	}
	if err := v.complete(c); err != nil {
		return nil, err
	}
	v.cache.put(digest, c, generation, v.now())
	return c, nil
}

// key returns the one key that a token of this algorithm may be verified with.
func (v *verifier) key(ctx context.Context, t *jwt.Token) (any, error) {
	if _, has := t.Header["crit"]; has { // we understand no extension
		return nil, problem.InvalidToken.Errorf("the access token asks for an extension")
	}
	if t.Method.Alg() == algHS256 { // whatever its kid: the secret has none that is published
		return v.secret, nil
	}
	kid, _ := t.Header["kid"].(string)
	if kid == "" {
		return nil, problem.InvalidToken.Errorf("the access token does not name its key")
	}
	return v.keys.find(ctx, kid, t.Method.Alg())
}

// complete checks what the library does not.
func (v *verifier) complete(c *claims) error {
	switch {
	case c.Role == "service_role" || c.Role == "anon" || c.Role == "supabase_admin":
		return problem.InvalidToken.Errorf("this is a key of the Supabase project, not a user's access token")
	case c.Subject == "" || len(c.Subject) > maxSubject || strings.ContainsRune(c.Subject, 0):
		return problem.InvalidToken.Errorf("the access token names no user")
	case strings.ContainsRune(c.Email, 0):
		return problem.InvalidToken.Errorf("the access token is malformed")
	}
	if c.SessionID != "" {
		id, err := uuid.Parse(c.SessionID)
		if err != nil {
			return problem.InvalidToken.Errorf("the access token names no session")
		}
		c.session = &id
	}
	c.admin = v.admin.holds(c.AppMetadata)
	c.AppMetadata = nil // read; it may be long
	return nil
}

// refusal turns an error of the library into a problem. Expired is said only of a token that is good otherwise.
func refusal(err error) error {
	var p *problem.Error
	if errors.As(err, &p) {
		return p
	}
	for _, worse := range []error{
		jwt.ErrTokenInvalidIssuer, jwt.ErrTokenInvalidAudience, jwt.ErrTokenRequiredClaimMissing, jwt.ErrTokenUsedBeforeIssued,
		jwt.ErrTokenNotValidYet, jwt.ErrTokenSignatureInvalid, jwt.ErrTokenMalformed, jwt.ErrTokenUnverifiable,
	} {
		if errors.Is(err, worse) {
			return problem.InvalidToken.Errorf("sign in again").Because(err)
		}
	}
	if errors.Is(err, jwt.ErrTokenExpired) {
		return problem.TokenExpired.Errorf("refresh the session")
	}
	return problem.InvalidToken.Errorf("sign in again").Because(err)
}

// A claimRule is a member below app_metadata that has to have a value.
type claimRule struct {
	path  []string
	value string
}

func newClaimRule(claim, value string) (claimRule, error) {
	path, ok := strings.CutPrefix(claim, "app_metadata.")
	if !ok || path == "" {
		return claimRule{}, fmt.Errorf(
			"the administrator's claim %q is not below app_metadata, the only part of a token that users cannot write", claim)
	}
	return claimRule{path: strings.Split(path, "."), value: value}, nil
}

func (r claimRule) holds(appMetadata map[string]any) bool {
	var at any = appMetadata
	for _, name := range r.path {
		members, ok := at.(map[string]any)
		if !ok {
			return false
		}
		at = members[name]
	}
	value, ok := at.(string)
	return ok && value == r.value
}
