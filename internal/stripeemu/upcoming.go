package stripeemu

import (
	"fmt"
	"strings"
)

func upcomingOperations() map[string]operation {
	params := []string{
		"customer", "subscription", "coupon", "currency", "subscription_items.id", "subscription_items.price", "subscription_items.quantity",
		"subscription_items.deleted", "subscription_items.clear_usage", "subscription_proration_behavior", "subscription_proration_date",
		"subscription_trial_end", "subscription_billing_cycle_anchor", "subscription_cancel_at", "subscription_cancel_at_period_end",
		"subscription_cancel_now", "automatic_tax.enabled", "discounts", "discounts.coupon", "discounts.discount", "discounts.promotion_code",
	}
	return map[string]operation{
		"GET /v1/invoices/upcoming": {handle: (*action).upcomingInvoice, params: params},
		"GET /v1/invoices/upcoming/lines": {
			params: joined(params, []string{"limit", "starting_after", "ending_before"}),
			handle: func(a *action, r *request) (object, error) {
				invoice, err := a.wholeUpcomingInvoice(r)
				if err != nil {
					return nil, err
				}
				var found []*record
				for _, line := range elements(child(invoice, "lines"), "data") {
					found = append(found, &record{Object: line})
				}
				return page(r, found)
			},
		},
	}
}

// upcomingInvoice embeds the first lines of what comes next; the others are
// listed.
func (a *action) upcomingInvoice(r *request) (object, error) {
	invoice, err := a.wholeUpcomingInvoice(r)
	if err != nil {
		return nil, err
	}
	lines := child(invoice, "lines")
	if data, _ := lines["data"].([]any); len(data) > defaultLimit {
		lines["data"], lines["has_more"] = data[:defaultLimit], true
	}
	return invoice, nil
}

// wholeUpcomingInvoice is the invoice that comes next, or the one that a change
// would bring about. It is the work of the same code on a copy of the state, so
// that it equals what is charged then.
func (a *action) wholeUpcomingInvoice(r *request) (object, error) {
	s, customer, err := a.upcomingParties(r.Params)
	if err != nil {
		return nil, err
	}
	if s == nil && r.Params["discounts"] != nil {
		return nil, notEmulated("discounts of an upcoming invoice without a subscription")
	}
	if s == nil && r.Params["subscription_items"] != nil {
		return a.previewNew(r.Params)
	}
	if s == nil {
		return a.previewPending(customer, r.Params)
	}
	params := subscriptionParams(r.Params)
	assign(params, r.Params, "automatic_tax")
	if _, err := a.planUpdate(s, params); err != nil {
		return nil, err
	}
	invoice, err := a.preview(s, params)
	if err == nil && invoice == nil {
		err = noUpcoming(customer)
	}
	return invoice, err
}

func noUpcoming(customer object) error {
	refusal := missingParam("upcoming invoices for customer", "", text(customer, "id"))
	return withCode(refusal, "invoice_upcoming_none")
}

func (a *action) upcomingParties(params object) (s, customer object, err error) {
	if id := text(params, "subscription"); id != "" {
		if s, err = a.named("subscription", "subscription", id); err != nil {
			return nil, nil, err
		}
		if id := text(params, "customer"); id != "" && id != s["customer"] {
			return nil, nil, invalid("customer", "The subscription %s does not belong to the customer.", text(s, "id"))
		}
		if currency := text(params, "currency"); currency != "" && currency != s["currency"] {
			return nil, nil, invalid("currency", "The subscription is in %s.", text(s, "currency"))
		}
		if isEnded(s) {
			return nil, nil, noUpcoming(object{"id": s["customer"]})
		}
		return s, a.store.get("customer", text(s, "customer")), nil
	}
	id := text(params, "customer")
	if id == "" {
		return nil, nil, coded("parameter_missing", "customer", "You must specify one of: customer, subscription.")
	}
	if customer, err = a.named("customer", "customer", id); err != nil || params["subscription_items"] != nil {
		return nil, customer, err
	}
	for _, r := range a.store.all("subscription") {
		if r.Object["customer"] == id && !isEnded(r.Object) {
			s = r.Object
		}
	}
	return s, customer, nil
}

// subscriptionParams are the parameters of an update without their prefix.
func subscriptionParams(params object) object {
	given := object{}
	for name, value := range params {
		if stripped, ok := strings.CutPrefix(name, "subscription_"); ok {
			given[stripped] = value
		}
	}
	for _, name := range []string{"coupon", "discounts"} {
		if params[name] != nil {
			given[name] = params[name]
		}
	}
	return given
}

// preview returns the next invoice of a subscription, after a change where
// params has one; nil where none is to come. Discounts that params names, or an
// empty list of them, take the place of those that the invoice would have.
func (a *action) preview(s, params object) (shown object, err error) {
	a.rehearse(func(b *action) {
		own := b.store.get("subscription", text(s, "id"))
		var p plan
		if p, err = b.planUpdate(own, params); err != nil {
			return
		}
		b.createProrations(own, p)
		if params["cancel_now"] == true {
			shown = b.previewEnd(own, p)
			return
		}
		b.replace(own, p.next)
		b.changeDiscount(own, p)
		draft := b.updateDraft(own, p)
		if draft == nil {
			draft = b.nextDraft(own)
		}
		if draft != nil && params["discounts"] != nil {
			if err = b.discountInvoice(draft, params); err != nil {
				return
			}
			b.setTotals(draft)
		}
		if draft != nil {
			shown = a.asUpcoming(b.render(draft))
		}
	})
	return shown, err
}

// nextDraft is the invoice at the end of the current period.
func (a *action) nextDraft(s object) object {
	a.at = number(s, "current_period_end")
	schedule := a.store.find("subscription_schedule", text(s, "schedule"))
	if schedule != nil && phaseDue(a, schedule) == a.at {
		if a.nextPhase(schedule.Object); isEnded(s) {
			return nil
		}
	}
	if cancel := number(s, "cancel_at"); cancel == 0 || cancel > a.at {
		return a.renewalDraft(s)
	}
	if len(a.pendingItems(text(s, "customer"), s)) == 0 {
		return nil
	}
	invoice := a.newInvoice(a.store.get("customer", text(s, "customer")), text(s, "currency"), "upcoming")
	a.belongTo(invoice, s)
	a.takePending(invoice, s)
	return invoice
}

func (a *action) previewEnd(s object, p plan) object {
	if p.behavior != "none" && s["status"] != "trialing" && !p.items {
		for _, item := range itemsOf(s) {
			a.prorate(s, item, -1, p.at)
		}
	}
	if len(a.pendingItems(text(s, "customer"), s)) == 0 {
		return nil
	}
	invoice := a.newInvoice(a.store.get("customer", text(s, "customer")), text(s, "currency"), "upcoming")
	a.belongTo(invoice, s)
	a.takePending(invoice, s)
	return a.asUpcoming(a.render(invoice))
}

// previewNew shows the first invoice of a subscription that does not exist.
func (a *action) previewNew(params object) (object, error) {
	given := subscriptionParams(params)
	given["customer"] = params["customer"]
	assign(given, params, "currency", "automatic_tax")
	var shown object
	var err error
	a.rehearse(func(b *action) {
		var order subscriptionOrder
		if order, err = b.subscriptionOrder(given); err != nil {
			return
		}
		s := b.newSubscription(order)
		shown = a.asUpcoming(b.render(b.store.get("invoice", text(s, "latest_invoice"))))
		shown["subscription"] = nil
		for _, line := range elements(child(shown, "lines"), "data") {
			line["subscription"] = nil
			delete(line, "subscription_item")
		}
	})
	return shown, err
}

func (a *action) previewPending(customer, params object) (object, error) {
	for _, name := range []string{"coupon", "automatic_tax"} {
		if params[name] != nil {
			return nil, notEmulated("parameter " + name + " without a subscription")
		}
	}
	if len(a.pendingItems(text(customer, "id"), nil)) == 0 {
		return nil, noUpcoming(customer)
	}
	var shown object
	a.rehearse(func(b *action) {
		invoice := b.newInvoice(customer, b.itemCurrency(object{"currency": params["currency"]}, customer), "upcoming")
		b.takePending(invoice, nil)
		shown = a.asUpcoming(b.render(invoice))
	})
	return shown, nil
}

// asUpcoming takes from a previewed invoice what only a real one has. Its lines
// name no invoice, and no invoice item that was made for the preview.
func (a *action) asUpcoming(i object) object {
	delete(i, "id")
	i["status"], i["billing_reason"], i["number"] = "draft", "upcoming", nil
	i["payment_intent"], i["hosted_invoice_url"], i["invoice_pdf"] = nil, nil, nil
	i["paid"], i["attempted"], i["auto_advance"], i["effective_at"] = false, false, false, nil
	i["amount_paid"], i["amount_remaining"], i["ending_balance"] = int64(0), i["amount_due"], nil
	i["status_transitions"] = object{"finalized_at": nil, "marked_uncollectible_at": nil, "paid_at": nil, "voided_at": nil}
	i["next_payment_attempt"] = number(i, "created") + draftTime
	lines := child(i, "lines")
	lines["url"] = "/v1/invoices/upcoming/lines"
	for index, line := range elements(lines, "data") {
		line["id"] = fmt.Sprintf("il_tmp_%024d", index+1) // the same in each look: pages follow one another by it
		line["invoice"] = nil
		if a.store.find("invoiceitem", text(line, "invoice_item")) == nil {
			delete(line, "invoice_item")
		}
	}
	return i
}
