package httpapi_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
)

// A maker makes values of a schema: most of them as it says, some of them wrong in one place or another.
type maker struct {
	*rand.Rand
	wrong float64           // how likely each value is wrong
	known map[string]string // values that mean something, by the name of the property
}

// body makes the JSON of a request. One in eight is spoilt as text.
func (m maker) body(s *openapi3.SchemaRef) string {
	raw, err := json.Marshal(m.value("", s.Value, 0))
	if err != nil {
		panic(err) // a mistake of the maker
	}
	if m.wrong > 0 && m.IntN(8) == 0 {
		return m.spoil(string(raw))
	}
	return string(raw)
}

func (m maker) spoil(text string) string {
	i := m.IntN(len(text) + 1)
	return m.pick(text[:i], text[i:], text+text, text[:i]+"\xff"+text[i:], text[:i]+"\x00"+text[i:], text[:i]+`\ud800`+text[i:],
		strings.Replace(text, "{", `{"amount":1,`, 1), strings.Repeat("[", 5000), "null", "", "0", `""`, text+" {}")
}

func (m maker) pick(list ...string) string { return list[m.IntN(len(list))] }

func (m maker) value(name string, s *openapi3.Schema, depth int) any {
	if m.Float64() < m.wrong {
		return m.odd(depth)
	}
	switch {
	case len(s.Enum) > 0:
		return s.Enum[m.IntN(len(s.Enum))]
	case s.Nullable && m.IntN(4) == 0:
		return nil
	case s.Type.Is(openapi3.TypeObject):
		return m.object(s, depth)
	case s.Type.Is(openapi3.TypeArray):
		return m.array(s, depth)
	case s.Type.Is(openapi3.TypeInteger):
		return m.integer(s)
	case s.Type.Is(openapi3.TypeBoolean):
		return m.IntN(2) == 0
	}
	return m.text(name, s)
}

func (m maker) object(s *openapi3.Schema, depth int) map[string]any {
	o := map[string]any{}
	names := make([]string, 0, len(s.Properties))
	for name := range s.Properties {
		names = append(names, name)
	}
	slices.Sort(names) // the same seed makes the same body
	for _, name := range names {
		if slices.Contains(s.Required, name) && m.Float64() >= m.wrong || m.IntN(2) == 0 {
			o[name] = m.value(name, s.Properties[name].Value, depth+1)
		}
	}
	if open := s.AdditionalProperties.Has; open != nil && *open || m.Float64() < m.wrong {
		o[m.word()] = m.odd(depth)
	}
	return o
}

func (m maker) array(s *openapi3.Schema, depth int) []any {
	n := int(s.MinItems) + m.IntN(3) //nolint:gosec // the document's bounds are small
	if m.Float64() < m.wrong/4 {
		n = 1200
	}
	list := make([]any, n)
	for i := range list {
		list[i] = m.value("", s.Items.Value, depth+1)
	}
	return list
}

func (m maker) integer(s *openapi3.Schema) any {
	low, high := 0.0, float64(math.MaxInt32)
	if s.Min != nil {
		low = *s.Min
	}
	if s.Max != nil {
		high = *s.Max
	}
	return [...]float64{low, high, low + 1, low + float64(m.IntN(10)), low + math.Floor(m.Float64()*(high-low))}[m.IntN(5)]
}

func (m maker) text(name string, s *openapi3.Schema) string {
	if v, ok := m.known[name]; ok && m.IntN(4) > 0 {
		return v
	}
	switch s.Format {
	case "uuid":
		return uuid.NewString()
	case "email":
		return m.pick("ana@example.com", "Ana@EXAMPLE.com", m.slug()+"@example.com", "a@b", strings.Repeat("a", 60)+"@example.com")
	case "uri":
		return m.pick("https://app.example.com/", "https://app.example.com/%00?x={CHECKOUT_SESSION_ID}", "http://[::1]:0/", "https://app.example.com:443/#é", "x://y")
	case "date-time":
		return m.pick(time.Now().UTC().Format(time.RFC3339Nano), "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "2026-02-28T23:59:59+14:00", "2026-06-30T23:59:60Z")
	}
	if s.Pattern != "" {
		return m.slug()
	}
	if s.MaxLength != nil && m.IntN(4) == 0 {
		return strings.Repeat(m.pick("x", "é", "😀"), int(*s.MaxLength)+m.IntN(2)) //nolint:gosec // the document's bounds are small
	}
	return m.word()
}

func (m maker) slug() string { return m.pick("free", "pro", "small", "tokens", "eur", "usd", "zzz") }

func (m maker) word() string {
	return m.pick("a", "", " ", "correct horse battery", "%_\\", "'; --", "é😀", "\u0000", "\n", "\u202e", "__proto__", "10.0.0.0/8", "::ffff:1.2.3.4/96", "fe80::1%eth0", m.slug())
}

// odd is a value of any kind.
func (m maker) odd(depth int) any {
	switch m.IntN(9) {
	case 0:
		return nil
	case 1:
		return m.IntN(2) == 0
	case 2:
		return json.Number(m.pick("-1", "1.5", "1e308", "9223372036854775807", "9223372036854775808", "-0", "1e-400"))
	case 3:
		if depth < 3 {
			return map[string]any{m.word(): m.odd(depth + 1)}
		}
	case 4:
		if depth < 3 {
			return []any{m.odd(depth + 1), m.odd(depth + 1)}
		}
	case 5:
		return strings.Repeat("x", 1<<m.IntN(14))
	}
	return m.word()
}
