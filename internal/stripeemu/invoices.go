package stripeemu

import (
	"fmt"
)

// draftTime is how long an invoice that Stripe makes by itself stays a draft.
const draftTime = 60 * 60

func invoiceOperations() map[string]operation {
	editable := []string{"description", "metadata.*", "auto_advance", "default_payment_method", "discounts.coupon", "footer"}
	return map[string]operation{
		"GET /v1/invoices": list("invoice", map[string]filter{
			"customer": field("customer"), "subscription": field("subscription"), "status": field("status"),
			"collection_method": field("collection_method"),
		}),
		"POST /v1/invoices": {handle: (*action).createInvoice, params: joined(editable, []string{
			"customer", "subscription", "currency", "pending_invoice_items_behavior", "collection_method",
		})},
		"GET /v1/invoices/{invoice}":    retrieve("invoice", "invoice"),
		"POST /v1/invoices/{invoice}":   {handle: (*action).updateInvoice, params: editable},
		"DELETE /v1/invoices/{invoice}": {handle: (*action).deleteInvoice},
		"GET /v1/invoices/{invoice}/lines": listEmbedded("invoice", "invoice",
			func(r *record) object { return child(r.Object, "lines") }),
		"POST /v1/invoices/{invoice}/finalize": {handle: (*action).finalizeInvoice, params: []string{"auto_advance"}},
		"POST /v1/invoices/{invoice}/pay": {handle: (*action).payNow,
			params: []string{"payment_method", "paid_out_of_band", "off_session"}},
		"POST /v1/invoices/{invoice}/void":               {handle: (*action).voidNow},
		"POST /v1/invoices/{invoice}/mark_uncollectible": {handle: (*action).markUncollectible},
		"POST /v1/invoices/{invoice}/send":               {handle: (*action).sendInvoice},
	}
}

// invoiceRules move an invoice on that nobody touches.
func invoiceRules() []rule {
	return []rule{
		{objectType: "invoice", due: finalizationDue, happen: (*action).finalizeDue},
		{objectType: "invoice", due: collectionDue, happen: func(a *action, r *record) { a.collect(r.Object) }},
	}
}

func finalizationDue(_ *action, r *record) int64 {
	if r.Object["status"] != "draft" || !flag(r.Object, "auto_advance") {
		return 0
	}
	return number(r.Private, "finalize_at")
}

func collectionDue(_ *action, r *record) int64 {
	if r.Object["status"] != "open" {
		return 0
	}
	return number(r.Object, "next_payment_attempt")
}

// newInvoice makes an empty draft. Its creator fills it and emits
// invoice.created.
func (a *action) newInvoice(customer object, currency, reason string) object {
	i := a.create("invoice", newID("in"))
	i["customer"], i["currency"], i["billing_reason"] = customer["id"], currency, reason
	for _, field := range []string{"email", "name", "phone", "address", "shipping"} {
		i["customer_"+field] = customer[field]
	}
	i["account_name"], i["test_clock"] = "Emulated account", customer["test_clock"]
	i["lines"] = listOf("/v1/invoices/"+text(i, "id")+"/lines", []any{})
	a.store.save(i)
	a.setTotals(i)
	return i
}

// finalizeLater lets a draft move on by itself.
func (a *action) finalizeLater(i object) {
	i["auto_advance"], i["next_payment_attempt"] = true, a.at+draftTime
	a.store.lookUp(text(i, "id")).Private["finalize_at"] = a.at + draftTime
}

func (a *action) finalizeDue(r *record) {
	i := r.Object
	i["next_payment_attempt"] = nil
	i["webhooks_delivered_at"] = a.at - draftTime
	a.finalizeLate(i, "Subscription update")
	if a.setAsidePaused(i) {
		return
	}
	if i["status"] == "paid" {
		a.tellPaid(i)
		return
	}
	a.collect(i)
}

// setAsidePaused ends an invoice of a subscription whose collection is paused.
func (a *action) setAsidePaused(i object) bool {
	s := a.subscriptionOf(i)
	if s == nil || i["status"] != "open" {
		return false
	}
	switch child(s, "pause_collection")["behavior"] {
	case "void":
		a.voidInvoice(i)
	case "mark_uncollectible":
		a.writeOff(i)
	default:
		return false
	}
	return true
}

// finalizeUnlessKept finalizes an invoice of a change, except where the pause of
// its subscription keeps it as a draft.
func (a *action) finalizeUnlessKept(i, s object) {
	if child(s, "pause_collection")["behavior"] == "keep_as_draft" {
		i["auto_advance"], i["next_payment_attempt"] = false, nil
		return
	}
	a.finalize(i, "Subscription update")
}

func (a *action) subscriptionOf(i object) object {
	if s := a.store.find("subscription", text(i, "subscription")); s != nil {
		return s.Object
	}
	return nil
}

// numberInvoice gives an invoice its number and opens it.
func (a *action) numberInvoice(i object) {
	customer := a.store.get("customer", text(i, "customer"))
	sequence := number(customer, "next_invoice_sequence")
	i["number"] = fmt.Sprintf("%s-%04d", text(customer, "invoice_prefix"), sequence)
	customer["next_invoice_sequence"] = sequence + 1
	i["status"], i["effective_at"] = "open", a.at
	i["hosted_invoice_url"] = a.base + "/invoice/" + text(i, "id")
	i["invoice_pdf"] = a.base + "/invoice/" + text(i, "id") + "/pdf"
	child(i, "status_transitions")["finalized_at"] = a.at
	a.useBalance(i)
}

// finalize numbers the invoice and opens it for payment. One over nothing is
// paid by that; its caller emits the events of the payment.
func (a *action) finalize(i object, description string) {
	a.dropSpent(i)
	a.setTotals(i)
	a.redeemDiscounts(i)
	a.numberInvoice(i)
	i["auto_advance"] = true
	if number(i, "amount_due") == 0 {
		a.emit("invoice.finalized", i)
		a.settleInvoice(i)
		return
	}
	customer := a.store.get("customer", text(i, "customer"))
	intent := a.newIntent(number(i, "amount_due"), text(i, "currency"), customer)
	intent["invoice"], intent["description"] = i["id"], description
	if i["subscription"] != nil {
		intent["setup_future_usage"] = "off_session"
	}
	i["payment_intent"] = intent["id"]
	a.emit("invoice.finalized", i)
	a.emit("payment_intent.created", intent)
}

// finalizeLate finalizes an invoice long after its change of the subscription
// was told, so that what it uses up of the subscription is told by itself.
func (a *action) finalizeLate(i object, description string) {
	s := a.subscriptionOf(i)
	if s == nil {
		a.finalize(i, description)
		return
	}
	a.change(s, "customer.subscription.updated", func(object) { a.finalize(i, description) })
}

// settleInvoice marks an invoice as paid in full.
func (a *action) settleInvoice(i object) {
	i["status"], i["paid"], i["attempted"], i["auto_advance"] = "paid", true, true, false
	i["amount_paid"], i["amount_remaining"] = i["amount_due"], int64(0)
	i["next_payment_attempt"] = nil
	child(i, "status_transitions")["paid_at"] = a.at
	if i["webhooks_delivered_at"] == nil {
		i["webhooks_delivered_at"] = a.at
	}
}

// tellPaid tells of a paid invoice, and lets its subscription know.
func (a *action) tellPaid(i object) {
	a.emit("invoice.paid", i)
	a.emit("invoice.payment_succeeded", i)
	a.subscriptionPaid(i)
}

func (a *action) voidInvoice(i object) {
	if i["status"] != "open" && i["status"] != "uncollectible" {
		return
	}
	if id := text(i, "payment_intent"); id != "" {
		a.endIntent(a.store.get("payment_intent", id), "void_invoice")
	}
	i["status"], i["auto_advance"], i["next_payment_attempt"] = "void", false, nil
	child(i, "status_transitions")["voided_at"] = a.at
	a.returnBalance(i)
	a.emit("invoice.voided", i)
}

// writeOff marks an invoice as uncollectible. It can still be paid.
func (a *action) writeOff(i object) {
	i["status"], i["auto_advance"], i["next_payment_attempt"] = "uncollectible", false, nil
	child(i, "status_transitions")["marked_uncollectible_at"] = a.at
	a.emit("invoice.marked_uncollectible", i)
}

func (a *action) createInvoice(r *request) (object, error) {
	params := r.Params
	customer, err := a.named("customer", "customer", text(params, "customer"))
	if err != nil {
		return nil, err
	}
	if method := params["collection_method"]; method != nil && method != "charge_automatically" {
		return nil, notEmulated("collection_method=send_invoice")
	}
	currency := text(params, "currency")
	if currency == "" {
		if currency = text(customer, "currency"); currency == "" {
			currency = "usd"
		}
	}
	s, err := a.subscriptionToInvoice(params, customer)
	if err != nil {
		return nil, err
	}
	i := a.newInvoice(customer, currency, "manual")
	if s != nil {
		a.belongTo(i, s)
		i["billing_reason"] = "subscription_update"
	}
	if err := a.editInvoice(i, params); err != nil {
		a.store.remove(text(i, "id"))
		return nil, err
	}
	if pending := params["pending_invoice_items_behavior"]; pending == "include" || s != nil && pending == nil {
		a.takePending(i, s)
	}
	if s != nil && len(elements(child(i, "lines"), "data")) == 0 {
		a.store.remove(text(i, "id"))
		return nil, coded("invoice_no_subscription_line_items", "subscription", "Nothing to invoice for subscription")
	}
	a.setTotals(i)
	a.emit("invoice.created", i)
	return i, nil
}

func (a *action) subscriptionToInvoice(params, customer object) (object, error) {
	id := text(params, "subscription")
	if id == "" {
		return nil, nil
	}
	s, err := a.named("subscription", "subscription", id)
	if err != nil {
		return nil, err
	}
	if s["customer"] != customer["id"] {
		return nil, invalid("subscription", "The subscription %s does not belong to the customer.", id)
	}
	return s, nil
}

func (a *action) editInvoice(i, params object) error {
	if id := text(params, "default_payment_method"); id != "" {
		if _, err := a.ownPaymentMethod(text(i, "customer"), "default_payment_method", id); err != nil {
			return err
		}
	}
	assign(i, params, "description", "default_payment_method", "footer")
	mergeMetadata(i, params)
	if given, ok := params["auto_advance"].(bool); ok {
		i["auto_advance"] = given
		if given {
			a.finalizeLater(i)
		}
	}
	if _, given := params["discounts"]; given {
		if err := a.discountInvoice(i, params); err != nil {
			return err
		}
	}
	a.setTotals(i)
	return nil
}

// draft finds an invoice that can still be changed.
func (a *action) draft(id string) (object, error) {
	i, err := a.lookUp("invoice", "invoice", id)
	if err != nil {
		return nil, err
	}
	if i["status"] != "draft" {
		return nil, coded("invoice_not_editable", "", "This invoice is no longer editable, because its status is %s.", text(i, "status"))
	}
	return i, nil
}

func (a *action) updateInvoice(r *request) (object, error) {
	i, err := a.lookUp("invoice", "invoice", r.id())
	if err != nil {
		return nil, err
	}
	for name := range r.Params {
		if name != "metadata" && name != "auto_advance" && i["status"] != "draft" {
			return nil, coded("invoice_not_editable", name, "Finalized invoices can't be updated in this way.")
		}
	}
	a.change(i, "invoice.updated", func(o object) { err = a.editInvoice(o, r.Params) })
	return i, err
}

func (a *action) deleteInvoice(r *request) (object, error) {
	i, err := a.draft(r.id())
	if err != nil {
		return nil, err
	}
	if i["subscription"] != nil {
		return nil, invalid("", "You can only delete one-off invoices; this one belongs to a subscription.")
	}
	for _, item := range a.store.all("invoiceitem") {
		if item.Object["invoice"] == i["id"] {
			item.Object["invoice"] = nil
		}
	}
	a.emit("invoice.deleted", i)
	a.store.remove(text(i, "id"))
	return object{"id": i["id"], "object": "invoice", "deleted": true}, nil
}

// hasCustomer refuses to bill somebody who is gone.
func (a *action) hasCustomer(i object) error {
	if a.store.customer(text(i, "customer")) == nil {
		return invalid("", "The invoice %s cannot be finalized: its customer has been deleted.", text(i, "id"))
	}
	return nil
}

func (a *action) finalizeInvoice(r *request) (object, error) {
	i, err := a.draft(r.id())
	if err != nil {
		return nil, err
	}
	if err := a.hasCustomer(i); err != nil {
		return nil, err
	}
	advance, given := r.Params["auto_advance"].(bool)
	if !given {
		advance = flag(i, "auto_advance")
	}
	i["next_payment_attempt"] = nil
	a.finalizeLate(i, "Invoice")
	if i["status"] == "paid" {
		a.tellPaid(i)
		return i, nil
	}
	i["auto_advance"] = advance
	if advance {
		i["next_payment_attempt"] = a.at + draftTime // Stripe collects soon after
	}
	return i, nil
}

func (a *action) voidNow(r *request) (object, error) {
	i, err := a.lookUp("invoice", "invoice", r.id())
	if err != nil {
		return nil, err
	}
	if i["status"] != "open" && i["status"] != "uncollectible" {
		return nil, invalid("", "You can only void open or uncollectible invoices. This invoice is %s.", text(i, "status"))
	}
	a.voidInvoice(i)
	a.subscriptionVoided(i)
	return i, nil
}

func (a *action) markUncollectible(r *request) (object, error) {
	i, err := a.lookUp("invoice", "invoice", r.id())
	if err != nil {
		return nil, err
	}
	if i["status"] != "open" {
		return nil, invalid("", "You can only mark open invoices as uncollectible. This invoice is %s.", text(i, "status"))
	}
	a.writeOff(i)
	return i, nil
}

func (a *action) sendInvoice(r *request) (object, error) {
	i, err := a.lookUp("invoice", "invoice", r.id())
	if err != nil {
		return nil, err
	}
	if i["status"] == "draft" {
		if err := a.hasCustomer(i); err != nil {
			return nil, err
		}
		a.finalizeLate(i, "Invoice")
	}
	a.emit("invoice.sent", i)
	return i, nil
}

// belongTo makes an invoice one of a subscription.
func (a *action) belongTo(i, s object) {
	i["subscription"] = s["id"]
	i["subscription_details"] = object{"metadata": clone(s["metadata"])}
	i["automatic_tax"] = clone(i["automatic_tax"])
	if flag(child(s, "automatic_tax"), "enabled") {
		i["automatic_tax"] = object{"enabled": true, "liability": object{"type": "self"}, "status": "complete"}
	}
	a.discountFromSubscription(i, s)
	s["latest_invoice"] = i["id"]
}
