package stripeemu

import (
	"strconv"

	"example.com/saaskit/internal/stripecontract"
)

func invoiceItemOperations() map[string]operation {
	editable := []string{"amount", "description", "metadata.*", "quantity", "unit_amount", "discountable", "period.start", "period.end"}
	return map[string]operation{
		"POST /v1/invoiceitems": {handle: (*action).createItem,
			params: joined(editable, []string{"customer", "currency", "price", "invoice", "subscription"})},
		"GET /v1/invoiceitems": list("invoiceitem", map[string]filter{
			"customer": field("customer"), "invoice": field("invoice"),
			"pending": func(r *record, value any) bool { return (r.Object["invoice"] == nil) == (value == true) },
		}),
		"GET /v1/invoiceitems/{invoiceitem}":    retrieve("invoiceitem", "invoiceitem"),
		"POST /v1/invoiceitems/{invoiceitem}":   {handle: (*action).updateItem, params: editable},
		"DELETE /v1/invoiceitems/{invoiceitem}": {handle: (*action).deleteItem},
	}
}

// newItem makes an invoice item that waits for an invoice.
func (a *action) newItem(customerID any, currency string, amount int64, description string) object {
	item := a.create("invoiceitem", newID("ii"))
	item["customer"], item["currency"], item["description"] = customerID, currency, orNil(description)
	item["amount"], item["unit_amount"], item["quantity"] = amount, amount, int64(1)
	item["unit_amount_decimal"] = strconv.FormatInt(amount, 10)
	item["price"], item["date"], item["period"] = nil, a.at, object{"start": a.at, "end": a.at}
	if customer := a.store.find("customer", customerID.(string)); customer != nil {
		item["test_clock"] = customer.Object["test_clock"]
	}
	a.store.save(item)
	return item
}

func (a *action) createItem(r *request) (object, error) {
	params := r.Params
	customer, err := a.named("customer", "customer", text(params, "customer"))
	if err != nil {
		return nil, err
	}
	var i object
	if id := text(params, "invoice"); id != "" {
		if i, err = a.draft(id); err != nil {
			return nil, err
		}
	}
	if err := a.itemFits(params, customer, i); err != nil {
		return nil, err
	}
	item := a.newItem(customer["id"], a.itemCurrency(params, customer), 0, "")
	if err := a.editItem(item, params); err != nil {
		a.store.remove(text(item, "id"))
		return nil, err
	}
	item["subscription"] = orNil(text(params, "subscription"))
	if i != nil {
		a.lineOfItem(i, item)
		a.setTotals(i)
	}
	a.emit("invoiceitem.created", item)
	return item, nil
}

// itemFits refuses an item that its invoice or its subscription cannot bill.
func (a *action) itemFits(params, customer, i object) error {
	currency := a.itemCurrency(params, customer)
	if i != nil && i["customer"] != customer["id"] {
		return invalid("invoice", "The invoice %s does not belong to the customer.", text(i, "id"))
	}
	if i != nil && i["currency"] != currency {
		return invalid("currency", "The invoice %s is in %s.", text(i, "id"), text(i, "currency"))
	}
	s, err := a.subscriptionToInvoice(params, customer)
	switch {
	case err != nil || s == nil:
		return err
	case isEnded(s):
		return invalid("subscription", "The subscription %s has ended.", text(s, "id"))
	case s["currency"] != currency:
		return invalid("currency", "The subscription %s is in %s.", text(s, "id"), text(s, "currency"))
	case i != nil && i["subscription"] != nil && i["subscription"] != s["id"]:
		return invalid("subscription", "The invoice %s is of another subscription.", text(i, "id"))
	}
	return nil
}

func (a *action) itemCurrency(params, customer object) string {
	if currency := text(params, "currency"); currency != "" {
		return currency
	}
	if price := a.store.find("price", text(params, "price")); price != nil {
		return text(price.Object, "currency")
	}
	if currency := text(customer, "currency"); currency != "" {
		return currency
	}
	return "usd"
}

func (a *action) editItem(item, params object) error {
	assign(item, params, "description", "discountable", "quantity")
	mergeMetadata(item, params)
	if given := child(params, "period"); given != nil {
		item["period"] = clone(given)
	}
	unit := number(item, "unit_amount")
	switch {
	case params["price"] != nil:
		price, err := a.named("price", "price", text(params, "price"))
		if err != nil {
			return err
		}
		offered := false
		if unit, offered = a.amountIn(price, text(item, "currency")); !offered || price["recurring"] != nil {
			return invalid("price", "The price specified must be a one-time price in %s.", text(item, "currency"))
		}
		item["price"] = clone(price)
		if item["description"] == nil {
			item["description"] = a.productName(price)
		}
	case params["amount"] != nil:
		unit, item["quantity"] = number(params, "amount"), int64(1)
	case params["unit_amount"] != nil:
		unit = number(params, "unit_amount")
	case item["amount"] == int64(0) && params["quantity"] == nil:
		return stripecontract.Invalid("parameter_missing", "amount", "You must specify one of: amount, price, unit_amount.")
	}
	item["unit_amount"], item["unit_amount_decimal"] = unit, strconv.FormatInt(unit, 10)
	item["amount"] = unit * number(item, "quantity")
	if amount := number(item, "amount"); amount > maxAmount || amount < -maxAmount {
		return coded("amount_too_large", "quantity", "Amount must be no more than %s", money(maxAmount, text(item, "currency")))
	}
	return nil
}

// openItem finds an item whose invoice can still be changed.
func (a *action) openItem(id string) (item, i object, err error) {
	if item, err = a.lookUp("invoiceitem", "invoiceitem", id); err != nil {
		return nil, nil, err
	}
	if invoice := text(item, "invoice"); invoice != "" {
		i, err = a.draft(invoice)
	}
	return item, i, err
}

func (a *action) updateItem(r *request) (object, error) {
	item, i, err := a.openItem(r.id())
	if err != nil {
		return nil, err
	}
	if err := a.editItem(item, r.Params); err != nil {
		return nil, err
	}
	if i != nil {
		dropLine(i, item)
		a.lineOfItem(i, item)
		a.setTotals(i)
	}
	return item, nil
}

func (a *action) deleteItem(r *request) (object, error) {
	item, i, err := a.openItem(r.id())
	if err != nil {
		return nil, err
	}
	if i != nil {
		dropLine(i, item)
		a.setTotals(i)
	}
	a.forgetItem(item)
	return object{"id": item["id"], "object": "invoiceitem", "deleted": true}, nil
}

func (a *action) forgetItem(item object) {
	a.emit("invoiceitem.deleted", item)
	a.store.remove(text(item, "id"))
}

func dropLine(i, item object) {
	var kept []any
	for _, line := range elements(child(i, "lines"), "data") {
		if line["invoice_item"] != item["id"] {
			kept = append(kept, line)
		}
	}
	child(i, "lines")["data"] = kept
}
