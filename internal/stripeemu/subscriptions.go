package stripeemu

import (
	"slices"
	"time"

	"example.com/saaskit/internal/stripecontract"
)

// incompleteTime is how long the first invoice of a subscription may wait.
const incompleteTime = 23 * 60 * 60

func subscriptionOperations() map[string]operation {
	listed := offClock(list("subscription", map[string]filter{
		"customer": field("customer"), "collection_method": field("collection_method"), "status": statusIs, "price": hasPrice,
		"current_period_start": within("current_period_start"), "current_period_end": within("current_period_end"),
		"test_clock": field("test_clock"),
	}), "customer")
	common := []string{
		"cancel_at_period_end", "cancel_at", "metadata.*", "description", "default_payment_method", "items.price", "items.quantity",
		"items.metadata.*", "proration_behavior", "payment_behavior", "trial_end", "coupon", "promotion_code", "off_session",
		"trial_settings.*", "payment_settings.save_default_payment_method", "payment_settings.payment_method_types",
		"collection_method", "automatic_tax.enabled",
	}
	return map[string]operation{
		"GET /v1/subscriptions": {params: listed.params, handle: func(a *action, r *request) (object, error) {
			if r.Params["status"] == nil {
				r.Params["status"] = "" // everything that is not canceled
			}
			return listed.handle(a, r)
		}},
		"POST /v1/subscriptions": {handle: (*action).createSubscription, params: joined(common, []string{
			"customer", "currency", "trial_period_days",
		})},
		"GET /v1/subscriptions/{subscription_exposed_id}": retrieve("subscription", "id"),
		"POST /v1/subscriptions/{subscription_exposed_id}": {handle: (*action).updateSubscription, params: joined(common, []string{
			"cancellation_details.comment", "cancellation_details.feedback", "items.id", "items.deleted", "items.clear_usage",
			"proration_date", "billing_cycle_anchor", "pause_collection.*",
		})},
		"DELETE /v1/subscriptions/{subscription_exposed_id}": {handle: (*action).cancelSubscription, params: []string{
			"cancellation_details.comment", "cancellation_details.feedback", "invoice_now", "prorate",
		}},
		"POST /v1/subscriptions/{subscription}/resume": {handle: (*action).resumeSubscription,
			params: []string{"billing_cycle_anchor", "proration_behavior"}},
		"DELETE /v1/subscriptions/{subscription_exposed_id}/discount": {handle: (*action).deleteSubscriptionDiscount},
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
	return slices.ContainsFunc(itemsOf(r.Object), func(item object) bool { return child(item, "price")["id"] == value })
}

func itemsOf(s object) []object { return elements(child(s, "items"), "data") }

func isEnded(subscription object) bool {
	return subscription["status"] == "canceled" || subscription["status"] == "incomplete_expired"
}

// A subscriptionOrder is what a subscription is made of.
type subscriptionOrder struct {
	customer object
	currency string
	lines    []orderLine // recurring prices, and one-time prices for the first invoice
	trialEnd int64
	discount *redemption
	settings object // fields of the subscription that are set as given
	tax      bool
}

// newSubscription makes a subscription with its first, finalized invoice. It
// is incomplete until that invoice is paid; one that costs nothing is not.
func (a *action) newSubscription(order subscriptionOrder) object {
	s := a.create("subscription", newID("sub"))
	s["customer"], s["currency"], s["test_clock"] = order.customer["id"], order.currency, order.customer["test_clock"]
	s["status"] = "incomplete"
	assign(s, order.settings, "description", "default_payment_method", "trial_settings", "payment_settings")
	mergeMetadata(s, order.settings)
	if order.tax {
		s["automatic_tax"] = automaticTax(true)
	}
	var items []any
	for _, line := range order.lines {
		if child(line.price, "recurring") != nil {
			items = append(items, a.newSubscriptionItem(s, line))
		}
	}
	s["items"] = listOf("/v1/subscription_items?subscription="+text(s, "id"), items)
	s["current_period_end"] = periodEnd(a.at, rhythmOf(s))
	if order.trialEnd > a.at {
		s["trial_start"], s["trial_end"], s["current_period_end"], s["billing_cycle_anchor"] = a.at, order.trialEnd, order.trialEnd, order.trialEnd
	}
	a.store.save(s)
	a.bindCurrency(order.customer, order.currency)
	if order.discount != nil {
		a.discountSubscription(s, *order.discount)
	}
	a.scheduleCancel(s, order.settings)
	a.firstInvoice(s, order)
	return s
}

func automaticTax(enabled bool) object {
	if !enabled {
		return object{"enabled": false, "liability": nil}
	}
	return object{"enabled": true, "liability": object{"type": "self"}}
}

func (a *action) newSubscriptionItem(s object, line orderLine) object {
	item := a.create("subscription_item", newID("si"))
	item["price"], item["quantity"], item["subscription"] = clone(line.price), line.quantity, s["id"]
	item["created"] = a.at
	mergeMetadata(item, object{"metadata": line.metadata})
	return item
}

// rhythmOf is the interval of a subscription; all of its items share it.
func rhythmOf(s object) object {
	return child(child(itemsOf(s)[0], "price"), "recurring")
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
	a.belongTo(invoice, s)
	items := itemsOf(s)
	for _, line := range order.lines {
		if child(line.price, "recurring") == nil {
			a.addItemLine(invoice, line)
			continue
		}
		a.addSubscriptionLine(invoice, s, items[0], line, periodOf(s), s["trial_end"] != nil)
		items = items[1:]
	}
	a.emit("invoice.created", invoice)
	a.finalize(invoice, "Subscription creation")
	if invoice["status"] == "paid" {
		s["status"] = a.startedStatus(s)
	}
	a.emit("customer.subscription.created", s)
	if invoice["status"] == "paid" {
		a.emit("invoice.paid", invoice)
		a.emit("invoice.payment_succeeded", invoice)
	}
}

func (a *action) startedStatus(s object) string {
	if number(s, "trial_end") > a.at {
		return "trialing"
	}
	return "active"
}

// itemLines reads the parameter "items" of a new subscription.
func (a *action) itemLines(params object, currency string) ([]orderLine, string, error) {
	given := elements(params, "items")
	if len(given) == 0 {
		return nil, "", stripecontract.Invalid("parameter_missing", "items", "Missing required param: items.")
	}
	var lines []orderLine
	interval := ""
	for index, item := range given {
		param := indexed("items", index, "price")
		price, err := a.recurringPrice(param, text(item, "price"), &currency)
		if err != nil {
			return nil, "", err
		}
		if interval != "" && interval != intervalOf(price) {
			return nil, "", mixedIntervals(param)
		}
		if slices.ContainsFunc(lines, func(l orderLine) bool { return l.price["id"] == price["id"] }) {
			return nil, "", invalid(param, "Cannot add multiple subscription items with the same price.")
		}
		interval = intervalOf(price)
		quantity, ok := item["quantity"].(int64)
		if !ok {
			quantity = 1
		}
		unit, _ := a.amountIn(price, currency)
		line := orderLine{price: price, quantity: quantity, unit: unit, metadata: item["metadata"]}
		if line.amount() > maxAmount {
			return nil, "", coded("amount_too_large", indexed("items", index, "quantity"), "Amount must be no more than %s", money(maxAmount, currency))
		}
		lines = append(lines, line)
	}
	return lines, currency, nil
}

func mixedIntervals(param string) error {
	return invalid(param, "All prices on a subscription must have the same `recurring.interval` and `recurring.interval_count`.")
}

// recurringPrice finds an active recurring price that is offered in a currency.
// Where there is no currency yet, it is the price's.
func (a *action) recurringPrice(param, id string, currency *string) (object, error) {
	price, err := a.named("price", param, id)
	if err != nil {
		return nil, err
	}
	if !flag(price, "active") {
		return nil, invalid(param, "The price specified is inactive. This field only accepts active prices.")
	}
	if price["recurring"] == nil {
		return nil, invalid(param, "The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`.")
	}
	if *currency == "" {
		*currency = text(price, "currency")
	}
	if _, offered := a.amountIn(price, *currency); !offered {
		return nil, invalid(param, "The price specified does not support the currency `%s`.", *currency)
	}
	return price, nil
}

func (a *action) createSubscription(r *request) (object, error) {
	if method := r.Params["collection_method"]; method != nil && method != "charge_automatically" {
		return nil, notEmulated("collection_method=send_invoice")
	}
	if r.Params["payment_behavior"] == "error_if_incomplete" {
		var err error
		a.rehearse(func(b *action) { _, err = b.startSubscription(r.Params) })
		if err != nil {
			return nil, err
		}
	}
	return a.startSubscription(r.Params)
}

func (a *action) subscriptionOrder(params object) (subscriptionOrder, error) {
	var order subscriptionOrder
	customer, err := a.named("customer", "customer", text(params, "customer"))
	if err != nil {
		return order, err
	}
	lines, currency, err := a.itemLines(params, text(params, "currency"))
	if err != nil {
		return order, err
	}
	if bound := text(customer, "currency"); bound != "" && bound != currency {
		return order, invalid("currency", "You cannot combine currencies on a single customer. This customer has had a subscription in %s.", bound)
	}
	if id := text(params, "default_payment_method"); id != "" {
		if _, err := a.ownPaymentMethod(text(customer, "id"), "default_payment_method", id); err != nil {
			return order, err
		}
	}
	order = subscriptionOrder{customer: customer, currency: currency, lines: lines, settings: clone(params),
		tax: flag(child(params, "automatic_tax"), "enabled")}
	if order.trialEnd, err = a.trialEnd(params); err != nil {
		return order, err
	}
	if err := a.cancelAtFits(order.asPlanned(a.at), params, text(params, "proration_behavior")); err != nil {
		return order, err
	}
	order.settings["payment_settings"] = paymentSettings(child(params, "payment_settings"))
	if params["trial_settings"] == nil {
		delete(order.settings, "trial_settings")
	}
	if order.discount, err = a.redemptionOf(params, customer); err != nil {
		return order, err
	}
	return order, fitsOrder(order.discount, dueNow(lines, false), currency)
}

func paymentSettings(given object) object {
	settings := object{"payment_method_options": nil, "payment_method_types": nil, "save_default_payment_method": "off"}
	assign(settings, given, "payment_method_types", "save_default_payment_method")
	return settings
}

func (a *action) trialEnd(params object) (int64, error) {
	days := number(params, "trial_period_days")
	if days < 0 || days > maxTrial/day {
		return 0, invalid("trial_period_days", "A trial has between 0 and %d days.", maxTrial/day)
	}
	if days > 0 {
		return a.at + days*day, nil
	}
	end, given := params["trial_end"].(int64)
	if !given {
		return 0, nil
	}
	return end, a.trialFits(end)
}

func (a *action) trialFits(end int64) error {
	switch {
	case end <= a.at:
		return invalid("trial_end", "The `trial_end` timestamp must be in the future.")
	case end > a.at+maxTrial:
		return invalid("trial_end", "The `trial_end` timestamp may be up to %d days ahead.", maxTrial/day)
	}
	return nil
}

// startSubscription makes the subscription and lets its first invoice be paid
// as payment_behavior says.
func (a *action) startSubscription(params object) (object, error) {
	order, err := a.subscriptionOrder(params)
	if err != nil {
		return nil, err
	}
	behavior := text(params, "payment_behavior")
	if behavior != "default_incomplete" && order.trialEnd == 0 {
		if err := a.needsMethod(order); err != nil {
			return nil, err
		}
	}
	s := a.newSubscription(order)
	invoice := a.store.get("invoice", text(s, "latest_invoice"))
	if invoice["status"] != "open" {
		if behavior == "default_incomplete" && a.methodToCharge(invoice) == nil {
			a.awaitSetup(s)
		}
		return s, nil
	}
	if behavior == "default_incomplete" {
		return s, nil
	}
	how := onSession
	if flag(params, "off_session") {
		how = byHand
	}
	refused := a.payInvoice(invoice, payment{method: a.methodToCharge(invoice), how: how})
	if refused != nil && behavior == "error_if_incomplete" {
		return nil, refused.asError(nil)
	}
	return s, nil
}

func (a *action) needsMethod(order subscriptionOrder) error {
	due := dueNow(order.lines, false)
	method := text(order.settings, "default_payment_method") + text(child(order.customer, "invoice_settings"), "default_payment_method")
	if due > 0 && method == "" {
		return coded("resource_missing", "", "This customer has no attached payment source or default payment method. "+
			"Please consider adding a default payment method.")
	}
	return nil
}

// awaitSetup gives a subscription that costs nothing yet the setup intent with
// which its customer can leave a card.
func (a *action) awaitSetup(s object) {
	intent := a.newSetupIntent(a.store.get("customer", text(s, "customer")))
	a.emit("setup_intent.created", intent)
	s["pending_setup_intent"] = intent["id"]
}

// subscriptionPaid lets a subscription go on whose invoice has been paid.
func (a *action) subscriptionPaid(i object) {
	s := a.subscriptionOf(i)
	if s == nil {
		return
	}
	if flag(a.store.get("customer", text(i, "customer")), "delinquent") {
		a.setDelinquent(i, false)
	}
	if s["latest_invoice"] != i["id"] || isEnded(s) {
		return
	}
	a.keepDefault(s, i)
	switch {
	case s["pending_update"] != nil:
		a.applyPendingUpdate(s)
	case s["status"] == "paused":
		a.resume(s)
	case s["status"] == "incomplete", s["status"] == "past_due", s["status"] == "unpaid":
		a.setStatus(s, a.startedStatus(s))
	}
}

// keepDefault keeps the card that has paid a first invoice, and makes it the
// subscription's own where Checkout or save_default_payment_method asks for it.
func (a *action) keepDefault(s, i object) {
	intent := a.store.find("payment_intent", text(i, "payment_intent"))
	if intent == nil || intent.Object["payment_method"] == nil || i["paid_out_of_band"] == true {
		return
	}
	method := a.store.get("payment_method", text(intent.Object, "payment_method"))
	if method["customer"] == nil {
		a.attach(method, a.store.get("customer", text(i, "customer")))
		a.store.lookUp(text(method, "id")).Private["set_up"] = true
	}
	own := a.store.lookUp(text(s, "id"))
	if flag(own.Private, "keeps_card") || child(s, "payment_settings")["save_default_payment_method"] == "on_subscription" {
		s["default_payment_method"] = method["id"]
	}
}

// subscriptionVoided lets a subscription go on without the invoice.
func (a *action) subscriptionVoided(i object) {
	s := a.subscriptionOf(i)
	if s == nil || s["latest_invoice"] != i["id"] || isEnded(s) {
		return
	}
	switch {
	case s["pending_update"] != nil:
		a.change(s, "customer.subscription.updated", func(o object) { o["pending_update"] = nil })
	case s["status"] == "incomplete":
		a.expireSubscription(s)
	case s["status"] == "past_due":
		a.setStatus(s, "active")
	}
}

// abandonSubscription ends one that was never paid for.
func (a *action) abandonSubscription(s object) {
	if s["status"] != "incomplete" {
		return
	}
	a.voidInvoice(a.store.get("invoice", text(s, "latest_invoice")))
	a.expireSubscription(s)
}

func (a *action) expireSubscription(s object) {
	a.change(s, "customer.subscription.updated", func(o object) {
		o["status"], o["ended_at"] = "incomplete_expired", a.at
	})
}

// periodEnd is one interval after start. A month that lacks the day ends on
// its last one.
func periodEnd(start int64, recurring object) int64 {
	return intervalsAfter(start, recurring, 1)
}

// intervalsAfter is some intervals after start, counted from it, so that the
// day of the month comes back after a short month.
func intervalsAfter(start int64, recurring object, intervals int) int64 {
	t := time.Unix(start, 0).UTC()
	count := intervals * int(max(number(recurring, "interval_count"), 1))
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

// nextEnd is the end of the period that begins at start, in the rhythm that
// the billing cycle's anchor gives.
func nextEnd(s object, start int64) int64 {
	anchor, recurring := number(s, "billing_cycle_anchor"), rhythmOf(s)
	if anchor > start {
		return anchor
	}
	for intervals := 1; ; intervals++ {
		if end := intervalsAfter(anchor, recurring, intervals); end > start {
			return end
		}
	}
}
