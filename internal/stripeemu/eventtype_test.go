package stripeemu_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stripe/stripe-mock/embedded"
)

// eventObject returns the type of the object that an event of a given type carries: "refund" for "charge.refund.updated". It is
// "" for an event whose object may be of several types. Stripe has to have the event.
func eventObject(t *testing.T, eventType string) string {
	t.Helper()
	types, err := loadEvents()
	if err != nil {
		t.Fatal(err)
	}
	object, ok := types[eventType]
	if !ok {
		t.Errorf("Stripe has no event %s", eventType)
	}
	return object
}

func TestEventObject(t *testing.T) {
	t.Parallel()
	for eventType, want := range map[string]string{
		"invoice.paid": "invoice", "charge.refund.updated": "refund", "customer.subscription.deleted": "subscription",
		"checkout.session.completed": "checkout.session", "charge.dispute.created": "dispute",
	} {
		if got := eventObject(t, eventType); got != want {
			t.Errorf("%s: got %q, want %q", eventType, got, want)
		}
	}
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
