//go:build stripe

package stripeemu_test

import (
	"os"
	"os/exec"
	"testing"

	"example.com/saaskit/internal/stripeemu"
)

// triggers are what Stripe's command line can set off at the emulator: each is
// a short script of requests that Stripe has written.
var triggers = []string{
	"billing_portal.configuration.created", "billing_portal.session.created", "charge.captured", "charge.dispute.closed", "charge.dispute.created",
	"charge.failed", "charge.refund.updated", "charge.refunded", "charge.succeeded", "checkout.session.expired", "coupon.created",
	"coupon.deleted", "coupon.updated", "credit_note.created", "credit_note.updated", "credit_note.voided", "customer.created",
	"customer.deleted", "customer.discount.created", "customer.discount.deleted", "customer.subscription.created",
	"customer.subscription.deleted", "customer.subscription.paused", "customer.subscription.trial_will_end", "customer.subscription.updated",
	"customer.updated", "invoice.created", "invoice.deleted", "invoice.finalized", "invoice.marked_uncollectible", "invoice.paid",
	"invoice.payment_action_required", "invoice.payment_failed", "invoice.payment_succeeded", "invoice.updated", "invoice.voided",
	"invoiceitem.created", "invoiceitem.deleted", "payment_intent.canceled",
	"payment_intent.created", "payment_intent.payment_failed", "payment_intent.requires_action", "payment_intent.succeeded",
	"payment_method.attached", "payment_method.detached", "payment_method.updated", "price.created", "price.updated", "product.created",
	"product.deleted", "product.updated", "promotion_code.created", "promotion_code.updated", "setup_intent.canceled",
	"setup_intent.created", "setup_intent.requires_action", "setup_intent.setup_failed", "setup_intent.succeeded",
	"subscription.payment_failed", "subscription.payment_succeeded", "test_helpers.test_clock.advancing",
}

// TestCommandLine lets Stripe's command line drive the emulator as an outside
// client. It is not part of the repository: get @stripe/cli 1.52.0 from npm and
// say where its program is.
//
//	STRIPE_CLI=…/bin/stripe go test -tags stripe ./internal/stripeemu -run TestCommandLine
func TestCommandLine(t *testing.T) {
	t.Parallel()
	program := os.Getenv("STRIPE_CLI")
	if program == "" {
		t.Fatal("set STRIPE_CLI to the program")
	}
	a := newAccount(t, stripeemu.Config{})
	home := t.TempDir()
	for _, trigger := range triggers {
		t.Run(trigger, func(t *testing.T) {
			t.Parallel()
			command := exec.CommandContext(t.Context(), program, "trigger", trigger,
				"--api-key", "sk_test_1234567890", "--api-base", a.url, "--api-version", "2023-10-16")
			command.Env = []string{"HOME=" + home, "STRIPE_CLI_TELEMETRY_OPTOUT=true"}
			if output, err := command.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}
