package stripeemu

import (
	"slices"
	"strings"

	"example.com/saaskit/internal/stripecontract"
)

func couponOperations() map[string]operation {
	return map[string]operation{
		"POST /v1/coupons": {handle: (*action).createCoupon, params: []string{
			"id", "percent_off", "amount_off", "currency", "duration", "duration_in_months", "name", "max_redemptions", "redeem_by",
			"metadata.*", "applies_to.products",
		}},
		"GET /v1/coupons":             list("coupon", nil),
		"GET /v1/coupons/{coupon}":    retrieve("coupon", "coupon"),
		"POST /v1/coupons/{coupon}":   {handle: (*action).updateCoupon, params: []string{"name", "metadata.*"}},
		"DELETE /v1/coupons/{coupon}": {handle: (*action).deleteCoupon},
		"POST /v1/promotion_codes": {handle: (*action).createPromotionCode, params: []string{
			"coupon", "code", "active", "customer", "expires_at", "max_redemptions", "metadata.*", "restrictions.first_time_transaction",
			"restrictions.minimum_amount", "restrictions.minimum_amount_currency",
		}},
		"GET /v1/promotion_codes": list("promotion_code", map[string]filter{
			"active": field("active"), "code": field("code"), "customer": field("customer"),
			"coupon": func(r *record, value any) bool { return child(r.Object, "coupon")["id"] == value },
		}),
		"GET /v1/promotion_codes/{promotion_code}":  retrieve("promotion_code", "promotion_code"),
		"POST /v1/promotion_codes/{promotion_code}": {handle: (*action).updatePromotionCode, params: []string{"active", "metadata.*"}},
		"DELETE /v1/customers/{customer}/discount":  {handle: (*action).deleteCustomerDiscount},
	}
}

func (a *action) createCoupon(r *request) (object, error) {
	params := r.Params
	if err := a.couponFits(params); err != nil {
		return nil, err
	}
	id := text(params, "id")
	switch {
	case id == "":
		id = randomText(8)
	case a.store.find("coupon", id) != nil:
		return nil, coded("resource_already_exists", "id", "Coupon already exists.")
	}
	coupon := a.create("coupon", id)
	for _, name := range []string{"percent_off", "amount_off", "currency", "duration_in_months", "name", "max_redemptions", "redeem_by"} {
		coupon[name] = nil
	}
	coupon["duration"], coupon["valid"], coupon["times_redeemed"] = "once", true, int64(0)
	assign(coupon, params, "percent_off", "amount_off", "currency", "duration", "duration_in_months", "name", "max_redemptions", "redeem_by")
	mergeMetadata(coupon, params)
	own := a.store.save(coupon)
	if products, ok := child(params, "applies_to")["products"].([]any); ok {
		own.Hidden["applies_to"] = object{"products": products}
	}
	a.emit("coupon.created", coupon)
	return coupon, nil
}

func (a *action) couponFits(params object) error {
	percent, amount := params["percent_off"], params["amount_off"]
	switch {
	case (percent == nil) == (amount == nil):
		return coded("parameter_missing", "percent_off", "You must pass exactly one of percent_off and amount_off.")
	case amount != nil && params["currency"] == nil:
		return coded("parameter_missing", "currency", "You must pass currency when passing amount_off.")
	case percent != nil && !validPercent(percent):
		return invalid("percent_off", "percent_off must be greater than 0 and at most 100.")
	case amount != nil && number(params, "amount_off") < 1:
		return coded("parameter_invalid_integer", "amount_off", "This value must be greater than or equal to 1.")
	case params["redeem_by"] != nil && number(params, "redeem_by") <= a.at:
		return invalid("redeem_by", "The `redeem_by` timestamp must be in the future.")
	case params["max_redemptions"] != nil && number(params, "max_redemptions") < 1:
		return coded("parameter_invalid_integer", "max_redemptions", "This value must be greater than or equal to 1.")
	case params["duration_in_months"] != nil && number(params, "duration_in_months") < 1:
		return coded("parameter_invalid_integer", "duration_in_months", "This value must be greater than or equal to 1.")
	case (params["duration"] == "repeating") != (params["duration_in_months"] != nil):
		return coded("parameter_missing", "duration_in_months", "duration_in_months goes with duration=repeating, and only with it.")
	}
	return nil
}

func validPercent(percent any) bool {
	switch percent := percent.(type) {
	case int64:
		return percent > 0 && percent <= 100
	case float64:
		return percent > 0 && percent <= 100
	}
	return false
}

func (a *action) updateCoupon(r *request) (object, error) {
	coupon, err := a.lookUp("coupon", "coupon", r.id())
	if err != nil {
		return nil, err
	}
	a.change(coupon, "coupon.updated", func(o object) {
		assign(o, r.Params, "name")
		mergeMetadata(o, r.Params)
	})
	return coupon, nil
}

// deleteCoupon keeps nobody from a discount they have already.
func (a *action) deleteCoupon(r *request) (object, error) {
	coupon, err := a.lookUp("coupon", "coupon", r.id())
	if err != nil {
		return nil, err
	}
	a.emit("coupon.deleted", coupon)
	a.store.removeKey(key(coupon))
	return object{"id": coupon["id"], "object": "coupon", "deleted": true}, nil
}

func (a *action) createPromotionCode(r *request) (object, error) {
	params := r.Params
	coupon, err := a.named("coupon", "coupon", text(params, "coupon"))
	if err != nil {
		return nil, err
	}
	if id := text(params, "customer"); id != "" {
		if _, err := a.named("customer", "customer", id); err != nil {
			return nil, err
		}
	}
	if params["expires_at"] != nil && number(params, "expires_at") <= a.at {
		return nil, invalid("expires_at", "The `expires_at` timestamp must be in the future.")
	}
	if limits := child(params, "restrictions"); (limits["minimum_amount"] == nil) != (limits["minimum_amount_currency"] == nil) {
		return nil, coded("parameter_missing", "restrictions[minimum_amount_currency]", "minimum_amount goes with minimum_amount_currency.")
	}
	promo := a.create("promotion_code", newID("promo"))
	promo["coupon"], promo["active"], promo["expires_at"] = clone(coupon), true, nil
	promo["code"] = strings.ToUpper(randomText(8))
	assign(promo, params, "code", "active", "customer", "expires_at", "max_redemptions")
	assign(child(promo, "restrictions"), child(params, "restrictions"), "first_time_transaction", "minimum_amount", "minimum_amount_currency")
	mergeMetadata(promo, params)
	if flag(promo, "active") && a.promotionNamed(text(promo, "code")) != nil {
		return nil, invalid("code", "An active promotion code with `code: %s` already exists.", text(promo, "code"))
	}
	a.store.save(promo)
	a.emit("promotion_code.created", promo)
	return promo, nil
}

func (a *action) updatePromotionCode(r *request) (object, error) {
	promo, err := a.lookUp("promotion_code", "promotion_code", r.id())
	if err != nil {
		return nil, err
	}
	a.change(promo, "promotion_code.updated", func(o object) {
		assign(o, r.Params, "active")
		mergeMetadata(o, r.Params)
	})
	return promo, nil
}

// promotionNamed finds an active code as a customer types it.
func (a *action) promotionNamed(code string) object {
	for _, r := range a.store.all("promotion_code") {
		if flag(r.Object, "active") && strings.EqualFold(text(r.Object, "code"), strings.TrimSpace(code)) {
			return r.Object
		}
	}
	return nil
}

// A redemption is a coupon, with the promotion code that led to it, which
// somebody is about to use.
type redemption struct {
	coupon  object
	promo   object // nil where the coupon was given by itself
	session any    // the checkout session it was used in
}

// redemptionOf reads the parameters coupon and promotion_code; nil where
// neither is given.
func (a *action) redemptionOf(params, customer object) (*redemption, error) {
	if id := text(params, "promotion_code"); id != "" {
		promo, err := a.named("promotion_code", "promotion_code", id)
		if err != nil {
			return nil, err
		}
		return a.redeemable(&redemption{coupon: a.currentCoupon(promo), promo: promo}, "promotion_code", customer)
	}
	id := text(params, "coupon")
	if id == "" {
		return nil, nil
	}
	coupon, err := a.named("coupon", "coupon", id)
	if err != nil {
		return nil, err
	}
	return a.redeemable(&redemption{coupon: coupon}, "coupon", customer)
}

func (a *action) currentCoupon(promo object) object {
	embedded := child(promo, "coupon")
	if coupon := a.store.find("coupon", text(embedded, "id")); coupon != nil {
		return coupon.Object
	}
	return embedded
}

// redeemable says whether a customer may still use it; customer is nil where
// there is none yet.
func (a *action) redeemable(by *redemption, param string, customer object) (*redemption, error) {
	spent := func(o object, until string) bool {
		limit, end := o["max_redemptions"], number(o, until)
		return limit != nil && number(o, "times_redeemed") >= limit.(int64) || end != 0 && end <= a.at
	}
	if spent(by.coupon, "redeem_by") || !flag(by.coupon, "valid") {
		return nil, coded("coupon_expired", param, "This coupon has expired.")
	}
	promo := by.promo
	if promo == nil {
		return by, nil
	}
	switch {
	case !flag(promo, "active") || spent(promo, "expires_at"):
		return nil, coded("promotion_code_expired", param, "This promotion code is inactive or has expired.")
	case promo["customer"] != nil && (customer == nil || promo["customer"] != customer["id"]):
		return nil, invalid(param, "This promotion code cannot be redeemed by this customer.")
	case flag(child(promo, "restrictions"), "first_time_transaction") && customer != nil && a.hasPaid(customer):
		return nil, coded("promotion_code_not_first_order", param,
			"This promotion code cannot be redeemed because the associated customer has prior transactions.")
	}
	return by, nil
}

// fitsOrder says whether a discount can be used for an order of an amount.
func fitsOrder(by *redemption, amount int64, currency string) error {
	if by == nil {
		return nil
	}
	if err := wrongCurrency(by.coupon, currency); err != nil {
		return err
	}
	limits := child(by.promo, "restrictions")
	least, limited := limits["minimum_amount"].(int64)
	if limited && (limits["minimum_amount_currency"] != currency || amount < least) {
		return invalid("promotion_code", "This promotion code needs an order of at least %s.", money(least, text(limits, "minimum_amount_currency")))
	}
	return nil
}

func (a *action) hasPaid(customer object) bool {
	return slices.ContainsFunc(a.store.all("charge"), func(r *record) bool {
		return r.Object["customer"] == customer["id"] && r.Object["status"] == "succeeded"
	})
}

func wrongCurrency(coupon object, currency string) error {
	if coupon["amount_off"] != nil && coupon["currency"] != currency {
		return stripecontract.Invalid("", "coupon", "The coupon's currency %s does not match %s.", text(coupon, "currency"), currency)
	}
	return nil
}
