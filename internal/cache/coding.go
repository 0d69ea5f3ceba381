package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// What stands in Redis under the name of a row.
const (
	tombstone = "t" // the row has changed: nobody fills
	missing   = "m" // there is no such row
	leaseMark = "l" // and a random token: a reader is on its way to fill
	valueMark = "v" // and the shape of the type, then JSON
)

// A coding turns rows into text and back.
type coding[T any] struct {
	// shape differs when the fields of T do, so that during an update old and new instances, which share the names in Redis
	// for the sake of tombstones, do not take each other's values.
	shape string
}

func newCoding[T any]() coding[T] {
	sum := sha256.Sum256([]byte(shapeOf(reflect.TypeFor[T](), map[reflect.Type]bool{})))
	return coding[T]{shape: valueMark + hex.EncodeToString(sum[:6])}
}

// shapeOf writes down a type with the types of its exported fields.
func shapeOf(t reflect.Type, seen map[reflect.Type]bool) string {
	if seen[t] {
		return t.String()
	}
	seen[t] = true
	var b strings.Builder
	b.WriteString(t.String())
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		b.WriteString("[" + shapeOf(t.Elem(), seen) + "]")
	case reflect.Struct:
		for field := range fieldsOf(t) {
			fmt.Fprintf(&b, "{%s %q %s}", field.Name, field.Tag, shapeOf(field.Type, seen))
		}
	default:
	}
	return b.String()
}

// fieldsOf yields what JSON sees of a struct.
func fieldsOf(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if field := t.Field(i); field.IsExported() && !yield(field) {
				return
			}
		}
	}
}

func (c coding[T]) encode(e entry[T]) (string, error) {
	if !e.found {
		return missing, nil
	}
	raw, err := json.Marshal(e.value)
	if err != nil {
		return "", fmt.Errorf("encode row: %w", err)
	}
	return c.shape + string(raw), nil
}

// decode reports false for everything that is not a row or its absence.
func (c coding[T]) decode(text string) (e entry[T], ok bool) {
	if text == missing {
		return e, true
	}
	raw, ok := strings.CutPrefix(text, c.shape)
	if !ok || json.Unmarshal([]byte(raw), &e.value) != nil {
		return entry[T]{}, false
	}
	e.found = true
	return e, true
}
