package stripeemu

import (
	"fmt"
	"strings"
	"time"
)

// The API versions at which the shape of billing objects changes. They are
// compared as texts: they begin with their date.
const (
	versionRefunds = "2024-10-28" // refunds have events of their own
	versionBasil   = "2025-03-31" // periods move to items, invoices get a parent
	versionModes   = "2025-06-30" // billing_mode is an object
	versionClover  = "2025-09-30" // a coupon is the source of a discount
)

// checkVersion accepts what looks like an API version of Stripe's.
func checkVersion(version string) error {
	date, _, _ := strings.Cut(version, ".")
	day, err := time.Parse(time.DateOnly, date)
	if version != "" && (err != nil || day.Year() < 2011) {
		return fmt.Errorf("%q is not an API version", version)
	}
	return nil
}

// inVersion renders an event as an endpoint or an account of another API
// version sees it. Versions before 2025-03-31 differ in nothing that is emulated.
func inVersion(event object, version string) object {
	if version == "" || version == event["api_version"] {
		return event
	}
	rendered := clone(event)
	rendered["api_version"] = version
	if version < versionBasil {
		return rendered
	}
	data := child(rendered, "data")
	newShape(child(data, "object"), version)
	if previous := child(data, "previous_attributes"); previous != nil {
		periodsToItems(previous)
		delete(previous, "paid")
	}
	return rendered
}

// newShape rewrites an object, and those inside it, in place.
func newShape(o object, version string) {
	for _, value := range o {
		switch value := value.(type) {
		case object:
			newShape(value, version)
		case []any:
			for _, element := range value {
				if element, ok := element.(object); ok {
					newShape(element, version)
				}
			}
		}
	}
	switch o["object"] {
	case "subscription":
		newSubscriptionShape(o, version)
	case "invoice":
		newInvoiceShape(o)
	case "line_item":
		newLineShape(o)
	case "invoiceitem":
		newItemShape(o)
	case "charge", "payment_intent":
		delete(o, "invoice")
	case "customer":
		delete(o, "discount")
	case "credit_note":
		o["refunds"] = []any{}
		if o["refund"] != nil {
			o["refunds"] = []any{object{"amount_refunded": o["amount"], "refund": o["refund"]}}
		}
		delete(o, "refund")
	case "discount", "promotion_code":
		newDiscountShape(o, version)
	}
}

func newSubscriptionShape(o object, version string) {
	of := object{"current_period_start": o["current_period_start"], "current_period_end": o["current_period_end"]}
	for _, item := range itemsOf(o) {
		item["current_period_start"], item["current_period_end"] = of["current_period_start"], of["current_period_end"]
	}
	delete(o, "current_period_start")
	delete(o, "current_period_end")
	o["discounts"] = []any{}
	if discount := child(o, "discount"); discount != nil {
		o["discounts"] = []any{discount["id"]}
	}
	delete(o, "discount")
	if version >= versionModes {
		o["billing_mode"] = object{"type": "classic"}
	}
}

// periodsToItems moves the old period of an update to where it is looked for.
func periodsToItems(previous object) {
	if previous["current_period_end"] == nil {
		return
	}
	previous["items"] = object{"data": []any{object{
		"current_period_start": previous["current_period_start"], "current_period_end": previous["current_period_end"],
	}}}
	delete(previous, "current_period_start")
	delete(previous, "current_period_end")
}

func newInvoiceShape(o object) {
	o["parent"] = nil
	if id := o["subscription"]; id != nil {
		o["parent"] = object{"quote_details": nil, "type": "subscription_details", "subscription_details": object{
			"metadata": child(o, "subscription_details")["metadata"], "subscription": id,
		}}
	}
	o["total_taxes"] = []any{}
	o["amount_overpaid"] = int64(0)
	for _, field := range []string{
		"subscription", "subscription_details", "charge", "payment_intent", "paid", "paid_out_of_band", "tax", "total_tax_amounts",
		"discount", "quote", "application_fee_amount", "transfer_data", "subscription_proration_date",
	} {
		delete(o, field)
	}
}

func newLineShape(o object) {
	proration := object{"proration": o["proration"], "proration_details": o["proration_details"], "subscription": o["subscription"]}
	if o["type"] == "subscription" {
		proration["subscription_item"], proration["invoice_item"] = o["subscription_item"], nil
		o["parent"] = object{"type": "subscription_item_details", "subscription_item_details": proration, "invoice_item_details": nil}
	} else {
		proration["invoice_item"] = o["invoice_item"]
		o["parent"] = object{"type": "invoice_item_details", "invoice_item_details": proration, "subscription_item_details": nil}
	}
	o["pricing"] = pricing(o)
	o["taxes"] = []any{}
	for _, field := range []string{
		"price", "proration", "proration_details", "subscription", "subscription_item", "invoice_item", "type", "tax_amounts", "tax_rates",
		"amount_excluding_tax", "unit_amount_excluding_tax",
	} {
		delete(o, field)
	}
}

// pricing is what a price has become: two ids.
func pricing(o object) any {
	price := child(o, "price")
	if price == nil {
		return nil
	}
	return object{
		"type": "price_details", "unit_amount_decimal": price["unit_amount_decimal"],
		"price_details": object{"price": price["id"], "product": price["product"]},
	}
}

func newItemShape(o object) {
	o["pricing"], o["parent"] = pricing(o), nil
	if id := o["subscription"]; id != nil {
		o["parent"] = object{"type": "subscription_details", "subscription_details": object{"subscription": id, "subscription_item": nil}}
	}
	for _, field := range []string{"price", "subscription", "unit_amount", "unit_amount_decimal"} {
		delete(o, field)
	}
}

func newDiscountShape(o object, version string) {
	coupon := child(o, "coupon")
	if version < versionClover || coupon == nil {
		return
	}
	delete(o, "coupon")
	field := map[any]string{"discount": "source", "promotion_code": "promotion"}[o["object"]]
	o[field] = object{"coupon": coupon["id"], "type": "coupon"}
}

// SetAccountVersion sets the API version in which the list of events shows
// those that happen from now on, as the account's default version does at
// Stripe. Empty: 2023-10-16.
func (e *Emulator) SetAccountVersion(version string) error {
	if err := checkVersion(version); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.accountVersion, e.store.changed = version, true
	return nil
}

// SetEndpointVersion sets the API version of what an endpoint is sent from now
// on. Empty: 2023-10-16.
func (e *Emulator) SetEndpointVersion(endpointID, version string) error {
	if err := checkVersion(version); err != nil {
		return err
	}
	err := fmt.Errorf("set endpoint version: no endpoint %q", endpointID)
	e.do(func(a *action) {
		if own := a.store.find("webhook_endpoint", endpointID); own != nil {
			own.Private["version"], a.store.changed, err = version, true, nil
		}
	})
	return err
}

// versionFor is the API version of what an endpoint is sent.
func (e *Emulator) versionFor(endpointID string) string {
	if e.delivery.APIVersion != "" {
		return e.delivery.APIVersion
	}
	if own := e.store.find("webhook_endpoint", endpointID); own != nil {
		return text(own.Private, "version")
	}
	return ""
}

// asListed renders an event as the API shows it.
func (a *action) asListed(event object) object {
	own := a.store.lookUp(text(event, "id"))
	return inVersion(event, text(own.Private, "version"))
}
