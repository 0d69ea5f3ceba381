package billing

import (
	"context"
	"errors"
	"net/http"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/problem"
)

// carryOut tells Stripe what a plan says. Each call has a key of its own that follows from the change, so all of them may be made
// again.
func (s *Service) carryOut(ctx context.Context, row db.SubscriptionChange, p *plan) error {
	switch p.Action {
	case actNow:
		return s.moveNow(ctx, row, p)
	case actPeriodEnd:
		return s.moveLater(ctx, row, p)
	case actRelease:
		return s.release(ctx, row, p)
	case actCancelNow:
		params := &stripe.SubscriptionCancelParams{}
		params.Context = ctx
		if _, err := s.Stripe.Subscriptions.Cancel(row.SubscriptionID, params); err != nil && !isMissing(err) {
			return refusal("cancel subscription", err)
		}
		return nil
	case actCancel:
		// A schedule stands in the way of an end, and has nothing more to say.
		if err := s.release(ctx, row, p); err != nil {
			return err
		}
		params := &stripe.SubscriptionParams{CancelAtPeriodEnd: stripe.Bool(true)}
		return s.update(ctx, row, params, "cancel")
	case actResume:
		if err := s.release(ctx, row, p); err != nil {
			return err
		}
		params := &stripe.SubscriptionParams{}
		if p.EndsByDate {
			params.AddExtra("cancel_at", "") // the library knows no empty date, and cancel_at_period_end does not clear one
		} else {
			params.CancelAtPeriodEnd = stripe.Bool(false)
		}
		return s.update(ctx, row, params, "resume")
	case actUnpause:
		return s.unpause(ctx, row, p)
	case actWithdraw:
		return s.withdraw(ctx, row, p)
	}
	return nil
}

// unpause begins a period with what the subscription costs. It is active once that is paid: by the payment method of the customer, or by
// hand, for which the invoice is shown as due. One that was resumed before and not paid waits for that invoice, and no other.
func (s *Service) unpause(ctx context.Context, row db.SubscriptionChange, p *plan) error {
	in, err := s.awaited(ctx, p)
	if err != nil {
		return err
	}
	if in != nil && in.Status == stripe.InvoiceStatusOpen && in.BillingReason == stripe.InvoiceBillingReasonSubscriptionUpdate {
		p.invoice = in.ID
		params := &stripe.InvoicePayParams{}
		params.Context = ctx
		params.SetIdempotencyKey(stripeKey(row, "pay"))
		if _, err := s.Stripe.Invoices.Pay(in.ID, params); err != nil {
			return s.notMoved(ctx, row, *p, err)
		}
		return nil
	}
	params := &stripe.SubscriptionResumeParams{BillingCycleAnchor: stripe.String("now")}
	params.Context = ctx
	params.SetIdempotencyKey(stripeKey(row, "unpause"))
	sub, err := s.Stripe.Subscriptions.Resume(row.SubscriptionID, params)
	if err != nil {
		return s.notMoved(ctx, row, *p, err)
	}
	if sub.LatestInvoice != nil {
		p.invoice = sub.LatestInvoice.ID
	}
	return nil
}

// withdraw voids the invoice that a pending change waits for; with it Stripe drops the change. Where the payment came first the change
// has taken place, and what is wished is planned anew.
func (s *Service) withdraw(ctx context.Context, row db.SubscriptionChange, p *plan) error {
	in, err := s.awaited(ctx, p)
	if err != nil || in == nil {
		return err
	}
	p.invoice = in.ID
	switch {
	case in.Status == stripe.InvoiceStatusVoid:
		return nil
	case in.Status == stripe.InvoiceStatusPaid:
		if err := s.endChange(ctx, s.queries(), row, changeFailed); err != nil {
			return err
		}
		return errAgain
	case in.BillingReason != stripe.InvoiceBillingReasonSubscriptionUpdate:
		return problem.ChangePending.Errorf("the earlier change cannot be withdrawn: pay its invoice, or wait until it has expired")
	}
	params := &stripe.InvoiceVoidInvoiceParams{}
	params.Context = ctx
	params.SetIdempotencyKey(stripeKey(row, "withdraw"))
	_, err = s.Stripe.Invoices.VoidInvoice(in.ID, params)
	return refusal("void invoice", err)
}

// awaited fetches the invoice that a pending change or a pause may wait for; nil where there is none.
func (s *Service) awaited(ctx context.Context, p *plan) (*stripe.Invoice, error) {
	if p.Awaited == "" {
		return nil, nil
	}
	params := &stripe.InvoiceParams{}
	params.Context = ctx
	in, err := s.Stripe.Invoices.Get(p.Awaited, params)
	if err != nil {
		return nil, refusal("look at invoice", err)
	}
	return in, nil
}

func stripeKey(row db.SubscriptionChange, step string) string {
	return "change:" + row.ID.String() + ":" + step
}

func (s *Service) update(ctx context.Context, row db.SubscriptionChange, params *stripe.SubscriptionParams, step string) error {
	params.Context = ctx
	params.SetIdempotencyKey(stripeKey(row, step))
	_, err := s.Stripe.Subscriptions.Update(row.SubscriptionID, params)
	return refusal(step+" subscription", err)
}

func (p *plan) params() *stripe.SubscriptionParams {
	params := &stripe.SubscriptionParams{
		Items: []*stripe.SubscriptionItemsParams{{
			ID: stripe.String(p.Item), Price: stripe.String(p.Price), Quantity: stripe.Int64(p.Quantity),
		}},
		ProrationBehavior: stripe.String(p.Proration),
	}
	if p.ProratedAt > 0 {
		params.ProrationDate = stripe.Int64(p.ProratedAt)
	}
	return params
}

// moveNow changes price or quantity at once. A card that is declined leaves everything as it was. One that wants its owner's
// confirmation leaves a change that waits for the payment, while the subscription goes on as it is.
func (s *Service) moveNow(ctx context.Context, row db.SubscriptionChange, p *plan) error {
	params := p.params()
	params.Context = ctx
	params.PaymentBehavior = stripe.String("error_if_incomplete")
	params.SetIdempotencyKey(stripeKey(row, "update"))
	sub, err := s.Stripe.Subscriptions.Update(row.SubscriptionID, params)
	if needsAction(err) {
		if p.Scheduled {
			// Stripe lets no change wait beside a schedule. Dropped for a payment that may never be confirmed, what the customer has
			// scheduled would be lost.
			return problem.ChangePending.Errorf("the bank wants the payment to be confirmed, and that cannot wait beside the change that is " +
				"scheduled, so nothing has changed: ask for what there is now to take that one back, and then for this one again").
				Because(refusal("change subscription", err))
		}
		if err := s.release(ctx, row, p); err != nil {
			return err
		}
		waiting := p.params()
		waiting.Context = ctx
		waiting.PaymentBehavior = stripe.String("pending_if_incomplete")
		waiting.SetIdempotencyKey(stripeKey(row, "wait"))
		sub, err = s.Stripe.Subscriptions.Update(row.SubscriptionID, waiting)
	}
	if err != nil {
		return s.notMoved(ctx, row, *p, err)
	}
	if sub.LatestInvoice != nil && p.Proration == prorateNow {
		p.invoice = sub.LatestInvoice.ID
	}
	return s.release(ctx, row, p)
}

// notMoved explains why a move was refused.
func (s *Service) notMoved(ctx context.Context, row db.SubscriptionChange, p plan, err error) error {
	var e *stripe.Error
	if !settled(err) || !errors.As(err, &e) {
		return refusal("change subscription", err)
	}
	told := refusal("change subscription", err)
	switch {
	case e.HTTPStatusCode == http.StatusPaymentRequired:
		reason := string(e.DeclineCode)
		if reason == "" {
			reason = string(e.Code)
		}
		return problem.PaymentFailed.Errorf("the payment was declined (%s) and nothing has changed; use another payment method", reason).Because(told)
	case e.Param == "proration_date" || e.Param == "subscription_proration_date":
		// The period ended while the change was interrupted: plan it anew.
		if err := s.endChange(ctx, s.queries(), row, changeFailed); err != nil {
			return err
		}
		return errAgain
	case e.Param == "items[0][price]":
		return s.notOnSale(ctx, p.to.LookupKey, p.Price, told)
	case e.Code == stripe.ErrorCodeResourceMissing && e.Param == "":
		return problem.PaymentFailed.Errorf("there is no payment method to pay with and nothing has changed; add one").Because(told)
	}
	return told
}

// codeActionOfSubscription is missing in the library.
const codeActionOfSubscription stripe.ErrorCode = "subscription_payment_intent_requires_action"

// needsAction tells whether a payment waits for its owner's confirmation.
func needsAction(err error) bool {
	var e *stripe.Error
	return errors.As(err, &e) && e.HTTPStatusCode == http.StatusPaymentRequired &&
		(e.Code == codeActionOfSubscription || e.Code == stripe.ErrorCodeInvoicePaymentIntentRequiresAction)
}
