package httpapi

import (
	"cmp"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"example.com/saaskit/internal/api"
)

const headerRequestID = "X-Request-Id"

// A visit is one request: what the middleware finds out about it, for the handler, the answer and the log.
type visit struct {
	requestID string
	operation string // its id in the document; empty where the path leads to none
	code      string // of the problem that was answered
	caller    caller
}

const keyVisit = "visit" // in the Echo context

func visitOf(c echo.Context) *visit {
	if v, ok := c.Get(keyVisit).(*visit); ok {
		return v
	}
	return &visit{}
}

var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// named leaves the operation's id for logs and metrics.
func named(o *operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			visitOf(c).operation = o.id
			return next(c)
		}
	}
}

// An observer gives each request its id, writes its log line and measures it.
type observer struct {
	log      *slog.Logger
	duration *prometheus.HistogramVec
}

func newObserver(log *slog.Logger, metrics prometheus.Registerer) *observer {
	o := &observer{log: log, duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "saaskit_http_request_duration_seconds", Help: "Time to answer, by operation and status.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"operation", "status"})}
	if metrics != nil {
		metrics.MustRegister(o.duration)
	}
	return o
}

func (o *observer) middleware(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := time.Now()
		v := &visit{requestID: c.Request().Header.Get(headerRequestID)}
		if v.requestID == "" || !requestIDPattern.MatchString(v.requestID) {
			v.requestID = uuid.NewString()
		}
		c.Set(keyVisit, v)
		c.Response().Header()[headerRequestID] = []string{v.requestID}
		if err := next(c); err != nil {
			c.Error(err)
		}
		o.record(c, v, time.Since(began))
		return nil
	}
}

func (o *observer) record(c echo.Context, v *visit, took time.Duration) {
	status := c.Response().Status
	o.duration.WithLabelValues(cmp.Or(v.operation, "none"), strconv.Itoa(status)).Observe(took.Seconds())

	ctx, level := c.Request().Context(), slog.LevelInfo
	if status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	if !o.log.Enabled(ctx, level) {
		return
	}
	who := v.caller
	attrs := []slog.Attr{
		slog.String("request_id", v.requestID), slog.String("operation", v.operation), slog.String("method", c.Request().Method),
		slog.String("path", c.Path()), slog.Int("status", status), slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.String("ip", c.RealIP()), slog.Int64("bytes", c.Response().Size),
	}
	if who.Kind != "" {
		attrs = append(attrs, slog.String("principal", who.String()))
	}
	if who.AccountID != nil {
		attrs = append(attrs, slog.String("account_id", who.AccountID.String()))
	}
	if v.code != "" {
		attrs = append(attrs, slog.String("code", v.code))
	}
	o.log.LogAttrs(ctx, level, "request", attrs...)
}

// SecretNames lists the names that never show a value in a log: properties marked x-secret in the document and the headers
// that carry credentials.
func SecretNames() (map[string]bool, error) {
	doc, err := api.GetSpec()
	if err != nil {
		return nil, err
	}
	return secretNames(doc), nil
}
