package stripeemu

import (
	"fmt"
	"time"
)

// createProrations makes the invoice items that settle a change in the middle
// of a period: a credit for what was paid and is not used, a debit for what is
// used from now on. The time counts to the second.
func (a *action) createProrations(s object, p plan) {
	over := p.at >= number(s, "current_period_end") // nothing of the period is left
	if p.behavior == "none" || over || s["status"] == "trialing" || !p.items && !p.newCycle {
		return
	}
	after := itemsOf(p.next)
	for _, old := range itemsOf(s) {
		if p.newCycle || !sameItem(old, findItem(after, old)) {
			a.prorate(s, old, -1, p.at)
		}
	}
	if p.newCycle {
		return // the new period is billed in full
	}
	before := itemsOf(s)
	for _, item := range after {
		if !sameItem(item, findItem(before, item)) {
			a.prorate(s, item, 1, p.at)
		}
	}
}

func findItem(items []object, like object) object {
	for _, item := range items {
		if item["id"] == like["id"] {
			return item
		}
	}
	return nil
}

func sameItem(x, y object) bool {
	return y != nil && child(x, "price")["id"] == child(y, "price")["id"] && x["quantity"] == y["quantity"]
}

// prorate makes one invoice item over the rest of the current period: with sign
// -1 the credit of an item, with 1 its debit.
func (a *action) prorate(s, item object, sign, at int64) {
	of := periodOf(s)
	price := a.store.get("price", text(child(item, "price"), "id"))
	unit, _ := a.amountIn(price, text(s, "currency"))
	quantity := number(item, "quantity")
	full, off := a.netOf(s, price, unit*quantity)
	if sign < 0 {
		if billed, found := a.billedFor(s, item); found {
			full, off = billed.net, billed.remark
		}
	}
	amount := sign * share(full, of.end-at, of.end-of.start)
	verb := "Remaining"
	if sign < 0 {
		verb = "Unused"
	}
	name := a.productName(price)
	if quantity != 1 {
		name = fmt.Sprintf("%d × %s", quantity, name)
	}
	description := fmt.Sprintf("%s time on %s after %s%s", verb, name, time.Unix(at, 0).UTC().Format("02 Jan 2006"), off)
	made := a.newItem(s["customer"], text(s, "currency"), amount, description)
	made["proration"], made["discountable"], made["subscription"] = true, false, s["id"]
	made["price"], made["quantity"], made["period"] = clone(price), quantity, period{at, of.end}.object()
	if quantity != 0 {
		made["unit_amount"] = share(amount, 1, quantity)
		made["unit_amount_decimal"] = fmt.Sprint(made["unit_amount"])
	}
	own := a.store.lookUp(text(made, "id"))
	own.Private["subscription_item"] = item["id"]
	if sign > 0 {
		own.Private["net"] = full // of the whole period, for a credit to come
	} else {
		own.Private["credited_items"] = a.creditedLine(s, item)
	}
	a.emit("invoiceitem.created", made)
}

// creditedLine finds the line that has billed an item for the current period.
func (a *action) creditedLine(s, item object) object {
	for _, r := range a.store.all("invoice") {
		if r.Object["subscription"] != s["id"] {
			continue
		}
		for _, line := range elements(child(r.Object, "lines"), "data") {
			if line["subscription_item"] == item["id"] && number(line, "amount") > 0 {
				return object{"invoice": r.Object["id"], "invoice_line_items": []any{line["id"]}}
			}
		}
	}
	return nil
}

// A billing is what an item was billed with for the whole of a period.
type billing struct {
	net    int64
	remark string // how a description tells of a percentage
}

// billedFor finds what the customer was billed for an item in the current
// period, so that a credit gives back no more: the amount of the line less its
// discounts, or what a change in the period has made of it.
func (a *action) billedFor(s, item object) (billing, bool) {
	of := periodOf(s)
	bills := func(o object) bool {
		return child(o, "price")["id"] == child(item, "price")["id"] && o["quantity"] == item["quantity"] &&
			number(child(o, "period"), "end") == of.end
	}
	for _, r := range a.store.all("invoiceitem") {
		net, debit := r.Private["net"].(int64)
		if debit && r.Private["subscription_item"] == item["id"] && bills(r.Object) {
			_, remark := a.netOf(s, child(r.Object, "price"), 0)
			return billing{net, remark}, true
		}
	}
	for _, r := range a.store.all("invoice") {
		if r.Object["subscription"] != s["id"] {
			continue
		}
		for _, line := range elements(child(r.Object, "lines"), "data") {
			if line["type"] == "subscription" && line["subscription_item"] == item["id"] && bills(line) &&
				number(child(line, "period"), "start") == of.start {
				return billing{leftOf(line), a.remarkOf(line)}, true
			}
		}
	}
	return billing{}, false
}

func (a *action) remarkOf(line object) string {
	for _, off := range elements(line, "discount_amounts") {
		if d := a.store.find("discount", text(off, "discount")); d != nil {
			if remark := percentRemark(child(d.Object, "coupon")); remark != "" {
				return remark
			}
		}
	}
	return ""
}
