package stripeemu

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"reflect"
)

// An object is one Stripe object, or a part of one, as JSON has it. Whole
// numbers are int64 everywhere in the store.
type object = map[string]any

// clone copies a value deeply.
func clone[T any](value T) T {
	copied, _ := cloneAny(value).(T)
	return copied
}

func cloneAny(value any) any {
	switch value := value.(type) {
	case object:
		if value == nil {
			return value
		}
		copied := make(object, len(value))
		for key, element := range value {
			copied[key] = cloneAny(element)
		}
		return copied
	case []any:
		copied := make([]any, len(value))
		for i, element := range value {
			copied[i] = cloneAny(element)
		}
		return copied
	default:
		return value
	}
}

// normalize gives a value the types of the store: what came through
// encoding/json has float64 for whole numbers, what a test wrote has int.
func normalize(value any) any {
	switch value := value.(type) {
	case object:
		for key, element := range value {
			value[key] = normalize(element)
		}
		return value
	case []any:
		for i, element := range value {
			value[i] = normalize(element)
		}
		return value
	case float64:
		if value == float64(int64(value)) {
			return int64(value)
		}
		return value
	default:
		return value
	}
}

// imported copies an object that a test or a snapshot hands in.
func imported(given object) (object, error) {
	encoded, err := json.Marshal(given)
	if err != nil {
		return nil, fmt.Errorf("encode object: %w", err)
	}
	var decoded object
	if err := json.Unmarshal(encoded, &decoded); err != nil {
		return nil, fmt.Errorf("decode object: %w", err)
	}
	return normalize(decoded).(object), nil
}

func text(o object, field string) string {
	value, _ := o[field].(string)
	return value
}

func number(o object, field string) int64 {
	value, _ := o[field].(int64)
	return value
}

func flag(o object, field string) bool {
	value, _ := o[field].(bool)
	return value
}

func child(o object, field string) object {
	value, _ := o[field].(object)
	return value
}

func elements(o object, field string) []object {
	list, _ := o[field].([]any)
	objects := make([]object, 0, len(list))
	for _, element := range list {
		if element, ok := element.(object); ok {
			objects = append(objects, element)
		}
	}
	return objects
}

// orNil is how an empty string leaves the API.
func orNil(value string) any {
	if value == "" {
		return nil
	}
	return value
}

// listOf is a list object as it is embedded in others: complete, one page.
func listOf(url string, data []any) object {
	return object{"object": "list", "data": data, "has_more": false, "url": url}
}

// assign copies the named parameters that are present. An empty string unsets
// a field, as it does at Stripe.
func assign(o, params object, fields ...string) {
	for _, field := range fields {
		value, present := params[field]
		switch {
		case !present:
		case value == "":
			o[field] = nil
		default:
			o[field] = clone(value)
		}
	}
}

// mergeMetadata applies the parameter "metadata": keys are merged, an empty
// value removes its key, an empty parameter removes all.
func mergeMetadata(o, params object) {
	value, present := params["metadata"]
	if !present {
		return
	}
	given, ok := value.(object)
	if !ok {
		o["metadata"] = object{}
		return
	}
	merged := clone(child(o, "metadata"))
	if merged == nil {
		merged = object{}
	}
	for key, value := range given {
		if value == "" {
			delete(merged, key)
		} else {
			merged[key] = value
		}
	}
	o["metadata"] = merged
}

// difference returns what the fields that changed had before, for an event's
// previous_attributes: whole values, but only the changed part of an object.
func difference(before, after object) object {
	previous := object{}
	for key, old := range before {
		current, kept := after[key]
		if kept && reflect.DeepEqual(old, current) {
			continue
		}
		oldPart, wasObject := old.(object)
		newPart, isObject := current.(object)
		if wasObject && isObject {
			previous[key] = difference(oldPart, newPart)
		} else {
			previous[key] = old
		}
	}
	for key := range after {
		if _, had := before[key]; !had {
			previous[key] = nil
		}
	}
	return previous
}

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// randomText returns n letters and digits.
func randomText(n int) string {
	random := make([]byte, n)
	_, _ = rand.Read(random) // never fails, says its documentation
	for i, b := range random {
		random[i] = alphabet[int(b)%len(alphabet)]
	}
	return string(random)
}

// newID makes an id of the length that Stripe's have.
func newID(prefix string) string {
	return prefix + "_" + randomText(24)
}
