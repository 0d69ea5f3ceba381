package stripeemu

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"example.com/saaskit/internal/stripecontract"
)

// A request is a checked call with the path it came on.
type request struct {
	*stripecontract.Call
	path string
}

// id is the value of the path's only parameter.
func (r *request) id() string {
	for _, value := range r.Path {
		return value
	}
	return ""
}

// An operation is one endpoint. params lists every parameter it honours, as
// dotted paths without list indexes; a path that ends in ".*" covers what is
// below it. A parameter that Stripe knows and the list does not is refused:
// silence would look like success.
type operation struct {
	handle func(*action, *request) (object, error)
	params []string
}

// allOperations is everything that is emulated, by method and path as they are
// in Stripe's document.
func allOperations() map[string]operation {
	return merged(
		customerOperations(), productOperations(), priceOperations(), couponOperations(), checkoutOperations(),
		subscriptionOperations(), subscriptionItemOperations(),
		invoiceOperations(), upcomingOperations(), invoiceItemOperations(), paymentMethodOperations(), paymentOperations(),
		setupIntentOperations(), scheduleOperations(), portalOperations(), refundOperations(), creditNoteOperations(),
		disputeOperations(), testClockOperations(), eventOperations(), endpointOperations(),
	)
}

func merged(tables ...map[string]operation) map[string]operation {
	all := map[string]operation{}
	for _, table := range tables {
		maps.Copy(all, table)
	}
	return all
}

// unsupported returns the first parameter that the operation does not honour.
func unsupported(params object, honoured []string) string {
	for _, path := range slices.Sorted(slices.Values(leaves(params, ""))) {
		ok := slices.ContainsFunc(honoured, func(pattern string) bool {
			if prefix, below := strings.CutSuffix(pattern, ".*"); below {
				return path == prefix || strings.HasPrefix(path, prefix+".")
			}
			return path == pattern
		})
		if !ok {
			return path
		}
	}
	return ""
}

func leaves(value any, path string) []string {
	switch value := value.(type) {
	case object:
		var all []string
		for key, element := range value {
			all = append(all, leaves(element, strings.TrimPrefix(path+"."+key, "."))...)
		}
		return all
	case []any:
		var all []string
		for _, element := range value {
			all = append(all, leaves(element, path)...)
		}
		return all
	default:
		return []string{path}
	}
}

// retrieve is the operation that reads one object.
func retrieve(objectType, param string) operation {
	return operation{handle: func(a *action, r *request) (object, error) {
		return a.lookUp(objectType, param, r.id())
	}}
}

// lookUp finds the object that a path names.
func (a *action) lookUp(objectType, param, id string) (object, error) {
	found := a.store.find(objectType, id)
	if found == nil {
		return nil, missing(objectType, param, id)
	}
	return found.Object, nil
}

// named finds the object that a parameter names.
func (a *action) named(objectType, param, id string) (object, error) {
	found := a.store.find(objectType, id)
	if found == nil || flag(found.Object, "deleted") {
		return nil, missingParam(objectType, param, id)
	}
	return found.Object, nil
}

func indexed(list string, index int, field string) string {
	return fmt.Sprintf("%s[%d][%s]", list, index, field)
}
