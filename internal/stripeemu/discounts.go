package stripeemu

import (
	"fmt"
	"slices"
)

// newDiscount uses a coupon once.
func (a *action) newDiscount(by redemption, customerID any) object {
	d := a.create("discount", newID("di"))
	d["coupon"], d["customer"], d["start"], d["end"] = clone(by.coupon), customerID, a.at, nil
	d["checkout_session"] = by.session
	if by.coupon["duration"] == "repeating" {
		months := int(number(by.coupon, "duration_in_months"))
		d["end"] = intervalsAfter(a.at, object{"interval": "month"}, months)
	}
	if by.promo != nil {
		d["promotion_code"] = by.promo["id"]
		a.redeemed(a.store.get("promotion_code", text(by.promo, "id")))
	}
	if coupon := a.store.find("coupon", text(by.coupon, "id")); coupon != nil {
		a.redeemed(coupon.Object)
		d["coupon"] = clone(coupon.Object)
	}
	a.store.save(d)
	return d
}

// redeemed counts a use, and ends what may be used no more.
func (a *action) redeemed(o object) {
	o["times_redeemed"] = number(o, "times_redeemed") + 1
	limit, limited := o["max_redemptions"].(int64)
	if !limited || number(o, "times_redeemed") < limit {
		return
	}
	if o["object"] == "coupon" {
		o["valid"] = false
		return
	}
	a.change(o, "promotion_code.updated", func(o object) { o["active"] = false })
}

// discountSubscription gives a subscription a discount in place of the one it
// has.
func (a *action) discountSubscription(s object, by redemption) {
	a.dropDiscount(s)
	d := a.newDiscount(by, s["customer"])
	d["subscription"] = s["id"]
	s["discount"] = clone(d)
	a.emit("customer.discount.created", d)
}

// planDiscount reads coupon and promotion_code of an update; an empty one
// takes the discount away.
func (a *action) planDiscount(p *plan, params object) error {
	if params["coupon"] == "" || params["promotion_code"] == "" {
		p.dropDiscount = true
		return nil
	}
	by, err := a.redemptionOf(params, a.store.customer(text(p.next, "customer")))
	if err != nil || by == nil {
		return err
	}
	p.discount = by
	var amount int64
	for _, item := range itemsOf(p.next) {
		unit, _ := a.amountIn(a.store.get("price", text(child(item, "price"), "id")), text(p.next, "currency"))
		amount += unit * number(item, "quantity")
	}
	return fitsOrder(by, amount, text(p.next, "currency"))
}

func (a *action) changeDiscount(s object, p plan) {
	if p.dropDiscount {
		a.dropDiscount(s)
	}
	if p.discount != nil {
		a.discountSubscription(s, *p.discount)
	}
}

// dropDiscount takes the discount of a subscription or a customer away.
func (a *action) dropDiscount(owner object) {
	d := a.store.find("discount", text(child(owner, "discount"), "id"))
	owner["discount"] = nil
	if d != nil {
		d.Object["end"] = a.at
		a.emit("customer.discount.deleted", d.Object)
	}
}

func (a *action) deleteSubscriptionDiscount(r *request) (object, error) {
	s, err := a.lookUp("subscription", "subscription", r.id())
	if err != nil {
		return nil, err
	}
	return a.deletedDiscount(s, "customer.subscription.updated")
}

func (a *action) deleteCustomerDiscount(r *request) (object, error) {
	customer, err := a.lookUp("customer", "customer", r.id())
	if err != nil {
		return nil, err
	}
	return a.deletedDiscount(customer, "customer.updated")
}

func (a *action) deletedDiscount(owner object, eventType string) (object, error) {
	shown := clone(child(owner, "discount"))
	if shown == nil {
		return nil, missing("active discount", "", text(owner, "id"))
	}
	a.change(owner, eventType, a.dropDiscount)
	shown["object"], shown["deleted"] = "discount", true
	delete(shown, "end")
	return shown, nil
}

// endDiscounts takes away what has had its time before a new period is billed.
func (a *action) endDiscounts(s object) {
	d := a.store.find("discount", text(child(s, "discount"), "id"))
	if d == nil {
		return
	}
	end := number(d.Object, "end")
	if end != 0 && end <= a.at {
		a.dropDiscount(s)
	}
}

// discountFromSubscription lets an invoice have the discount of its
// subscription, or else of its customer.
func (a *action) discountFromSubscription(i, s object) {
	discount := child(s, "discount")
	if discount == nil {
		discount = child(a.store.get("customer", text(i, "customer")), "discount")
	}
	d := a.store.find("discount", text(discount, "id"))
	if d == nil {
		return
	}
	if end := number(d.Object, "end"); end != 0 && end <= a.at {
		return
	}
	setDiscounts(i, []object{d.Object})
}

func setDiscounts(i object, discounts []object) {
	ids := []any{}
	i["discount"] = nil
	for _, d := range discounts {
		ids = append(ids, d["id"])
	}
	if len(discounts) > 0 {
		i["discount"] = clone(discounts[0])
	}
	i["discounts"] = ids
}

// discountInvoice reads the parameter "discounts" of an invoice.
func (a *action) discountInvoice(i, params object) error {
	customer := a.store.get("customer", text(i, "customer"))
	var discounts []object
	for index, given := range elements(params, "discounts") {
		if id := text(given, "discount"); id != "" {
			d := a.store.find("discount", id)
			if d == nil {
				return missingParam("discount", indexed("discounts", index, "discount"), id)
			}
			discounts = append(discounts, d.Object)
			continue
		}
		by, err := a.redemptionOf(given, customer)
		if err != nil {
			return err
		}
		if by == nil {
			continue
		}
		if err := fitsOrder(by, number(i, "subtotal"), text(i, "currency")); err != nil {
			return err
		}
		d := a.newDiscount(*by, customer["id"])
		d["invoice"] = i["id"]
		discounts = append(discounts, d)
	}
	setDiscounts(i, discounts)
	return nil
}

// dropSpent takes from a draft the discounts that were for one invoice and
// that another one has used since.
func (a *action) dropSpent(i object) {
	ids, _ := i["discounts"].([]any)
	var left []object
	for _, id := range ids {
		d := a.store.find("discount", id.(string))
		if d != nil && (child(d.Object, "coupon")["duration"] != "once" || d.Private["used"] == nil) {
			left = append(left, d.Object)
		}
	}
	if len(left) < len(ids) {
		setDiscounts(i, left)
	}
}

// redeemDiscounts uses up the discounts that are for one invoice: they are gone
// from the subscription or the customer, unless nothing was taken off, as in a
// trial.
func (a *action) redeemDiscounts(i object) {
	for _, total := range elements(i, "total_discount_amounts") {
		d := a.store.find("discount", text(total, "discount"))
		if d == nil || child(d.Object, "coupon")["duration"] != "once" || number(total, "amount") == 0 {
			continue
		}
		d.Private["used"] = i["id"]
		if s := a.store.find("subscription", text(d.Object, "subscription")); s != nil && child(s.Object, "discount")["id"] == d.Object["id"] {
			a.dropDiscount(s.Object)
		}
		customer := a.store.customer(text(d.Object, "customer"))
		if child(customer, "discount")["id"] == d.Object["id"] {
			a.change(customer, "customer.updated", a.dropDiscount)
		}
	}
}

// applyDiscounts takes the discounts of an invoice off its lines and returns
// their sum. Each one's rest of a cent goes to the last line it applies to.
func (a *action) applyDiscounts(i object) int64 {
	lines := elements(child(i, "lines"), "data")
	for _, line := range lines {
		line["discount_amounts"] = []any{}
	}
	var sum int64
	totals := []any{}
	ids, _ := i["discounts"].([]any)
	for _, id := range ids {
		d := a.store.find("discount", id.(string))
		if d == nil {
			continue
		}
		off := a.applyDiscount(d.Object, lines)
		sum += off
		totals = append(totals, object{"amount": off, "discount": id})
	}
	i["total_discount_amounts"] = totals
	return sum
}

func (a *action) applyDiscount(d object, lines []object) int64 {
	coupon := child(d, "coupon")
	var eligible []object
	var base int64
	for _, line := range lines {
		if left := leftOf(line); flag(line, "discountable") && left > 0 && a.couponCovers(coupon, line) {
			eligible, base = append(eligible, line), base+left
		}
	}
	off := couponOff(coupon, base)
	rest := off
	for index, line := range eligible {
		part := share(off, leftOf(line), base)
		if index == len(eligible)-1 {
			part = rest
		}
		rest -= part
		amounts, _ := line["discount_amounts"].([]any)
		line["discount_amounts"] = append(amounts, object{"amount": part, "discount": d["id"]})
	}
	return off
}

// leftOf is what a line costs after the discounts it has.
func leftOf(line object) int64 {
	left := number(line, "amount")
	for _, off := range elements(line, "discount_amounts") {
		left -= number(off, "amount")
	}
	return left
}

func (a *action) couponCovers(coupon, line object) bool {
	own := a.store.find("coupon", text(coupon, "id"))
	if own == nil {
		return true
	}
	products, limited := child(own.Hidden, "applies_to")["products"].([]any)
	return !limited || slices.Contains(products, child(line, "price")["product"])
}

// couponOff is what a coupon takes off an amount.
func couponOff(coupon object, amount int64) int64 {
	if off := number(coupon, "amount_off"); off > 0 {
		return min(off, amount)
	}
	return percentOf(amount, coupon["percent_off"])
}

// netOf is what an item costs from now on less the percentage of its
// subscription or its customer, and how a proration says so. An amount off is
// not spread over a part of a period, and what is for one invoice comes off that.
func (a *action) netOf(s, price object, amount int64) (net int64, remark string) {
	discount := child(s, "discount")
	if discount == nil {
		discount = child(a.store.get("customer", text(s, "customer")), "discount")
	}
	coupon := child(discount, "coupon")
	if coupon == nil || coupon["duration"] == "once" || !a.couponCovers(coupon, object{"price": price}) {
		return amount, ""
	}
	return amount - percentOf(amount, coupon["percent_off"]), percentRemark(coupon)
}

func percentRemark(coupon object) string {
	if coupon["percent_off"] == nil {
		return ""
	}
	return fmt.Sprintf(" (with %v%% off)", coupon["percent_off"])
}
