package stripehook

import (
	"context"
	"slices"
	"strings"
)

// A look is what one event type asks for: the kind of object to fetch again. Without a moment an event is pure state, so any
// later look at its object covers it.
type look struct {
	kind string // of the object that the event is about
	// root is what is looked at, and via the field of the event's object that leads there; without them it is the object itself.
	// One fence is one root: refunds and disputes are listed with their charge, a schedule is what its subscription will do.
	root, via string
	// moment is an effect of the event itself, such as a message about a failed payment. It judges the stored row, for what
	// the event tells may be over.
	moment func(ctx context.Context, t *settling) error
	// gone says that the object has been deleted: not finding it is what the event expects.
	gone bool
	// later is a type that the version we pin does not have: an endpoint of that version cannot be asked to send it, one of a
	// later version may.
	later bool
}

// rootKind is the kind of what is looked at.
func (l look) rootKind() string {
	if l.root != "" {
		return l.root
	}
	return l.kind
}

// rootOf is the id of what is looked at; empty where the object leads nowhere.
func (l look) rootOf(e envelope) string {
	if l.via != "" {
		return string(e.Refs[l.via])
	}
	return e.ObjectID
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

	"subscription_schedule.created":   {kind: kindSchedule, root: kindSubscription, via: "subscription"},
	"subscription_schedule.updated":   {kind: kindSchedule, root: kindSubscription, via: "subscription"},
	"subscription_schedule.released":  {kind: kindSchedule, root: kindSubscription, via: "subscription"},
	"subscription_schedule.canceled":  {kind: kindSchedule, root: kindSubscription, via: "subscription"},
	"subscription_schedule.completed": {kind: kindSchedule, root: kindSubscription, via: "subscription"},
	"subscription_schedule.aborted":   {kind: kindSchedule, root: kindSubscription, via: "subscription"},
	"subscription_schedule.expiring":  {kind: kindSchedule, root: kindSubscription, via: "subscription"},

	"invoice.created":                  {kind: kindInvoice},
	"invoice.updated":                  {kind: kindInvoice},
	"invoice.finalized":                {kind: kindInvoice},
	"invoice.finalization_failed":      {kind: kindInvoice, moment: finalizationFailed},
	"invoice.sent":                     {kind: kindInvoice},
	"invoice.paid":                     {kind: kindInvoice},
	"invoice.payment_succeeded":        {kind: kindInvoice},
	"invoice.payment_failed":           {kind: kindInvoice, moment: paymentFailed},
	"invoice.payment_action_required":  {kind: kindInvoice, moment: paymentActionRequired},
	"invoice.payment_attempt_required": {kind: kindInvoice, later: true},
	"invoice.overdue":                  {kind: kindInvoice, later: true},
	"invoice.overpaid":                 {kind: kindInvoice, later: true},
	"invoice.will_be_due":              {kind: kindInvoice, later: true},
	"invoice.marked_uncollectible":     {kind: kindInvoice},
	"invoice.voided":                   {kind: kindInvoice},
	"invoice.deleted":                  {kind: kindInvoice, gone: true},
	// A preview, which has no id and cannot be fetched.
	"invoice.upcoming":     {kind: kindInvoice, root: kindSubscription, via: "subscription", moment: renewalUpcoming},
	"invoice_payment.paid": {kind: "invoice_payment", root: kindInvoice, via: "invoice", later: true},
	"credit_note.created":  {kind: kindCreditNote, root: kindInvoice, via: "invoice"},
	"credit_note.updated":  {kind: kindCreditNote, root: kindInvoice, via: "invoice"},
	"credit_note.voided":   {kind: kindCreditNote, root: kindInvoice, via: "invoice"},

	"payment_intent.created":                   {kind: kindPaymentIntent},
	"payment_intent.processing":                {kind: kindPaymentIntent},
	"payment_intent.requires_action":           {kind: kindPaymentIntent},
	"payment_intent.amount_capturable_updated": {kind: kindPaymentIntent},
	"payment_intent.partially_funded":          {kind: kindPaymentIntent},
	"payment_intent.succeeded":                 {kind: kindPaymentIntent},
	"payment_intent.payment_failed":            {kind: kindPaymentIntent},
	"payment_intent.canceled":                  {kind: kindPaymentIntent},

	"charge.succeeded":                {kind: kindCharge},
	"charge.failed":                   {kind: kindCharge},
	"charge.pending":                  {kind: kindCharge},
	"charge.captured":                 {kind: kindCharge},
	"charge.updated":                  {kind: kindCharge},
	"charge.expired":                  {kind: kindCharge},
	"charge.refunded":                 {kind: kindCharge},
	"charge.refund.updated":           {kind: kindRefund, root: kindCharge, via: "charge"},
	"refund.created":                  {kind: kindRefund, root: kindCharge, via: "charge"},
	"refund.updated":                  {kind: kindRefund, root: kindCharge, via: "charge"},
	"refund.failed":                   {kind: kindRefund, root: kindCharge, via: "charge", later: true},
	"charge.dispute.created":          {kind: kindDispute, root: kindCharge, via: "charge", moment: disputeOpened},
	"charge.dispute.updated":          {kind: kindDispute, root: kindCharge, via: "charge"},
	"charge.dispute.closed":           {kind: kindDispute, root: kindCharge, via: "charge"},
	"charge.dispute.funds_withdrawn":  {kind: kindDispute, root: kindCharge, via: "charge"},
	"charge.dispute.funds_reinstated": {kind: kindDispute, root: kindCharge, via: "charge"},

	"radar.early_fraud_warning.created": {kind: "radar.early_fraud_warning", root: kindCharge, via: "charge", moment: fraudSuspected},
	"radar.early_fraud_warning.updated": {kind: "radar.early_fraud_warning", root: kindCharge, via: "charge"},
	"review.opened":                     {kind: "review", root: kindCharge, via: "charge", moment: fraudSuspected},
	"review.closed":                     {kind: "review", root: kindCharge, via: "charge"},

	"payment_method.attached":              {kind: kindPaymentMethod},
	"payment_method.updated":               {kind: kindPaymentMethod},
	"payment_method.automatically_updated": {kind: kindPaymentMethod},
	"payment_method.detached":              {kind: kindPaymentMethod},
	"mandate.updated":                      {kind: "mandate", root: kindPaymentMethod, via: "payment_method"},
	"setup_intent.succeeded":               {kind: kindSetupIntent, moment: nothingMore},
	"setup_intent.setup_failed":            {kind: kindSetupIntent, moment: nothingMore},

	"product.created": {kind: kindProduct},
	"product.updated": {kind: kindProduct},
	"product.deleted": {kind: kindProduct, gone: true},
	"price.created":   {kind: kindPrice},
	"price.updated":   {kind: kindPrice},
	"price.deleted":   {kind: kindPrice, gone: true},
}

// notKept are families of types that we know and keep nothing of: what they change is read with the invoice that it changes, or
// is no business of ours. They are not asked for, and an endpoint that sends them does no harm.
var notKept = []string{
	"account.", "balance.", "capability.", "coupon.", "customer.discount.", "customer.source.", "customer.tax_id.", "entitlements.",
	"invoiceitem.", "payout.", "person.", "plan.", "promotion_code.", "tax_rate.", "test_helpers.", "topup.", "transfer.",
}

// isNotKept tells whether a type is of one of these families.
func isNotKept(eventType string) bool {
	return slices.ContainsFunc(notKept, func(family string) bool { return strings.HasPrefix(eventType, family) })
}

// EventTypes lists the events to ask Stripe for when the endpoint is set up.
func EventTypes() []string {
	var types []string
	for name, l := range looks {
		if !l.later {
			types = append(types, name)
		}
	}
	slices.Sort(types)
	return types
}

// coverable are the types whose events a later look at their object finishes along with its own.
func coverable() []string {
	var types []string
	for name, l := range looks {
		if l.moment == nil && !l.gone {
			types = append(types, name)
		}
	}
	return types
}

// nothingMore is the moment of a session's events and a setup intent's: what such an object leads to is looked at by its own job, never along with
// another look at the object.
func nothingMore(context.Context, *settling) error { return nil }
