package stripecontract

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// A fault is the first place where a value does not fit its schema.
type fault struct {
	path   []string
	field  string // the keyword of the schema: required, enum, maxLength, …
	reason string
}

// firstFault returns nil where the value fits. Where the schema offers several
// forms (anyOf), it looks into the one that the value resembles most, so that
// the message names the property at fault and not only the whole object.
func firstFault(schema *openapi3.Schema, value any, path []string) *fault {
	err := schema.VisitJSON(value)
	if err == nil {
		return nil
	}
	bad, ok := errors.AsType[*openapi3.SchemaError](err)
	if !ok {
		return &fault{path: path, reason: err.Error()}
	}
	found := &fault{path: slices.Concat(path, bad.JSONPointer()), field: bad.SchemaField, reason: bad.Reason}
	if bad.SchemaField == "properties" && strings.Contains(bad.Reason, "unsupported") {
		found.field = "additionalProperties"
		found.path = append(found.path, unknownProperty(bad))
	}
	if bad.SchemaField != "anyOf" && bad.SchemaField != "oneOf" {
		return found
	}
	for _, branch := range bad.Schema.AnyOf {
		inner := firstFault(branch.Value, bad.Value, found.path)
		if inner != nil && len(inner.path) > len(found.path) {
			found = inner
		}
	}
	return found
}

// unknownProperty names the first property that the closed object lacks.
func unknownProperty(bad *openapi3.SchemaError) string {
	object, _ := bad.Value.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if bad.Schema.Properties[name] == nil {
			return name
		}
	}
	return ""
}

// asError gives the fault the words and the code that Stripe has for it.
func (f *fault) asError() *Error {
	name := bracketed(f.path)
	switch f.field {
	case "required":
		return Invalid("parameter_missing", name, "Missing required param: %s.", name)
	case "additionalProperties":
		return Invalid("parameter_unknown", name, "Received unknown parameter: %s", name)
	case "maxLength":
		return Invalid("", name, "Invalid string: %s is too long (%s).", name, f.reason)
	default:
		return Invalid("", name, "Invalid %s: %s", name, f.reason)
	}
}

func (f *fault) String() string {
	return fmt.Sprintf("%s: %s", strings.Join(f.path, "."), f.reason)
}

// bracketed writes a path as Stripe does: line_items[0][price].
func bracketed(path []string) string {
	if len(path) == 0 {
		return ""
	}
	name := path[0]
	for _, segment := range path[1:] {
		name += "[" + segment + "]"
	}
	return name
}
