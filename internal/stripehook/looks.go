package stripehook

import (
	"context"
	"maps"
	"slices"
)

// A look is what one event type asks for: the kind of object to fetch again. Without a moment an event is pure state, so any
// later look at its object covers it.
type look struct {
	kind string
	// moment is an effect of the event itself, such as a message about a failed payment. It judges the stored row, for what
	// the event tells may be over.
	moment func(ctx context.Context, t *settling) error
	// gone says that the object has been deleted: not finding it is what the event expects.
	gone bool
	// preview says that the object has no id yet and cannot be fetched.
	preview bool
}

// looks is the dispatcher, and the list to register at Stripe. Types are strings because the library knows only those of its
// own time.
var looks = map[string]look{
	"checkout.session.completed":               {kind: kindSession, moment: nothingMore},
	"checkout.session.async_payment_succeeded": {kind: kindSession, moment: nothingMore},
	"checkout.session.async_payment_failed":    {kind: kindSession, moment: sessionPaymentFailed},
	"checkout.session.expired":                 {kind: kindSession, moment: nothingMore},

	"customer.created": {kind: kindCustomer},
	"customer.updated": {kind: kindCustomer},
	"customer.deleted": {kind: kindCustomer, gone: true},

	"customer.subscription.created":                {kind: kindSubscription},
	"customer.subscription.updated":                {kind: kindSubscription},
	"customer.subscription.deleted":                {kind: kindSubscription, gone: true},
	"customer.subscription.paused":                 {kind: kindSubscription},
	"customer.subscription.resumed":                {kind: kindSubscription},
	"customer.subscription.pending_update_applied": {kind: kindSubscription},
	"customer.subscription.pending_update_expired": {kind: kindSubscription},
	"customer.subscription.trial_will_end":         {kind: kindSubscription, moment: trialWillEnd},

	"invoice.created":                  {kind: kindInvoice},
	"invoice.updated":                  {kind: kindInvoice},
	"invoice.finalized":                {kind: kindInvoice},
	"invoice.finalization_failed":      {kind: kindInvoice, moment: finalizationFailed},
	"invoice.sent":                     {kind: kindInvoice},
	"invoice.paid":                     {kind: kindInvoice},
	"invoice.payment_succeeded":        {kind: kindInvoice},
	"invoice.payment_failed":           {kind: kindInvoice, moment: paymentFailed},
	"invoice.payment_action_required":  {kind: kindInvoice, moment: paymentActionRequired},
	"invoice.payment_attempt_required": {kind: kindInvoice},
	"invoice.overdue":                  {kind: kindInvoice},
	"invoice.overpaid":                 {kind: kindInvoice},
	"invoice.will_be_due":              {kind: kindInvoice},
	"invoice.marked_uncollectible":     {kind: kindInvoice},
	"invoice.voided":                   {kind: kindInvoice},
	"invoice.deleted":                  {kind: kindInvoice, gone: true},
	"invoice.upcoming":                 {kind: kindInvoice, preview: true},

	"payment_intent.created":                   {kind: kindPaymentIntent},
	"payment_intent.processing":                {kind: kindPaymentIntent},
	"payment_intent.requires_action":           {kind: kindPaymentIntent},
	"payment_intent.amount_capturable_updated": {kind: kindPaymentIntent},
	"payment_intent.partially_funded":          {kind: kindPaymentIntent},
	"payment_intent.succeeded":                 {kind: kindPaymentIntent},
	"payment_intent.payment_failed":            {kind: kindPaymentIntent},
	"payment_intent.canceled":                  {kind: kindPaymentIntent},

	"charge.succeeded": {kind: kindCharge},

	"product.created": {kind: kindProduct},
	"product.updated": {kind: kindProduct},
	"product.deleted": {kind: kindProduct, gone: true},
	"price.created":   {kind: kindPrice},
	"price.updated":   {kind: kindPrice},
	"price.deleted":   {kind: kindPrice, gone: true},
}

// EventTypes lists the events to ask Stripe for when the endpoint is set up.
func EventTypes() []string { return slices.Sorted(maps.Keys(looks)) }

// coverable are the types whose events a later look at their object finishes along with its own.
func coverable() []string {
	var types []string
	for name, l := range looks {
		if l.moment == nil && !l.gone && !l.preview {
			types = append(types, name)
		}
	}
	return types
}

// nothingMore is the moment of a session's events: what a session leads to is looked at by its own job, never along with
// another look at the session.
func nothingMore(context.Context, *settling) error { return nil }
