package devstack

import (
	"fmt"
	"path/filepath"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/stripeemu"
)

// newStripe starts the emulator with the state that it kept in dir.
func newStripe(dir, base string) (*stripeemu.Emulator, error) {
	file := filepath.Join(dir, "stripe.json")
	emulator, err := stripeemu.New(stripeemu.Config{BaseURL: base, StateFile: file})
	if err != nil {
		return nil, fmt.Errorf("start the Stripe emulator (delete %s to start anew): %w", file, err)
	}
	return emulator, nil
}

// sendTo makes url the one webhook endpoint of the emulator, with the version that `saaskit stripe setup` would pin.
func sendTo(emulator *stripeemu.Emulator, url, secret string) error {
	for _, endpoint := range emulator.Objects("webhook_endpoint") {
		if id, ok := endpoint["id"].(string); ok {
			emulator.Remove(id)
		}
	}
	id := emulator.Register(url, secret)
	if _, err := emulator.Patch(id, map[string]any{"api_version": stripe.APIVersion}); err != nil {
		return fmt.Errorf("pin the version of the webhook endpoint: %w", err)
	}
	return nil
}
