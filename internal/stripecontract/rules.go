package stripecontract

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// maxLimit is the largest page that Stripe serves.
const maxLimit = 100

// A rule refuses what the document allows and Stripe does not.
type rule func(*Call) *Error

// checkRules applies what an OpenAPI document cannot say.
func checkRules(call *Call) error {
	rules := []rule{limitInRange, oneCursor, metadataInBounds}
	switch call.Method + " " + call.Pattern {
	case "POST /v1/prices":
		rules = append(rules, exclusive("product", "product_data"), needsOneOf("product", "product_data"),
			exclusive("unit_amount", "unit_amount_decimal"))
	case "POST /v1/checkout/sessions":
		rules = append(rules, checkoutMode, exclusive("customer", "customer_email"),
			exclusive("allow_promotion_codes", "discounts"), absoluteURL("success_url"), absoluteURL("cancel_url"))
	case "POST /v1/subscriptions", "POST /v1/subscriptions/{subscription_exposed_id}":
		rules = append(rules, exclusive("coupon", "promotion_code"), exclusive("cancel_at", "cancel_at_period_end"),
			exclusive("trial_end", "trial_period_days"), onlyWhatCanWait)
	case "POST /v1/refunds":
		rules = append(rules, exclusive("charge", "payment_intent"))
	case "POST /v1/coupons":
		rules = append(rules, exclusive("percent_off", "amount_off"))
	case "POST /v1/webhook_endpoints":
		rules = append(rules, absoluteURL("url"))
	}
	for _, rule := range rules {
		if refusal := rule(call); refusal != nil {
			return refusal
		}
	}
	return nil
}

func limitInRange(call *Call) *Error {
	limit, ok := call.Params["limit"].(float64)
	if ok && (limit < 1 || limit > maxLimit) {
		return Invalid("parameter_invalid_integer", "limit", "This value must be between 1 and %d.", maxLimit)
	}
	return nil
}

func oneCursor(call *Call) *Error {
	return exclusive("starting_after", "ending_before")(call)
}

func metadataInBounds(call *Call) *Error {
	metadata, _ := call.Params["metadata"].(map[string]any)
	if len(metadata) > 50 {
		return Invalid("", "metadata", "Metadata may have up to 50 keys.")
	}
	for key, value := range metadata {
		text, _ := value.(string)
		if len([]rune(key)) > 40 || len([]rune(text)) > 500 {
			return Invalid("", "metadata["+key+"]", "Metadata keys may have up to 40 characters, values up to 500.")
		}
	}
	return nil
}

func checkoutMode(call *Call) *Error {
	mode, _ := call.Params["mode"].(string)
	items := list(call.Params["line_items"])
	if mode == "" && len(items) > 0 {
		return Invalid("parameter_missing", "mode", "You must provide the `mode` of the session.")
	}
	if mode != "setup" && len(items) == 0 {
		return Invalid("parameter_missing", "line_items", "Missing required param: line_items.")
	}
	for param, modes := range map[string][]string{
		"subscription_data":   {"subscription"},
		"payment_intent_data": {"payment"},
		"invoice_creation":    {"payment"},
		"customer_creation":   {"payment", "setup"},
		"submit_type":         {"payment"},
		"setup_intent_data":   {"setup"},
	} {
		if call.Params[param] != nil && !slices.Contains(modes, mode) {
			return Invalid("", param, "You can not pass `%s` in `%s` mode.", param, mode)
		}
	}
	if ui, _ := call.Params["ui_mode"].(string); ui != "embedded" && call.Params["success_url"] == nil {
		return Invalid("parameter_missing", "success_url", "Missing required param: success_url.")
	}
	return nil
}

// onlyWhatCanWait refuses what a pending update cannot hold.
func onlyWhatCanWait(call *Call) *Error {
	if call.Params["payment_behavior"] != "pending_if_incomplete" || len(call.Path) == 0 {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(call.Params)) {
		switch name {
		case "payment_behavior", "proration_behavior", "proration_date", "billing_cycle_anchor", "items", "trial_end", "trial_from_plan",
			"add_invoice_items", "off_session":
		default:
			return Invalid("", name,
				"You can only pass supported attributes when `payment_behavior` is `pending_if_incomplete`. Unsupported: %s", name)
		}
	}
	return nil
}

func exclusive(a, b string) rule {
	return func(call *Call) *Error {
		if call.Params[a] == nil || call.Params[b] == nil {
			return nil
		}
		return Invalid("parameters_exclusive", b, "You may only specify one of these parameters: %s, %s.", a, b)
	}
}

func needsOneOf(names ...string) rule {
	return func(call *Call) *Error {
		for _, name := range names {
			if call.Params[name] != nil {
				return nil
			}
		}
		return Invalid("parameter_missing", names[0], "You must specify one of these parameters: %s.", strings.Join(names, ", "))
	}
}

func absoluteURL(name string) rule {
	return func(call *Call) *Error {
		text, ok := call.Params[name].(string)
		if !ok || text == "" {
			return nil
		}
		parsed, err := url.Parse(text)
		if err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
			return Invalid("url_invalid", name, "Not a valid URL")
		}
		return nil
	}
}
