package stripecontract

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/stripe/stripe-mock/embedded"
)

// EventObject returns the type of the object that an event of a given type
// carries: "refund" for "charge.refund.updated". It answers "" for an event
// whose object may be of several types, and false for one that Stripe does not
// have.
func EventObject(eventType string) (string, bool, error) {
	types, err := loadEvents()
	if err != nil {
		return "", false, err
	}
	object, ok := types[eventType]
	return object, ok, nil
}

// loadEvents reads the map from the document for SDKs, which alone has it.
var loadEvents = sync.OnceValues(func() (map[string]string, error) {
	var document struct {
		Components struct {
			Schemas map[string]struct {
				Event *struct {
					Type string `json:"type"`
				} `json:"x-stripeEvent"`
				Properties json.RawMessage `json:"properties"`
			} `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(embedded.BetaOpenAPISpec, &document); err != nil {
		return nil, fmt.Errorf("decode document of events: %w", err)
	}
	types := map[string]string{}
	for _, schema := range document.Components.Schemas {
		if schema.Event == nil {
			continue
		}
		var properties struct {
			Object struct {
				Ref string `json:"$ref"`
			} `json:"object"`
		}
		if err := json.Unmarshal(schema.Properties, &properties); err != nil {
			return nil, fmt.Errorf("decode event %s: %w", schema.Event.Type, err)
		}
		types[schema.Event.Type] = strings.TrimPrefix(properties.Object.Ref, "#/components/schemas/")
	}
	return types, nil
})
