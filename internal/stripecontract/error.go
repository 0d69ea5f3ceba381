package stripecontract

import (
	"fmt"
	"net/http"
)

// An Error is a refusal in the shape in which Stripe gives it.
type Error struct {
	Status  int
	Type    string // invalid_request_error, card_error, idempotency_error, api_error
	Code    string // parameter_unknown, resource_missing, …; may be empty
	Param   string // line_items[0][price]; empty where no parameter is at fault
	Message string
	Extra   map[string]any // further fields of the error object, such as decline_code
}

// Error says what is wrong and with which parameter.
func (e *Error) Error() string {
	if e.Param == "" {
		return e.Message
	}
	return fmt.Sprintf("%s: %s", e.Param, e.Message)
}

// Body is the JSON object that Stripe sends for the error.
func (e *Error) Body() map[string]any {
	inner := map[string]any{"type": e.Type, "message": e.Message}
	if e.Code != "" {
		inner["code"] = e.Code
		inner["doc_url"] = "https://stripe.com/docs/error-codes/" + e.Code
	}
	if e.Param != "" {
		inner["param"] = e.Param
	}
	for key, value := range e.Extra {
		inner[key] = value
	}
	return map[string]any{"error": inner}
}

// Invalid is a refusal of one parameter, or of the whole request where param
// is empty.
func Invalid(code, param, format string, args ...any) *Error {
	return &Error{
		Status: http.StatusBadRequest, Type: "invalid_request_error", Code: code, Param: param,
		Message: fmt.Sprintf(format, args...),
	}
}
