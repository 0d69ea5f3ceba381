package stripeemu

import (
	"slices"

	"example.com/saaskit/internal/stripecontract"
)

// defaultLimit is the size of a page that no request asks for.
const defaultLimit = 10

// A filter says whether an object belongs to the list for one parameter's value.
type filter func(r *record, value any) bool

// list is the operation that lists the objects of a type, newest first.
func list(objectType string, filters map[string]filter) operation {
	params := []string{"limit", "starting_after", "ending_before", "created.*"}
	for name := range filters {
		params = append(params, name+".*")
	}
	return operation{params: params, handle: func(a *action, r *request) (object, error) {
		var found []*record
		for _, candidate := range a.store.all(objectType) {
			if matches(candidate, r.Params, filters) {
				found = append(found, candidate)
			}
		}
		return page(r, found)
	}}
}

// offClock lists what is on no test clock, unless a request asks for a clock or
// names one of the given parameters, as Stripe does.
func offClock(listed operation, unless ...string) operation {
	inner := listed.handle
	listed.handle = func(a *action, r *request) (object, error) {
		for _, name := range append(unless, "test_clock") {
			if r.Params[name] != nil {
				return inner(a, r)
			}
		}
		r.Params["test_clock"] = nil
		return inner(a, r)
	}
	return listed
}

func matches(r *record, params object, filters map[string]filter) bool {
	if created, given := params["created"]; given && !inRange(number(r.Object, "created"), created) {
		return false
	}
	for name, accept := range filters {
		if value, given := params[name]; given && !accept(r, value) {
			return false
		}
	}
	return true
}

// field filters by equality with a field of the object.
func field(name string) filter {
	return func(r *record, value any) bool { return r.Object[name] == value }
}

// within filters by a range of time in a field of the object.
func within(name string) filter {
	return func(r *record, value any) bool { return inRange(number(r.Object, name), value) }
}

// inRange compares with one time, or with bounds {gt, gte, lt, lte}.
func inRange(at int64, bounds any) bool {
	if exact, ok := bounds.(int64); ok {
		return at == exact
	}
	limits, _ := bounds.(object)
	for name, limit := range limits {
		bound, _ := limit.(int64)
		switch {
		case name == "gt" && at <= bound, name == "gte" && at < bound, name == "lt" && at >= bound, name == "lte" && at > bound:
			return false
		}
	}
	return true
}

// page cuts one page out of the objects found. Both cursors exclude the object
// they name; the page before a cursor is the one that touches it.
func page(r *request, found []*record) (object, error) {
	limit := int(number(r.Params, "limit"))
	if limit == 0 {
		limit = defaultLimit
	}
	var more bool
	if cursor := text(r.Params, "ending_before"); cursor != "" {
		at := position(found, cursor)
		if at < 0 {
			return nil, badCursor("ending_before", cursor)
		}
		found = found[:at]
		more = len(found) > limit
		found = found[max(0, len(found)-limit):]
	} else {
		if cursor := text(r.Params, "starting_after"); cursor != "" {
			at := position(found, cursor)
			if at < 0 {
				return nil, badCursor("starting_after", cursor)
			}
			found = found[at+1:]
		}
		more = len(found) > limit
		found = found[:min(limit, len(found))]
	}
	data := make([]any, 0, len(found))
	for _, r := range found {
		data = append(data, r.Object)
	}
	return object{"object": "list", "url": r.path, "has_more": more, "data": data}, nil
}

func position(found []*record, id string) int {
	return slices.IndexFunc(found, func(r *record) bool { return text(r.Object, "id") == id })
}

func badCursor(param, id string) error {
	return stripecontract.Invalid("resource_missing", param, "No such object in this list: '%s'", id)
}

// listEmbedded is the operation that pages through a list inside an object:
// the lines of an invoice, the line items of a session.
func listEmbedded(objectType, param string, of func(*record) object) operation {
	return operation{params: []string{"limit", "starting_after", "ending_before"}, handle: func(a *action, r *request) (object, error) {
		owner := a.store.find(objectType, r.id())
		if owner == nil {
			return nil, missing(objectType, param, r.id())
		}
		var found []*record
		for _, element := range elements(of(owner), "data") {
			found = append(found, &record{Object: element})
		}
		return page(r, found)
	}}
}
