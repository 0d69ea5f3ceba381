package stripeemu

// cancelAtFits refuses an end that is over, and one for which Stripe would bill
// a part of a period: that is not emulated, and an end without it would be a
// wrong amount. So an end is at the end of a period, in a trial, or without
// proration.
func (a *action) cancelAtFits(s, params object, proration string) error {
	at, given := params["cancel_at"].(int64)
	switch {
	case !given || params["cancel_at"] == nil:
		return nil
	case at <= a.at:
		return invalid("cancel_at", "The `cancel_at` timestamp must be in the future.")
	case at > latestTime:
		return invalid("cancel_at", "The `cancel_at` timestamp is too far ahead.")
	case proration == "none", at <= number(s, "trial_end"):
		return nil
	}
	end := number(s, "current_period_end")
	for end < at {
		end = nextEnd(s, end)
	}
	if end != at {
		return notEmulated("cancel_at within a period, other than with proration_behavior=none")
	}
	return nil
}

// asPlanned is as much of the subscription as its periods need.
func (o subscriptionOrder) asPlanned(now int64) object {
	s := object{"billing_cycle_anchor": now, "items": object{"data": []any{object{"price": o.lines[0].price}}}}
	if o.trialEnd > now {
		s["billing_cycle_anchor"], s["trial_end"], s["current_period_end"] = o.trialEnd, o.trialEnd, o.trialEnd
		return s
	}
	s["current_period_end"] = nextEnd(s, now)
	return s
}
