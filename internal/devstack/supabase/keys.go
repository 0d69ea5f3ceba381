package supabase

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/google/uuid"
)

const jwksPath = "/.well-known/jwks.json"

// signingKey is one ES256 key pair. In the snapshot it is PKCS #8.
type signingKey struct {
	kid     string
	private *ecdsa.PrivateKey
}

type storedKey struct {
	KID   string `json:"kid"`
	PKCS8 []byte `json:"pkcs8"`
}

// MarshalJSON writes the key with its private part.
func (k signingKey) MarshalJSON() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("encode signing key: %w", err)
	}
	return json.Marshal(storedKey{KID: k.kid, PKCS8: der})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (k *signingKey) UnmarshalJSON(data []byte) error {
	var stored storedKey
	if err := json.Unmarshal(data, &stored); err != nil {
		return fmt.Errorf("decode signing key: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(stored.PKCS8)
	if err != nil {
		return fmt.Errorf("decode signing key: %w", err)
	}
	private, isEC := parsed.(*ecdsa.PrivateKey)
	if !isEC || private.Curve != elliptic.P256() {
		return fmt.Errorf("decode signing key: not a P-256 key")
	}
	k.kid, k.private = stored.KID, private
	return nil
}

// jwk is a public key as the JWKS shows it.
type jwk struct {
	Alg    string   `json:"alg"`
	Crv    string   `json:"crv"`
	Ext    bool     `json:"ext"`
	KeyOps []string `json:"key_ops"`
	KID    string   `json:"kid"`
	Kty    string   `json:"kty"`
	Use    string   `json:"use"`
	X      string   `json:"x"`
	Y      string   `json:"y"`
}

func (k signingKey) public() (jwk, error) {
	point, err := k.private.PublicKey.Bytes() // 4, x, y
	if err != nil {
		return jwk{}, fmt.Errorf("encode public key: %w", err)
	}
	coordinate := base64.RawURLEncoding.EncodeToString
	return jwk{
		Alg: "ES256", Crv: "P-256", Ext: true, KeyOps: []string{"verify"}, KID: k.kid,
		Kty: "EC", Use: "sig", X: coordinate(point[1:33]), Y: coordinate(point[33:]),
	}, nil
}

// addKey appends a new key pair, which signs from now on.
func (st *state) addKey() error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("generate signing key: %w", err)
	}
	st.Keys = append(st.Keys, signingKey{kid: uuid.NewString(), private: private})
	return nil
}

func (st *state) signing() signingKey { return st.Keys[len(st.Keys)-1] }

// jwks answers GET /.well-known/jwks.json. The shared secret is never in it,
// so that in mode HS256 the set is empty.
func (s *Server) jwks(*http.Request) (answer, error) {
	keys := []jwk{}
	err := s.view(func() error {
		if s.mode == HS256 {
			return nil
		}
		for _, k := range s.state.Keys {
			public, err := k.public()
			if err != nil {
				return err
			}
			keys = append(keys, public)
		}
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	a := ok(map[string]any{"keys": keys})
	a.header = http.Header{"Cache-Control": {"public, max-age=600"}}
	return a, nil
}
