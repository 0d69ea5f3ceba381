package stripecontract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/stripe/stripe-mock/param"
	"github.com/stripe/stripe-mock/param/coercer"
)

// maxBody bounds what Decode reads. The API's largest requests have some ten
// kilobytes.
const maxBody = 1 << 20

// maxDepth bounds how deep a parameter's name may nest; Stripe's own have six
// levels or so.
const maxDepth = 16

// A Call is a request that the contract allows.
type Call struct {
	Method  string
	Pattern string            // the operation's path in the document: /v1/prices/{price}
	Path    map[string]string // values of the pattern's parameters
	Params  map[string]any    // query and body; numbers are float64, as encoding/json has them
	Expand  []string
}

// Decode checks a request against the document and returns it with typed
// parameters. A refusal is an [*Error]. The request's body is left as it was, so
// that it can be sent on.
func (c *Contract) Decode(r *http.Request) (*Call, error) {
	if version := r.Header.Get("Stripe-Version"); version != "" && version != c.version {
		return nil, Invalid("", "", "Invalid Stripe API version: %s; only %s is known here", version, c.version)
	}
	route, values := c.find(r.Method, r.URL.Path)
	if route == nil {
		return nil, &Error{Status: http.StatusNotFound, Type: "invalid_request_error", Code: "url_invalid",
			Message: fmt.Sprintf("Unrecognized request URL (%s: %s).", r.Method, r.URL.Path)}
	}
	params, err := readParams(r)
	if err != nil {
		return nil, err
	}
	if err := coercer.CoerceParams(route.coercion, params); err != nil {
		return nil, Invalid("", "", "Invalid request: %v", err)
	}
	if params, err = throughJSON(params); err != nil {
		return nil, err
	}
	if bad := firstFault(route.request, params, nil); bad != nil {
		return nil, bad.asError()
	}
	call := &Call{Method: r.Method, Pattern: route.pattern, Path: values, Params: params}
	for _, path := range list(params["expand"]) {
		call.Expand = append(call.Expand, path.(string))
	}
	delete(params, "expand")
	if err := checkRules(call); err != nil {
		return nil, err
	}
	if err := c.checkExpand(route, call.Expand); err != nil {
		return nil, err
	}
	return call, nil
}

// readParams reads query and body in the way that Stripe nests them,
// items[0][price]=…, and puts the body back.
func readParams(r *http.Request) (map[string]any, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1)); err != nil {
			return nil, fmt.Errorf("read body: %w", err)
		}
		_ = r.Body.Close()
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if len(body) > maxBody {
		return nil, Invalid("", "", "The request is larger than %d bytes.", maxBody)
	}
	mediaType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if len(body) > 0 && mediaType != "application/x-www-form-urlencoded" {
		return nil, Invalid("", "", "Invalid Content-Type %q: send application/x-www-form-urlencoded.", mediaType)
	}
	if err := shallow(r.URL.RawQuery); err != nil {
		return nil, err
	}
	if err := shallow(string(body)); err != nil {
		return nil, err
	}
	copied := r.Clone(r.Context())
	copied.Body = io.NopCloser(bytes.NewReader(body))
	params, err := param.ParseParams(copied)
	if err != nil {
		return nil, Invalid("", "", "Invalid parameters: %v", err)
	}
	if params == nil {
		params = map[string]any{}
	}
	return params, nil
}

// shallow refuses names that nest deeper than any of Stripe's, before anything
// follows them down.
func shallow(form string) error {
	for pair := range strings.SplitSeq(form, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if strings.Count(name, "[")+strings.Count(name, "%5B")+strings.Count(name, "%5b") > maxDepth {
			return Invalid("parameter_unknown", "", "Invalid parameters: a name may have up to %d levels.", maxDepth)
		}
	}
	return nil
}

// throughJSON gives the coerced parameters the types of encoding/json, which
// the check knows.
func throughJSON(params map[string]any) (map[string]any, error) {
	encoded, err := json.Marshal(params)
	if err != nil {
		return nil, fmt.Errorf("encode parameters: %w", err)
	}
	var decoded map[string]any
	if err := json.Unmarshal(encoded, &decoded); err != nil {
		return nil, fmt.Errorf("decode parameters: %w", err)
	}
	return decoded, nil
}

func list(value any) []any {
	elements, _ := value.([]any)
	return elements
}
