package devstack

import (
	"fmt"
	"path/filepath"

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

// sendTo makes url the one webhook endpoint of the emulator.
func sendTo(emulator *stripeemu.Emulator, url, secret string) {
	for _, endpoint := range emulator.Objects("webhook_endpoint") {
		if id, ok := endpoint["id"].(string); ok {
			emulator.Remove(id)
		}
	}
	emulator.Register(url, secret)
}
