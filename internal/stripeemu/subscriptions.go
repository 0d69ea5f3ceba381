package stripeemu

import (
	"time"
)

func subscriptionOperations() map[string]operation {
	listed := list("subscription", map[string]filter{
		"customer": field("customer"), "collection_method": field("collection_method"), "status": statusIs, "price": hasPrice,
		"current_period_start": within("current_period_start"), "current_period_end": within("current_period_end"),
	})
	return map[string]operation{
		"GET /v1/subscriptions": {params: listed.params, handle: func(a *action, r *request) (object, error) {
			if r.Params["status"] == nil {
				r.Params["status"] = "" // everything that is not canceled
			}
			return listed.handle(a, r)
		}},
		"GET /v1/subscriptions/{subscription_exposed_id}": retrieve("subscription", "id"),
		"POST /v1/subscriptions/{subscription_exposed_id}": {handle: (*action).updateSubscription, params: []string{
			"cancel_at_period_end", "cancel_at", "metadata.*", "description", "default_payment_method",
			"cancellation_details.comment", "cancellation_details.feedback",
		}},
		"DELETE /v1/subscriptions/{subscription_exposed_id}": {handle: (*action).cancelSubscription, params: []string{
			"cancellation_details.comment", "cancellation_details.feedback", "invoice_now", "prorate",
		}},
	}
}

func statusIs(r *record, value any) bool {
	status := r.Object["status"]
	switch value {
	case "all":
		return true
	case "ended":
		return isEnded(r.Object)
	case "":
		return status != "canceled"
	}
	return status == value
}

func hasPrice(r *record, value any) bool {
	for _, item := range elements(child(r.Object, "items"), "data") {
		if child(item, "price")["id"] == value {
			return true
		}
	}
	return false
}

func isEnded(subscription object) bool {
	return subscription["status"] == "canceled" || subscription["status"] == "incomplete_expired"
}

// A subscriptionOrder is what a subscription is made of.
type subscriptionOrder struct {
	customer    object
	currency    string
	lines       []orderLine // recurring prices, and one-time prices for the first invoice
	metadata    object
	description any
	trialDays   int64
}

// newSubscription makes a subscription with its first, finalized invoice. It
// is incomplete until that invoice is paid; one that costs nothing is not.
func (a *action) newSubscription(order subscriptionOrder) object {
	s := a.create("subscription", newID("sub"))
	s["customer"], s["currency"], s["description"] = order.customer["id"], order.currency, order.description
	s["status"] = "incomplete"
	mergeMetadata(s, object{"metadata": order.metadata})
	var items []any
	for _, line := range order.lines {
		if child(line.price, "recurring") == nil {
			continue
		}
		item := a.create("subscription_item", newID("si"))
		item["price"], item["quantity"], item["subscription"] = clone(line.price), line.quantity, s["id"]
		items = append(items, item)
		s["current_period_end"] = periodEnd(a.at, child(line.price, "recurring"))
	}
	if order.trialDays > 0 {
		end := a.at + order.trialDays*24*60*60
		s["trial_start"], s["trial_end"], s["current_period_end"], s["billing_cycle_anchor"] = a.at, end, end, end
	}
	s["items"] = listOf("/v1/subscription_items?subscription="+text(s, "id"), items)
	a.store.save(s)
	a.bindCurrency(order.customer, order.currency)
	a.firstInvoice(s, order)
	return s
}

// bindCurrency fixes the currency of a customer's subscriptions.
func (a *action) bindCurrency(customer object, currency string) {
	if customer["currency"] == nil {
		a.change(customer, "customer.updated", func(o object) { o["currency"] = currency })
	}
}

// firstInvoice opens the invoice that starts the subscription. The order of
// the events is Stripe's: the invoice exists before the subscription is told of.
func (a *action) firstInvoice(s object, order subscriptionOrder) {
	invoice := a.newInvoice(order.customer, order.currency, "subscription_create")
	invoice["subscription"] = s["id"]
	invoice["subscription_details"] = object{"metadata": clone(s["metadata"])}
	items := elements(child(s, "items"), "data")
	for _, line := range order.lines {
		if child(line.price, "recurring") == nil {
			a.addItemLine(invoice, line)
			continue
		}
		a.addSubscriptionLine(invoice, s, items[0], line)
		items = items[1:]
	}
	s["latest_invoice"] = invoice["id"]
	a.emit("invoice.created", invoice)
	a.finalize(invoice, "Subscription creation")
	if invoice["status"] == "paid" {
		s["status"] = startedStatus(s)
	}
	a.emit("customer.subscription.created", s)
	if invoice["status"] == "paid" {
		a.emit("invoice.paid", invoice)
		a.emit("invoice.payment_succeeded", invoice)
	}
}

func startedStatus(s object) string {
	if s["trial_end"] != nil {
		return "trialing"
	}
	return "active"
}

// activate starts a subscription whose first invoice is paid.
func (a *action) activate(s object) {
	a.change(s, "customer.subscription.updated", func(o object) { o["status"] = startedStatus(o) })
}

func (a *action) updateSubscription(r *request) (object, error) {
	s, err := a.lookUp("subscription", "id", r.id())
	if err != nil {
		return nil, err
	}
	if isEnded(s) {
		return nil, invalid("", "A canceled subscription can only update its cancellation_details and metadata.")
	}
	if id := text(r.Params, "default_payment_method"); id != "" {
		if _, err := a.named("payment_method", "default_payment_method", id); err != nil {
			return nil, err
		}
	}
	a.change(s, "customer.subscription.updated", func(o object) {
		assign(o, r.Params, "description", "default_payment_method")
		mergeMetadata(o, r.Params)
		assign(child(o, "cancellation_details"), child(r.Params, "cancellation_details"), "comment", "feedback")
		a.scheduleCancel(o, r.Params)
	})
	return s, nil
}

// scheduleCancel sets or lifts the end that is to come.
func (a *action) scheduleCancel(s, params object) {
	var at any
	switch {
	case params["cancel_at_period_end"] != nil:
		s["cancel_at_period_end"] = params["cancel_at_period_end"]
		if flag(s, "cancel_at_period_end") {
			at = s["current_period_end"]
		}
	case params["cancel_at"] != nil:
		s["cancel_at_period_end"] = false
		if given, ok := params["cancel_at"].(int64); ok {
			at = given
		}
	default:
		return
	}
	s["cancel_at"], s["canceled_at"] = at, nil
	child(s, "cancellation_details")["reason"] = nil
	if at != nil {
		s["canceled_at"] = a.at
		child(s, "cancellation_details")["reason"] = "cancellation_requested"
	}
}

func (a *action) cancelSubscription(r *request) (object, error) {
	if flag(r.Params, "invoice_now") || flag(r.Params, "prorate") {
		return nil, notEmulated("invoice_now and prorate on a cancellation")
	}
	s, err := a.lookUp("subscription", "id", r.id())
	if err != nil {
		return nil, err
	}
	if isEnded(s) {
		return nil, missing("subscription", "id", r.id())
	}
	assign(child(s, "cancellation_details"), child(r.Params, "cancellation_details"), "comment", "feedback")
	a.endSubscription(s, "cancellation_requested")
	return s, nil
}

// endSubscription cancels at once.
func (a *action) endSubscription(s object, reason string) {
	s["status"], s["ended_at"] = "canceled", a.at
	if s["canceled_at"] == nil {
		s["canceled_at"] = a.at
	}
	child(s, "cancellation_details")["reason"] = orNil(reason)
	a.emit("customer.subscription.deleted", s)
}

// endDueSubscriptions ends what was to end by now.
func (a *action) endDueSubscriptions() {
	for _, r := range a.store.all("subscription") {
		at := number(r.Object, "cancel_at")
		if at > 0 && at <= a.at && !isEnded(r.Object) && !r.scripted() {
			a.endSubscription(r.Object, text(child(r.Object, "cancellation_details"), "reason"))
		}
	}
}

// abandonSubscription ends one that was never paid for.
func (a *action) abandonSubscription(s object) {
	if s["status"] != "incomplete" {
		return
	}
	a.voidInvoice(a.store.get("invoice", text(s, "latest_invoice")))
	a.change(s, "customer.subscription.updated", func(o object) {
		o["status"], o["ended_at"] = "incomplete_expired", a.at
	})
}

// periodEnd is one interval after start. A month that lacks the day ends on
// its last one.
func periodEnd(start int64, recurring object) int64 {
	t := time.Unix(start, 0).UTC()
	count := int(max(number(recurring, "interval_count"), 1))
	switch text(recurring, "interval") {
	case "day":
		return t.AddDate(0, 0, count).Unix()
	case "week":
		return t.AddDate(0, 0, 7*count).Unix()
	case "year":
		count *= 12
	}
	first := time.Date(t.Year(), t.Month()+time.Month(count), 1, t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
	lastDay := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(t.Day(), lastDay)-1).Unix()
}
