package billing_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/billing"
)

// aThird of a period is over in most tests.
const aThird = 10 * 24 * time.Hour

// subscribed is a world whose account pays for a tier, and the subscription at Stripe.
func subscribed(t *testing.T, wish func(*billing.Wish)) (*world, string) {
	t.Helper()
	w := newWorld(t)
	v := w.tier("basic")
	if wish != nil {
		wish(&v)
	}
	session := w.open(v)
	w.pay(session)
	w.sync(stripehookSession, session.ID)
	return w, w.emu.Objects("subscription")[0]["id"].(string)
}

const (
	stripehookSession = "checkout.session"
	subscriptionPath  = "/v1/subscriptions/*"
)

func (w *world) sync(kind, id string) {
	w.t.Helper()
	if err := w.Sync(w.t.Context(), kind, id); err != nil {
		w.t.Fatal(err)
	}
}

// wait moves the clock of everybody on, and lets happen what is due at Stripe.
func (w *world) wait(d time.Duration) {
	w.Add(d)
	w.emu.Advance(0)
}

func (w *world) to(tier, interval string) billing.Change {
	return billing.Change{
		AccountID: w.accountID, UserID: &w.userID, Tier: tier, Interval: interval, Actor: audit.Actor{Kind: audit.ByUser, ID: w.userID.String()},
	}
}

func (w *world) change(c billing.Change) billing.State {
	w.t.Helper()
	state, _, err := w.ChangeSubscription(w.t.Context(), c)
	if err != nil {
		w.t.Fatalf("ChangeSubscription: %v", err)
	}
	return state
}

func (w *world) changeRefused(c billing.Change, want error) error {
	w.t.Helper()
	state, _, err := w.ChangeSubscription(w.t.Context(), c)
	if !errors.Is(err, want) {
		w.t.Fatalf("ChangeSubscription: %+v, %v; want %v", state, err, want)
	}
	return err
}

func (w *world) preview(c billing.Change) billing.Preview {
	w.t.Helper()
	p, err := w.PreviewChange(w.t.Context(), c)
	if err != nil {
		w.t.Fatalf("PreviewChange: %v", err)
	}
	return p
}

func (w *world) state() billing.State {
	w.t.Helper()
	state, err := w.State(w.t.Context(), w.accountID)
	if err != nil {
		w.t.Fatal(err)
	}
	return state
}

// price is what the subscription is at Stripe: price and quantity.
func (w *world) price(id string) string {
	sub, _ := w.emu.Get(id)
	item := sub["items"].(map[string]any)["data"].([]any)[0].(map[string]any)
	return fmt.Sprint(item["price"].(map[string]any)["id"], " × ", item["quantity"])
}

func (w *world) wantPrice(id, want string) {
	w.t.Helper()
	if got := w.price(id); got != want {
		w.t.Errorf("the subscription is %s, want %s", got, want)
	}
}

// latest is the newest invoice at Stripe.
func (w *world) latest() map[string]any { return w.emu.Objects("invoice")[0] }

// changes are the statuses of all changes, oldest first.
func (w *world) changes() string {
	w.t.Helper()
	var text string
	err := w.pool.QueryRow(w.t.Context(), "SELECT coalesce(string_agg(status, ' ' ORDER BY created_at, id), '') FROM subscription_changes").Scan(&text)
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// card gives the subscription another card.
func (w *world) card(sub, token string) {
	w.t.Helper()
	api := w.api()
	o, _ := w.emu.Get(sub)
	pm, err := api.PaymentMethods.Attach(token, &stripe.PaymentMethodAttachParams{Customer: stripe.String(o["customer"].(string))})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := api.Subscriptions.Update(sub, &stripe.SubscriptionParams{DefaultPaymentMethod: stripe.String(pm.ID)}); err != nil {
		w.t.Fatal(err)
	}
}

// sameCharge compares a preview with the invoice that Stripe has made of it, line by line.
func (w *world) sameCharge(p billing.Preview, in map[string]any) {
	w.t.Helper()
	if p.Charge == nil {
		w.t.Fatal("the preview has no charge")
	}
	var got, want []string
	for _, l := range p.Charge.Lines {
		got = append(got, fmt.Sprintf("%d %v × %d", l.Amount, l.Proration, l.Quantity))
	}
	for _, o := range in["lines"].(map[string]any)["data"].([]any) {
		l := o.(map[string]any)
		want = append(want, fmt.Sprintf("%v %v × %v", l["amount"], l["proration"], l["quantity"]))
	}
	if strings.Join(got, "; ") != strings.Join(want, "; ") {
		w.t.Errorf("lines: previewed %v, billed %v", got, want)
	}
	c := p.Charge
	previewed := fmt.Sprint(c.Subtotal, c.Discount, c.Tax, c.Total, c.AppliedBalance, c.AmountDue, p.Currency)
	discount, applied := int64(0), int64(0)
	for _, d := range in["total_discount_amounts"].([]any) {
		discount += number(d.(map[string]any), "amount")
	}
	if number(in, "total") > 0 {
		applied = number(in, "starting_balance") - number(in, "ending_balance")
	}
	billed := fmt.Sprint(number(in, "subtotal"), discount, number(in, "tax"), number(in, "total"), applied, number(in, "amount_due"), in["currency"])
	if previewed != billed {
		w.t.Errorf("previewed %s, billed %s", previewed, billed)
	}
}

// number is a field of an object at Stripe; null is none.
func number(o map[string]any, field string) int64 {
	n, _ := o[field].(int64)
	return n
}
