package billing_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/problem"
	"example.com/saaskit/internal/stripeemu"
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

// What the customer's balance pays is previewed as it is set off: never more than there is to pay, and nothing of a credit.
func TestBalanceIsPreviewedAsItIsSetOff(t *testing.T) {
	t.Parallel()
	for _, balance := range []int64{-1_000_000, -500, 0, 700} {
		t.Run(fmt.Sprint(balance), func(t *testing.T) {
			t.Parallel()
			w, sub := subscribed(t, nil)
			o, _ := w.emu.Get(sub)
			if _, err := w.emu.Patch(o["customer"].(string), map[string]any{"balance": balance}); err != nil {
				t.Fatal(err)
			}
			coupon, err := w.api().Coupons.New(&stripe.CouponParams{PercentOff: stripe.Float64(10), Duration: stripe.String("forever")})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.api().Subscriptions.Update(sub, &stripe.SubscriptionParams{Coupon: stripe.String(coupon.ID)}); err != nil {
				t.Fatal(err)
			}
			w.wait(aThird)
			p := w.preview(w.to("pro", "year"))
			if p.Charge.Discount == 0 {
				t.Errorf("no discount: %+v", p.Charge)
			}
			c := w.to("pro", "year")
			c.ProratedAt = p.ProratedAt
			w.change(c)
			w.sameCharge(p, w.latest())
			if due := p.Charge.Total + p.Charge.AppliedBalance; due != p.DueNow || due < 0 {
				t.Errorf("%d of %d: due %d", p.Charge.AppliedBalance, p.Charge.Total, p.DueNow)
			}
		})
	}
}

// The preview is what is charged, to the cent, however much later within the quarter of an hour.
func TestUpIsChargedAsPreviewed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, tier, interval string
		quantity             int64
		price                string
	}{
		{"tier", "pro", "", 0, "price_pro × 1"},
		{"interval", "", "year", 0, "price_basic_year × 1"},
		{"tier and interval", "pro", "year", 0, "price_pro_year × 1"},
		{"quantity", "", "", 3, "price_basic × 3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, sub := subscribed(t, nil)
			w.exec("UPDATE tiers SET max_quantity = 5")
			w.Catalog.Forget()
			w.wait(aThird + 7*time.Second)
			c := w.to(tt.tier, tt.interval)
			c.Quantity = tt.quantity
			p := w.preview(c)
			if p.Effective != "now" || p.DueNow <= 0 || p.ProratedAt == nil {
				t.Fatalf("preview: %+v", p)
			}
			w.wantPrice(sub, "price_basic × 1")
			w.wait(9 * time.Minute)
			c.ProratedAt = p.ProratedAt
			state := w.change(c)
			w.wantPrice(sub, tt.price)
			in := w.latest()
			w.sameCharge(p, in)
			if in["status"] != "paid" || fmt.Sprint(in["amount_paid"]) != fmt.Sprint(p.DueNow) {
				t.Errorf("invoice: %v, paid %v of %d", in["status"], in["amount_paid"], p.DueNow)
			}
			if state.Tier != p.Tier || state.Interval != p.Interval || state.Quantity != p.Quantity || state.Pending != nil || state.Scheduled != nil {
				t.Errorf("state: %+v; previewed %+v", state, p)
			}
			if n := w.count("SELECT count(*) FROM invoices WHERE billing_reason = 'subscription_update' AND status = 'paid'"); n != 1 {
				t.Errorf("%d invoices mirrored", n)
			}
			if n := w.count("SELECT count(*) FROM audit_log WHERE action = 'subscription.change' AND actor_kind = 'user'"); n != 1 {
				t.Errorf("%d audit entries", n)
			}
		})
	}
}

// Down costs nothing now and is charged at the period's end as previewed.
func TestDownIsChargedAsPreviewed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name                  string
		from                  func(*billing.Wish)
		tier, interval        string
		before, after         string
		untilEnd              time.Duration
		scheduled, scheduled2 string
	}{
		{"tier", func(v *billing.Wish) { v.Tier = "pro" }, "basic", "", "price_pro × 1", "price_basic × 1", 32 * 24 * time.Hour, "basic", "month"},
		{"interval", func(v *billing.Wish) { v.Interval = "year" }, "", "month", "price_basic_year × 1", "price_basic × 1", 366 * 24 * time.Hour, "basic", "month"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, sub := subscribed(t, tt.from)
			w.wait(aThird)
			p := w.preview(w.to(tt.tier, tt.interval))
			if p.Effective != "period_end" || p.DueNow != 0 {
				t.Fatalf("preview: %+v", p)
			}
			invoices := len(w.emu.Objects("invoice"))
			state := w.change(w.to(tt.tier, tt.interval))
			w.wantPrice(sub, tt.before)
			if len(w.emu.Objects("invoice")) != invoices {
				t.Error("something was billed")
			}
			f := state.Scheduled
			if f == nil || f.Tier != tt.scheduled || f.Interval != tt.scheduled2 || !f.At.Equal(p.At) || !f.At.Equal(*state.CurrentPeriodEnd) {
				t.Fatalf("scheduled: %+v; previewed %+v", f, p)
			}
			w.wait(tt.untilEnd - aThird)
			w.wantPrice(sub, tt.after)
			in := w.latest()
			w.sameCharge(p, in)
			line := in["lines"].(map[string]any)["data"].([]any)[0].(map[string]any)["period"].(map[string]any)
			if l := p.Charge.Lines[0]; fmt.Sprint(line["start"], line["end"]) != fmt.Sprint(l.From.Unix(), l.To.Unix()) {
				t.Errorf("period: billed %v, previewed %v to %v", line, l.From.Unix(), l.To.Unix())
			}
			w.sync("subscription", sub)
			if state := w.state(); state.Scheduled != nil || state.Tier != tt.scheduled {
				t.Errorf("afterwards: %+v", state)
			}
		})
	}
}

// What is scheduled can be replaced, taken back, and gives way to a change at once.
func TestScheduledChangeGivesWay(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, func(v *billing.Wish) { v.Tier, v.Interval = "pro", "year" })
	if s := w.change(w.to("basic", "")).Scheduled; s == nil || s.Tier != "basic" || s.Interval != "year" {
		t.Fatalf("scheduled: %+v", s)
	}
	p := w.preview(w.to("basic", "month"))
	if p.Effective != "period_end" || p.Charge.AmountDue != 1000 {
		t.Errorf("preview: %+v", p)
	}
	if s := w.change(w.to("basic", "month")).Scheduled; s == nil || s.Interval != "month" {
		t.Fatalf("replaced: %+v", s)
	}
	if p := w.preview(w.to("pro", "year")); p.Effective != "nothing" {
		t.Errorf("preview of what there is: %+v", p)
	}
	if s := w.change(w.to("pro", "year")); s.Scheduled != nil || s.Tier != "pro" {
		t.Errorf("taken back: %+v", s)
	}
	w.change(w.to("basic", ""))
	w.exec("UPDATE tiers SET max_quantity = 5")
	w.Catalog.Forget()
	up := w.to("", "")
	up.Quantity = 2
	if s := w.change(up); s.Scheduled != nil || s.Quantity != 2 {
		t.Errorf("overruled: %+v", s)
	}
	w.wantPrice(sub, "price_pro_year × 2")
	for _, schedule := range w.emu.Objects("subscription_schedule") {
		if schedule["status"] != "released" {
			t.Errorf("a schedule is %v", schedule["status"])
		}
	}
}

// A declined card leaves everything as it was, at Stripe and here, and the same request goes through with a better card.
func TestUpIsRolledBackWhereThePaymentFails(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	w.wait(aThird)
	w.card(sub, "pm_card_chargeCustomerFail")
	invoices := len(w.emu.Objects("invoice"))
	c := w.keyedChange(w.to("pro", ""), "k")
	err := w.changeRefused(c, problem.PaymentFailed)
	if p := problem.Of(err); p.Kind.Status != http.StatusPaymentRequired || !strings.Contains(p.Detail, "declined") {
		t.Errorf("the caller is told %v", p)
	}
	w.wantPrice(sub, "price_basic × 1")
	if o, _ := w.emu.Get(sub); o["pending_update"] != nil || o["status"] != "active" || len(w.emu.Objects("invoice")) != invoices {
		t.Errorf("left behind: %v, %v, %d invoices", o["pending_update"], o["status"], len(w.emu.Objects("invoice"))-invoices)
	}
	if s := w.state(); s.Tier != "basic" || s.Pending != nil || s.Due != nil {
		t.Errorf("state: %+v", s)
	}
	w.card(sub, "pm_card_visa")
	w.change(c)
	w.wantPrice(sub, "price_pro × 1")
	if got := w.changes(); got != "failed done" {
		t.Errorf("changes: %s", got)
	}
}

// A card that wants its owner's word leaves a change that waits, and says where to confirm it.
func TestUpWaitsForConfirmation(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	w.wait(aThird)
	w.card(sub, "pm_card_authenticationRequired")
	s := w.change(w.to("pro", ""))
	if s.Tier != "basic" || s.Pending == nil || s.Pending.Tier != "pro" || s.Pending.At == nil || s.Pending.HostedInvoiceURL == "" || s.Due != nil {
		t.Fatalf("state: %+v, pending %+v", s, s.Pending)
	}
	w.wantPrice(sub, "price_basic × 1")
	w.changeRefused(w.down(sub), problem.ChangePending)
	intent := w.latest()["payment_intent"].(string)
	if err := w.emu.Authenticate(intent, true); err != nil {
		t.Fatal(err)
	}
	w.wantPrice(sub, "price_pro × 1")
	w.sync("subscription", sub)
	if s := w.state(); s.Tier != "pro" || s.Pending != nil {
		t.Errorf("afterwards: %+v", s)
	}
}

// down is a change that would be scheduled.
func (w *world) down(string) billing.Change {
	w.exec("UPDATE tiers SET rank = -1 WHERE id = 'pro'")
	w.Catalog.Forget()
	return w.to("pro", "")
}

func TestPendingChangeExpires(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	w.wait(aThird)
	w.card(sub, "pm_card_authenticationRequired")
	w.change(w.to("pro", ""))
	w.wait(24 * time.Hour)
	w.sync("subscription", sub)
	if s := w.state(); s.Tier != "basic" || s.Pending != nil || s.Status != "active" {
		t.Errorf("afterwards: %+v", s)
	}
}

func TestChangeRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.changeRefused(w.to("pro", ""), problem.NoSubscription)
	if _, err := w.PreviewChange(t.Context(), w.to("pro", "")); !errors.Is(err, problem.NoSubscription) {
		t.Errorf("preview: %v", err)
	}
	w, sub := subscribed(t, nil)
	w.changeRefused(w.to("free", ""), problem.PriceNotFound)
	w.changeRefused(w.to("nothing", ""), problem.PriceNotFound)
	many := w.to("", "")
	many.Quantity = 2
	w.changeRefused(many, problem.InvalidRequest)
	for _, at := range []time.Duration{time.Minute, -16 * time.Minute} {
		c := w.to("pro", "")
		c.ProratedAt = new(w.Now().Add(at))
		w.changeRefused(c, problem.InvalidRequest)
	}
	if _, err := w.emu.Patch(sub, map[string]any{"status": "past_due"}); err != nil {
		t.Fatal(err)
	}
	w.changeRefused(w.to("pro", ""), problem.PaymentOverdue)
	if _, err := w.emu.Patch(sub, map[string]any{"status": "active"}); err != nil {
		t.Fatal(err)
	}
	w.cancel(false)
	w.changeRefused(w.to("pro", ""), problem.SubscriptionEnding)
	w.exec("UPDATE accounts SET status = 'disabled'")
	w.changeRefused(w.to("pro", ""), problem.AccountClosed)
	w.wantPrice(sub, "price_basic × 1")
	if n := w.count("SELECT count(*) FROM subscription_changes WHERE status = 'running'"); n != 0 {
		t.Errorf("%d changes go on", n)
	}
}

func (w *world) cancel(now bool) billing.State {
	w.t.Helper()
	state, _, err := w.CancelSubscription(w.t.Context(), w.to("", ""), now)
	if err != nil {
		w.t.Fatalf("CancelSubscription: %v", err)
	}
	return state
}

func TestCancelAndResume(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, func(v *billing.Wish) { v.Tier = "pro" })
	w.change(w.to("basic", "")) // a schedule is in the way
	for range 2 {
		s := w.cancel(false)
		if s.Status != "active" || !s.Access || s.CancelAt == nil || !s.CancelAt.Equal(*s.CurrentPeriodEnd) || s.Scheduled != nil {
			t.Fatalf("canceled: %+v", s)
		}
	}
	for range 2 {
		s, _, err := w.ResumeSubscription(t.Context(), w.to("", ""))
		if err != nil || s.CancelAt != nil || s.CancelAtPeriodEnd || s.Tier != "pro" {
			t.Fatalf("resumed: %+v, %v", s, err)
		}
	}
	if s := w.cancel(true); s.Status != "canceled" || s.Access || s.EndedAt == nil {
		t.Errorf("canceled now: %+v", s)
	}
	if _, _, err := w.ResumeSubscription(t.Context(), w.to("", "")); !errors.Is(err, problem.NoSubscription) {
		t.Errorf("resumed after its end: %v", err)
	}
	if o, _ := w.emu.Get(sub); o["status"] != "canceled" {
		t.Errorf("at Stripe: %v", o["status"])
	}
}

// A subscription that ended at Stripe without our knowing: the change is refused, and we know.
func TestChangeOfWhatHasEnded(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	if _, err := w.api().Subscriptions.Cancel(sub, nil); err != nil {
		t.Fatal(err)
	}
	w.changeRefused(w.to("pro", ""), problem.NoSubscription)
	if s := w.state(); s.Status != "canceled" {
		t.Errorf("state: %+v", s)
	}
}

func TestChangeInATrial(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, func(v *billing.Wish) { v.Tier = "pro" })
	trial := &stripe.SubscriptionParams{TrialEnd: stripe.Int64(w.Now().Add(aThird).Unix()), ProrationBehavior: stripe.String("none")}
	if _, err := w.api().Subscriptions.Update(sub, trial); err != nil {
		t.Fatal(err)
	}
	w.sync("subscription", sub)
	for _, tier := range []string{"basic", "pro"} {
		p := w.preview(w.to(tier, ""))
		if p.Effective != "now" || p.DueNow != 0 || p.Charge == nil || p.Charge.AmountDue == 0 {
			t.Errorf("preview: %+v, %+v", p, p.Charge)
		}
		if s := w.change(w.to(tier, "")); s.Tier != tier || s.Status != "trialing" {
			t.Errorf("state: %+v", s)
		}
	}
}

func TestPortal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	url, err := w.OpenPortal(t.Context(), w.accountID, "https://app.example.com/account")
	if err != nil || !strings.HasPrefix(url, w.url) {
		t.Fatalf("portal: %s, %v", url, err)
	}
	old := w.emu.Objects("customer")[0]["id"].(string)
	if _, err := w.api().Customers.Del(old, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.OpenPortal(t.Context(), w.accountID, "https://app.example.com/account"); err != nil {
		t.Errorf("after its customer was deleted: %v", err)
	}
	if _, err := w.OpenPortal(t.Context(), w.accountID, "https://evil.example.com/"); !errors.Is(err, problem.RedirectNotAllowed) {
		t.Errorf("elsewhere: %v", err)
	}
}

// A change that waits for its payment is withdrawn by asking for what there is now, whoever asks how often.
func TestPendingChangeIsWithdrawn(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"named", "unnamed"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, sub := subscribed(t, nil)
			w.wait(aThird)
			w.card(sub, "pm_card_authenticationRequired")
			w.change(w.to("pro", ""))
			invoice := w.latest()["id"].(string)
			back := w.to("", "")
			if name == "named" {
				back = w.to("basic", "month")
			}
			if p := w.preview(back); p.Effective != "nothing" || p.Charge != nil {
				t.Errorf("preview: %+v", p)
			}
			remove := w.emu.Inject(stripeemu.Fault{
				Method: http.MethodPost, Path: "/v1/invoices/*/void", Status: 500, After: true, Header: http.Header{"Stripe-Should-Retry": {"false"}},
			})
			w.changeRefused(back, problem.StripeFailed)
			remove()
			for range 2 {
				if s := w.change(back); s.Tier != "basic" || s.Pending != nil || s.Due != nil || s.Status != "active" {
					t.Errorf("state: %+v", s)
				}
			}
			if o, _ := w.emu.Get(sub); o["pending_update"] != nil {
				t.Errorf("it waits still: %v", o["pending_update"])
			}
			if in, _ := w.emu.Get(invoice); in["status"] != "void" {
				t.Errorf("its invoice is %v", in["status"])
			}
			w.wantPrice(sub, "price_basic × 1")
			if n := w.count("SELECT count(*) FROM audit_log WHERE action = 'subscription.change' AND after->>'action' = 'withdraw'"); n != 1 {
				t.Errorf("%d audit entries", n)
			}
			if n := w.count("SELECT count(*) FROM invoices WHERE status = 'void'"); n != 1 {
				t.Error("the mirror does not know that the invoice is void")
			}
		})
	}
}

// The payment comes in while the change is being withdrawn: it has taken place, and the way back is a change of its own.
func TestPendingChangeIsPaidFirst(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	w.wait(aThird)
	w.card(sub, "pm_card_authenticationRequired")
	w.change(w.to("pro", ""))
	intent := w.latest()["payment_intent"].(string)
	w.emu.Inject(stripeemu.Fault{Method: http.MethodGet, Path: "/v1/invoices/*", Times: 1, Do: func(*http.Request) {
		if err := w.emu.Authenticate(intent, true); err != nil {
			t.Error(err)
		}
	}})
	s := w.change(w.to("basic", ""))
	if s.Tier != "pro" || s.Pending != nil || s.Scheduled == nil || s.Scheduled.Tier != "basic" {
		t.Errorf("state: %+v", s)
	}
	w.wantPrice(sub, "price_pro × 1")
	if got := w.changes(); got != "done failed done" {
		t.Errorf("changes: %s", got)
	}
}

// A trial that has ended without a payment method is over until somebody pays.
func TestResumeOfAPaused(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	o, _ := w.emu.Get(sub)
	customer := o["customer"].(string)
	pause := func(card string) {
		t.Helper()
		if card != "" {
			w.card(sub, card)
		}
		if _, err := w.emu.Patch(sub, map[string]any{"status": "paused"}); err != nil {
			t.Fatal(err)
		}
		w.sync("subscription", sub)
		if s := w.state(); s.Status != "paused" || s.Access {
			t.Fatalf("paused: %+v", s)
		}
	}
	resume := func() billing.State {
		t.Helper()
		s, _, err := w.ResumeSubscription(t.Context(), w.to("", ""))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	pause("")
	w.changeRefused(w.to("pro", ""), problem.PaymentOverdue)
	w.wait(aThird)
	if s := resume(); s.Status != "active" || !s.Access || s.Due != nil || !s.CurrentPeriodStart.Equal(w.Now().UTC().Truncate(time.Second)) &&
		w.Now().Sub(*s.CurrentPeriodStart) > time.Minute {
		t.Errorf("resumed: %+v", s)
	}
	if n := w.count("SELECT count(*) FROM credit_lots WHERE source = 'allowance'"); n < 1 {
		t.Error("no allowance")
	}

	// With a card that is declined it stays paused, for one invoice and not for one of each try.
	pause("pm_card_chargeCustomerFail")
	invoices := len(w.emu.Objects("invoice"))
	s := resume()
	if s.Status != "paused" || s.Access || s.Due == nil || s.Due.HostedInvoiceURL == "" {
		t.Fatalf("declined: %+v, due %+v", s, s.Due)
	}
	if _, _, err := w.ResumeSubscription(t.Context(), w.to("", "")); !errors.Is(err, problem.PaymentFailed) {
		t.Errorf("declined again: %v", err)
	}
	if n := len(w.emu.Objects("invoice")) - invoices; n != 1 {
		t.Errorf("%d invoices", n)
	}
	pm, err := w.api().PaymentMethods.Attach("pm_card_visa", &stripe.PaymentMethodAttachParams{Customer: stripe.String(customer)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.api().Subscriptions.Update(sub, &stripe.SubscriptionParams{DefaultPaymentMethod: stripe.String(pm.ID)}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if s := resume(); s.Status != "active" || !s.Access || s.Due != nil {
			t.Errorf("paid: %+v, due %+v", s, s.Due)
		}
	}
	if n := len(w.emu.Objects("invoice")) - invoices; n != 1 {
		t.Errorf("%d invoices", n)
	}
}

// Stripe embeds ten lines of an invoice to come; the preview has all of them.
func TestPreviewOfManyLines(t *testing.T) {
	t.Parallel()
	w, sub := subscribed(t, nil)
	w.wait(aThird)
	o, _ := w.emu.Get(sub)
	for i := range 120 {
		_, err := w.api().InvoiceItems.New(&stripe.InvoiceItemParams{
			Customer: stripe.String(o["customer"].(string)), Subscription: stripe.String(sub), Amount: stripe.Int64(int64(100 + i)),
			Currency: stripe.String("usd"), Description: stripe.String(fmt.Sprint("extra ", i)),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	p := w.preview(w.to("pro", ""))
	var sum int64
	seen := map[string]bool{}
	for _, l := range p.Charge.Lines {
		sum += l.Amount
		seen[fmt.Sprint(l.Description, l.Amount)] = true
	}
	if len(p.Charge.Lines) != 122 || len(seen) != 122 || sum != p.Charge.Subtotal {
		t.Errorf("%d lines, %d different ones, come to %d of %d", len(p.Charge.Lines), len(seen), sum, p.Charge.Subtotal)
	}
	w.change(w.to("pro", ""))
	w.sameCharge(p, w.latest())
}
