package stripehook

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
)

// A charge with its refunds and disputes, which are looked at together: they have one fence.
type charge struct {
	common
	Status         string `json:"status"`
	Amount         int64  `json:"amount"`
	AmountCaptured int64  `json:"amount_captured"`
	AmountRefunded int64  `json:"amount_refunded"`
	Captured       bool   `json:"captured"`
	Disputed       bool   `json:"disputed"`
	Currency       string `json:"currency"`
	Description    string `json:"description"`
	Invoice        ref    `json:"invoice"`
	PaymentIntent  ref    `json:"payment_intent"`

	refunds  []refund
	disputes []dispute
}

type refund struct {
	ID            string `json:"id"`
	Status        string `json:"status"`
	Amount        int64  `json:"amount"`
	Currency      string `json:"currency"`
	Reason        string `json:"reason"`
	FailureReason string `json:"failure_reason"`
	Created       stamp  `json:"created"`
}

type dispute struct {
	ID                  string     `json:"id"`
	Status              string     `json:"status"`
	Amount              int64      `json:"amount"`
	Currency            string     `json:"currency"`
	Reason              string     `json:"reason"`
	Created             stamp      `json:"created"`
	BalanceTransactions []movement `json:"balance_transactions"`
}

// A movement is a balance transaction: money that the bank took or brought back, in the currency of our account.
type movement struct {
	ID       string `json:"id"`
	Amount   int64  `json:"amount"`
	Fee      int64  `json:"fee"`
	Currency string `json:"currency"`
	Created  stamp  `json:"created"`
}

// withdrawn is how much of the charge the bank has taken and not brought back. Of a dispute that ended for us that is nothing. The
// movements may be in another currency than the charge, and come back at another rate than they went: each that goes is answered
// by one that comes, so their number tells whether, and the dispute tells how much.
func (d dispute) withdrawn() int64 {
	switch d.Status {
	case "won", "warning_closed", "prevented":
		return 0
	}
	gone := 0
	for _, m := range d.BalanceTransactions {
		switch {
		case m.Amount < 0:
			gone++
		case m.Amount > 0:
			gone--
		}
	}
	if gone > 0 {
		return d.Amount
	}
	return 0
}

// has tells whether what an event is about is part of what was seen.
func (c *charge) has(kind, id string) bool {
	switch kind {
	case kindRefund:
		for _, r := range c.refunds {
			if r.ID == id {
				return true
			}
		}
		return false
	case kindDispute:
		for _, d := range c.disputes {
			if d.ID == id {
				return true
			}
		}
		return false
	}
	return true
}

func fetchCharge(ctx context.Context, api *client.API, id string) (object, error) {
	got, err := api.Charges.Get(id, &stripe.ChargeParams{Params: stripe.Params{Context: ctx}})
	if err != nil {
		return nil, err
	}
	c := new(charge)
	if err := read(got.LastResponse, c); err != nil || c.Status != "succeeded" {
		return c, err
	}
	refunds := &stripe.RefundListParams{Charge: stripe.String(id)}
	refunds.Context, refunds.Limit, refunds.Single = ctx, stripe.Int64(pageSize), true
	c.refunds, err = pages(&refunds.ListParams, func() (*stripe.APIResponse, error) {
		list := api.Refunds.List(refunds)
		return list.RefundList().LastResponse, list.Err()
	}, func(r refund) string { return r.ID })
	if err != nil || !c.Disputed {
		return c, err
	}
	disputes := &stripe.DisputeListParams{Charge: stripe.String(id)}
	disputes.Context, disputes.Limit, disputes.Single = ctx, stripe.Int64(pageSize), true
	c.disputes, err = pages(&disputes.ListParams, func() (*stripe.APIResponse, error) {
		list := api.Disputes.List(disputes)
		return list.DisputeList().LastResponse, list.Err()
	}, func(d dispute) string { return d.ID })
	return c, err
}

// storeCharge writes the payment (what has been captured, or what is reserved until then) and what has gone back of it, and
// takes back the credits that went with it.
func storeCharge(ctx context.Context, t *settling, c *charge) error {
	if err := need(c.Status, c.Currency); err != nil {
		return err
	}
	amount := c.Amount
	if c.Captured {
		amount = c.AmountCaptured
	}
	before, err := t.q.GetChargeState(ctx, c.ID, t.account)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read charge: %w", err)
	}
	rows, err := t.q.UpsertCharge(ctx, db.UpsertChargeParams{
		ID: c.ID, AccountID: t.account, CustomerID: string(c.Customer), PaymentIntentID: c.PaymentIntent.pointer(),
		InvoiceID: c.Invoice.pointer(), Status: c.Status, Amount: amount, AmountRefunded: c.AmountRefunded, Currency: c.Currency,
		Disputed: c.Disputed, CreatedAt: c.Created.orElse(t.now), Now: t.now,
	})
	if err := moved(rows, err, "charge"); err != nil {
		return err
	}
	if err := t.movement(ctx, db.UpsertTransactionParams{
		Kind: "payment", NaturalKey: "charge:" + c.ID, Status: c.Status, Amount: amount, Currency: c.Currency, InvoiceID: c.Invoice.pointer(),
		ChargeID: &c.ID, Description: c.Description, OccurredAt: c.Created.orElse(t.now),
	}); err != nil {
		return err
	}
	if before.Status != c.Status || before.Amount != amount {
		detail := map[string]any{"amount": amount, "currency": c.Currency}
		if err := t.audit(ctx, kindCharge, c.ID, before.Status, c.Status, detail); err != nil {
			return err
		}
	}
	for _, r := range c.refunds {
		if err := t.storeRefund(ctx, c, r); err != nil {
			return fmt.Errorf("refund %s: %w", r.ID, err)
		}
	}
	for _, d := range c.disputes {
		if err := t.storeDispute(ctx, c, d); err != nil {
			return fmt.Errorf("dispute %s: %w", d.ID, err)
		}
	}
	if len(c.refunds)+len(c.disputes) == 0 {
		return nil
	}
	return t.reverseCharge(ctx, c)
}

// storeRefund mirrors a refund. What it does to the credits follows from its status: only a refund that has succeeded takes,
// and one that fails later gives back.
func (t *settling) storeRefund(ctx context.Context, c *charge, r refund) error {
	if err := need(r.Status, r.Currency); err != nil {
		return err
	}
	before, err := t.q.GetRefundStatus(ctx, r.ID, t.account)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read refund: %w", err)
	}
	rows, err := t.q.UpsertRefund(ctx, db.UpsertRefundParams{
		ID: r.ID, AccountID: t.account, ChargeID: c.ID, Status: r.Status, Amount: r.Amount, Currency: r.Currency, Reason: r.Reason,
		CreatedAt: r.Created.orElse(t.now), Now: t.now,
	})
	if err := moved(rows, err, "refund"); err != nil {
		return err
	}
	if err := t.movement(ctx, db.UpsertTransactionParams{
		Kind: "refund", NaturalKey: "refund:" + r.ID, Status: r.Status, Amount: -r.Amount, Currency: r.Currency, InvoiceID: c.Invoice.pointer(),
		ChargeID: &c.ID, Description: r.Reason, OccurredAt: r.Created.orElse(t.now),
	}); err != nil {
		return err
	}
	if before == r.Status {
		return nil
	}
	if r.Status == "failed" {
		t.alarm("refund_failed", "refund", r.ID, "charge", c.ID, "failure", r.FailureReason)
	}
	return t.audit(ctx, "refund", r.ID, before, r.Status, map[string]any{"charge": c.ID, "amount": r.Amount, "currency": r.Currency})
}

// storeDispute mirrors a dispute and each movement of its money under a key of its own: what was withdrawn and what came
// back, with the fee of each. An inquiry has none.
func (t *settling) storeDispute(ctx context.Context, c *charge, d dispute) error {
	if err := need(d.Status, d.Currency); err != nil {
		return err
	}
	before, err := t.q.GetDisputeState(ctx, d.ID, t.account)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read dispute: %w", err)
	}
	rows, err := t.q.UpsertDispute(ctx, db.UpsertDisputeParams{
		ID: d.ID, AccountID: t.account, ChargeID: c.ID, Status: d.Status, Amount: d.Amount, Withdrawn: d.withdrawn(),
		Currency: d.Currency, Reason: d.Reason, CreatedAt: d.Created.orElse(t.now), Now: t.now,
	})
	if err := moved(rows, err, "dispute"); err != nil {
		return err
	}
	for _, m := range d.BalanceTransactions {
		if err := t.movement(ctx, db.UpsertTransactionParams{
			Kind: "dispute", NaturalKey: "dispute:" + d.ID + ":" + m.ID, Status: d.Status, Amount: m.Amount, Fee: m.Fee, Currency: m.Currency,
			InvoiceID: c.Invoice.pointer(), ChargeID: &c.ID, Description: d.Reason, OccurredAt: m.Created.orElse(t.now),
		}); err != nil {
			return err
		}
	}
	if before.Status == d.Status && before.Withdrawn == d.withdrawn() {
		return nil
	}
	switch d.Status {
	case "warning_needs_response", "warning_under_review", "warning_closed", "needs_response", "under_review", "won", "prevented":
	case "lost":
		if err := t.q.FlagLostDispute(ctx, t.now, string(c.Customer), t.account); err != nil {
			return fmt.Errorf("flag customer: %w", err)
		}
	default:
		t.alarm("unknown_status", "dispute", d.ID, "status", d.Status)
	}
	return t.audit(ctx, "dispute", d.ID, before.Status, d.Status, map[string]any{
		"charge": c.ID, "amount": d.Amount, "withdrawn": d.withdrawn(), "currency": d.Currency,
	})
}

func (t *settling) movement(ctx context.Context, row db.UpsertTransactionParams) error {
	row.ID, row.AccountID, row.Now = postgres.NewID(), t.account, t.now
	rows, err := t.q.UpsertTransaction(ctx, row)
	return moved(rows, err, row.Kind)
}

// disputeOpened tells the operator, who has to answer in time; of an inquiry, too.
func disputeOpened(ctx context.Context, t *settling) error {
	return t.tellOperator(ctx, "dispute", t.event.ObjectID, map[string]any{"charge": t.event.RootID})
}

// fraudSuspected tells the operator of a warning about a charge.
func fraudSuspected(ctx context.Context, t *settling) error {
	return t.tellOperator(ctx, "fraud_warning", t.event.ObjectID, map[string]any{"charge": t.event.RootID})
}
