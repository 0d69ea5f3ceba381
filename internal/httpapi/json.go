package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
)

// decodeJSON is the body decoder for JSON. It refuses what follows the document, and keeps numbers exact.
func decodeJSON(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
	d := json.NewDecoder(body)
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, jsonError(err)
	}
	if _, err := d.Token(); err != io.EOF { // io.EOF comes bare
		return nil, &openapi3filter.ParseError{Kind: openapi3filter.KindInvalidFormat, Reason: "has more after the JSON document"}
	}
	v, wrong := plain(v)
	if wrong != nil {
		return nil, wrong
	}
	return v, nil
}

// A wrongPart is what decodeJSON refuses, by its place in the body.
type wrongPart struct {
	pointer []string
	reason  string
}

func (e *wrongPart) Error() string { return strings.Join(e.pointer, ".") + " " + e.reason }

// within says that the part is in the element of a name.
func (e *wrongPart) within(name string) *wrongPart {
	e.pointer = append([]string{name}, e.pointer...)
	return e
}

// plain makes a value what the validator and the binder understand alike, in place: a number that is an integer is written as one.
// It refuses what PostgreSQL does not take as text.
func plain(v any) (any, *wrongPart) {
	switch v := v.(type) {
	case string:
		if !storable(v) {
			return nil, &wrongPart{reason: notText}
		}
	case json.Number:
		return plainNumber(v)
	case []any:
		for i, element := range v {
			part, wrong := plain(element)
			if wrong != nil {
				return nil, wrong.within(strconv.Itoa(i))
			}
			v[i] = part
		}
	case map[string]any:
		for name, element := range v {
			if !storable(name) {
				return nil, &wrongPart{reason: notText}
			}
			part, wrong := plain(element)
			if wrong != nil {
				return nil, wrong.within(clip(name))
			}
			v[name] = part
		}
	}
	return v, nil
}

// plainNumber writes 1.0 and 1e3 as the integers that they are. The validator sees numbers as floats, for which 1.0000000000000000001
// is an integer, too, and the binder would then fail at it.
func plainNumber(n json.Number) (any, *wrongPart) {
	text := string(n)
	if !strings.ContainsAny(text, ".eE") {
		return n, nil
	}
	if i, ok := integer(text); ok {
		return json.Number(strconv.FormatInt(i, 10)), nil
	}
	// What is too large, or an integer that does not fit, is for the validator to refuse.
	if f, err := n.Float64(); err == nil && f == math.Trunc(f) && math.Abs(f) < math.MaxInt64 {
		return nil, &wrongPart{reason: "is a number with more digits than are told apart"}
	}
	return n, nil
}

// integer reads a number of JSON that is an integer, however it is written. It reports false for others, and for those that do not
// fit. It never makes a number that is larger than its text.
func integer(text string) (int64, bool) {
	mantissa, exponent := text, 0
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		var err error
		if exponent, err = strconv.Atoi(text[i+1:]); err != nil {
			exponent = 1 << 30 // so large, or so small, that it makes no integer that fits
		}
		mantissa = text[:i]
	}
	digits, negative := strings.CutPrefix(mantissa, "-")
	digits, fraction, _ := strings.Cut(digits, ".")
	exponent -= len(fraction)
	digits = strings.TrimLeft(digits+fraction, "0")
	for exponent < 0 && strings.HasSuffix(digits, "0") {
		digits, exponent = digits[:len(digits)-1], exponent+1
	}
	const most = 19 // digits of an int64
	switch {
	case digits == "":
		return 0, true
	case exponent < 0 || len(digits)+exponent > most:
		return 0, false
	}
	digits += strings.Repeat("0", exponent)
	if negative {
		digits = "-" + digits
	}
	i, err := strconv.ParseInt(digits, 10, 64)
	return i, err == nil
}

func jsonError(err error) error {
	var (
		tooLarge *http.MaxBytesError
		syntax   *json.SyntaxError
	)
	switch {
	case errors.As(err, &tooLarge):
		return err
	case errors.As(err, &syntax):
		return &openapi3filter.ParseError{
			Kind: openapi3filter.KindInvalidFormat, Reason: fmt.Sprintf("is not valid JSON at byte %d", syntax.Offset), Cause: err,
		}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &openapi3filter.ParseError{Kind: openapi3filter.KindInvalidFormat, Reason: "ends before the JSON document does", Cause: err}
	}
	return &openapi3filter.ParseError{Kind: openapi3filter.KindOther, Cause: err}
}
