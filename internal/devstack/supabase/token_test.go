package supabase_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"example.com/saaskit/internal/devstack/supabase"
)

// observed are the claims of a token of the real server, but for the two ids.
const observed = `{"iss":"https://auth.example.com/auth/v1","sub":"SUB","aud":"authenticated",
 "exp":1795419394,"iat":1795415794,"email":"ana@example.com","phone":"",
 "app_metadata":{"provider":"email","providers":["email"]},
 "user_metadata":{"email":"ana@example.com","email_verified":true,"name":"Ana","phone_verified":false,"sub":"SUB"},
 "role":"authenticated","aal":"aal1","amr":[{"method":"password","timestamp":1795415794}],
 "session_id":"SESSION","is_anonymous":false}`

// segment decodes one part of a token.
func segment(t *testing.T, token string, i int) m {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[i])
	if err != nil {
		t.Fatalf("decode token: %v", err)
	}
	var v m
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("decode token: %v", err)
	}
	return v
}

func claimsOf(t *testing.T, token string) m { t.Helper(); return segment(t, token, 1) }
func headerOf(t *testing.T, token string) m { t.Helper(); return segment(t, token, 0) }

// TestTokenIsAsObserved compares a whole token with the real server's.
func TestTokenIsAsObserved(t *testing.T) {
	t.Parallel()
	for _, mode := range []supabase.Mode{supabase.HS256, supabase.ES256, supabase.Both} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			p := newProject(t, inMode(mode))
			r := p.do(t, "POST", "/signup", "", m{"email": "Ana@Example.com", "password": password, "data": m{"name": "Ana"}}).want(t, 200, "")
			token := r.text(t, "access_token")
			got := claimsOf(t, token)
			ids := strings.NewReplacer("SUB", got["sub"].(string), "SESSION", got["session_id"].(string))
			var want m
			if err := json.Unmarshal([]byte(ids.Replace(observed)), &want); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("claims (-want +got):\n%s", d)
			}
			wantHeader := m{"alg": "HS256", "typ": "JWT"}
			if mode != supabase.HS256 {
				kid, _ := p.SigningKey()
				wantHeader = m{"alg": "ES256", "typ": "JWT", "kid": kid}
			}
			if d := cmp.Diff(wantHeader, headerOf(t, token)); d != "" {
				t.Errorf("header (-want +got):\n%s", d)
			}
			if signature := strings.Split(token, ".")[2]; mode != supabase.HS256 && len(signature) != 86 {
				t.Errorf("signature: got %d characters, want 86", len(signature))
			}
		})
	}
}

// TestAnonymousToken checks what differs for a user without an address.
func TestAnonymousToken(t *testing.T) {
	t.Parallel()
	p := newProject(t, anonymous)
	r := p.do(t, "POST", "/signup", "", m{}).want(t, 200, "")
	got := claimsOf(t, r.text(t, "access_token"))
	want := m{
		"iss": issuer, "aud": "authenticated", "exp": 1795419394.0, "iat": 1795415794.0,
		"sub": got["sub"], "session_id": got["session_id"],
		"email": "", "phone": "", "app_metadata": m{}, "user_metadata": m{}, "role": "authenticated", "aal": "aal1",
		"amr": []any{m{"method": "anonymous", "timestamp": 1795415794.0}}, "is_anonymous": true,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("claims (-want +got):\n%s", d)
	}
	if ids := r.object(t, "user")["identities"]; !cmp.Equal(ids, []any{}) {
		t.Errorf("identities: got %v, want none", ids)
	}
	if user := r.object(t, "user"); user["is_anonymous"] != true {
		t.Errorf("user: got %v, want an anonymous one", user)
	}
}

// TestSameMembersEverywhere holds Claims to what a sign-in puts into a token.
func TestSameMembersEverywhere(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	_, sess := p.user(t, "ana@example.com")
	if d := cmp.Diff(members(claimsOf(t, sess.AccessToken)), members(p.Claims("x"))); d != "" {
		t.Errorf("members (-token +Claims):\n%s", d)
	}
}

func members(o map[string]any) []string {
	names := make([]string, 0, len(o))
	for name := range o {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func TestKeyID(t *testing.T) {
	t.Parallel()
	p := newProject(t, func(c *supabase.Config) { c.KeyID = "k1" })
	_, sess := p.user(t, "ana@example.com")
	if kid := headerOf(t, sess.AccessToken)["kid"]; kid != "k1" {
		t.Errorf("kid: got %v, want k1", kid)
	}
	p.do(t, "GET", "/user", sess.AccessToken, nil).want(t, 200, "")
}

// jwks fetches the set and the keys in it.
func (p project) jwks(t *testing.T) (reply, []any) {
	t.Helper()
	r := p.do(t, "GET", "/.well-known/jwks.json", "", nil).want(t, 200, "")
	keys, isList := r.body["keys"].([]any)
	if !isList {
		t.Fatalf("keys: got %s, want a list", r.raw)
	}
	return r, keys
}

func TestJWKS(t *testing.T) {
	t.Parallel()
	for mode, count := range map[supabase.Mode]int{supabase.HS256: 0, supabase.ES256: 1, supabase.Both: 1} {
		p := newProject(t, inMode(mode))
		r, keys := p.jwks(t)
		if len(keys) != count {
			t.Errorf("%s: got %d keys, want %d", mode, len(keys), count)
		}
		if got := r.header.Get("Cache-Control"); got != "public, max-age=600" {
			t.Errorf("Cache-Control: got %q", got)
		}
		if strings.Contains(string(r.raw), secret) || strings.Contains(string(r.raw), `"d"`) {
			t.Errorf("the set has a secret: %s", r.raw)
		}
		for _, k := range keys {
			key := k.(m)
			kid, _ := p.SigningKey()
			want := m{
				"alg": "ES256", "crv": "P-256", "ext": true, "key_ops": []any{"verify"}, "kid": kid,
				"kty": "EC", "use": "sig", "x": key["x"], "y": key["y"],
			}
			if d := cmp.Diff(want, key); d != "" {
				t.Errorf("key (-want +got):\n%s", d)
			}
		}
	}
}

// TestJWKSVerifiesTokens checks the published key with a token, the way a
// client does that knows nothing else.
func TestJWKSVerifiesTokens(t *testing.T) {
	t.Parallel()
	p := newProject(t, inMode(supabase.Both))
	_, sess := p.user(t, "ana@example.com")
	_, keys := p.jwks(t)
	key := keys[0].(m)
	point := []byte{4}
	for _, name := range []string{"x", "y"} {
		b, err := base64.RawURLEncoding.DecodeString(key[name].(string))
		if err != nil || len(b) != 32 {
			t.Fatalf("%s: got %d bytes, %v", name, len(b), err)
		}
		point = append(point, b...)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		t.Fatal(err)
	}
	_, err = jwt.Parse(sess.AccessToken, func(*jwt.Token) (any, error) { return public, nil },
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithTimeFunc(p.Now))
	if err != nil {
		t.Errorf("the published key does not verify: %v", err)
	}
}

// TestModes checks which tokens each mode accepts.
func TestModes(t *testing.T) {
	t.Parallel()
	_, stranger := newProject(t).SigningKey()
	for _, tt := range []struct {
		mode         supabase.Mode
		hs256, es256 int
	}{{supabase.HS256, 200, 403}, {supabase.ES256, 403, 200}, {supabase.Both, 200, 200}} {
		t.Run(string(tt.mode), func(t *testing.T) {
			t.Parallel()
			p := newProject(t, inMode(tt.mode))
			id, _ := p.user(t, "ana@example.com")
			claims := m{"sub": id} // the real server asks for no exp and no aud
			kid, key := p.SigningKey()
			for name, c := range map[string]struct {
				token  string
				status int
			}{
				"HS256 without kid":      {p.Mint(claims), tt.hs256},
				"HS256 with unknown kid": {p.MintHS256("old", claims), tt.hs256},
				"HS256 with ES256's kid": {p.MintHS256(kid, claims), tt.hs256},
				"ES256":                  {p.MintES256(claims), tt.es256},
				"ES256 without kid":      {supabase.MintWith(jwt.SigningMethodES256, "", claims, key), 403},
				"ES256 unknown kid":      {supabase.MintWith(jwt.SigningMethodES256, "other", claims, key), 403},
				"ES256 other key":        {supabase.MintWith(jwt.SigningMethodES256, kid, claims, stranger), 403},
				"HS512":                  {supabase.MintWith(jwt.SigningMethodHS512, "", claims, []byte(secret)), 403},
				"other secret":           {supabase.MintWith(jwt.SigningMethodHS256, "", claims, []byte("x")), 403},
				"none":                   {supabase.MintWith(jwt.SigningMethodNone, "", claims, jwt.UnsafeAllowNoneSignatureType), 403},
			} {
				if r := p.do(t, "GET", "/user", c.token, nil); r.status != c.status {
					t.Errorf("%s: got %d, want %d: %s", name, r.status, c.status, r.raw)
				}
			}
			p.do(t, "GET", "/admin/users", p.ServiceRoleKey(), nil).want(t, 200, "")
		})
	}
}

func TestES256RefusesHS256WithTheObservedWords(t *testing.T) {
	t.Parallel()
	p := newProject(t, inMode(supabase.ES256))
	r := p.do(t, "GET", "/user", p.Mint(m{"role": "service_role"}), nil).want(t, 403, "bad_jwt")
	if !strings.Contains(r.text(t, "msg"), "signing method HS256 is invalid") {
		t.Errorf("msg: got %q", r.body["msg"])
	}
}

func TestRotatedKeys(t *testing.T) {
	t.Parallel()
	p := newProject(t, inMode(supabase.ES256))
	id, _ := p.user(t, "ana@example.com")
	first, _ := p.SigningKey()
	old := p.MintES256(m{"sub": id})
	if err := p.RevokeKey(first); err == nil {
		t.Error("the signing key was revoked")
	}
	second, err := p.RotateKey()
	if err != nil {
		t.Fatal(err)
	}
	if kid := headerOf(t, p.MintES256(m{"sub": id}))["kid"]; kid != second || kid == first {
		t.Errorf("kid after rotation: got %v, want %v", kid, second)
	}
	p.do(t, "GET", "/user", old, nil).want(t, 200, "")
	if _, keys := p.jwks(t); len(keys) != 2 {
		t.Errorf("keys after rotation: got %d, want 2", len(keys))
	}
	if err := p.RevokeKey(first); err != nil {
		t.Fatal(err)
	}
	if err := p.RevokeKey(first); err == nil {
		t.Error("a key was revoked twice")
	}
	p.do(t, "GET", "/user", old, nil).want(t, 403, "bad_jwt")
	if _, keys := p.jwks(t); len(keys) != 1 {
		t.Errorf("keys after revocation: got %d, want 1", len(keys))
	}
}

func TestSetMode(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	_, before := p.user(t, "ana@example.com")
	p.SetMode(supabase.Both)
	_, after := p.user(t, "bob@example.com")
	if alg := headerOf(t, after.AccessToken)["alg"]; alg != "ES256" {
		t.Errorf("alg: got %v, want ES256", alg)
	}
	p.do(t, "GET", "/user", before.AccessToken, nil).want(t, 200, "")
	p.SetMode(supabase.ES256)
	p.do(t, "GET", "/user", before.AccessToken, nil).want(t, 403, "bad_jwt")
	p.do(t, "GET", "/user", after.AccessToken, nil).want(t, 200, "")
}

func TestTokenExpires(t *testing.T) {
	t.Parallel()
	p := newProject(t, func(c *supabase.Config) { c.TokenTTL = time.Minute })
	_, sess := p.user(t, "ana@example.com")
	if sess.ExpiresIn != 60 || sess.ExpiresAt != start().Unix()+60 {
		t.Errorf("expiry: got %d and %d", sess.ExpiresIn, sess.ExpiresAt)
	}
	p.Add(59 * time.Second)
	p.do(t, "GET", "/user", sess.AccessToken, nil).want(t, 200, "")
	p.Add(time.Second)
	p.do(t, "GET", "/user", sess.AccessToken, nil).want(t, 403, "bad_jwt")
}

func TestServiceRoleKey(t *testing.T) {
	t.Parallel()
	p := newProject(t, func(c *supabase.Config) { c.ServiceRoleKey = "sb_secret_1" })
	if got := p.ServiceRoleKey(); got != "sb_secret_1" {
		t.Errorf("key: got %q, want the configured one", got)
	}
	p.do(t, "GET", "/admin/users", "sb_secret_1", nil).want(t, 200, "")
	p.do(t, "GET", "/admin/users", "sb_secret_2", nil).want(t, 403, "bad_jwt")
	claims := claimsOf(t, newProject(t).ServiceRoleKey())
	if _, hasSub := claims["sub"]; hasSub || claims["role"] != "service_role" {
		t.Errorf("claims: got %v", claims)
	}
}
