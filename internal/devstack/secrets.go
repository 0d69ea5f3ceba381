package devstack

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// secrets are random for each checkout and stay until `make reset`, so that sessions and open checkouts survive a restart. The
// ports stay for the same reason, where they are still free.
type secrets struct {
	JWTSecret     string `json:"jwt_secret"`
	StripeKey     string `json:"stripe_key"`
	WebhookSecret string `json:"webhook_secret"`
	// ServiceKeys are those of all databases that this checkout has served: the one that a database knows is its own.
	ServiceKeys   []string `json:"service_keys,omitempty"`
	OldServiceKey string   `json:"service_key,omitempty"` // of checkouts that kept the last one only
	SupabasePort  int      `json:"supabase_port,omitempty"`
	StripePort    int      `json:"stripe_port,omitempty"`

	file string
}

func loadSecrets(dir string) (*secrets, error) {
	s := &secrets{file: filepath.Join(dir, "secrets.json")}
	raw, err := os.ReadFile(s.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.JWTSecret = rand.Text() + rand.Text()
		s.StripeKey = "sk_test_" + rand.Text()
		s.WebhookSecret = "whsec_" + rand.Text()
		return s, s.save()
	case err != nil:
		return nil, fmt.Errorf("read development secrets: %w", err)
	}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("read development secrets (delete %s to start anew): %w", s.file, err)
	}
	if s.OldServiceKey != "" {
		s.ServiceKeys, s.OldServiceKey = append(s.ServiceKeys, s.OldServiceKey), ""
	}
	return s, nil
}

func (s *secrets) save() error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode development secrets: %w", err)
	}
	return writeFile(s.file, raw)
}

// writeFile replaces a file whole, readable by its owner alone.
func writeFile(name string, content []byte) error {
	tmp := name + ".tmp"
	if err := os.WriteFile(tmp, content, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.Rename(tmp, name); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
