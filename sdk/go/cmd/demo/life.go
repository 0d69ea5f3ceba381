package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	saaskit "example.com/saaskit/sdk/go"
)

func (d *demo) upgrade() error {
	tier := "scale"
	change := saaskit.SubscriptionChange{Tier: &tier}
	preview, err := saaskit.Check(d.user.PreviewSubscriptionWithResponse(d.ctx, nil, change))
	if err != nil {
		return err
	}
	due := preview.JSON200.DueNow
	if err := want(preview.JSON200.Effective == "now" && due.Amount > 0, "the upgrade takes effect now and costs something"); err != nil {
		return err
	}
	change.ProratedAt = preview.JSON200.ProratedAt
	params := &saaskit.UpdateSubscriptionParams{IdempotencyKey: saaskit.NewIdempotencyKey()}
	changed, err := saaskit.Check(d.user.UpdateSubscriptionWithResponse(d.ctx, params, change))
	if err != nil {
		return err
	}
	if err := want(changed.JSON200.Tier == tier, "the tier is %s", tier); err != nil {
		return err
	}
	if err := eventually(d.ctx, func() error {
		invoices, err := saaskit.Check(d.user.ListInvoicesWithResponse(d.ctx, nil))
		if err != nil {
			return err
		}
		paid := invoices.JSON200.Data[0].AmountPaid
		return want(paid == due, "%d %s were charged, as the preview said (it was %d)", due.Amount, due.Currency, paid.Amount)
	}); err != nil {
		return err
	}
	return d.creditsGrew()
}

func (d *demo) declinedRenewal() error {
	customer, err := d.stripe.first(d.ctx, "/v1/customers", url.Values{"email": {d.email}})
	if err != nil {
		return err
	}
	card, err := d.stripe.first(d.ctx, "/v1/payment_methods", url.Values{"customer": {customer}})
	if err != nil {
		return err
	}
	d.card = card
	if err := d.stripe.decline(d.ctx, card, "insufficient_funds"); err != nil {
		return err
	}
	before, err := saaskit.Check(d.user.GetSubscriptionWithResponse(d.ctx, nil))
	if err != nil {
		return err
	}
	// Stripe leaves an invoice open for an hour before it charges it.
	if err := d.moveTo(before.JSON200.CurrentPeriodEnd.Add(2 * time.Hour)); err != nil {
		return err
	}
	return eventually(d.ctx, func() error {
		r, err := saaskit.Check(d.user.GetSubscriptionWithResponse(d.ctx, nil))
		if err != nil {
			return err
		}
		now, due := r.JSON200, r.JSON200.PaymentDue
		if err := want(now.Status == "past_due" && now.Access && now.AccessUntil != nil, "the subscription is overdue and gives access for a while"); err != nil {
			return err
		}
		if err := want(due != nil && due.Remedy == saaskit.PaymentDueRemedyUpdatePaymentMethod && due.NextPaymentAttempt != nil,
			"the customer is told what to do, and when Stripe tries again"); err != nil {
			return err
		}
		d.retryAt = *due.NextPaymentAttempt
		return want(d.retryAt.Before(*now.AccessUntil), "Stripe tries again before the grace is over")
	})
}

func (d *demo) recovery() error {
	if err := d.stripe.decline(d.ctx, d.card, ""); err != nil {
		return err
	}
	if err := d.moveTo(d.retryAt.Add(time.Minute)); err != nil {
		return err
	}
	if err := eventually(d.ctx, func() error {
		r, err := saaskit.Check(d.user.GetSubscriptionWithResponse(d.ctx, nil))
		if err != nil {
			return err
		}
		return want(r.JSON200.Status == "active" && r.JSON200.AccessUntil == nil && r.JSON200.PaymentDue == nil, "the subscription is active and nothing is due")
	}); err != nil {
		return err
	}
	return d.creditsGrew()
}

func (d *demo) refund() error {
	before, err := saaskit.Check(d.user.GetCreditsWithResponse(d.ctx, nil))
	if err != nil {
		return err
	}
	payments, err := saaskit.Check(d.user.ListTransactionsWithResponse(d.ctx, nil))
	if err != nil {
		return err
	}
	var charge string
	for _, payment := range payments.JSON200.Data {
		if payment.Status == "succeeded" && payment.InvoiceID == nil && payment.ChargeID != nil {
			charge = *payment.ChargeID
		}
	}
	if err := want(charge != "", "the pack's payment is among the transactions"); err != nil {
		return err
	}
	if _, err := d.stripe.post(d.ctx, "/v1/refunds", url.Values{"charge": {charge}}); err != nil {
		return err
	}
	return eventually(d.ctx, func() error {
		after, err := saaskit.Check(d.user.GetCreditsWithResponse(d.ctx, nil))
		if err != nil {
			return err
		}
		left := before.JSON200.Available - d.pack.Credits
		return want(after.JSON200.Available == left, "%d credits are left without the pack's (it was %d)", left, after.JSON200.Available)
	})
}

func (d *demo) cancel() error {
	now := saaskit.SubscriptionCancelWhenNow
	params := &saaskit.CancelSubscriptionParams{IdempotencyKey: saaskit.NewIdempotencyKey()}
	r, err := saaskit.Check(d.user.CancelSubscriptionWithResponse(d.ctx, params, saaskit.SubscriptionCancel{When: &now}))
	if err != nil {
		return err
	}
	if err := want(r.JSON200.Status == "canceled" && !r.JSON200.Access, "the subscription has ended"); err != nil {
		return err
	}
	me, err := saaskit.Check(d.user.GetMeWithResponse(d.ctx))
	if err != nil {
		return err
	}
	return want(me.JSON200.Tier == "free", "the user has the free tier again")
}

// moveTo moves the time of all parts and signs in again: the token is old by then.
func (d *demo) moveTo(at time.Time) error {
	if _, err := saaskit.Check(d.operator.MoveClockWithResponse(d.ctx, saaskit.ClockMove{To: &at})); err != nil {
		return err
	}
	r, err := saaskit.Check(d.operator.LogInWithResponse(d.ctx, saaskit.LogInRequest{Email: saaskit.Email(d.email), Password: password}))
	if err != nil {
		return err
	}
	d.user, err = d.client(saaskit.WithToken(r.JSON200.AccessToken))
	return err
}

// stripe is Stripe's side of the story, which the emulator of `make dev` plays.
type stripe struct{ address, key string }

// first returns the id of the newest object of a list.
func (s stripe) first(ctx context.Context, path string, filter url.Values) (string, error) {
	body, err := s.do(ctx, http.MethodGet, path+"?"+filter.Encode(), "", "")
	if err != nil {
		return "", err
	}
	var list struct{ Data []struct{ ID string } }
	if err := json.Unmarshal(body, &list); err != nil || len(list.Data) == 0 {
		return "", errors.Join(fmt.Errorf("stripe has nothing at %s", path), err)
	}
	return list.Data[0].ID, nil
}

func (s stripe) post(ctx context.Context, path string, form url.Values) ([]byte, error) {
	return s.do(ctx, http.MethodPost, path, "application/x-www-form-urlencoded", form.Encode())
}

// decline lets a saved card refuse every charge for a reason; without one it pays again.
func (s stripe) decline(ctx context.Context, card, reason string) error {
	_, err := s.do(ctx, http.MethodPost, "/_emulator/cards/"+card, "application/json", fmt.Sprintf(`{"reason":%q}`, reason))
	return err
}

func (s stripe) do(ctx context.Context, method, path, contentType, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.address+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	client := http.Client{Transport: printer{http.DefaultTransport}}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s answers %d: %s", method, path, res.StatusCode, answer)
	}
	return answer, err
}
