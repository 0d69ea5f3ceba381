package stripecontract

import (
	"encoding/json"
	"fmt"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stripe/stripe-mock/embedded"
	"github.com/stripe/stripe-mock/spec"
)

// A Contract is Stripe's document, ready to check with. It is safe for
// concurrent use: nothing in it changes after [Load].
type Contract struct {
	version  string
	routes   map[string][]*route // by method
	schemas  openapi3.Schemas    // of the answers, every object closed
	fixtures map[string]any
}

// load is the one loading of the process; the document has 5.6 MB.
var load = sync.OnceValues(newContract)

// Load returns the contract of API version 2023-10-16.
func Load() (*Contract, error) {
	return load()
}

// Version is the API version that the document describes.
func (c *Contract) Version() string {
	return c.version
}

// Fixture returns a copy of the sample object of a type, such as "invoice".
// It has all the fields of the type, but its ids point nowhere: whoever uses it
// as a template must overwrite them.
func (c *Contract) Fixture(objectType string) (map[string]any, error) {
	sample, ok := c.fixtures[objectType].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("no sample object of type %q", objectType)
	}
	return cloneValue(sample).(map[string]any), nil
}

func newContract() (*Contract, error) {
	var document spec.Spec
	if err := json.Unmarshal(embedded.OpenAPISpec, &document); err != nil {
		return nil, fmt.Errorf("decode document for coercion: %w", err)
	}
	loaded, err := openapi3.NewLoader().LoadFromData(embedded.OpenAPISpec)
	if err != nil {
		return nil, fmt.Errorf("load document: %w", err)
	}
	var fixtures spec.Fixtures
	if err := json.Unmarshal(embedded.OpenAPIFixtures, &fixtures); err != nil {
		return nil, fmt.Errorf("decode fixtures: %w", err)
	}
	c := &Contract{
		version:  loaded.Info.Version,
		schemas:  loaded.Components.Schemas,
		fixtures: make(map[string]any, len(fixtures.Resources)),
	}
	for id, sample := range fixtures.Resources {
		c.fixtures[string(id)] = sample
	}
	closer := closer{seen: map[*openapi3.Schema]bool{}}
	for _, schema := range c.schemas {
		closer.close(schema)
	}
	c.routes = newRoutes(&document, loaded, &closer)
	return c, nil
}

func cloneValue(value any) any {
	switch value := value.(type) {
	case map[string]any:
		clone := make(map[string]any, len(value))
		for key, element := range value {
			clone[key] = cloneValue(element)
		}
		return clone
	case []any:
		clone := make([]any, len(value))
		for i, element := range value {
			clone[i] = cloneValue(element)
		}
		return clone
	default:
		return value
	}
}
