package stripeemu

func scheduleRules() []rule { return nil }

func (a *action) endSchedule(object, string) {}
