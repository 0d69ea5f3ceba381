package credit

import (
	"maps"
	"slices"
)

// What the invoices of a billing_reason give.
const (
	GivesNothing Gives = iota
	GivesChanges       // packs, and what changes within a period have added
	GivesPeriods       // the allowances of periods as well
)

// A Gives is what an invoice gives once it is paid.
type Gives int

// reasons are all that Stripe has today.
var reasons = map[string]Gives{
	"subscription_create": GivesPeriods, "subscription_cycle": GivesPeriods, "subscription": GivesPeriods, "subscription_update": GivesPeriods,
	"manual": GivesChanges, "quote_accept": GivesChanges, "automatic_pending_invoice_item_invoice": GivesChanges,
	"subscription_threshold": GivesNothing, "upcoming": GivesNothing,
}

// InvoiceGives is what the reason of an invoice lets it give, in its first month and by the clock in those after it, and whether the
// reason is known at all: one that is not gives nothing.
func InvoiceGives(reason string) (gives Gives, known bool) {
	gives, known = reasons[reason]
	return gives, known
}

// ReasonsGiving lists the reasons of invoices that give at least as much.
func ReasonsGiving(least Gives) (all []string) {
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		if reasons[reason] >= least {
			all = append(all, reason)
		}
	}
	return all
}
