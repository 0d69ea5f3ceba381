package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	saaskit "example.com/saaskit/sdk/go"
)

// A demo is the state that one step leaves for the next.
type demo struct {
	ctx   context.Context
	base  string
	email string
	user  *saaskit.Client
	key   *saaskit.Client
	keyID saaskit.KeyID

	operator *saaskit.Client
	stripe   stripe
	card     string // the payment method that the subscription is paid with
	retryAt  time.Time

	freeCredits, credits int64
	pack                 saaskit.CreditPack
}

const password = "correct horse battery"

func (d *demo) ready() error {
	c, err := d.client()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(d.ctx, http.MethodGet, d.base+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	res, err := c.ClientInterface.(*saaskit.RawClient).Client.Do(req)
	if err != nil {
		return fmt.Errorf("%w: is `make dev` running?", err)
	}
	defer res.Body.Close()
	return want(res.StatusCode == http.StatusOK, "the server is ready")
}

func (d *demo) signUp() error {
	c, err := d.client()
	if err != nil {
		return err
	}
	r, err := saaskit.Check(c.SignUpWithResponse(d.ctx, saaskit.SignUpRequest{Email: saaskit.Email(d.email), Password: password}))
	if err != nil {
		return err
	}
	if r.JSON200 == nil {
		return errors.New("the sign-up wants a confirmation; the demo needs the sign-in that `make dev` brings")
	}
	d.user, err = d.client(saaskit.WithToken(r.JSON200.AccessToken))
	return err
}

func (d *demo) freeTier() error {
	me, err := saaskit.Check(d.user.GetMeWithResponse(d.ctx))
	if err != nil {
		return err
	}
	if err := want(me.JSON200.Tier == "free" && me.JSON200.Email == d.email, "the user has the free tier"); err != nil {
		return err
	}
	return eventually(d.ctx, func() error {
		r, err := saaskit.Check(d.user.GetCreditsWithResponse(d.ctx, nil))
		if err != nil {
			return err
		}
		d.freeCredits = r.JSON200.Available
		return want(d.freeCredits > 0, "the free tier comes with credits")
	})
}

func (d *demo) catalogue() error {
	tiers, err := saaskit.Check(d.user.ListTiersWithResponse(d.ctx))
	if err != nil {
		return err
	}
	packs, err := saaskit.Check(d.user.ListCreditPacksWithResponse(d.ctx))
	if err != nil {
		return err
	}
	return want(len(tiers.JSON200.Data) >= 3 && len(packs.JSON200.Data) >= 2, "there are three tiers and two packs")
}

func (d *demo) buyPlan() error {
	tier, interval := "pro", saaskit.IntervalMonth
	wish := saaskit.NewCheckoutSession{Tier: &tier, Interval: &interval, Currency: "usd", SuccessURL: d.base + "/healthz", CancelURL: d.base + "/healthz"}
	page, err := d.checkout(wish)
	if err != nil {
		return err
	}
	again, err := d.checkout(wish)
	if err != nil {
		return err
	}
	if err := want(page == again, "the same wish answers the open session"); err != nil {
		return err
	}
	if err := d.pay(page, "4000 0000 0000 0002", http.StatusPaymentRequired); err != nil {
		return err
	}
	return d.pay(page, "4242 4242 4242 4242", http.StatusSeeOther)
}

func (d *demo) checkout(wish saaskit.NewCheckoutSession) (string, error) {
	r, err := saaskit.Check(d.user.CreateCheckoutSessionWithResponse(d.ctx,
		&saaskit.CreateCheckoutSessionParams{IdempotencyKey: saaskit.NewIdempotencyKey()}, wish))
	if err != nil {
		return "", err
	}
	return r.JSON201.URL, nil
}

// pay fills in the hosted page's form, as a browser would.
func (d *demo) pay(page, card string, status int) error {
	form := url.Values{
		"email": {d.email}, "card_number": {card}, "card_expiry": {"12 / 34"}, "card_cvc": {"123"}, "name": {"Ana Demo"}, "action": {"pay"},
	}
	c := http.Client{Transport: printer{http.DefaultTransport}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := postForm(d.ctx, &c, page, form)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return want(res.StatusCode == status, "card %s is answered with %d (it was %d)", card, status, res.StatusCode)
}

func (d *demo) subscribed() error {
	if err := eventually(d.ctx, func() error {
		r, err := saaskit.Check(d.user.GetSubscriptionWithResponse(d.ctx, nil))
		if err != nil {
			return err
		}
		return want(r.JSON200.Tier == "pro" && r.JSON200.Status == "active" && r.JSON200.Access, "the pro subscription is active")
	}); err != nil {
		return err
	}
	if err := d.creditsGrew(); err != nil {
		return err
	}
	invoices, err := saaskit.Check(d.user.ListInvoicesWithResponse(d.ctx, nil))
	if err != nil {
		return err
	}
	if err := want(len(invoices.JSON200.Data) == 1 && invoices.JSON200.Data[0].Status == "paid", "there is one paid invoice"); err != nil {
		return err
	}
	return eventually(d.ctx, func() error {
		payments, err := saaskit.Check(d.user.ListTransactionsWithResponse(d.ctx, nil))
		if err != nil {
			return err
		}
		statuses := map[string]int{}
		for _, payment := range payments.JSON200.Data {
			statuses[payment.Status]++
		}
		return want(statuses["succeeded"] == 1 && statuses["failed"] <= 1, "there is one payment, beside the try with the card that was declined")
	})
}

// creditsGrew waits until there are more credits than before and remembers how many.
func (d *demo) creditsGrew() error {
	before := max(d.credits, d.freeCredits)
	return eventually(d.ctx, func() error {
		r, err := saaskit.Check(d.user.GetCreditsWithResponse(d.ctx, nil))
		if err != nil {
			return err
		}
		d.credits = r.JSON200.Available
		return want(d.credits > before, "there are more than %d credits", before)
	})
}

func (d *demo) makeKey() error {
	r, err := saaskit.Check(d.user.CreateAPIKeyWithResponse(d.ctx, &saaskit.CreateAPIKeyParams{IdempotencyKey: saaskit.NewIdempotencyKey()},
		saaskit.NewAPIKey{Name: "demo", Scopes: []saaskit.Scope{saaskit.ScopeCreditsRead, saaskit.ScopeCreditsWrite, saaskit.ScopeUsageRead, saaskit.ScopeUsageWrite}}))
	if err != nil {
		return err
	}
	if r.JSON201.Secret == nil {
		return errors.New("the new key came without its secret")
	}
	d.keyID = r.JSON201.ID
	d.key, err = d.client(saaskit.WithAPIKey(*r.JSON201.Secret))
	return err
}

func (d *demo) spend() error {
	params := &saaskit.ConsumeCreditsParams{IdempotencyKey: saaskit.NewIdempotencyKey()}
	what := "one report"
	wish := saaskit.ConsumeRequest{Amount: 5, Description: &what}
	first, err := saaskit.Check(d.key.ConsumeCreditsWithResponse(d.ctx, params, wish))
	if err != nil {
		return err
	}
	second, err := saaskit.Check(d.key.ConsumeCreditsWithResponse(d.ctx, params, wish))
	if err != nil {
		return err
	}
	if err := want(first.JSON200.TransactionID == second.JSON200.TransactionID, "the retry is the same transaction"); err != nil {
		return err
	}
	if err := want(first.JSON200.Available == d.credits-5, "five credits are gone, once"); err != nil {
		return err
	}
	d.credits -= 5
	_, err = saaskit.Check(d.key.ConsumeCreditsWithResponse(d.ctx, nil, saaskit.ConsumeRequest{Amount: 1_000_000_000}))
	return want(saaskit.IsCode(err, "insufficient_credits"), "more credits than there are is refused")
}

func (d *demo) meter() error {
	at := time.Now().UTC().Truncate(time.Second)
	events := saaskit.UsageEvents{Events: []saaskit.UsageEvent{{ID: "demo-1", Meter: "requests", Quantity: 3, OccurredAt: at}}}
	first, err := saaskit.Check(d.key.RecordUsageWithResponse(d.ctx, nil, events))
	if err != nil {
		return err
	}
	second, err := saaskit.Check(d.key.RecordUsageWithResponse(d.ctx, nil, events))
	if err != nil {
		return err
	}
	if err := want(first.JSON202.Accepted == 1 && second.JSON202.Duplicates == 1, "an event counts once"); err != nil {
		return err
	}
	usage, err := saaskit.Check(d.key.GetUsageWithResponse(d.ctx, &saaskit.GetUsageParams{Meter: "requests", From: at.Add(-time.Hour)}))
	if err != nil {
		return err
	}
	return want(usage.JSON200.Total == 3, "the total is three")
}

func (d *demo) buyPack() error {
	packs, err := saaskit.Check(d.user.ListCreditPacksWithResponse(d.ctx))
	if err != nil {
		return err
	}
	d.pack = packs.JSON200.Data[0]
	page, err := d.checkout(saaskit.NewCheckoutSession{CreditPack: &d.pack.ID, Currency: "usd", SuccessURL: d.base + "/healthz", CancelURL: d.base + "/healthz"})
	if err != nil {
		return err
	}
	if err := d.pay(page, "4242 4242 4242 4242", http.StatusSeeOther); err != nil {
		return err
	}
	return d.creditsGrew()
}

func (d *demo) revoke() error {
	if _, err := saaskit.Check(d.user.RevokeAPIKeyWithResponse(d.ctx, d.keyID, nil)); err != nil {
		return err
	}
	_, err := saaskit.Check(d.key.GetCreditsWithResponse(d.ctx, nil))
	return want(saaskit.IsCode(err, "invalid_api_key"), "a revoked key is refused at once (got %v)", err)
}

func (d *demo) signOut() error {
	if _, err := saaskit.Check(d.user.LogOutWithResponse(d.ctx, saaskit.LogOutRequest{})); err != nil {
		return err
	}
	_, err := saaskit.Check(d.user.GetMeWithResponse(d.ctx))
	return want(saaskit.IsCode(err, "session_revoked"), "the token is refused at once (got %v)", err)
}
