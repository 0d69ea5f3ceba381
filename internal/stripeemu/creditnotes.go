package stripeemu

import (
	"fmt"
	"strconv"
)

func creditNoteOperations() map[string]operation {
	return map[string]operation{
		"POST /v1/credit_notes": {handle: (*action).createCreditNote, params: []string{
			"invoice", "amount", "lines.type", "lines.invoice_line_item", "lines.amount", "lines.quantity", "lines.unit_amount",
			"lines.description", "refund_amount", "credit_amount", "out_of_band_amount", "refund", "reason", "memo", "metadata.*",
		}},
		"GET /v1/credit_notes": list("credit_note",
			map[string]filter{"invoice": field("invoice"), "customer": field("customer")}),
		"GET /v1/credit_notes/{id}":       retrieve("credit_note", "id"),
		"POST /v1/credit_notes/{id}":      {handle: (*action).updateCreditNote, params: []string{"memo", "metadata.*"}},
		"POST /v1/credit_notes/{id}/void": {handle: (*action).voidCreditNote},
		"GET /v1/credit_notes/{credit_note}/lines": listEmbedded("credit_note", "credit_note",
			func(r *record) object { return child(r.Object, "lines") }),
	}
}

func (a *action) createCreditNote(r *request) (object, error) {
	i, err := a.named("invoice", "invoice", text(r.Params, "invoice"))
	if err != nil {
		return nil, err
	}
	if i["status"] != "open" && i["status"] != "paid" {
		return nil, invalid("invoice", "A credit note can only be made for an open or a paid invoice; this one is %s.", text(i, "status"))
	}
	note := a.newCreditNote(i)
	if err := a.creditLines(note, i, r.Params); err != nil {
		return nil, err
	}
	assign(note, r.Params, "reason", "memo", "out_of_band_amount")
	mergeMetadata(note, r.Params)
	if i["status"] == "open" {
		err = a.creditBefore(note, i)
	} else {
		err = a.creditAfter(note, i, r.Params)
	}
	if err != nil {
		return nil, err
	}
	a.store.save(note)
	a.emit("credit_note.created", note)
	if i["status"] == "open" && number(i, "amount_remaining") == 0 {
		a.change(i, "invoice.updated", a.settleInvoice)
		a.tellPaid(i)
	}
	return note, nil
}

func (a *action) newCreditNote(i object) object {
	note := a.create("credit_note", newID("cn"))
	note["invoice"], note["customer"], note["currency"], note["voided_at"] = i["id"], i["customer"], i["currency"], nil
	note["tax_amounts"], note["total_excluding_tax"] = []any{}, nil
	earlier := 0
	for _, other := range a.store.all("credit_note") {
		if other.Object["invoice"] == i["id"] {
			earlier++
		}
	}
	note["number"] = fmt.Sprintf("%s-CN-%02d", text(i, "number"), earlier+1)
	note["pdf"] = a.base + "/invoice/" + text(i, "id") + "/pdf"
	return note
}

// creditLines reads the lines of a note, or its amount as one line.
func (a *action) creditLines(note, i, params object) error {
	given := elements(params, "lines")
	if len(given) == 0 {
		amount := number(params, "amount")
		if amount == 0 {
			amount = number(params, "refund_amount") + number(params, "credit_amount") + number(params, "out_of_band_amount")
		}
		given = []object{{"type": "custom_line_item", "description": "Credit", "unit_amount": amount, "quantity": int64(1)}}
	}
	var data []any
	var sum int64
	for index, line := range given {
		made, err := a.creditLine(i, line, index)
		if err != nil {
			return err
		}
		sum += number(made, "amount")
		data = append(data, made)
	}
	if sum < 1 {
		return coded("parameter_missing", "amount", "You must credit an amount greater than 0.")
	}
	note["lines"] = listOf("/v1/credit_notes/"+text(note, "id")+"/lines", data)
	for _, field := range []string{"amount", "subtotal", "subtotal_excluding_tax", "total"} {
		note[field] = sum
	}
	return nil
}

func (a *action) creditLine(i, line object, index int) (object, error) {
	made := a.create("credit_note_line_item", newID("cnli"))
	made["type"], made["tax_amounts"] = line["type"], []any{}
	amount := number(line, "amount")
	if line["type"] == "invoice_line_item" {
		id := text(line, "invoice_line_item")
		billed := findItem(elements(child(i, "lines"), "data"), object{"id": id})
		if billed == nil {
			return nil, missingParam("line item", indexed("lines", index, "invoice_line_item"), id)
		}
		if quantity := number(line, "quantity"); amount == 0 && quantity > 0 {
			amount = share(number(billed, "amount"), quantity, number(billed, "quantity"))
		} else if amount == 0 {
			amount = number(billed, "amount")
		}
		made["description"], made["invoice_line_item"], made["quantity"] = billed["description"], id, billed["quantity"]
		made["unit_amount"], made["unit_amount_decimal"] = nil, nil
	} else {
		unit, quantity := number(line, "unit_amount"), max(number(line, "quantity"), 1)
		amount = unit * quantity
		made["description"], made["quantity"] = line["description"], quantity
		made["unit_amount"], made["unit_amount_decimal"] = unit, strconv.FormatInt(unit, 10)
		delete(made, "invoice_line_item")
	}
	made["amount"], made["amount_excluding_tax"] = amount, amount
	made["unit_amount_excluding_tax"] = strconv.FormatInt(amount/max(number(made, "quantity"), 1), 10)
	return made, nil
}

// creditBefore takes a note off what an open invoice still asks for.
func (a *action) creditBefore(note, i object) error {
	amount := number(note, "amount")
	if amount > number(i, "amount_remaining") {
		return invalid("amount", "The credit note amount (%s) is greater than what is left to pay.", money(amount, text(i, "currency")))
	}
	note["type"] = "pre_payment"
	a.changeDue(i, -amount)
	return nil
}

func (a *action) changeDue(i object, by int64) {
	a.change(i, "invoice.updated", func(o object) {
		o["pre_payment_credit_notes_amount"] = number(o, "pre_payment_credit_notes_amount") - by
		o["amount_due"], o["amount_remaining"] = number(o, "amount_due")+by, number(o, "amount_remaining")+by
	})
	if intent := a.store.find("payment_intent", text(i, "payment_intent")); intent != nil {
		if number(i, "amount_due") == 0 {
			a.endIntent(intent.Object, "automatic")
			return
		}
		intent.Object["amount"] = i["amount_due"]
	}
}

// creditAfter gives a note on a paid invoice back: to the card, to the
// customer's balance, or outside Stripe.
func (a *action) creditAfter(note, i, params object) error {
	amount, refund, credit := number(note, "amount"), number(params, "refund_amount"), number(params, "credit_amount")
	outside := number(params, "out_of_band_amount")
	given := text(params, "refund")
	if given != "" {
		own := a.store.find("refund", given)
		if own == nil {
			return missingParam("refund", "refund", given)
		}
		note["refund"] = given
		refund = number(own.Object, "amount")
	}
	if refund+credit+outside != amount {
		return invalid("", "The sum of refund, credit and out of band amounts must equal the credit note amount (%s).",
			money(amount, text(i, "currency")))
	}
	if number(i, "post_payment_credit_notes_amount")+amount > number(i, "amount_paid") {
		return invalid("amount", "The credit note amount is greater than what was paid.")
	}
	note["type"] = "post_payment"
	if refund > 0 && given == "" {
		charge := a.store.find("charge", text(i, "charge"))
		if charge == nil {
			return invalid("refund_amount", "This invoice was not paid with a charge that could be refunded.")
		}
		made, err := a.createRefund(&request{Call: refundCall(text(i, "charge"), refund)})
		if err != nil {
			return err
		}
		note["refund"] = made["id"]
	}
	if credit > 0 {
		a.creditBalance(note, i, credit)
	}
	a.change(i, "invoice.updated", func(o object) {
		o["post_payment_credit_notes_amount"] = number(o, "post_payment_credit_notes_amount") + amount
	})
	return nil
}

func (a *action) creditBalance(note, i object, credit int64) {
	customer := a.store.get("customer", text(i, "customer"))
	a.change(customer, "customer.updated", func(o object) { o["balance"] = number(o, "balance") - credit })
	t := a.newBalanceEntry(customer, -credit, text(i, "currency"))
	t["type"], t["credit_note"], t["invoice"] = "credit_note", note["id"], i["id"]
	note["customer_balance_transaction"] = t["id"]
}

func (a *action) updateCreditNote(r *request) (object, error) {
	note, err := a.lookUp("credit_note", "id", r.id())
	if err != nil {
		return nil, err
	}
	a.change(note, "credit_note.updated", func(o object) {
		assign(o, r.Params, "memo")
		mergeMetadata(o, r.Params)
	})
	return note, nil
}

// voidCreditNote takes a note back while its invoice is open.
func (a *action) voidCreditNote(r *request) (object, error) {
	note, err := a.lookUp("credit_note", "id", r.id())
	if err != nil {
		return nil, err
	}
	i := a.store.get("invoice", text(note, "invoice"))
	if note["status"] != "issued" || i["status"] != "open" {
		return nil, invalid("", "You can only void credit notes of open invoices.")
	}
	a.changeDue(i, number(note, "amount"))
	note["status"], note["voided_at"] = "void", a.at
	a.emit("credit_note.voided", note)
	return note, nil
}
