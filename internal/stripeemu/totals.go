package stripeemu

import (
	"fmt"
	"math/big"
	"strconv"
)

// share is amount × part / whole, rounded half away from zero to the cent.
func share(amount, part, whole int64) int64 {
	if whole == 0 {
		return 0
	}
	product := new(big.Int).Mul(big.NewInt(amount), big.NewInt(2*part))
	if product.Sign() >= 0 {
		product.Add(product, big.NewInt(whole))
	} else {
		product.Sub(product, big.NewInt(whole))
	}
	return product.Quo(product, big.NewInt(2*whole)).Int64()
}

// percentOf is a percentage of an amount. Stripe's percentages have two digits
// after the point.
func percentOf(amount int64, percent any) int64 {
	var hundredths int64
	switch percent := percent.(type) {
	case int64:
		hundredths = percent * 100
	case float64:
		hundredths = int64(percent*100 + 0.5)
	}
	return share(amount, hundredths, 10_000)
}

// setTotals derives the sums of a draft from its lines, its discounts and the
// customer's balance.
func (a *action) setTotals(i object) {
	var subtotal int64
	for _, line := range elements(child(i, "lines"), "data") {
		subtotal += number(line, "amount")
	}
	total := subtotal - a.applyDiscounts(i)
	i["subtotal"], i["subtotal_excluding_tax"] = subtotal, subtotal
	i["total"], i["total_excluding_tax"] = total, total
	a.setDue(i)
}

// setDue is what the customer's balance, as it is now, leaves to pay. A draft
// asks for it again when it is finalized, as another invoice may have used the
// balance meanwhile.
func (a *action) setDue(i object) {
	total, balance := number(i, "total"), number(a.store.get("customer", text(i, "customer")), "balance")
	i["starting_balance"] = balance
	due := max(total+balance, 0)
	if balance > 0 && total < 0 {
		due = 0 // a debt is not collected with a credit note
	}
	if due < leastCharge(text(i, "currency")) {
		due = 0 // too little to charge: the balance takes it
	}
	i["amount_due"], i["amount_remaining"], i["amount_paid"] = due, due, int64(0)
}

func (a *action) addLine(i object, line orderLine, amount int64, description string) object {
	l := a.create("line_item", newID("il"))
	delete(l, "invoice_item")
	l["invoice"], l["currency"], l["description"] = i["id"], i["currency"], description
	l["amount"], l["amount_excluding_tax"] = amount, amount
	l["unit_amount_excluding_tax"] = strconv.FormatInt(amount/max(line.quantity, 1), 10)
	l["price"], l["quantity"] = nil, line.quantity
	if line.price != nil {
		l["price"] = clone(line.price)
	}
	l["metadata"] = object{}
	lines := child(i, "lines")
	data, _ := lines["data"].([]any)
	lines["data"] = append(data, l)
	return l
}

// A period is a span of time that a line bills.
type period struct{ start, end int64 }

func (p period) object() object { return object{"start": p.start, "end": p.end} }

func periodOf(s object) period {
	return period{number(s, "current_period_start"), number(s, "current_period_end")}
}

func (a *action) productName(price object) string {
	return text(a.store.get("product", text(price, "product")), "name")
}

// addSubscriptionLine bills one item for a period. A trial is billed with
// nothing.
func (a *action) addSubscriptionLine(i, s, item object, line orderLine, of period, trial bool) {
	name := a.productName(line.price)
	amount := line.amount()
	recurring := child(line.price, "recurring")
	description := fmt.Sprintf("%d × %s (at %s / %s)", line.quantity, name, money(line.unit, text(i, "currency")), rhythm(recurring))
	if trial {
		amount, description = 0, fmt.Sprintf("Trial period for %s", name)
	}
	l := a.addLine(i, line, amount, description)
	l["type"], l["subscription"], l["subscription_item"] = "subscription", s["id"], item["id"]
	l["period"] = of.object()
	l["metadata"] = clone(s["metadata"])
	a.setTotals(i)
}

func rhythm(recurring object) string {
	if count := number(recurring, "interval_count"); count > 1 {
		return fmt.Sprintf("every %d %ss", count, text(recurring, "interval"))
	}
	return text(recurring, "interval")
}

// addItemLine bills a one-time price through an invoice item.
func (a *action) addItemLine(i object, line orderLine) {
	item := a.newItem(i["customer"], text(i, "currency"), line.amount(), a.productName(line.price))
	item["subscription"], item["price"], item["quantity"] = i["subscription"], clone(line.price), line.quantity
	item["unit_amount"], item["unit_amount_decimal"] = line.unit, strconv.FormatInt(line.unit, 10)
	a.lineOfItem(i, item)
	a.setTotals(i)
}

// lineOfItem puts an invoice item on an invoice.
func (a *action) lineOfItem(i, item object) {
	line := orderLine{price: child(item, "price"), quantity: number(item, "quantity")}
	l := a.addLine(i, line, number(item, "amount"), text(item, "description"))
	l["type"], l["invoice_item"], l["subscription"] = "invoiceitem", item["id"], item["subscription"]
	l["period"], l["proration"], l["discountable"] = clone(item["period"]), item["proration"], item["discountable"]
	l["metadata"] = clone(item["metadata"])
	own := a.store.lookUp(text(item, "id"))
	if id := text(own.Private, "subscription_item"); id != "" {
		l["subscription_item"] = id
	}
	if credited := child(own.Private, "credited_items"); credited != nil {
		l["proration_details"] = object{"credited_items": clone(credited)}
	}
	item["invoice"] = i["id"]
}

// takePending puts the items that wait for an invoice on this one: those of the
// subscription, and of the customer where no subscription is named.
func (a *action) takePending(i, s object) {
	pending := a.pendingItems(text(i, "customer"), s)
	for index := len(pending) - 1; index >= 0; index-- { // oldest first
		if pending[index]["currency"] == i["currency"] {
			a.lineOfItem(i, pending[index])
		}
	}
	a.setTotals(i)
}

func (a *action) pendingItems(customerID string, s object) []object {
	var pending []object
	for _, r := range a.store.all("invoiceitem") {
		o := r.Object
		if o["customer"] != customerID || o["invoice"] != nil {
			continue
		}
		if o["subscription"] == nil || s != nil && o["subscription"] == s["id"] {
			pending = append(pending, o)
		}
	}
	return pending
}

// useBalance lets the customer's balance pay, or takes up what the invoice
// owes them.
func (a *action) useBalance(i object) {
	total, balance := number(i, "total"), number(i, "starting_balance")
	used := -balance // what the balance changes by: a credit is used up to the total
	switch {
	case total < 0:
		used = total
	case balance < 0 && total+balance < 0:
		used = total
	}
	i["ending_balance"] = balance + used
	if used != 0 {
		a.moveBalance(i, used, "applied_to_invoice")
	}
	if rest := total + balance; total > 0 && rest > 0 && number(i, "amount_due") == 0 {
		i["ending_balance"] = number(i, "ending_balance") + rest
		a.moveBalance(i, rest, "invoice_too_small")
	}
}

// returnBalance gives back what a voided invoice has used.
func (a *action) returnBalance(i object) {
	used := number(i, "ending_balance") - number(i, "starting_balance")
	if used != 0 {
		a.moveBalance(i, -used, "unapplied_from_invoice")
	}
}

func (a *action) moveBalance(i object, by int64, kind string) {
	customer := a.store.get("customer", text(i, "customer"))
	a.change(customer, "customer.updated", func(o object) { o["balance"] = number(o, "balance") + by })
	t := a.newBalanceEntry(customer, by, text(i, "currency"))
	t["type"], t["invoice"] = kind, i["id"]
}

func (a *action) newBalanceEntry(customer object, by int64, currency string) object {
	t := a.create("customer_balance_transaction", newID("cbtxn"))
	t["customer"], t["amount"], t["currency"] = customer["id"], by, currency
	t["ending_balance"] = customer["balance"]
	a.store.save(t)
	return t
}
