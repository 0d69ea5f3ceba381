package stripeemu

import (
	"strconv"

	"example.com/saaskit/internal/stripecontract"
)

func priceOperations() map[string]operation {
	options := []string{"currency_options.*"}
	return map[string]operation{
		"POST /v1/prices": {handle: (*action).createPrice, params: append(options,
			"currency", "product", "product_data.name", "product_data.metadata.*", "product_data.active", "product_data.id", "unit_amount",
			"unit_amount_decimal", "recurring.interval", "recurring.interval_count", "recurring.usage_type", "lookup_key",
			"transfer_lookup_key", "nickname", "metadata.*", "active", "tax_behavior", "billing_scheme")},
		"GET /v1/prices": list("price", map[string]filter{
			"active": field("active"), "currency": field("currency"), "product": field("product"), "type": field("type"),
			"lookup_keys": lookupKeyIn, "recurring": recurringIs,
		}),
		"GET /v1/prices/{price}": retrieve("price", "price"),
		"POST /v1/prices/{price}": {handle: (*action).updatePrice, params: append(options,
			"active", "lookup_key", "transfer_lookup_key", "nickname", "metadata.*", "tax_behavior")},
	}
}

func lookupKeyIn(r *record, value any) bool {
	keys, _ := value.([]any)
	for _, key := range keys {
		if r.Object["lookup_key"] == key {
			return true
		}
	}
	return false
}

func recurringIs(r *record, value any) bool {
	wanted, _ := value.(object)
	for name, wish := range wanted {
		if child(r.Object, "recurring")[name] != wish {
			return false
		}
	}
	return true
}

func (a *action) createPrice(r *request) (object, error) {
	params := r.Params
	if scheme := text(params, "billing_scheme"); scheme == "tiered" {
		return nil, notEmulated("tiered prices")
	}
	price := a.create("price", newID("price"))
	price["currency"] = text(params, "currency")
	price["lookup_key"] = nil
	assign(price, params, "active", "nickname", "tax_behavior")
	mergeMetadata(price, params)
	if err := setAmount(price, params, "unit_amount"); err != nil {
		return nil, err
	}
	if err := setRecurring(price, child(params, "recurring")); err != nil {
		return nil, err
	}
	options, err := currencyOptions(price, child(params, "currency_options"))
	if err != nil {
		return nil, err
	}
	if err := a.setLookupKey(price, params); err != nil {
		return nil, err
	}
	if price["product"], err = a.productOfPrice(params); err != nil {
		return nil, err
	}
	a.store.save(price).Hidden["currency_options"] = options
	a.emit("price.created", price)
	return price, nil
}

// productOfPrice is the product a new price names, or the one it brings along.
func (a *action) productOfPrice(params object) (any, error) {
	if id := text(params, "product"); id != "" {
		if _, err := a.named("product", "product", id); err != nil {
			return nil, err
		}
		return id, nil
	}
	product, err := a.createProduct(&request{Call: &stripecontract.Call{Params: child(params, "product_data")}})
	if err != nil {
		return nil, err
	}
	return product["id"], nil
}

// setAmount sets both forms of the amount. Fractions of the smallest unit are
// not emulated, as rounding them is Stripe's own affair.
func setAmount(target, params object, param string) error {
	amount, whole := params["unit_amount"].(int64)
	if !whole {
		decimal := text(params, "unit_amount_decimal")
		if decimal == "" {
			return stripecontract.Invalid("parameter_missing", param, "You must specify one of `unit_amount` or `unit_amount_decimal`.")
		}
		parsed, err := strconv.ParseInt(decimal, 10, 64)
		if err != nil {
			return notEmulated("fractional unit_amount_decimal")
		}
		amount = parsed
	}
	if amount < 0 || amount > 99999999 {
		return stripecontract.Invalid("parameter_invalid_integer", param, "Invalid integer: amounts run from 0 to 99999999.")
	}
	target["unit_amount"] = amount
	target["unit_amount_decimal"] = strconv.FormatInt(amount, 10)
	return nil
}

func setRecurring(price, params object) error {
	if params == nil {
		price["type"], price["recurring"] = "one_time", nil
		return nil
	}
	if text(params, "usage_type") == "metered" {
		return notEmulated("metered prices")
	}
	count := max(number(params, "interval_count"), 1)
	limits := map[string]int64{"day": 3 * 365, "week": 156, "month": 36, "year": 3}
	if count > limits[text(params, "interval")] {
		return invalid("recurring[interval_count]", "The maximum interval is three years.")
	}
	price["type"] = "recurring"
	price["recurring"] = object{
		"aggregate_usage": nil, "interval": params["interval"], "interval_count": count,
		"usage_type": "licensed",
	}
	return nil
}

// currencyOptions has the price's own currency among the others, as Stripe
// shows them.
func currencyOptions(price, given object) (object, error) {
	options := object{}
	option := func(amount, decimal any) object {
		return object{"custom_unit_amount": nil, "tax_behavior": price["tax_behavior"], "unit_amount": amount, "unit_amount_decimal": decimal}
	}
	options[text(price, "currency")] = option(price["unit_amount"], price["unit_amount_decimal"])
	for currency, value := range given {
		params, _ := value.(object)
		for name := range params {
			if name != "unit_amount" && name != "unit_amount_decimal" {
				return nil, notEmulated("parameter currency_options." + name)
			}
		}
		amounts := object{}
		if err := setAmount(amounts, params, "currency_options["+currency+"][unit_amount]"); err != nil {
			return nil, err
		}
		options[currency] = option(amounts["unit_amount"], amounts["unit_amount_decimal"])
	}
	return options, nil
}

// setLookupKey keeps a key unique: a second price may have it only by taking
// it from the first.
func (a *action) setLookupKey(price, params object) error {
	key, given := params["lookup_key"].(string)
	if !given {
		return nil
	}
	for _, other := range a.store.all("price") {
		if key == "" || other.Object["lookup_key"] != key || other.Object["id"] == price["id"] {
			continue
		}
		if !flag(params, "transfer_lookup_key") {
			return invalid("lookup_key", "A price (`%s`) already uses that lookup key.", text(other.Object, "id"))
		}
		a.change(other.Object, "price.updated", func(o object) { o["lookup_key"] = nil })
	}
	price["lookup_key"] = orNil(key)
	return nil
}

func (a *action) updatePrice(r *request) (object, error) {
	price, err := a.lookUp("price", "price", r.id())
	if err != nil {
		return nil, err
	}
	product := a.store.get("product", text(price, "product"))
	if r.Params["active"] == false && product["default_price"] == price["id"] {
		return nil, invalid("active", "This price cannot be archived because it is the default price of its product.")
	}
	own := a.store.lookUp(text(price, "id"))
	if given := child(r.Params, "currency_options"); given != nil {
		options, err := currencyOptions(price, given)
		if err != nil {
			return nil, err
		}
		merged := clone(child(own.Hidden, "currency_options"))
		for currency, option := range options {
			merged[currency] = option
		}
		own.Hidden["currency_options"] = merged
	}
	before := clone(price)
	if err := a.setLookupKey(price, r.Params); err != nil {
		return nil, err
	}
	assign(price, r.Params, "active", "nickname", "tax_behavior")
	mergeMetadata(price, r.Params)
	if previous := difference(before, price); len(previous) > 0 {
		a.emitChange("price.updated", price, previous)
	}
	return price, nil
}

// amountIn is what one unit of a price costs in a currency.
func (a *action) amountIn(price object, currency string) (int64, bool) {
	if price["currency"] == currency {
		return number(price, "unit_amount"), true
	}
	own := a.store.lookUp(text(price, "id"))
	option := child(child(own.Hidden, "currency_options"), currency)
	return number(option, "unit_amount"), option != nil
}
