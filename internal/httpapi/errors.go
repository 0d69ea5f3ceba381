package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"example.com/saaskit/internal/api"
	"example.com/saaskit/internal/problem"
)

// problemWriter is the one place where an error becomes an answer, and the one place that logs one.
func problemWriter(log *slog.Logger) echo.HTTPErrorHandler {
	return func(err error, c echo.Context) {
		if c.Response().Committed {
			return
		}
		ctx := c.Request().Context()
		p := problem.Of(asProblem(ctx, err))
		v := visitOf(c)
		switch {
		case errors.Is(err, context.Canceled):
			log.InfoContext(ctx, "the caller has gone", "route", c.Path(), "request_id", v.requestID, "error", err)
		case p.Kind.Status >= http.StatusInternalServerError:
			log.ErrorContext(ctx, "request failed",
				"route", c.Path(), "request_id", v.requestID, "code", p.Kind.Code, "error", err, "cause", p.Cause)
		case p.Cause != nil:
			log.DebugContext(ctx, "request refused",
				"route", c.Path(), "request_id", v.requestID, "code", p.Kind.Code, "error", err, "cause", p.Cause)
		}
		v.code = p.Kind.Code
		writeProblem(c, p)
	}
}

func writeProblem(c echo.Context, p *problem.Error) {
	header := c.Response().Header()
	if p.RetryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.RetryAfter.Seconds()))))
	}
	if p.Kind.Status == http.StatusUnauthorized {
		header.Set(echo.HeaderWWWAuthenticate, `Bearer realm="saaskit"`)
	}
	body := api.Problem{
		Type: "/problems/" + p.Kind.Code, Title: p.Kind.Title, Status: p.Kind.Status, Code: p.Kind.Code, RequestID: visitOf(c).requestID,
	}
	if p.Detail != "" {
		body.Detail = &p.Detail
	}
	for _, f := range p.Fields {
		body.Errors = append(body.Errors, api.ProblemError{Location: f.Location, Message: f.Message})
	}
	header.Set(echo.HeaderContentType, "application/problem+json")
	if c.Request().Method == http.MethodHead {
		c.Response().WriteHeader(p.Kind.Status)
		return
	}
	c.Response().WriteHeader(p.Kind.Status)
	// The caller may be gone; there is nobody left to tell.
	_ = c.Echo().JSONSerializer.Serialize(c, body, "")
}

// asProblem finds the problem in what Echo, the validator and the services return.
func asProblem(ctx context.Context, err error) error {
	var (
		known    *problem.Error
		tooLarge *http.MaxBytesError
		echoErr  *echo.HTTPError
	)
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &tooLarge):
		return problem.PayloadTooLarge.Errorf("the body may have %d bytes", tooLarge.Limit)
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(ctx.Err(), context.DeadlineExceeded):
		return problem.DeadlineExceeded.Errorf("try again; the request has changed nothing, or its Idempotency-Key finds what it did").Because(err)
	case errors.Is(err, context.Canceled): // of err, not of ctx: the operation's own context has ended by now
		return problem.Unavailable.Errorf("the request was given up").Because(err)
	case errors.As(err, &echoErr):
		return fromEcho(echoErr)
	}
	return err
}

// fromEcho names the errors of the router and of the parameter binder.
func fromEcho(err *echo.HTTPError) error {
	switch err.Code {
	case http.StatusNotFound:
		return problem.NotFound.Errorf("no operation has this path; see /openapi.yaml")
	case http.StatusMethodNotAllowed:
		return problem.MethodNotAllowed.Errorf("see the Allow header")
	case http.StatusRequestEntityTooLarge:
		return problem.PayloadTooLarge.Errorf("send less")
	case http.StatusUnsupportedMediaType:
		return problem.UnsupportedMediaType.Errorf("send Content-Type: application/json")
	case http.StatusBadRequest:
		return problem.InvalidRequest.Errorf("a parameter or the body cannot be read").Because(err)
	}
	return fmt.Errorf("unexpected error of the router: %w", err)
}
