package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

const (
	minRSABits = 2048
	maxRSABits = 8192
)

// A jwk is a public key as a JWKS writes it.
type jwk struct {
	KID    string   `json:"kid"`
	KTY    string   `json:"kty"`
	Alg    string   `json:"alg"`
	Use    string   `json:"use"`
	KeyOps []string `json:"key_ops"`
	Crv    string   `json:"crv"`
	X      string   `json:"x"`
	Y      string   `json:"y"`
	N      string   `json:"n"`
	E      string   `json:"e"`
}

// parseKeys reads a JWKS. Keys that are not for verifying RS256 or ES256 are left out, broken ones too: they must not take the
// good ones with them. What has no list of keys is no JWKS.
func parseKeys(body []byte) (map[keyID]crypto.PublicKey, error) {
	var set struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("decode JWKS: %w", err)
	}
	if set.Keys == nil {
		return nil, fmt.Errorf("decode JWKS: %w", errors.New("it has no keys member"))
	}
	keys := map[keyID]crypto.PublicKey{}
	for _, raw := range *set.Keys {
		var k jwk
		if json.Unmarshal(raw, &k) != nil || k.KID == "" || !k.verifies() {
			continue
		}
		if alg, key, ok := k.public(); ok {
			keys[keyID{k.KID, alg}] = key
		}
	}
	return keys, nil
}

func (k jwk) verifies() bool {
	return (k.Use == "" || k.Use == "sig") && (len(k.KeyOps) == 0 || slices.Contains(k.KeyOps, "verify"))
}

// public returns the key and the algorithm that it is pinned to.
func (k jwk) public() (alg string, key crypto.PublicKey, ok bool) {
	switch {
	case k.KTY == "EC" && k.Crv == "P-256" && (k.Alg == "" || k.Alg == algES256):
		key, ok = k.ec()
		return algES256, key, ok
	case k.KTY == "RSA" && (k.Alg == "" || k.Alg == algRS256):
		key, ok = k.rsa()
		return algRS256, key, ok
	}
	return "", nil, false
}

func (k jwk) ec() (crypto.PublicKey, bool) {
	x, errX := base64.RawURLEncoding.DecodeString(k.X)
	y, errY := base64.RawURLEncoding.DecodeString(k.Y)
	if errX != nil || errY != nil || len(x) != 32 || len(y) != 32 {
		return nil, false
	}
	point := slices.Concat([]byte{4}, x, y)
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point) // refuses points off the curve
	return key, err == nil
}

func (k jwk) rsa() (crypto.PublicKey, bool) {
	n, errN := base64.RawURLEncoding.DecodeString(k.N)
	e, errE := base64.RawURLEncoding.DecodeString(k.E)
	if errN != nil || errE != nil || len(e) == 0 || len(e) > 4 {
		return nil, false
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	bits := key.N.BitLen()
	return key, bits >= minRSABits && bits <= maxRSABits && key.E > 1 && key.E%2 == 1
}
