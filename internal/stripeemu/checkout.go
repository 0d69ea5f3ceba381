package stripeemu

import (
	"fmt"
	"slices"

	"example.com/saaskit/internal/stripecontract"
)

const (
	shortestSession = 30 * 60
	longestSession  = 24 * 60 * 60
)

func checkoutOperations() map[string]operation {
	return map[string]operation{
		"POST /v1/checkout/sessions": {handle: (*action).createSession, params: []string{
			"mode", "line_items.price", "line_items.quantity", "success_url", "cancel_url", "customer", "customer_email",
			"customer_creation", "client_reference_id", "metadata.*", "expires_at", "currency", "locale", "submit_type", "ui_mode",
			"allow_promotion_codes", "discounts.coupon", "discounts.promotion_code", "payment_method_types", "payment_method_collection",
			"automatic_tax.enabled", "tax_id_collection.enabled", "customer_update.address", "customer_update.name", "billing_address_collection",
			"subscription_data.metadata.*", "subscription_data.description", "subscription_data.trial_period_days",
			"subscription_data.trial_end", "subscription_data.trial_settings.*", "payment_intent_data.metadata.*",
			"payment_intent_data.description", "payment_intent_data.receipt_email", "payment_intent_data.shipping.*",
			"payment_intent_data.setup_future_usage",
			"setup_intent_data.metadata.*", "setup_intent_data.description",
			"invoice_creation.enabled", "invoice_creation.invoice_data.metadata.*", "invoice_creation.invoice_data.description",
		}},
		"GET /v1/checkout/sessions": list("checkout.session", map[string]filter{
			"customer": field("customer"), "subscription": field("subscription"), "payment_intent": field("payment_intent"),
			"status": field("status"),
		}),
		"GET /v1/checkout/sessions/{session}":         retrieve("checkout.session", "id"),
		"POST /v1/checkout/sessions/{session}/expire": {handle: (*action).expireSession},
		"GET /v1/checkout/sessions/{session}/line_items": listEmbedded("checkout.session", "id",
			func(r *record) object { return child(r.Hidden, "line_items") }),
	}
}

// sessionRules close the sessions whose time is over.
func sessionRules() []rule {
	return []rule{{
		objectType: "checkout.session",
		due: func(_ *action, r *record) int64 {
			if r.Object["status"] != "open" {
				return 0
			}
			return number(r.Object, "expires_at")
		},
		happen: (*action).closeSession,
	}}
}

// An orderLine is a price in the order's currency, times a quantity.
type orderLine struct {
	price    object
	quantity int64
	unit     int64
	metadata any // of a subscription's item
}

func (l orderLine) amount() int64 { return l.unit * l.quantity }

// dueNow is what the order costs at once: in a trial only what is not recurring.
func dueNow(lines []orderLine, trial bool) int64 {
	var sum int64
	for _, line := range lines {
		if !trial || line.price["recurring"] == nil {
			sum += line.amount()
		}
	}
	return sum
}

func (a *action) createSession(r *request) (object, error) {
	params := r.Params
	if err := onlyEmulatedSession(params); err != nil {
		return nil, err
	}
	lines, currency, err := a.orderLines(params)
	if err != nil {
		return nil, err
	}
	trialEnd, err := a.trialEnd(child(params, "subscription_data"))
	if err != nil {
		return nil, err
	}
	session := a.create("checkout.session", "cs_test_"+randomText(58))
	session["payment_intent"], session["customer_details"] = nil, nil
	session["cancel_url"], session["metadata"] = nil, object{}
	assign(session, params, "mode", "success_url", "cancel_url", "customer_email", "client_reference_id", "locale",
		"submit_type", "allow_promotion_codes", "billing_address_collection", "payment_method_types")
	mergeMetadata(session, params)
	session["currency"] = orNil(currency)
	if err := a.setSessionCustomer(session, params); err != nil {
		return nil, err
	}
	if err := a.setSessionExpiry(session, params); err != nil {
		return nil, err
	}
	if err := a.setSessionTax(session, params); err != nil {
		return nil, err
	}
	session["url"] = a.base + "/c/pay/" + text(session, "id")
	own := a.store.save(session)
	own.Private["update"] = clone(child(params, "customer_update"))
	for _, name := range []string{"subscription_data", "payment_intent_data"} {
		own.Private[name] = clone(child(params, name))
	}
	if err := a.setSessionMode(own, params, lines, trialEnd > 0); err != nil {
		a.store.remove(text(session, "id"))
		return nil, err
	}
	return session, nil
}

// setSessionMode sets what depends on the mode.
func (a *action) setSessionMode(session *record, params object, lines []orderLine, trial bool) error {
	o := session.Object
	switch text(params, "mode") {
	case "setup":
		intent := a.newSetupIntent(a.store.customer(text(o, "customer")))
		assign(intent, child(params, "setup_intent_data"), "description")
		mergeMetadata(intent, child(params, "setup_intent_data"))
		a.emit("setup_intent.created", intent)
		o["setup_intent"] = intent["id"]
		o["amount_subtotal"], o["amount_total"] = nil, nil
		return nil
	case "subscription":
		o["payment_method_collection"] = "always"
		assign(o, params, "payment_method_collection")
	default:
		o["invoice_creation"] = invoiceCreation(child(params, "invoice_creation"))
	}
	session.Hidden["line_items"] = a.lineItems(o, lines, trial)
	session.Private["trial"] = trial
	by, err := a.sessionRedemption(o, params, dueNow(lines, trial))
	if err != nil {
		return err
	}
	a.setSessionTotals(session, by)
	if total := number(o, "amount_total"); o["mode"] == "payment" && total > 0 {
		return chargeable(total, text(o, "currency"))
	}
	return nil
}

// sessionRedemption reads the discount that a session is made with.
func (a *action) sessionRedemption(o, params object, amount int64) (*redemption, error) {
	given := elements(params, "discounts")
	if len(given) == 0 {
		return nil, nil
	}
	by, err := a.redemptionOf(given[0], a.store.customer(text(o, "customer")))
	if err != nil || by == nil {
		return nil, err
	}
	return by, fitsOrder(by, amount, text(o, "currency"))
}

// setSessionTotals derives the sums of a session from its lines and the
// discount that its customer uses.
func (a *action) setSessionTotals(session *record, by *redemption) {
	o := session.Object
	items := elements(child(session.Hidden, "line_items"), "data")
	var subtotal int64
	lines := make([]object, 0, len(items))
	for _, item := range items {
		subtotal += number(item, "amount_subtotal")
		lines = append(lines, object{"amount": item["amount_subtotal"], "price": item["price"], "discountable": true})
	}
	var off int64
	delete(session.Private, "redemption")
	if by != nil {
		off = a.applyDiscount(object{"id": "", "coupon": by.coupon}, lines)
		session.Private["redemption"] = object{"coupon": by.coupon["id"], "promo": by.promo["id"]}
	}
	for index, item := range items {
		left := leftOf(lines[index])
		item["amount_total"], item["amount_discount"] = left, number(item, "amount_subtotal")-left
	}
	o["amount_subtotal"], o["amount_total"] = subtotal, subtotal-off
	o["total_details"] = object{"amount_discount": off, "amount_shipping": int64(0), "amount_tax": int64(0)}
}

// redemptionIn is the discount that a session's customer uses.
func (a *action) redemptionIn(session *record) *redemption {
	kept := child(session.Private, "redemption")
	if kept == nil {
		return nil
	}
	coupon := a.store.find("coupon", text(kept, "coupon"))
	if coupon == nil {
		return nil
	}
	by := redemption{coupon: coupon.Object, session: session.Object["id"]}
	if promo := a.store.find("promotion_code", text(kept, "promo")); promo != nil {
		by.promo = promo.Object
	}
	return &by
}

// applyCode is what the page does with a promotion code. It returns what to
// tell the customer where the code is of no use.
func (a *action) applyCode(session *record, code string) string {
	promo := a.promotionNamed(code)
	if promo == nil {
		return "This code is invalid."
	}
	o := session.Object
	by, err := a.redeemable(&redemption{coupon: a.currentCoupon(promo), promo: promo}, "", a.store.customer(text(o, "customer")))
	if err != nil {
		return "This code cannot be used for this order."
	}
	if wrongCurrency(by.coupon, text(o, "currency")) != nil {
		return "This code cannot be used for this order."
	}
	if fitsOrder(by, number(o, "amount_subtotal"), text(o, "currency")) != nil {
		limits := child(promo, "restrictions")
		return "This code needs an order of at least " + money(number(limits, "minimum_amount"), text(limits, "minimum_amount_currency")) + "."
	}
	a.setSessionTotals(session, by)
	a.store.changed = true
	return ""
}

// setSessionTax notes that taxes are to be worked out. The account has no tax
// registrations, so they come to nothing everywhere.
func (a *action) setSessionTax(session, params object) error {
	if given := child(params, "tax_id_collection"); given != nil {
		session["tax_id_collection"] = object{"enabled": flag(given, "enabled")}
	}
	if !flag(child(params, "automatic_tax"), "enabled") {
		return nil
	}
	update := child(params, "customer_update")
	if customer := a.store.customer(text(session, "customer")); customer != nil && customer["address"] == nil && update["address"] != "auto" {
		return coded("customer_tax_location_invalid", "", "Automatic tax calculation in Checkout requires a valid address on the Customer. "+
			"Add a valid address to the Customer or set `customer_update[address]` to 'auto'.")
	}
	session["automatic_tax"] = object{"enabled": true, "liability": object{"type": "self"}, "status": "requires_location_inputs"}
	return nil
}

func onlyEmulatedSession(params object) error {
	switch {
	case params["ui_mode"] != nil && params["ui_mode"] != "hosted":
		return notEmulated("embedded checkout")
	case text(params, "billing_address_collection") == "required":
		return notEmulated("billing_address_collection=required")
	}
	types, _ := params["payment_method_types"].([]any)
	if slices.ContainsFunc(types, func(kind any) bool { return kind != "card" && kind != "sepa_debit" }) {
		return notEmulated("payment methods other than card and sepa_debit")
	}
	if slices.Contains(types, any("sepa_debit")) && params["mode"] != "payment" {
		return notEmulated("sepa_debit in " + text(params, "mode") + " mode")
	}
	return nil
}

// orderLines resolves the line items and the currency they share.
func (a *action) orderLines(params object) ([]orderLine, string, error) {
	var lines []orderLine
	currency := text(params, "currency")
	recurring := ""
	for i, item := range elements(params, "line_items") {
		param := indexed("line_items", i, "price")
		price, err := a.named("price", param, text(item, "price"))
		if err != nil {
			return nil, "", err
		}
		if !flag(price, "active") {
			return nil, "", invalid(param, "The price specified is inactive. This field only accepts active prices.")
		}
		if product := a.store.find("product", text(price, "product")); product != nil && product.Object["active"] == false {
			return nil, "", invalid("", "The product %s is marked as inactive, and thus cannot be bought.", text(price, "product"))
		}
		if currency == "" {
			currency = text(price, "currency")
		}
		unit, offered := a.amountIn(price, currency)
		if !offered {
			return nil, "", invalid(param, "The price specified does not support the currency `%s`.", currency)
		}
		quantity, given := item["quantity"].(int64)
		if !given || quantity < 1 {
			return nil, "", stripecontract.Invalid("parameter_missing", indexed("line_items", i, "quantity"),
				"Quantity is required. Add `quantity` to `line_items[%d]`", i)
		}
		if interval := intervalOf(price); interval != "" {
			if recurring != "" && recurring != interval {
				return nil, "", invalid(param, "All prices on a subscription must have the same `recurring.interval` and `recurring.interval_count`.")
			}
			recurring = interval
		}
		lines = append(lines, orderLine{price: price, quantity: quantity, unit: unit})
	}
	return lines, currency, modeFits(text(params, "mode"), recurring != "")
}

func modeFits(mode string, recurring bool) error {
	switch {
	case mode == "payment" && recurring:
		return invalid("mode",
			"You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode or use only one-time prices.")
	case mode == "subscription" && !recurring:
		return invalid("mode", "You must provide at least one recurring price in `subscription` mode when using prices.")
	}
	return nil
}

// intervalOf is the rhythm of a recurring price, "" of another one.
func intervalOf(price object) string {
	recurring := child(price, "recurring")
	if recurring == nil {
		return ""
	}
	return fmt.Sprint(recurring["interval"], " ", recurring["interval_count"])
}

func (a *action) setSessionCustomer(session, params object) error {
	if id := text(params, "customer"); id != "" {
		customer, err := a.named("customer", "customer", id)
		if err != nil {
			return err
		}
		session["customer"] = id
		session["customer_details"] = customerDetails(text(customer, "email"), nil)
		if bound := text(customer, "currency"); params["mode"] == "subscription" && bound != "" && bound != session["currency"] {
			return invalid("customer", "You cannot combine currencies on a single customer. This customer has had a subscription in %s.", bound)
		}
		return nil
	}
	if email := text(params, "customer_email"); email != "" {
		session["customer_details"] = customerDetails(email, nil)
	}
	if params["mode"] == "payment" || params["mode"] == "setup" {
		session["customer_creation"] = "if_required"
		assign(session, params, "customer_creation")
	} else {
		session["customer_creation"] = "always"
	}
	return nil
}

func customerDetails(email string, name any) object {
	return object{"address": nil, "email": orNil(email), "name": name, "phone": nil, "tax_exempt": "none", "tax_ids": nil}
}

func (a *action) setSessionExpiry(session, params object) error {
	expires, given := params["expires_at"].(int64)
	if !given {
		session["expires_at"] = a.at + longestSession
		return nil
	}
	// a minute of grace, as the caller's clock and ours differ
	if expires < a.at+shortestSession-60 {
		return invalid("expires_at", "The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation.")
	}
	if expires > a.at+longestSession+60 {
		return invalid("expires_at", "The `expires_at` timestamp must be less than 24 hours from Checkout Session creation.")
	}
	session["expires_at"] = expires
	return nil
}

func invoiceCreation(params object) object {
	data := object{
		"account_tax_ids": nil, "custom_fields": nil, "description": nil, "footer": nil, "issuer": nil,
		"metadata": object{}, "rendering_options": nil,
	}
	given := child(params, "invoice_data")
	assign(data, given, "description")
	mergeMetadata(data, given)
	return object{"enabled": flag(params, "enabled"), "invoice_data": data}
}

// lineItems are the lines as the session shows them when expanded.
func (a *action) lineItems(session object, lines []orderLine, trial bool) object {
	var data []any
	for _, line := range lines {
		item := a.create("item", newID("li"))
		item["price"] = clone(line.price)
		item["quantity"] = line.quantity
		item["currency"] = session["currency"]
		due := dueNow([]orderLine{line}, trial)
		item["amount_subtotal"], item["amount_total"] = due, due
		item["description"] = text(a.store.get("product", text(line.price, "product")), "name")
		data = append(data, item)
	}
	return listOf("/v1/checkout/sessions/"+text(session, "id")+"/line_items", data)
}

// linesOf reads the order back from a session.
func (a *action) linesOf(session *record) []orderLine {
	var lines []orderLine
	for _, item := range elements(child(session.Hidden, "line_items"), "data") {
		price := a.store.get("price", text(child(item, "price"), "id"))
		unit, _ := a.amountIn(price, text(session.Object, "currency"))
		lines = append(lines, orderLine{price: price, quantity: number(item, "quantity"), unit: unit})
	}
	return lines
}

func (a *action) expireSession(r *request) (object, error) {
	session, err := a.lookUp("checkout.session", "id", r.id())
	if err != nil {
		return nil, err
	}
	if session["status"] != "open" {
		return nil, invalid("",
			"Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session has a status of `%s`.", text(session, "status"))
	}
	a.closeSession(a.store.lookUp(text(session, "id")))
	return session, nil
}

// closeSession expires a session, and with it the subscription that a declined
// card has left behind.
func (a *action) closeSession(session *record) {
	session.Object["status"], session.Object["url"] = "expired", nil
	a.emit("checkout.session.expired", session.Object)
	if id := text(session.Private, "subscription"); id != "" {
		a.abandonSubscription(a.store.get("subscription", id))
	}
}
