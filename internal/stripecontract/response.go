package stripecontract

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// CheckResponse says where an answer differs from what the document promises:
// a missing or an unknown field, a wrong type, a value outside an enumeration.
// Only 200 has a schema worth the name; an error must have the shape of one.
func (c *Contract) CheckResponse(method, path string, status int, body []byte) error {
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		return fmt.Errorf("answer to %s %s is not JSON: %w", method, path, err)
	}
	if status != http.StatusOK {
		return checkErrorBody(method, path, value)
	}
	route, _ := c.find(method, path)
	if route == nil || route.answer == nil {
		return fmt.Errorf("the document knows no answer to %s %s", method, path)
	}
	if bad := firstFault(route.answer.Value, value, nil); bad != nil {
		return fmt.Errorf("answer to %s %s: %s", method, route.pattern, bad)
	}
	return nil
}

// CheckObject says where an object differs from the schema of the type that
// its field "object" names.
func (c *Contract) CheckObject(object map[string]any) error {
	name, _ := object["object"].(string)
	if deleted, _ := object["deleted"].(bool); deleted {
		name = "deleted_" + name
	}
	schema := c.schemas[name]
	if schema == nil {
		return fmt.Errorf("no object type %q", name)
	}
	value, err := throughJSON(object)
	if err != nil {
		return err
	}
	if bad := firstFault(schema.Value, value, nil); bad != nil {
		return fmt.Errorf("%s %v: %s", name, object["id"], bad)
	}
	return nil
}

func checkErrorBody(method, path string, value any) error {
	body, _ := value.(map[string]any)
	inner, _ := body["error"].(map[string]any)
	if kind, _ := inner["type"].(string); kind == "" {
		return fmt.Errorf("error answer to %s %s has no error.type", method, path)
	}
	return nil
}
