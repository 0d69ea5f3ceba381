package stripeemu

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"example.com/saaskit/internal/stripecontract"
)

// missing is Stripe's answer to an id in the path that does not exist.
func missing(objectType, param, id string) error {
	return &stripecontract.Error{
		Status: http.StatusNotFound, Type: "invalid_request_error", Code: "resource_missing", Param: param,
		Message: fmt.Sprintf("No such %s: '%s'", strings.ReplaceAll(objectType, ".", " "), id),
	}
}

// missingParam is Stripe's answer to an id in a parameter that does not exist.
func missingParam(objectType, param, id string) error {
	return stripecontract.Invalid("resource_missing", param, "No such %s: '%s'", objectType, id)
}

// withCode gives a refusal one of Stripe's error codes.
func withCode(refusal error, code string) error {
	if e, ok := errors.AsType[*stripecontract.Error](refusal); ok {
		e.Code = code
	}
	return refusal
}

// coded is invalid with one of Stripe's error codes.
func coded(code, param, format string, args ...any) error {
	return stripecontract.Invalid(code, param, format, args...)
}

// invalid refuses a parameter for a reason that only the state knows.
func invalid(param, format string, args ...any) error {
	return stripecontract.Invalid("", param, format, args...)
}

// notEmulated refuses what Stripe would do and this emulator cannot. It must
// never be softened into an answer that looks like success.
func notEmulated(what string) error {
	return &stripecontract.Error{
		Status: http.StatusNotImplemented, Type: "api_error", Code: "not_emulated",
		Message: "The Stripe emulator does not do this: " + what,
	}
}

func unauthorized(message string) *stripecontract.Error {
	return &stripecontract.Error{Status: http.StatusUnauthorized, Type: "invalid_request_error", Message: message}
}
