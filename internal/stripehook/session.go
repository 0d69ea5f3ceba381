package stripehook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/outbox"
)

// What Stripe says of a checkout session.
const (
	modePayment     = "payment"
	sessionComplete = "complete"
	sessionExpired  = "expired"
	sessionPaid     = "paid"
	sessionUnpaid   = "unpaid"
)

type session struct {
	common
	Mode              string `json:"mode"`
	Status            string `json:"status"`
	PaymentStatus     string `json:"payment_status"`
	Currency          string `json:"currency"`
	ClientReferenceID string `json:"client_reference_id"`
	Subscription      ref    `json:"subscription"`
	Invoice           ref    `json:"invoice"`
	PaymentIntent     ref    `json:"payment_intent"`
	SetupIntent       ref    `json:"setup_intent"`
	AmountTotal       *int64 `json:"amount_total"`
	InvoiceCreation   *struct {
		Enabled bool `json:"enabled"`
	} `json:"invoice_creation"`
	LineItems struct {
		Data    []sessionLine `json:"data"`
		HasMore bool          `json:"has_more"`
	} `json:"line_items"`

	paid stamp // when the payment was begun; of a delayed one see [settling.paidAt]
}

// A birth is when an object was created, where it is expanded.
type birth struct{ stamp }

// UnmarshalJSON takes an id for an object of unknown age.
func (b *birth) UnmarshalJSON(raw []byte) error {
	var id string
	if json.Unmarshal(raw, &id) == nil {
		return nil
	}
	var expanded struct {
		Created stamp `json:"created"`
	}
	if err := json.Unmarshal(raw, &expanded); err != nil {
		return fmt.Errorf("read age: %w", err)
	}
	b.stamp = expanded.Created
	return nil
}

type sessionLine struct {
	ID       string `json:"id"`
	Price    price  `json:"price"`
	Quantity *int64 `json:"quantity"`
}

func (l sessionLine) count() int64 {
	if l.Quantity == nil {
		return 1
	}
	return *l.Quantity
}

func fetchSession(ctx context.Context, api *client.API, id string) (object, error) {
	params := &stripe.CheckoutSessionParams{Params: stripe.Params{Context: ctx}}
	params.AddExpand("line_items")
	params.AddExpand("payment_intent")
	got, err := api.CheckoutSessions.Get(id, params)
	if err != nil {
		return nil, err
	}
	cs := new(session)
	var payment struct {
		Intent birth `json:"payment_intent"`
	}
	if err := read(got.LastResponse, &payment); err != nil {
		return nil, err
	}
	cs.paid = payment.Intent.stamp
	if err := read(got.LastResponse, cs); err != nil || !cs.LineItems.HasMore {
		return cs, err
	}
	list := &stripe.CheckoutSessionListLineItemsParams{Session: stripe.String(id)}
	list.Context, list.Limit, list.Single = ctx, stripe.Int64(pageSize), true
	cs.LineItems.Data, err = pages(&list.ListParams, func() (*stripe.APIResponse, error) {
		items := api.CheckoutSessions.ListLineItems(list)
		return items.LineItemList().LastResponse, items.Err()
	}, func(l sessionLine) string { return l.ID })
	return cs, err
}

// storeSession ends our attempt at the checkout and grants what a single payment has bought. payment_status decides: a
// session of a delayed payment method is complete long before it is paid.
func storeSession(ctx context.Context, t *settling, cs *session) error {
	if err := need(cs.Status); err != nil {
		return err
	}
	old, err := t.q.GetMirroredSession(ctx, cs.ID, t.account)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read checkout session: %w", err)
	}
	rows, err := t.q.UpsertCheckoutSession(ctx, db.UpsertCheckoutSessionParams{
		ID: cs.ID, AccountID: t.account, Mode: cs.Mode, Status: cs.Status, PaymentStatus: cs.PaymentStatus, AmountTotal: cs.AmountTotal,
		Currency: optional(cs.Currency), PaymentIntentID: cs.PaymentIntent.pointer(), CreatedAt: cs.Created.orElse(t.now), Now: t.now,
	})
	if err := moved(rows, err, "checkout session"); err != nil {
		return err
	}
	if err := t.auditSession(ctx, cs, old); err != nil {
		return err
	}
	if err := t.endAttempt(ctx, cs); err != nil {
		return err
	}
	paid := cs.PaymentStatus == sessionPaid || cs.PaymentStatus == "no_payment_required"
	if cs.Mode != modePayment || cs.Status != sessionComplete || !paid {
		return nil
	}
	if cs.InvoiceCreation != nil && cs.InvoiceCreation.Enabled {
		return nil // its invoice carries the same lines, and would grant them again
	}
	cs.paid = t.paidAt(cs, old)
	if err := t.grantSession(ctx, cs); err != nil {
		return err
	}
	if err := t.receiptOfSession(ctx, cs, old); err != nil || cs.PaymentIntent == "" || cs.AmountTotal == nil {
		return err
	}
	return t.reverseSession(ctx, cs.ID, *cs.AmountTotal, string(cs.PaymentIntent))
}

// paidAt is when the payment came in. A delayed one is begun days before that: it came when Stripe's event about it was made, or at the
// latest now, where we have seen the session complete and not paid.
func (t *settling) paidAt(cs *session, old db.CheckoutSession) stamp {
	e := t.event
	switch {
	case e.Type == "checkout.session.async_payment_succeeded" && e.ObjectID == cs.ID && e.EventCreated != nil && !e.EventCreated.After(t.now):
		return stamp{e.EventCreated}
	case old.Status == sessionComplete && old.PaymentStatus == sessionUnpaid:
		return stamp{&t.now}
	}
	return cs.paid
}

// receiptOfSession confirms, once, what we have received by a session without an invoice. One that was stored as paid by a release that
// sent none gets none: it is long ago.
func (t *settling) receiptOfSession(ctx context.Context, cs *session, old db.CheckoutSession) error {
	if cs.Invoice != "" || cs.PaymentStatus != sessionPaid || old.PaymentStatus == sessionPaid || cs.AmountTotal == nil || *cs.AmountTotal <= 0 {
		return nil
	}
	_, err := outbox.Add(ctx, t.q, t.now, outbox.Message{
		AccountID: &t.account, Kind: "receipt", NaturalKey: "receipt:" + cs.ID,
		Payload: map[string]any{"session": cs.ID, "amount": *cs.AmountTotal, "currency": cs.Currency},
	})
	return err
}

// auditSession writes down where a checkout has got to, and whether it is paid.
func (t *settling) auditSession(ctx context.Context, cs *session, old db.CheckoutSession) error {
	if old.Status == cs.Status && old.PaymentStatus == cs.PaymentStatus {
		return nil
	}
	return t.audit(ctx, "checkout_session", cs.ID, old.Status, cs.Status, map[string]any{
		"mode": cs.Mode, "payment_status": cs.PaymentStatus, "amount": cs.AmountTotal, "currency": cs.Currency,
	})
}

// endAttempt follows the session's own status, not the event's type: an event that says expired may be about a session that
// was completed in the same moment.
func (t *settling) endAttempt(ctx context.Context, cs *session) error {
	if attempt, err := uuid.Parse(cs.Metadata[metadataAttempt]); err == nil {
		link := db.LinkSessionAttemptParams{StripeSessionID: cs.ID, Now: t.now, ID: attempt, AccountID: t.account}
		if _, err := t.q.LinkSessionAttempt(ctx, link); err != nil {
			return fmt.Errorf("link checkout attempt: %w", err)
		}
	}
	var err error
	switch cs.Status {
	case sessionComplete:
		_, err = t.q.CompleteSessionAttempt(ctx, t.now, cs.ID, t.account)
	case sessionExpired:
		_, err = t.q.ExpireSessionAttempt(ctx, t.now, cs.ID, t.account)
	}
	if err != nil {
		return fmt.Errorf("end checkout attempt: %w", err)
	}
	return nil
}

func (t *settling) grantSession(ctx context.Context, cs *session) error {
	key := sessionKey(cs.ID)
	for i, line := range cs.LineItems.Data {
		sold, ok, err := t.soldPrice(ctx, line.Price.ID, cs.Currency, cs.ID)
		if err != nil {
			return err
		}
		if !ok || sold.PackID == "" {
			continue
		}
		if i > 0 { // ours have one line; those made elsewhere may have more
			key = sessionKey(cs.ID) + ":" + line.ID
		}
		if err := t.grantPack(ctx, sold, line.count(), key, cs.paid); err != nil {
			return fmt.Errorf("grant session %s: %w", cs.ID, err)
		}
	}
	return nil
}

// afterSession are the objects that a completed session has made or changed.
func afterSession(_ context.Context, _ *db.Queries, o object) ([]root, error) {
	cs, ok := o.(*session)
	if !ok || cs.Status != sessionComplete {
		return nil, nil
	}
	var roots []root
	for kind, id := range map[string]ref{
		kindCustomer: cs.Customer, kindSubscription: cs.Subscription, kindInvoice: cs.Invoice, kindPaymentIntent: cs.PaymentIntent,
		kindSetupIntent: cs.SetupIntent,
	} {
		if id != "" {
			roots = append(roots, root{kind, string(id)})
		}
	}
	slices.SortFunc(roots, func(a, b root) int { return strings.Compare(a.id, b.id) })
	return roots, nil
}

// sessionPaymentFailed tells that a delayed payment did not come in. A subscription is left to its own events.
func sessionPaymentFailed(ctx context.Context, t *settling) error {
	rows, err := t.q.FailSessionAttempt(ctx, t.now, t.event.ObjectID, t.account)
	if err != nil {
		return fmt.Errorf("fail checkout attempt: %w", err)
	}
	if rows == 0 {
		return nil
	}
	err = audit.Record(ctx, t.q, t.now, audit.Entry{
		Actor: t.actor, AccountID: &t.account, Action: "checkout.fail", Target: "checkout_session", TargetID: t.event.ObjectID,
	})
	if err != nil {
		return err
	}
	cs, err := t.q.GetMirroredSession(ctx, t.event.ObjectID, t.account)
	if err != nil {
		return fmt.Errorf("read checkout session: %w", err)
	}
	_, err = outbox.Add(ctx, t.q, t.now, outbox.Message{
		AccountID: &t.account, Kind: "checkout_payment_failed", NaturalKey: "checkout_payment_failed:" + t.event.ObjectID,
		Payload: map[string]any{"session": t.event.ObjectID, "amount": cs.AmountTotal, "currency": cs.Currency},
	})
	return err
}
