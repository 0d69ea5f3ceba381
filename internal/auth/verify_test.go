package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"example.com/saaskit/internal/auth"
	"example.com/saaskit/internal/devstack/supabase"
	"example.com/saaskit/internal/problem"
)

// with returns the claims of a good token with some changed; nil takes one out.
func (w *world) with(changes map[string]any) map[string]any {
	claims := w.Claims(uuid.NewString())
	maps.Copy(claims, changes)
	for name, value := range changes {
		if value == nil {
			delete(claims, name)
		}
	}
	return claims
}

func TestRefusedTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, both)
	kid, private := w.SigningKey()
	point, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	strangerRSA, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good := w.with(nil)
	now := time.Now().Unix()
	mint := supabase.MintWith
	es := w.MintES256(good)
	tests := []struct {
		name  string
		token string
		want  error
	}{
		{"HS256 with the public key as PEM", mint(jwt.SigningMethodHS256, kid, good, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), problem.InvalidToken},
		{"HS256 with the public key as DER", mint(jwt.SigningMethodHS256, kid, good, der), problem.InvalidToken},
		{"HS256 with the public point", mint(jwt.SigningMethodHS256, kid, good, point), problem.InvalidToken},
		{"HS256 with the coordinates as the JWKS writes them",
			mint(jwt.SigningMethodHS256, kid, good, []byte(base64.RawURLEncoding.EncodeToString(point[1:33]))), problem.InvalidToken},
		{"HS256 with an empty secret", mint(jwt.SigningMethodHS256, "", good, []byte{}), problem.InvalidToken},
		{"HS256 with another secret", mint(jwt.SigningMethodHS256, "", good, []byte("another-secret-of-at-least-32-bytes!")), problem.InvalidToken},
		{"HS384 with the secret", mint(jwt.SigningMethodHS384, "", good, []byte(secret)), problem.InvalidToken},
		{"HS512 with the secret", mint(jwt.SigningMethodHS512, "", good, []byte(secret)), problem.InvalidToken},
		{"none", mint(jwt.SigningMethodNone, "", good, jwt.UnsafeAllowNoneSignatureType), problem.InvalidToken},
		{"none with a kid", mint(jwt.SigningMethodNone, kid, good, jwt.UnsafeAllowNoneSignatureType), problem.InvalidToken},
		{"alg None", relabel(es, `{"alg":"None","typ":"JWT"}`, true), problem.InvalidToken},
		{"ES256 relabelled as RS256", relabel(es, `{"alg":"RS256","kid":"`+kid+`","typ":"JWT"}`, false), problem.InvalidToken},
		{"RS256 under the kid of an EC key", mint(jwt.SigningMethodRS256, kid, good, strangerRSA), problem.InvalidToken},
		{"ES384 under the kid of the key", mint(jwt.SigningMethodES384, kid, good, p384), problem.InvalidToken},
		{"ES256 by a stranger under our kid", mint(jwt.SigningMethodES256, kid, good, stranger), problem.InvalidToken},
		{"ES256 by a stranger under its own kid", mint(jwt.SigningMethodES256, "stranger", good, stranger), problem.InvalidToken},
		{"ES256 without a kid", mint(jwt.SigningMethodES256, "", good, private), problem.InvalidToken},
		{"signature cut off", es[:strings.LastIndex(es, ".")+1], problem.InvalidToken},
		{"no token at all", "abc", problem.InvalidToken},
		{"empty", "", problem.InvalidToken},
		{"too long", strings.Repeat("a", 17<<10), problem.InvalidToken},
		{"wrong iss", w.Mint(w.with(map[string]any{"iss": "https://evil.example.com/auth/v1"})), problem.InvalidToken},
		{"no iss", w.Mint(w.with(map[string]any{"iss": nil})), problem.InvalidToken},
		{"wrong aud", w.Mint(w.with(map[string]any{"aud": "other"})), problem.InvalidToken},
		{"no aud", w.Mint(w.with(map[string]any{"aud": nil})), problem.InvalidToken},
		{"no exp", w.Mint(w.with(map[string]any{"exp": nil})), problem.InvalidToken},
		{"exp of another type", w.Mint(w.with(map[string]any{"exp": "tomorrow"})), problem.InvalidToken},
		{"expired, within the leeway", w.Mint(w.with(map[string]any{"exp": now - 25})), nil},
		{"expired", w.Mint(w.with(map[string]any{"exp": now - 32})), problem.TokenExpired},
		{"expired, signed by a stranger", mint(jwt.SigningMethodES256, kid, w.with(map[string]any{"exp": now - 32}), stranger), problem.InvalidToken},
		{"expired and for somebody else", w.Mint(w.with(map[string]any{"exp": now - 32, "aud": "other"})), problem.InvalidToken},
		{"issued in the future", w.Mint(w.with(map[string]any{"iat": now + 120})), problem.InvalidToken},
		{"not valid yet", w.Mint(w.with(map[string]any{"nbf": now + 120})), problem.InvalidToken},
		{"no sub", w.Mint(w.with(map[string]any{"sub": nil})), problem.InvalidToken},
		{"empty sub", w.Mint(w.with(map[string]any{"sub": ""})), problem.InvalidToken},
		{"zero byte in sub", w.Mint(w.with(map[string]any{"sub": "a\x00b"})), problem.InvalidToken},
		{"zero byte in email", w.Mint(w.with(map[string]any{"email": "a\x00b"})), problem.InvalidToken},
		{"session that is no UUID", w.Mint(w.with(map[string]any{"session_id": "x"})), problem.InvalidToken},
		{"service key of the project", w.ServiceRoleKey(), problem.InvalidToken},
		{"anon key of the project", w.AnonKey(), problem.InvalidToken},
		{"service_role with all the rest", w.Mint(w.with(map[string]any{"role": "service_role"})), problem.InvalidToken},
		{"anon with all the rest", w.Mint(w.with(map[string]any{"role": "anon"})), problem.InvalidToken},
		{"anonymous user", w.Mint(w.with(map[string]any{"is_anonymous": true})), problem.AnonymousUser},
		{"HS256 without kid", w.Mint(w.with(nil)), nil},
		{"HS256 with a kid that nobody knows", w.MintHS256("old", w.with(nil)), nil},
		{"HS256 with the kid of the EC key", w.MintHS256(kid, w.with(nil)), nil},
		{"ES256 with its kid", w.MintES256(w.with(nil)), nil},
		{"aud as an array", w.Mint(w.with(map[string]any{"aud": []string{"authenticated"}})), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := w.Authenticate(t.Context(), tt.token)
			if (tt.want == nil) != (err == nil) || (tt.want != nil && !errors.Is(err, tt.want)) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	var users int
	w.scan(&users, `SELECT count(*) FROM users`)
	if good := 6; users != good {
		t.Errorf("users: got %d, want %d: only good tokens make one", users, good)
	}
}

// relabel gives a token another header, and takes its signature away where bare.
func relabel(token, header string, bare bool) string {
	parts := strings.Split(token, ".")
	parts[0] = base64.RawURLEncoding.EncodeToString([]byte(header))
	if bare {
		parts[2] = ""
	}
	return strings.Join(parts, ".")
}

func TestCriticalExtensionIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(w.with(nil)))
	token.Header["crit"] = []string{"exp"}
	signed, err := token.SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	w.refuses(signed, problem.InvalidToken)
}

func TestAnonymousUsersWhereTheyAreAdmitted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, func(c *auth.Config) { c.AllowAnonymous = true })
	_, session, err := w.SignUpAnonymous()
	if err != nil {
		t.Fatal(err)
	}
	w.admitted(session.AccessToken)
}

func TestHS256IsRefusedWhereThereIsNoSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, both, func(c *auth.Config) { c.JWTSecret = "" })
	w.refuses(w.Mint(w.with(nil)), problem.InvalidToken)
	w.refuses(supabase.MintWith(jwt.SigningMethodHS256, "", w.with(nil), []byte{}), problem.InvalidToken)
	w.admitted(w.MintES256(w.with(nil)))
}

func TestUnsafeConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	good := auth.Config{URL: "https://ref.supabase.co/auth/v1", JWTSecret: secret}
	for name, spoil := range map[string]func(*auth.Config){
		"no address":             func(c *auth.Config) { c.URL = "" },
		"relative address":       func(c *auth.Config) { c.URL = "/auth/v1" },
		"file address":           func(c *auth.Config) { c.URL = "file:///etc" },
		"short secret":           func(c *auth.Config) { c.JWTSecret = "short" },
		"claim that users write": func(c *auth.Config) { c.AdminClaim = "user_metadata.role" },
		"claim at the top":       func(c *auth.Config) { c.AdminClaim = "role" },
		"all of app_metadata":    func(c *auth.Config) { c.AdminClaim = "app_metadata." },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := good
			spoil(&cfg)
			if _, err := auth.New(cfg); err == nil {
				t.Error("New: got nil, want an error")
			}
		})
	}
	if _, err := auth.New(good); err != nil {
		t.Errorf("New: got %v, want nil", err)
	}
}

func TestEmptyJWKSIsNormal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil) // signs with the secret, so its JWKS is empty
	w.refuses(w.MintES256(w.with(nil)), problem.InvalidToken)
	w.admitted(w.Mint(w.with(nil)))
	if got := w.JWKSFetches(); got != 1 {
		t.Errorf("fetches of the JWKS: got %d, want 1", got)
	}
}

// A thousand tokens with a thousand made-up kids cost one question.
func TestUnknownKidStorm(t *testing.T) {
	t.Parallel()
	w := newWorld(t, es256)
	_, key := w.SigningKey()
	tokens := make([]string, 1000) // made before: to sign them all takes longer than a question may
	for i := range tokens {
		tokens[i] = supabase.MintWith(jwt.SigningMethodES256, uuid.NewString(), w.with(nil), key)
	}
	release := make(chan struct{})
	w.SetJWKSFault(supabase.Fault{Hold: release})
	var refused atomic.Int64
	var storm sync.WaitGroup
	for _, token := range tokens {
		storm.Go(func() {
			if _, err := w.Authenticate(t.Context(), token); problem.Of(err).Kind == problem.InvalidToken {
				refused.Add(1)
			}
		})
	}
	eventually(t, 10*time.Second, "a question", func() bool { return w.JWKSFetches() > 0 })
	close(release)
	storm.Wait()
	if got := refused.Load(); got != 1000 {
		t.Errorf("refused: got %d, want 1000", got)
	}
	if got := w.JWKSFetches(); got != 1 {
		t.Errorf("fetches of the JWKS: got %d, want 1", got)
	}
}

func TestRotatedKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, es256)
	old := w.MintES256(w.with(nil))
	w.admitted(old)
	oldKID, _ := w.SigningKey()
	if _, err := w.RotateKey(); err != nil {
		t.Fatal(err)
	}
	fresh := w.MintES256(w.with(nil))
	w.Add(6 * time.Second) // the pause between two questions
	w.admitted(fresh)
	w.admitted(old)
	if got := w.JWKSFetches(); got != 2 {
		t.Errorf("fetches of the JWKS: got %d, want 2", got)
	}
	// A key that the project takes back is refused once the set is asked for again, also for tokens that were verified before.
	if err := w.RevokeKey(oldKID); err != nil {
		t.Fatal(err)
	}
	w.Add(11 * time.Minute)
	eventually(t, 5*time.Second, "a token of the old key is refused", func() bool {
		_, _ = w.Authenticate(t.Context(), fresh)
		_, err := w.Authenticate(t.Context(), old)
		return problem.Of(err).Kind == problem.InvalidToken && err != nil
	})
	w.admitted(fresh)
}

func TestJWKSOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, both)
	w.SetJWKSFault(supabase.Fault{Status: http.StatusBadGateway})
	token := w.MintES256(w.with(nil))
	// Nobody can tell whether it is good: that is no verdict on the token.
	w.refuses(token, problem.SupabaseFailed)
	w.admitted(w.Mint(w.with(nil)))
	w.SetJWKSFault(supabase.Fault{})
	w.refuses(token, problem.SupabaseFailed) // not asked again so soon
	w.Add(2 * time.Second)
	w.admitted(token)

	// The last good set is kept, however long the outage is.
	w.SetJWKSFault(supabase.Fault{Status: http.StatusInternalServerError})
	w.Add(20 * time.Minute)
	for range 5 {
		w.Add(time.Minute)
		w.admitted(w.MintES256(w.with(nil)))
	}
	// What fails is asked for less and less often.
	before := w.JWKSFetches()
	_, key := w.SigningKey()
	for range 50 {
		w.Add(100 * time.Millisecond)
		w.refuses(supabase.MintWith(jwt.SigningMethodES256, uuid.NewString(), w.with(nil), key), problem.SupabaseFailed)
	}
	if got := w.JWKSFetches() - before; got > 1 {
		t.Errorf("fetches of the JWKS in 5 s of a long outage: got %d, want at most 1", got)
	}
}

// A JWKS that hangs holds up nobody whose key is known.
func TestHangingJWKS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, es256)
	w.admitted(w.MintES256(w.with(nil)))
	release := make(chan struct{})
	defer close(release)
	w.SetJWKSFault(supabase.Fault{Hold: release})
	w.Add(11 * time.Minute)
	began := time.Now()
	for range 5 {
		w.admitted(w.MintES256(w.with(nil)))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v while the JWKS hangs", took)
	}
}

// jwks serves a set of keys and nothing else.
func jwks(t *testing.T, body string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(res http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/.well-known/jwks.json" {
			http.NotFound(res, req)
			return
		}
		_, _ = res.Write([]byte(body))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestRS256(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	member := func(kid string, k *rsa.PublicKey, more map[string]any) map[string]any {
		m := map[string]any{
			"kty": "RSA", "kid": kid, "n": base64.RawURLEncoding.EncodeToString(k.N.Bytes()),
			"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.E)).Bytes()),
		}
		maps.Copy(m, more)
		return m
	}
	set, err := json.Marshal(map[string]any{"keys": []any{
		member("good", &key.PublicKey, map[string]any{"alg": "RS256", "use": "sig"}),
		member("bare", &key.PublicKey, nil),
		member("encrypts", &key.PublicKey, map[string]any{"use": "enc"}),
		member("wraps", &key.PublicKey, map[string]any{"key_ops": []string{"wrapKey"}}),
		member("pss", &key.PublicKey, map[string]any{"alg": "PS256"}),
		member("short", &short.PublicKey, nil),
		map[string]any{"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
		map[string]any{"kty": "oct", "kid": "oct", "k": base64.RawURLEncoding.EncodeToString([]byte(secret))},
		map[string]any{"kty": "EC", "kid": "off", "crv": "P-256", "x": base64.RawURLEncoding.EncodeToString(make([]byte, 32)),
			"y": base64.RawURLEncoding.EncodeToString(make([]byte, 32))},
		"no key at all",
	}})
	if err != nil {
		t.Fatal(err)
	}
	address := jwks(t, string(set))
	w := newWorld(t, nil, func(c *auth.Config) { c.Issuer, c.URL = c.URL, address })
	sign := func(method jwt.SigningMethod, kid string, key any) string {
		return supabase.MintWith(method, kid, w.with(nil), key)
	}
	w.admitted(sign(jwt.SigningMethodRS256, "good", key))
	w.admitted(sign(jwt.SigningMethodRS256, "bare", key))
	w.admitted(w.Mint(w.with(nil)))
	for _, kid := range []string{"encrypts", "wraps", "pss", "broken"} {
		w.refuses(sign(jwt.SigningMethodRS256, kid, key), problem.InvalidToken)
	}
	w.refuses(sign(jwt.SigningMethodRS256, "short", short), problem.InvalidToken)
	w.refuses(sign(jwt.SigningMethodPS256, "good", key), problem.InvalidToken)
	w.refuses(sign(jwt.SigningMethodRS384, "good", key), problem.InvalidToken)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, public := range [][]byte{
		der, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), key.N.Bytes(), x509.MarshalPKCS1PublicKey(&key.PublicKey),
	} {
		w.refuses(sign(jwt.SigningMethodHS256, "good", public), problem.InvalidToken)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.refuses(sign(jwt.SigningMethodES256, "good", ec), problem.InvalidToken)
}

func TestWhatIsNoJWKSFails(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "<html>", "{}", `{"keys":null}`, `[]`} {
		address := jwks(t, body)
		w := newWorld(t, nil, func(c *auth.Config) { c.Issuer, c.URL = c.URL, address })
		w.refuses(w.MintES256(w.with(nil)), problem.SupabaseFailed)
	}
}

// A redirect of the JWKS is not followed: the address comes from the configuration alone.
func TestRedirectedJWKSIsNotFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, es256)
	srv := httptest.NewServer(http.RedirectHandler(w.url+"/.well-known/jwks.json", http.StatusFound))
	t.Cleanup(srv.Close)
	other := newWorld(t, nil, func(c *auth.Config) { c.Issuer, c.URL = w.url, srv.URL })
	other.refuses(w.MintES256(w.with(nil)), problem.SupabaseFailed)
	if got := w.JWKSFetches(); got != 0 {
		t.Errorf("fetches behind the redirect: got %d, want 0", got)
	}
}
