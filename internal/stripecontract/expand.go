package stripecontract

import (
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// maxExpandDepth is Stripe's limit.
const maxExpandDepth = 4

// CheckExpand says whether the answer to an operation has the fields that a
// request wants expanded, such as latest_invoice.payment_intent.
func (c *Contract) CheckExpand(method, path string, expand []string) error {
	route, _ := c.find(method, path)
	if route == nil {
		return Invalid("url_invalid", "", "Unrecognized request URL (%s: %s).", method, path)
	}
	return c.checkExpand(route, expand)
}

func (c *Contract) checkExpand(r *route, expand []string) error {
	for _, path := range expand {
		segments := strings.Split(path, ".")
		if len(segments) > maxExpandDepth {
			return Invalid("", "expand", "You cannot expand more than %d levels of a property. Property: %s", maxExpandDepth, path)
		}
		if r.answer == nil || !expandable(r.answer, segments) {
			return Invalid("", "expand", "This property cannot be expanded (%s).", path)
		}
	}
	return nil
}

// expandable walks down one path. The document lists in x-expandableFields
// what may be named at each object; a list passes its "data" on.
func expandable(ref *openapi3.SchemaRef, segments []string) bool {
	if len(segments) == 0 {
		return true
	}
	for _, object := range objects(ref) {
		property := object.Properties[segments[0]]
		if property == nil {
			continue
		}
		names, _ := object.Extensions["x-expandableFields"].([]any)
		isListData := segments[0] == "data" && object.Properties["has_more"] != nil
		if !isListData && !slices.Contains(names, any(segments[0])) {
			continue
		}
		if expandable(property, segments[1:]) {
			return true
		}
	}
	return false
}

// objects returns the object schemas that a value may have: itself, the
// alternatives, the elements of a list, and what an id expands to.
func objects(ref *openapi3.SchemaRef) []*openapi3.Schema {
	if ref == nil || ref.Value == nil {
		return nil
	}
	schema := ref.Value
	if schema.Items != nil {
		return objects(schema.Items)
	}
	if len(schema.AnyOf) == 0 {
		return []*openapi3.Schema{schema}
	}
	var found []*openapi3.Schema
	for _, branch := range schema.AnyOf {
		found = append(found, objects(branch)...)
	}
	return found
}
