package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math/big"
	"strings"
)

const (
	alphabet       = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	randomBytes    = 32
	randomDigits   = 43 // 62^43 > 2^256
	checksumDigits = 6  // 62^6 > 2^32
	startDigits    = 4  // of the random part, to tell keys apart in a list
)

// newSecret makes a secret.
func newSecret(prefix string) string {
	var bits [randomBytes]byte
	_, _ = rand.Read(bits[:]) // ends the program rather than fail
	secret := prefix + "_" + base62(new(big.Int).SetBytes(bits[:]), randomDigits)
	return secret + checksum(secret)
}

// wellFormed tells whether secret can be a key: prefix, length, alphabet and checksum are right.
func wellFormed(prefix, secret string) bool {
	digits, ok := digitsOf(prefix, secret)
	if !ok || len(digits) != randomDigits+checksumDigits {
		return false
	}
	for i := range len(digits) {
		if !isDigit(digits[i]) {
			return false
		}
	}
	body := len(secret) - checksumDigits
	return secret[body:] == checksum(secret[:body])
}

func digitsOf(prefix, secret string) (string, bool) {
	rest, ok := strings.CutPrefix(secret, prefix)
	if !ok {
		return "", false
	}
	return strings.CutPrefix(rest, "_")
}

func isDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// startOf is what of a secret may be shown later.
func startOf(prefix, secret string) string { return secret[:len(prefix)+1+startDigits] }

// checksum is the CRC-32 of the text before it. It is no protection against somebody who makes keys up; the look-up is.
func checksum(text string) string {
	sum := crc32.ChecksumIEEE([]byte(text))
	var digits [checksumDigits]byte
	for i := checksumDigits - 1; i >= 0; i-- {
		digits[i] = alphabet[sum%62]
		sum /= 62
	}
	return string(digits[:])
}

func base62(n *big.Int, digits int) string {
	text := make([]byte, digits)
	base, digit := big.NewInt(int64(len(alphabet))), new(big.Int)
	for i := digits - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		text[i] = alphabet[digit.Int64()]
	}
	return string(text)
}

func hashOf(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// cacheKey is a hash as the cache names its row.
func cacheKey(hash []byte) string { return hex.EncodeToString(hash) }

func hashFrom(cacheKey string) ([]byte, error) {
	hash, err := hex.DecodeString(cacheKey)
	if err != nil {
		return nil, fmt.Errorf("read hash: %w", err)
	}
	return hash, nil
}
