package httpapi

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
)

// Names of the document's security schemes.
const (
	schemeUser            = "user"
	schemeAPIKey          = "api_key"
	schemeServiceKey      = "service_key"
	schemeStripeSignature = "stripe_signature"
)

const (
	defaultBodyLimit = 64 << 10
	defaultDeadline  = 15 * time.Second
)

// An operation is what the middleware has to know of one operation of the document, read once at start-up.
type operation struct {
	id           string
	method       string
	path         string
	tag          string
	route        *routers.Route
	pathParams   []string
	queryParams  []string
	queryLists   []string // those of them that may come more than once
	bodyLimit    int64
	deadline     time.Duration
	schemes      map[string]bool // names of the security schemes; empty for a public operation
	scope        string          // what a key needs
	admin        bool
	sensitive    bool // may need aal2
	devOnly      bool
	takesAccount bool // has the Saaskit-Account header
}

// public tells whether the operation wants no credential of ours.
func (o *operation) public() bool { return len(o.schemes) == 0 || o.schemes[schemeStripeSignature] }

// takesKey tells whether a program may call the operation.
func (o *operation) takesKey() bool { return o.schemes[schemeAPIKey] || o.schemes[schemeServiceKey] }

// signsIn tells whether the operation is a sign-in flow, which is limited by address.
func (o *operation) signsIn() bool { return o.tag == tagAuth && changes(o.method) }

// operations reads all operations of the document. It fails where one is not described well enough to be guarded.
func operations(doc *openapi3.T) ([]*operation, error) {
	doc.Servers = nil
	var list []*operation
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			o, err := newOperation(doc, path, item, method, op)
			if err != nil {
				return nil, fmt.Errorf("operation %s: %w", op.OperationID, err)
			}
			list = append(list, o)
		}
	}
	return list, nil
}

func newOperation(doc *openapi3.T, path string, item *openapi3.PathItem, method string, op *openapi3.Operation) (*operation, error) {
	// Security is the business of authenticate; the validator must not look for it.
	unguarded := *op
	unguarded.Security = &openapi3.SecurityRequirements{}
	o := &operation{
		id: op.OperationID, method: method, path: path,
		route:     &routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: &unguarded},
		bodyLimit: defaultBodyLimit, deadline: defaultDeadline, schemes: map[string]bool{},
		admin: flag(op, "x-admin"), sensitive: flag(op, "x-sensitive"), devOnly: flag(op, "x-dev-only"),
	}
	if len(op.Tags) > 0 {
		o.tag = op.Tags[0]
	}
	if limit, ok := op.Extensions["x-body-limit"].(float64); ok {
		o.bodyLimit = int64(limit)
	}
	if seconds, ok := op.Extensions["x-deadline"].(float64); ok {
		o.deadline = time.Duration(seconds) * time.Second
	}
	o.scope, _ = op.Extensions["x-scope"].(string)
	for _, params := range []openapi3.Parameters{item.Parameters, op.Parameters} {
		for _, p := range params {
			switch {
			case p.Value.In == openapi3.ParameterInPath:
				o.pathParams = append(o.pathParams, p.Value.Name)
			case p.Value.In == openapi3.ParameterInQuery:
				o.queryParams = append(o.queryParams, p.Value.Name)
				if p.Value.Schema.Value.Type.Is(openapi3.TypeArray) {
					o.queryLists = append(o.queryLists, p.Value.Name)
				}
			case p.Value.Name == headerAccount:
				o.takesAccount = true
			}
		}
	}
	return o, o.readSecurity(doc, op)
}

func (o *operation) readSecurity(doc *openapi3.T, op *openapi3.Operation) error {
	if op.Security == nil {
		return fmt.Errorf("has no security of its own; write `security: []` for a public one")
	}
	for _, requirement := range *op.Security {
		if len(requirement) != 1 {
			return fmt.Errorf("wants several credentials at once")
		}
		for name := range requirement {
			if doc.Components.SecuritySchemes[name] == nil {
				return fmt.Errorf("names the unknown security scheme %s", name)
			}
			o.schemes[name] = true
		}
	}
	if o.takesKey() && o.scope == "" {
		return fmt.Errorf("takes keys but has no x-scope")
	}
	return nil
}

func flag(op *openapi3.Operation, name string) bool {
	v, _ := op.Extensions[name].(bool)
	return v
}

// echoPath is the path as Echo writes it.
func (o *operation) echoPath() string { return pathParam.ReplaceAllString(o.path, ":$1") }

var pathParam = regexp.MustCompile(`\{([^}]+)\}`)

// secretNames lists the properties that the document marks with x-secret.
func secretNames(doc *openapi3.T) map[string]bool {
	names := map[string]bool{"authorization": true, strings.ToLower(headerAPIKey): true}
	for _, schema := range doc.Components.Schemas {
		collectSecrets(schema.Value, names, 0)
	}
	return names
}

func collectSecrets(s *openapi3.Schema, names map[string]bool, depth int) {
	if s == nil || depth > 8 {
		return
	}
	for name, property := range s.Properties {
		if secret, _ := property.Value.Extensions["x-secret"].(bool); secret {
			names[name] = true
		}
		collectSecrets(property.Value, names, depth+1)
	}
	for _, part := range s.AllOf {
		collectSecrets(part.Value, names, depth+1)
	}
}

// Methods with a body that changes something.
func changes(method string) bool {
	return method != http.MethodGet && method != http.MethodHead && method != http.MethodOptions
}
