package stripeemu

import "slices"

// setFlow reads flow_data: the one thing that a customer is to do in the portal.
func (a *action) setFlow(session, params object) error {
	given := child(params, "flow_data")
	if given == nil {
		session["flow"] = nil
		return nil
	}
	kind := text(given, "type")
	if kind == "subscription_update_confirm" {
		return notEmulated("flow_data[type]=subscription_update_confirm")
	}
	flow := object{"type": kind, "subscription_cancel": nil, "subscription_update": nil, "subscription_update_confirm": nil}
	if kind != "payment_method_update" {
		id := text(child(given, kind), "subscription")
		s, err := a.named("subscription", "flow_data["+kind+"][subscription]", id)
		if err != nil {
			return err
		}
		if s["customer"] != session["customer"] {
			return invalid("flow_data["+kind+"][subscription]", "The subscription does not belong to the customer.")
		}
		flow[kind] = object{"subscription": id}
		if kind == "subscription_cancel" {
			flow[kind].(object)["retention"] = nil
		}
	}
	after := child(given, "after_completion")
	flow["after_completion"] = object{"type": "portal_homepage", "redirect": nil, "hosted_confirmation": nil}
	if after != nil {
		assign(child(flow, "after_completion"), after, "type", "redirect", "hosted_confirmation")
	}
	session["flow"] = flow
	return nil
}

// afterFlow is where a customer goes who has done what the flow is for; "" for
// the portal.
func afterFlow(session object, did string) string {
	flow := child(session, "flow")
	if flow == nil {
		return ""
	}
	does := map[string][]string{
		"payment_method_update": {"add_card", "default_card"}, "subscription_cancel": {"cancel"}, "subscription_update": {"update"},
	}
	after := child(flow, "after_completion")
	if after["type"] != "redirect" || !slices.Contains(does[text(flow, "type")], did) {
		return ""
	}
	return text(child(after, "redirect"), "return_url")
}
