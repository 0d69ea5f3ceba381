package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/prometheus/client_golang/prometheus"

	"example.com/saaskit/internal/api"
	"example.com/saaskit/internal/problem"
	"example.com/saaskit/internal/ratelimit"
)

// A Config says how the document is served.
type Config struct {
	Services       Services
	Log            *slog.Logger
	Metrics        prometheus.Registerer
	Limiter        *ratelimit.Limiter
	Ready          func(context.Context) Readiness
	CORSOrigins    []string        // "*" only in dev mode
	TrustedProxies []string        // CIDRs whose X-Forwarded-For is believed
	AuthLimit      ratelimit.Limit // per address, and three times as much per e-mail address
	PublicLimit    ratelimit.Limit // per address
	RequireAAL2    bool
	DevMode        bool
}

// A router is the document at work: one chain of middleware for each operation.
type router struct {
	services    Services
	log         *slog.Logger
	limiter     *ratelimit.Limiter
	authLimit   ratelimit.Limit
	emailLimit  ratelimit.Limit // above what one address may: nobody locks another out alone
	publicLimit ratelimit.Limit
	requireAAL2 bool
	devMode     bool
}

// New returns the handler of the whole HTTP surface. It fails where an operation of the document would go unguarded.
func New(cfg Config) (*echo.Echo, error) {
	ops, err := documented()
	if err != nil {
		return nil, err
	}
	e, err := newEcho(cfg)
	if err != nil {
		return nil, err
	}
	handler := api.NewStrictHandler(&Server{Services: cfg.Services}, nil)
	chains := newRouter(cfg).chains(ops)
	api.RegisterHandlersWithOptions(e, handler, api.RegisterHandlersOptions{OperationMiddlewares: chains})
	registerStatic(e, cfg.Ready)
	return e, everyOperationGuarded(e, ops, chains)
}

func newRouter(cfg Config) *router {
	return &router{
		services: cfg.Services, log: cfg.Log, limiter: cfg.Limiter, requireAAL2: cfg.RequireAAL2, devMode: cfg.DevMode,
		authLimit: cfg.AuthLimit, publicLimit: cfg.PublicLimit,
		emailLimit: ratelimit.Limit{PerMinute: 3 * cfg.AuthLimit.PerMinute, Burst: 3 * cfg.AuthLimit.Burst},
	}
}

// documented reads the operations of the document that this binary was built with.
func documented() ([]*operation, error) {
	doc, err := api.GetSpec()
	if err != nil {
		return nil, fmt.Errorf("load the document: %w", err)
	}
	return operations(doc)
}

// everyOperationGuarded holds the routes against the document: a route under /v1 without an operation, or an operation
// without its chain, stops the server from starting.
func everyOperationGuarded(e *echo.Echo, ops []*operation, chains map[string][]echo.MiddlewareFunc) error {
	known := map[string]bool{}
	for _, o := range ops {
		if len(chains[o.id]) == 0 {
			return fmt.Errorf("operation %s has no middleware", o.id)
		}
		known[o.method+" "+o.echoPath()] = true
	}
	routes := 0
	for _, route := range e.Routes() {
		if len(route.Path) < 4 || route.Path[:4] != "/v1/" {
			continue
		}
		if !known[route.Method+" "+route.Path] {
			return fmt.Errorf("route %s %s is not in the document", route.Method, route.Path)
		}
		routes++
	}
	if routes != len(ops) {
		return fmt.Errorf("%d operations but %d routes", len(ops), routes)
	}
	return nil
}

func newEcho(cfg Config) (*echo.Echo, error) {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	extractor, err := clientAddress(cfg.TrustedProxies)
	if err != nil {
		return nil, err
	}
	e.IPExtractor = extractor
	e.HTTPErrorHandler = problemWriter(cfg.Log)
	e.Pre(boundConnection, newObserver(cfg.Log, cfg.Metrics).middleware, recoverPanics())
	e.Pre(securityHeaders())
	if len(cfg.CORSOrigins) > 0 {
		e.Pre(cors(cfg.CORSOrigins))
	}
	return e, nil
}

// chains builds the middleware of each operation, outermost first. Whoever has no credential learns nothing of the
// validator, and no body is read for them.
func (r *router) chains(ops []*operation) map[string][]echo.MiddlewareFunc {
	chains := make(map[string][]echo.MiddlewareFunc, len(ops))
	for _, o := range ops {
		chain := []echo.MiddlewareFunc{named(o)}
		if o.devOnly && !r.devMode {
			chain = append(chain, hidden)
		}
		chain = append(chain, limitBody(o), deadline(o), r.admit(o), validate(o), r.limitEmail(o), r.confirmAdmin(o))
		chains[o.id] = []echo.MiddlewareFunc{composed(chain)}
	}
	return chains
}

// composed puts a chain around the handler of its route once: Echo by itself would do it for every request anew.
func composed(chain []echo.MiddlewareFunc) echo.MiddlewareFunc {
	var once sync.Once
	var whole echo.HandlerFunc
	return func(handler echo.HandlerFunc) echo.HandlerFunc {
		once.Do(func() {
			whole = handler
			for i := len(chain) - 1; i >= 0; i-- {
				whole = chain[i](whole)
			}
		})
		return whole
	}
}

// hidden answers whoever asks, with or without a credential, that the operation is not there.
func hidden(echo.HandlerFunc) echo.HandlerFunc {
	return func(echo.Context) error {
		return problem.NotFound.Errorf("the operation exists in development mode only")
	}
}

// limitBody refuses what is too large or encoded, before a byte of it is read where its length is told.
func limitBody(o *operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			req := c.Request()
			if encoding := req.Header.Get(echo.HeaderContentEncoding); encoding != "" && encoding != "identity" {
				c.Response().Header().Set("Connection", "close")
				return problem.UnsupportedMediaType.Errorf("send the body without Content-Encoding")
			}
			if req.ContentLength > o.bodyLimit {
				c.Response().Header().Set("Connection", "close")
				return problem.PayloadTooLarge.Errorf("the body may have %d bytes", o.bodyLimit)
			}
			if req.Body == http.NoBody {
				return next(c)
			}
			req.Body = body{http.MaxBytesReader(c.Response().Writer, req.Body, o.bodyLimit), c.Response().Header()}
			return next(c)
		}
	}
}

// A body that cannot be read to its end closes the connection: what comes of it later would be taken for the next request.
type body struct {
	io.ReadCloser
	answer http.Header
}

func (b body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.answer.Set("Connection", "close")
	}
	return n, err
}

// boundConnection bounds what is no operation: a body that nobody reads would otherwise be waited for for ever.
func boundConnection(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		setConnectionDeadlines(c, time.Now().Add(defaultDeadline))
		return next(c)
	}
}

// setConnectionDeadlines bounds reading and writing of one request. The server itself has no such timeouts: they would cut off
// answers that are meant to be long.
func setConnectionDeadlines(c echo.Context, until time.Time) {
	control := http.NewResponseController(c.Response())
	// A recorder in a test has no connection; then there is nothing to bound.
	_ = control.SetReadDeadline(until)
	_ = control.SetWriteDeadline(until.Add(5 * time.Second))
}

// deadline bounds the whole operation, and the connection with it. Its context has the visit, for the handler.
func deadline(o *operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			until := time.Now().Add(o.deadline)
			if o.deadline != defaultDeadline { // which every connection has already
				setConnectionDeadlines(c, until)
			}
			ctx, cancel := context.WithDeadline(withVisit(c.Request().Context(), visitOf(c)), until)
			defer cancel()
			c.SetRequest(c.Request().WithContext(ctx))
			return next(c)
		}
	}
}

func recoverPanics() echo.MiddlewareFunc {
	return middleware.RecoverWithConfig(middleware.RecoverConfig{
		DisablePrintStack: true, StackSize: 8 << 10,
		LogErrorFunc: func(_ echo.Context, err error, stack []byte) error {
			return fmt.Errorf("panic: %w\n%s", err, stack)
		},
	})
}

func securityHeaders() echo.MiddlewareFunc {
	nosniff, noReferrer, noStore := []string{"nosniff"}, []string{"no-referrer"}, []string{"no-store"}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			h := c.Response().Header()
			h["X-Content-Type-Options"], h["Referrer-Policy"], h["Cache-Control"] = nosniff, noReferrer, noStore
			return next(c)
		}
	}
}

// cors admits the front ends that the operator named. There are no cookies, so no credentials.
func cors(origins []string) echo.MiddlewareFunc {
	return middleware.CORSWithConfig(middleware.CORSConfig{
		AllowOrigins: origins,
		AllowMethods: []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
		AllowHeaders: []string{
			echo.HeaderAuthorization, echo.HeaderContentType, headerAPIKey, headerAccount, headerIdempotency, "If-Match", headerRequestID,
		},
		ExposeHeaders: []string{
			headerRequestID, "Idempotent-Replayed", "ETag", "Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset",
		},
		MaxAge: 3600,
	})
}
