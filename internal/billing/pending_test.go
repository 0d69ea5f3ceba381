package billing_test

import (
	"net/http"
	"testing"
	"time"

	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/problem"
	"example.com/saaskit/internal/stripeemu"
)

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
