package billing_test

import (
	"testing"

	"example.com/saaskit/internal/billing"
)

func TestNewAPIRefusesUnsafeBases(t *testing.T) {
	t.Parallel()
	tests := []struct {
		key, base string
		ok        bool
	}{
		{"sk_live_1", "", true},
		{"sk_test_1", "", true},
		{"sk_test_1", "http://127.0.0.1:12111", true},
		{"rk_test_1", "http://localhost:12111", true},
		{"sk_test_1", "http://[::1]:12111/", true},
		{"", "", false},
		{"sk_live_1", "http://127.0.0.1:12111", false},
		{"sk_test_1", "http://127.0.0.1.example.com", false},
		{"sk_test_1", "http://stripe.example.com", false},
		{"sk_test_1", "http://127.0.0.1@example.com", false},
		{"sk_test_1", "http://example.com@127.0.0.1", false},
		{"sk_test_1", "http://10.0.0.1", false},
		{"sk_test_1", "http://0.0.0.0", false},
		{"sk_test_1", "ftp://127.0.0.1", false},
		{"sk_test_1", "127.0.0.1:12111", false},
		{"pk_test_1", "http://127.0.0.1:12111", false},
	}
	for _, tt := range tests {
		api, err := billing.NewAPI(tt.key, tt.base, nil)
		if (err == nil) != tt.ok || (api != nil) != tt.ok {
			t.Errorf("NewAPI(%q, %q): %v", tt.key, tt.base, err)
		}
	}
}
