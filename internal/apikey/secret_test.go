package apikey_test

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"regexp"
	"strings"
	"testing"

	"example.com/saaskit/internal/apikey"
)

var documented = regexp.MustCompile(`^sk_[0-9A-Za-z]{49}$`)

func TestSecret(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 200 {
		secret := apikey.NewSecret("sk")
		if !documented.MatchString(secret) || !apikey.WellFormed("sk", secret) || seen[secret] {
			t.Fatalf("bad secret %q", secret)
		}
		seen[secret] = true
	}
}

// Each mistake of one character, two neighbours swapped, a cut and a tail are found out.
func TestMistypedSecret(t *testing.T) {
	t.Parallel()
	secret := apikey.NewSecret("sk")
	var wrong []string
	for i := range len(secret) {
		wrong = append(wrong, secret[:i]+"!"+secret[i+1:], secret[:i]+secret[i+1:], secret[:i]+secret[i:i+1]+secret[i:])
		other := byte('a')
		if secret[i] == other {
			other = 'b'
		}
		wrong = append(wrong, secret[:i]+string(other)+secret[i+1:])
		if i > 0 && secret[i] != secret[i-1] {
			wrong = append(wrong, secret[:i-1]+secret[i:i+1]+secret[i-1:i]+secret[i+1:])
		}
	}
	wrong = append(wrong, "", "sk", "sk_", " "+secret, secret+"\n", strings.ToUpper(secret), apikey.NewSecret("pk"))
	for _, text := range wrong {
		if text != secret && apikey.WellFormed("sk", text) {
			t.Errorf("%q is taken for a key", text)
		}
	}
	if apikey.WellFormed("pk", secret) {
		t.Error("a key is taken under another prefix")
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	t.Parallel()
	created := apikey.Created{Secret: "sk_verysecret"}
	raw, err := json.Marshal(created)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		string(raw), fmt.Sprint(created), fmt.Sprintf("%+v", created), fmt.Sprintf("%#v", created), fmt.Sprintf("%s %v %q", created.Secret, created.Secret, created.Secret),
	} {
		if strings.Contains(text, "verysecret") {
			t.Errorf("printed: %s", text)
		}
	}
}

// FuzzSecret: nothing is taken for a key but what the documented expression and the checksum allow.
func FuzzSecret(f *testing.F) {
	secret := apikey.NewSecret("sk")
	for _, seed := range []string{secret, "", "sk_", "sk_" + strings.Repeat("0", 49), secret[:20] + "\x00" + secret[21:], "sk_" + strings.Repeat("é", 30), secret + secret} {
		f.Add(seed)
	}
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	f.Fuzz(func(t *testing.T, text string) {
		want := documented.MatchString(text)
		if want {
			body, sum := text[:len(text)-6], int64(0)
			for _, digit := range text[len(body):] {
				sum = sum*62 + int64(strings.IndexRune(digits, digit))
			}
			want = sum == int64(crc32.ChecksumIEEE([]byte(body)))
		}
		if got := apikey.WellFormed("sk", text); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	})
}
