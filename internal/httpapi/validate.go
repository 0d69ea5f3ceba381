package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"example.com/saaskit/internal/problem"
)

// maxFields bounds how many wrong parts a problem names.
const maxFields = 20

// KeepValidatedValue hands the handler the very value that was validated. Without it the body is decoded a second time, and
// encoding/json, which ignores case, would let {"role":"user","ROLE":"admin"} pass as one and act as the other.
func validation(o *operation) *openapi3filter.Options {
	return &openapi3filter.Options{
		KeepValidatedValue: true,
		MultiError:         true,
		AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
		ExcludeRequestBody: o.schemes[schemeStripeSignature], // its bytes are taken as they come
	}
}

// validate checks a request against its operation of the document.
func validate(o *operation) echo.MiddlewareFunc {
	options := validation(o)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if err := single(c.Request().Header, headerIdempotency); err != nil {
				return err
			}
			query, err := knownQuery(o, c)
			if err != nil {
				return err
			}
			params := make(map[string]string, len(o.pathParams))
			for _, name := range o.pathParams {
				params[name] = c.Param(name)
			}
			in := openapi3filter.RequestValidationInput{
				Request: c.Request(), PathParams: params, QueryParams: query, Route: o.route, Options: options,
			}
			if err := openapi3filter.ValidateRequest(c.Request().Context(), &in); err != nil {
				return invalidRequest(err)
			}
			return next(c)
		}
	}
}

// noQuery is the query of operations without query parameters: the validator writes defaults of parameters into it, and here are none.
var noQuery = url.Values{}

// knownQuery reads the query and refuses parameters that the document does not have: a misspelt filter must not answer everything.
func knownQuery(o *operation, c echo.Context) (url.Values, error) {
	if c.Request().URL.RawQuery == "" && len(o.queryParams) == 0 || o.schemes[schemeStripeSignature] {
		return noQuery, nil // the address of the webhook is the operator's to choose
	}
	query, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return nil, problem.InvalidRequest.Errorf("the query after the ? cannot be read").In("query", "is not of the form name=value&name=value")
	}
	for name, values := range query {
		if len(values) > 1 && slices.Contains(o.queryParams, name) && !slices.Contains(o.queryLists, name) {
			return nil, problem.InvalidRequest.Errorf("see errors for the parts that are wrong").In("query."+name, "comes more than once")
		}
		for _, v := range values {
			if !storable(v) {
				return nil, problem.InvalidRequest.Errorf("see errors for the parts that are wrong").In("query."+clip(name), notText)
			}
		}
		if !slices.Contains(o.queryParams, name) {
			return nil, problem.InvalidRequest.Errorf("the operation has no query parameter of this name").
				In("query."+clip(name), "is not known")
		}
	}
	return query, nil
}

// invalidRequest turns what the validator found into a problem. The validator's own text dumps the schema and the value, so
// only its pointers and reasons are used.
func invalidRequest(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return problem.PayloadTooLarge.Errorf("the body may have %d bytes", tooLarge.Limit)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return slowBody(err)
	}
	p := problem.InvalidRequest.Errorf("see errors for the parts that are wrong")
	collect(p, "body", err)
	if len(p.Fields) == 1 && p.Fields[0].Message == wrongMediaType {
		return problem.UnsupportedMediaType.Errorf("send Content-Type: application/json")
	}
	return p
}

func slowBody(err error) error { return problem.BodyTimeout.Errorf("send it again").Because(err) }

const wrongMediaType = "is of a media type that is not taken"

func collect(p *problem.Error, location string, err error) {
	if len(p.Fields) >= maxFields {
		return
	}
	var (
		many    openapi3.MultiError
		request *openapi3filter.RequestError
		schema  *openapi3.SchemaError
		parse   *openapi3filter.ParseError
		part    *wrongPart
	)
	switch {
	case asType(err, &part):
		p.In(strings.Join(append([]string{location}, part.pointer...), "."), part.reason)
	case asType(err, &many):
		for _, e := range many {
			collect(p, location, e)
		}
	case asType(err, &request):
		if request.Parameter != nil {
			location = request.Parameter.In + "." + request.Parameter.Name
		}
		switch {
		case request.Err == nil && strings.Contains(request.Reason, "Content-Type"):
			p.In(location, wrongMediaType)
		case request.Err == nil:
			p.In(location, request.Reason)
		default:
			collect(p, location, request.Err)
		}
	case asType(err, &schema):
		p.In(strings.Join(append([]string{location}, schema.JSONPointer()...), "."), reasonOf(schema))
	case asType(err, &parse):
		p.In(location, parseReason(parse))
	case errors.Is(err, openapi3filter.ErrInvalidRequired):
		p.In(location, "is missing")
	case errors.Is(err, openapi3filter.ErrInvalidEmptyValue):
		p.In(location, "is empty")
	default:
		p.In(location, "is not valid")
	}
}

// asType is errors.As without unwrapping: each layer of the validator's errors is a case of its own.
func asType[T any](err error, target *T) bool {
	t, ok := err.(T) // the layers are taken off one by one
	if ok {
		*target = t
	}
	return ok
}

func reasonOf(e *openapi3.SchemaError) string {
	if e.SchemaField == "pattern" && e.Schema != nil {
		return "does not match " + e.Schema.Pattern
	}
	if errors.Is(e.Origin, strconv.ErrRange) { // of the validator's own reading; its reason is a text of Go
		return "is too large a number"
	}
	return strings.ReplaceAll(e.Reason, `"`, "`")
}

func parseReason(e *openapi3filter.ParseError) string {
	switch e.Kind {
	case openapi3filter.KindUnsupportedFormat:
		return wrongMediaType
	case openapi3filter.KindInvalidFormat:
		if e.Reason != "" {
			return e.Reason
		}
		return "is not valid JSON"
	default:
		return "cannot be read"
	}
}

const notText = "has a character that no text has (NUL, or bytes that are not UTF-8)"

// storable tells whether PostgreSQL takes s as text.
func storable(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// The validator looks at none of the document's formats by itself. It keeps what it is taught in package variables without a
// lock, so this has to be over before anything in the process validates.
func init() {
	openapi3filter.RegisterBodyDecoder(echo.MIMEApplicationJSON, decodeJSON)
	openapi3.DefineStringFormatValidator("uuid", openapi3.NewCallbackValidator(wholeUUID))
	openapi3.DefineStringFormatValidator("email", openapi3.NewRegexpFormatValidator(openapi3.FormatOfStringForEmail))
	openapi3.DefineStringFormatValidator("uri", openapi3.NewCallbackValidator(absoluteURL))
	openapi3.DefineStringFormatValidator("date-time", openapi3.NewCallbackValidator(dateTime))
}

func wholeUUID(s string) error {
	if _, err := uuid.Parse(s); err != nil || len(s) != 36 {
		return errors.New("is not a UUID")
	}
	return nil
}

func absoluteURL(s string) error {
	if u, err := url.Parse(s); err != nil || u.Scheme == "" || u.Host == "" {
		return errors.New("is not an absolute URL")
	}
	return nil
}

func dateTime(s string) error {
	t, err := time.Parse(time.RFC3339, s)
	// Its zone may carry a time into a year that RFC 3339 cannot write.
	if year := t.UTC().Year(); err != nil || year < 1 || year > 9999 {
		return errors.New("is not a time such as 2026-01-31T12:00:00Z")
	}
	return nil
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64]
	}
	return s
}
