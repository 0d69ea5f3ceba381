package stripeemu

import (
	"fmt"
	"strconv"
)

func invoiceOperations() map[string]operation {
	return map[string]operation{
		"GET /v1/invoices": list("invoice", map[string]filter{
			"customer": field("customer"), "subscription": field("subscription"), "status": field("status"),
			"collection_method": field("collection_method"),
		}),
		"GET /v1/invoices/{invoice}": retrieve("invoice", "invoice"),
		"GET /v1/invoices/{invoice}/lines": listEmbedded("invoice", "invoice",
			func(r *record) object { return child(r.Object, "lines") }),
	}
}

// newInvoice makes an empty draft. Its creator fills it and emits
// invoice.created.
func (a *action) newInvoice(customer object, currency, reason string) object {
	i := a.create("invoice", newID("in"))
	i["customer"], i["currency"], i["billing_reason"] = customer["id"], currency, reason
	i["customer_email"], i["customer_name"] = customer["email"], customer["name"]
	i["account_name"] = "Emulated account"
	i["lines"] = listOf("/v1/invoices/"+text(i, "id")+"/lines", []any{})
	a.setTotals(i)
	a.store.save(i)
	return i
}

// setTotals derives the sums from the lines.
func (a *action) setTotals(i object) {
	var sum int64
	for _, line := range elements(child(i, "lines"), "data") {
		sum += number(line, "amount")
	}
	for _, field := range []string{"subtotal", "subtotal_excluding_tax", "total", "total_excluding_tax", "amount_due", "amount_remaining"} {
		i[field] = sum
	}
	i["amount_paid"] = int64(0)
}

func (a *action) addLine(i object, line orderLine, amount int64, description string) object {
	l := a.create("line_item", newID("il"))
	delete(l, "invoice_item")
	l["invoice"], l["currency"], l["description"] = i["id"], i["currency"], description
	l["amount"], l["amount_excluding_tax"] = amount, amount
	l["unit_amount_excluding_tax"] = strconv.FormatInt(amount/max(line.quantity, 1), 10)
	l["price"], l["quantity"] = clone(line.price), line.quantity
	lines := child(i, "lines")
	data, _ := lines["data"].([]any)
	lines["data"] = append(data, l)
	return l
}

// addSubscriptionLine bills one item for the subscription's current period. A
// trial is billed with nothing.
func (a *action) addSubscriptionLine(i, s, item object, line orderLine) {
	name := text(a.store.get("product", text(line.price, "product")), "name")
	amount := line.amount()
	recurring := child(line.price, "recurring")
	description := fmt.Sprintf("%d × %s (at %s / %s)", line.quantity, name, money(line.unit, text(i, "currency")), text(recurring, "interval"))
	if s["trial_end"] != nil {
		amount, description = 0, fmt.Sprintf("Trial period for %s", name)
	}
	l := a.addLine(i, line, amount, description)
	l["type"], l["subscription"], l["subscription_item"] = "subscription", s["id"], item["id"]
	l["period"] = object{"start": s["current_period_start"], "end": s["current_period_end"]}
	l["metadata"] = clone(s["metadata"])
	a.setTotals(i)
}

// addItemLine bills a one-time price through an invoice item.
func (a *action) addItemLine(i object, line orderLine) {
	item := a.create("invoiceitem", newID("ii"))
	name := text(a.store.get("product", text(line.price, "product")), "name")
	item["customer"], item["currency"], item["invoice"] = i["customer"], i["currency"], i["id"]
	item["subscription"] = i["subscription"]
	item["amount"], item["quantity"], item["unit_amount"] = line.amount(), line.quantity, line.unit
	item["unit_amount_decimal"] = strconv.FormatInt(line.unit, 10)
	item["price"], item["description"] = clone(line.price), name
	item["date"], item["period"] = a.at, object{"start": a.at, "end": a.at}
	a.store.save(item)
	l := a.addLine(i, line, line.amount(), name)
	l["type"], l["invoice_item"], l["subscription"] = "invoiceitem", item["id"], i["subscription"]
	l["period"] = object{"start": a.at, "end": a.at}
	a.setTotals(i)
}

// finalize numbers the invoice and opens it for payment. One over nothing is
// paid by that; its caller emits the events of the payment.
func (a *action) finalize(i object, description string) {
	customer := a.store.get("customer", text(i, "customer"))
	sequence := number(customer, "next_invoice_sequence")
	i["number"] = fmt.Sprintf("%s-%04d", text(customer, "invoice_prefix"), sequence)
	customer["next_invoice_sequence"] = sequence + 1
	i["status"], i["auto_advance"], i["effective_at"], i["ending_balance"] = "open", true, a.at, int64(0)
	i["hosted_invoice_url"] = a.base + "/invoice/" + text(i, "id")
	child(i, "status_transitions")["finalized_at"] = a.at
	if number(i, "amount_due") == 0 {
		a.emit("invoice.finalized", i)
		a.settleInvoice(i)
		return
	}
	intent := a.newIntent(number(i, "amount_due"), text(i, "currency"), customer)
	intent["invoice"], intent["description"], intent["setup_future_usage"] = i["id"], description, "off_session"
	i["payment_intent"] = intent["id"]
	a.emit("invoice.finalized", i)
	a.emit("payment_intent.created", intent)
}

// settleInvoice marks an invoice as paid in full.
func (a *action) settleInvoice(i object) {
	i["status"], i["paid"], i["attempted"], i["auto_advance"] = "paid", true, true, false
	i["amount_paid"], i["amount_remaining"] = i["amount_due"], int64(0)
	child(i, "status_transitions")["paid_at"] = a.at
	i["webhooks_delivered_at"] = a.at
}

// payInvoice charges a card with an open invoice; a paid one is left alone.
func (a *action) payInvoice(i, method object) *decline {
	if i["status"] != "open" {
		return nil
	}
	intent := a.store.get("payment_intent", text(i, "payment_intent"))
	refused := a.charge(intent, method)
	i["attempted"], i["attempt_count"] = true, number(i, "attempt_count")+1
	i["charge"] = intent["latest_charge"]
	if refused != nil {
		a.emit("invoice.payment_failed", i)
		return refused
	}
	a.change(i, "invoice.updated", a.settleInvoice)
	a.emit("invoice.paid", i)
	a.emit("invoice.payment_succeeded", i)
	return nil
}

func (a *action) voidInvoice(i object) {
	if i["status"] != "open" {
		return
	}
	if id := text(i, "payment_intent"); id != "" {
		intent := a.store.get("payment_intent", id)
		intent["status"], intent["canceled_at"], intent["cancellation_reason"] = "canceled", a.at, "void_invoice"
		a.emit("payment_intent.canceled", intent)
	}
	i["status"], i["auto_advance"] = "void", false
	child(i, "status_transitions")["voided_at"] = a.at
	a.emit("invoice.voided", i)
}

// invoiceOfPayment writes the invoice of a one-time payment after the fact, as
// Checkout does where invoice_creation is on.
func (a *action) invoiceOfPayment(session *record, customer object, by payer) object {
	if customer == nil {
		customer = a.payingCustomer(session, by)
	}
	i := a.newInvoice(customer, text(session.Object, "currency"), "manual")
	data := child(child(session.Object, "invoice_creation"), "invoice_data")
	i["description"] = data["description"]
	mergeMetadata(i, data)
	for _, line := range a.linesOf(session) {
		a.addItemLine(i, line)
	}
	a.emit("invoice.created", i)
	i["payment_intent"] = session.Object["payment_intent"]
	sequence := number(customer, "next_invoice_sequence")
	i["number"] = fmt.Sprintf("%s-%04d", text(customer, "invoice_prefix"), sequence)
	customer["next_invoice_sequence"] = sequence + 1
	i["status"], i["effective_at"], i["ending_balance"] = "open", a.at, int64(0)
	i["hosted_invoice_url"] = a.base + "/invoice/" + text(i, "id")
	child(i, "status_transitions")["finalized_at"] = a.at
	a.emit("invoice.finalized", i)
	a.settleInvoice(i)
	if id := text(i, "payment_intent"); id != "" {
		intent := a.store.get("payment_intent", id)
		intent["invoice"], i["charge"] = i["id"], intent["latest_charge"]
		a.store.get("charge", text(intent, "latest_charge"))["invoice"] = i["id"]
	}
	a.emit("invoice.paid", i)
	a.emit("invoice.payment_succeeded", i)
	return i
}
