package stripecontract

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stripe/stripe-mock/spec"
)

// A route is one operation of the document.
type route struct {
	pattern  string // as in the document: /v1/prices/{price}
	segments []string
	coercion *spec.Schema     // turns form strings into numbers, booleans, lists
	request  *openapi3.Schema // of query and body together, every object closed
	answer   *openapi3.SchemaRef
}

// newRoutes reads every operation twice, from the two forms of the document:
// stripe-mock's coercer wants its own schema type, and the check kin-openapi's.
func newRoutes(document *spec.Spec, loaded *openapi3.T, closer *closer) map[string][]*route {
	routes := map[string][]*route{}
	for pattern, verbs := range document.Paths {
		item := loaded.Paths.Value(string(pattern))
		for verb, operation := range verbs {
			method := strings.ToUpper(string(verb))
			routes[method] = append(routes[method], newRoute(string(pattern), operation, item.GetOperation(method), closer))
		}
	}
	return routes
}

func newRoute(pattern string, coercion *spec.Operation, operation *openapi3.Operation, closer *closer) *route {
	r := &route{
		pattern:  pattern,
		segments: strings.Split(pattern, "/"),
		coercion: spec.BuildQuerySchema(coercion),
		request:  openapi3.NewObjectSchema(),
	}
	if coercion.RequestBody != nil {
		for _, media := range coercion.RequestBody.Content {
			maps.Copy(r.coercion.Properties, media.Schema.Properties)
		}
	}
	r.request.Properties = openapi3.Schemas{}
	for _, parameter := range operation.Parameters {
		if parameter.Value.In != openapi3.ParameterInQuery {
			continue
		}
		r.request.Properties[parameter.Value.Name] = parameter.Value.Schema
		if parameter.Value.Required {
			r.request.Required = append(r.request.Required, parameter.Value.Name)
		}
	}
	if operation.RequestBody != nil {
		for _, media := range operation.RequestBody.Value.Content {
			maps.Copy(r.request.Properties, media.Schema.Value.Properties)
			r.request.Required = append(r.request.Required, media.Schema.Value.Required...)
		}
	}
	slices.Sort(r.request.Required)
	closer.close(r.request.NewRef())
	if len(r.request.Properties) == 0 {
		refuse := false
		r.request.AdditionalProperties = openapi3.AdditionalProperties{Has: &refuse}
	}
	if response := operation.Responses.Status(http.StatusOK); response != nil && response.Value.Content.Get("application/json") != nil {
		r.answer = response.Value.Content.Get("application/json").Schema
	}
	return r
}

// find returns the operation for a request and the values of its path's
// parameters. Where two patterns fit, such as /v1/invoices/upcoming and
// /v1/invoices/{invoice}, the one with more fixed segments wins.
func (c *Contract) find(method, path string) (*route, map[string]string) {
	segments := strings.Split(path, "/")
	var best *route
	var bestValues map[string]string
	for _, r := range c.routes[method] {
		values, ok := r.match(segments)
		if ok && (best == nil || len(values) < len(bestValues)) {
			best, bestValues = r, values
		}
	}
	return best, bestValues
}

func (r *route) match(segments []string) (map[string]string, bool) {
	if len(segments) != len(r.segments) {
		return nil, false
	}
	values := map[string]string{}
	for i, want := range r.segments {
		if name, isParameter := strings.CutPrefix(want, "{"); isParameter {
			if segments[i] == "" {
				return nil, false
			}
			values[strings.TrimSuffix(name, "}")] = segments[i]
		} else if want != segments[i] {
			return nil, false
		}
	}
	return values, true
}

// A closer refuses unknown properties in every object that lists its own. The
// document leaves most of them open; Stripe itself does not. Objects without a
// list (metadata and the like) stay as they are.
type closer struct {
	seen map[*openapi3.Schema]bool
}

func (c *closer) close(ref *openapi3.SchemaRef) {
	if ref == nil || ref.Value == nil || c.seen[ref.Value] {
		return
	}
	schema := ref.Value
	c.seen[schema] = true
	if len(schema.Properties) > 0 && schema.AdditionalProperties.Schema == nil {
		refuse := false
		schema.AdditionalProperties = openapi3.AdditionalProperties{Has: &refuse}
	}
	for _, property := range schema.Properties {
		c.close(property)
	}
	for _, branches := range []openapi3.SchemaRefs{schema.AnyOf, schema.OneOf, schema.AllOf} {
		for _, branch := range branches {
			c.close(branch)
		}
	}
	c.close(schema.Items)
	c.close(schema.AdditionalProperties.Schema)
}
