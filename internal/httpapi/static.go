package httpapi

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	contract "example.com/saaskit/api"
	"example.com/saaskit/docs"
	"example.com/saaskit/internal/problem"
)

// Readiness is what /readyz tells. Ready is false where requests would fail; a degraded Redis makes them slower, not wrong.
type Readiness struct {
	Ready    bool   `json:"ready"`
	Database string `json:"database"`
	Schema   string `json:"schema"`
	Redis    string `json:"redis"`
}

// registerStatic adds the routes that are no operations of the document.
func registerStatic(e *echo.Echo, ready func(context.Context) Readiness) {
	probes := []string{http.MethodGet, http.MethodHead}
	e.Match(probes, "/healthz", func(c echo.Context) error {
		return c.JSON(http.StatusOK, map[string]string{"status": "ok"})
	})
	e.Match(probes, "/readyz", func(c echo.Context) error {
		r := ready(c.Request().Context())
		if !r.Ready {
			return c.JSON(http.StatusServiceUnavailable, r)
		}
		return c.JSON(http.StatusOK, r)
	})
	// The type of every problem leads here.
	e.GET("/problems/:code", func(c echo.Context) error {
		text, found := docs.Problem(c.Param("code"))
		if !found {
			return problem.NotFound.Errorf("there is no such problem")
		}
		return c.Blob(http.StatusOK, "text/markdown; charset=utf-8", []byte(text))
	})
	e.GET("/openapi.yaml", func(c echo.Context) error {
		return c.Blob(http.StatusOK, "application/yaml; charset=utf-8", contract.Document)
	})
}
