package stripeemu

import (
	"fmt"
	"slices"
	"strings"

	"example.com/saaskit/internal/stripecontract"
)

func paymentMethodOperations() map[string]operation {
	billing := []string{"billing_details.*", "metadata.*"}
	return map[string]operation{
		"POST /v1/payment_methods": {handle: (*action).createPaymentMethod, params: append(billing,
			"type", "card.number", "card.exp_month", "card.exp_year", "card.cvc", "card.token")},
		"GET /v1/payment_methods": {handle: (*action).listPaymentMethods,
			params: []string{"customer", "type", "limit", "starting_after", "ending_before"}},
		"GET /v1/payment_methods/{payment_method}": {handle: (*action).getPaymentMethod},
		"POST /v1/payment_methods/{payment_method}": {handle: (*action).updatePaymentMethod,
			params: append(billing, "card.exp_month", "card.exp_year")},
		"POST /v1/payment_methods/{payment_method}/attach": {handle: (*action).attachPaymentMethod, params: []string{"customer"}},
		"POST /v1/payment_methods/{payment_method}/detach": {handle: (*action).detachPaymentMethod},
		"GET /v1/customers/{customer}/payment_methods/{payment_method}": {handle: func(a *action, r *request) (object, error) {
			return a.ownPaymentMethod(r.Path["customer"], "payment_method", r.Path["payment_method"])
		}},
		"GET /v1/customers/{customer}/payment_methods": {
			params: []string{"type", "limit", "starting_after", "ending_before"},
			handle: func(a *action, r *request) (object, error) {
				if _, err := a.lookUp("customer", "customer", r.id()); err != nil {
					return nil, err
				}
				return page(r, a.paymentMethodsOf(r.id(), text(r.Params, "type")))
			},
		},
	}
}

func (a *action) createPaymentMethod(r *request) (object, error) {
	if kind := text(r.Params, "type"); kind != "card" {
		return nil, notEmulated("payment methods other than card")
	}
	given := child(r.Params, "card")
	cardNumber := testTokens()[strings.TrimPrefix(text(given, "token"), "tok_")]
	if given["token"] == nil {
		cardNumber = text(given, "number")
	}
	entered := &card{number: cardNumber, expMonth: 12, expYear: 2034}
	if cardNumber == "" {
		return nil, missingParam("token", "card[token]", text(given, "token"))
	}
	if given["token"] == nil {
		var refused *decline
		expiry := fmt.Sprintf("%d/%d", number(given, "exp_month"), number(given, "exp_year"))
		if entered, refused = readCard(cardNumber, expiry, "123", a.wall()); refused != nil {
			return nil, refused.asError(nil)
		}
	}
	method := a.newPaymentMethod(*entered, payer{})
	setBilling(method, r.Params)
	return method, nil
}

func setBilling(method, params object) {
	given := child(params, "billing_details")
	details := child(method, "billing_details")
	assign(details, given, "email", "name", "phone")
	assign(child(details, "address"), child(given, "address"), "city", "country", "line1", "line2", "postal_code", "state")
	mergeMetadata(method, params)
}

// methodFor finds the payment method that a parameter names. One of the
// account's test methods, such as pm_card_visa, becomes a new one, as at Stripe.
func (a *action) methodFor(param, id string) (object, error) {
	if name, ok := strings.CutPrefix(id, "pm_card_"); ok && testTokens()[name] != "" {
		return a.newPaymentMethod(card{number: testTokens()[name], expMonth: 12, expYear: 2034}, payer{}), nil
	}
	found := a.store.find("payment_method", id)
	if found == nil {
		return nil, missingParam("PaymentMethod", param, id)
	}
	return found.Object, nil
}

// ownPaymentMethod is methodFor for a method that must belong to a customer.
func (a *action) ownPaymentMethod(customerID, param, id string) (object, error) {
	method, err := a.methodFor(param, id)
	if err != nil {
		return nil, err
	}
	if method["customer"] != customerID {
		return nil, invalid(param,
			"The customer does not have a payment method with the ID %s. The payment method must be attached to the customer.", id)
	}
	return method, nil
}

func (a *action) getPaymentMethod(r *request) (object, error) {
	if found := a.store.find("payment_method", r.id()); found != nil {
		return found.Object, nil
	}
	if method, err := a.methodFor("payment_method", r.id()); err == nil {
		return method, nil
	}
	return nil, missing("PaymentMethod", "payment_method", r.id())
}

func (a *action) listPaymentMethods(r *request) (object, error) {
	customerID := text(r.Params, "customer")
	if customerID == "" {
		return nil, stripecontract.Invalid("parameter_missing", "customer", "Missing required param: customer.")
	}
	return page(r, a.paymentMethodsOf(customerID, text(r.Params, "type")))
}

func (a *action) updatePaymentMethod(r *request) (object, error) {
	method, err := a.lookUp("payment_method", "payment_method", r.id())
	if err != nil {
		return nil, err
	}
	a.change(method, "payment_method.updated", func(o object) {
		setBilling(o, r.Params)
		assign(child(o, "card"), child(r.Params, "card"), "exp_month", "exp_year")
	})
	return method, nil
}

func (a *action) attachPaymentMethod(r *request) (object, error) {
	customer, err := a.named("customer", "customer", text(r.Params, "customer"))
	if err != nil {
		return nil, err
	}
	method, err := a.methodFor("payment_method", r.id())
	if err != nil {
		return nil, err
	}
	if owner := text(method, "customer"); owner != "" && owner != customer["id"] {
		return nil, invalid("", "The payment method you provided has already been attached to a customer.")
	}
	if flag(a.store.lookUp(text(method, "id")).Private, "detached") {
		return nil, usedUp("")
	}
	if refused := refusedAtAttach(a.cardOf(method)); refused != nil {
		return nil, refused.asError(nil)
	}
	a.attach(method, customer)
	return method, nil
}

// detachPaymentMethod takes a card from its customer and from everything that
// would have charged it.
func (a *action) detachPaymentMethod(r *request) (object, error) {
	method, err := a.lookUp("payment_method", "payment_method", r.id())
	if err != nil {
		return nil, err
	}
	owner := text(method, "customer")
	if owner == "" {
		return nil, invalid("", "The payment method you provided is not attached to a customer so detachment is impossible.")
	}
	a.detach(method)
	return method, nil
}

func (a *action) detach(method object) {
	customer := a.store.find("customer", text(method, "customer"))
	a.store.lookUp(text(method, "id")).Private["detached"] = true
	method["customer"] = nil
	a.emitChange("payment_method.detached", method, object{"customer": customer.Object["id"]})
	a.change(customer.Object, "customer.updated", func(o object) { dropReference(child(o, "invoice_settings"), method) })
	for _, s := range a.store.all("subscription") {
		if s.Object["customer"] == customer.Object["id"] && !isEnded(s.Object) {
			a.change(s.Object, "customer.subscription.updated", func(o object) { dropReference(o, method) })
		}
	}
}

func dropReference(o, method object) {
	if o["default_payment_method"] == method["id"] {
		o["default_payment_method"] = nil
	}
}

// newPaymentMethod keeps a card. It belongs to nobody before [action.attach].
func (a *action) newPaymentMethod(c card, by payer) object {
	method := a.create("payment_method", newID("pm"))
	method["billing_details"] = billingDetails(by)
	details := child(method, "card")
	details["brand"], details["display_brand"] = brandOf(c.number), brandOf(c.number)
	details["last4"], details["fingerprint"] = lastFour(c.number), fingerprint(c.number)
	details["exp_month"], details["exp_year"] = c.expMonth, c.expYear
	details["networks"] = object{"available": []any{brandOf(c.number)}, "preferred": nil}
	a.store.save(method).Private["number"] = c.number
	return method
}

// cardOf is the number behind a payment method; the usual one for a method
// that a test has made.
func (a *action) cardOf(method object) string {
	if cardNumber := text(a.store.lookUp(text(method, "id")).Private, "number"); cardNumber != "" {
		return cardNumber
	}
	return "4242424242424242"
}

func billingDetails(by payer) object {
	address := object{"city": nil, "country": "US", "line1": nil, "line2": nil, "postal_code": nil, "state": nil}
	return object{"address": address, "email": orNil(by.email), "name": orNil(by.name), "phone": nil}
}

// usedUp refuses a card that was taken from its customer.
func usedUp(param string) error {
	return invalid(param, "The provided PaymentMethod was previously used or detached and may not be used again.")
}

func (a *action) attach(method, customer object) {
	if method["customer"] == customer["id"] {
		return
	}
	method["customer"] = customer["id"]
	a.emit("payment_method.attached", method)
}

// paymentMethodsOf lists a customer's payment methods, newest first.
func (a *action) paymentMethodsOf(customerID, kind string) []*record {
	return slices.DeleteFunc(a.store.all("payment_method"), func(r *record) bool {
		return r.Object["customer"] != customerID || kind != "" && r.Object["type"] != kind
	})
}

// DeclineCard makes a saved card refuse every charge from now on for a reason,
// such as "insufficient_funds" or "generic_decline"; "" makes it pay again.
func (e *Emulator) DeclineCard(paymentMethodID, reason string) error {
	err := fmt.Errorf("decline card: no payment method %q", paymentMethodID)
	e.do(func(a *action) {
		method := a.store.find("payment_method", paymentMethodID)
		switch {
		case method == nil:
		case reason != "" && declines()[reason] == nil:
			err = fmt.Errorf("decline card: no reason %q", reason)
		default:
			method.Private["decline"], err = reason, nil
			a.store.changed = true
		}
	})
	return err
}
