package stripeemu_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"
)

// TestHostedInvoice lets a customer pay a failed renewal: once refused, once at
// the bank's page.
func TestHostedInvoice(t *testing.T) {
	t.Parallel()
	l := newTierLife(t, "insufficient_funds")
	l.Advance(21*days + time.Hour)
	page := l.subscription(t, l.sub.ID).LatestInvoice.HostedInvoiceURL
	if got := open(t, page); !strings.Contains(got.body, "Pay $10.00") {
		t.Errorf("page: %d %s", got.status, got.body)
	}
	if got := submit(t, page, url.Values{"card_number": {"4000000000000002"}}); got.status != http.StatusPaymentRequired || !strings.Contains(got.body, "declined") {
		t.Errorf("a declined card: %d", got.status)
	}
	got := submit(t, page, url.Values{"card_number": {"4000002760003184"}})
	if got.status != http.StatusSeeOther || !strings.HasPrefix(got.location, "/3ds/") {
		t.Fatalf("3-D Secure: %d to %s", got.status, got.location)
	}
	back := strings.TrimPrefix(page, l.url)
	if failed := submit(t, l.url+got.location, url.Values{"action": {"fail"}, "return": {back}}); failed.status != http.StatusPaymentRequired {
		t.Errorf("not authenticated: %d", failed.status)
	}
	got = submit(t, page, url.Values{"card_number": {"4000002760003184"}})
	if done := submit(t, l.url+got.location, url.Values{"action": {"complete"}, "return": {back}}); done.status != http.StatusSeeOther || done.location != back {
		t.Errorf("authenticated: %d to %s", done.status, done.location)
	}
	s := l.subscription(t, l.sub.ID)
	if s.Status != stripe.SubscriptionStatusActive || !s.LatestInvoice.Paid {
		t.Errorf("%s, paid %t", s.Status, s.LatestInvoice.Paid)
	}
	if got := open(t, page); strings.Contains(got.body, "Pay $") {
		t.Error("a paid invoice asks for more")
	}
	if got := open(t, s.LatestInvoice.InvoicePDF); got.status != http.StatusOK || !strings.HasPrefix(got.body, "%PDF-1.4") {
		t.Errorf("PDF: %d", got.status)
	}
}
