package httpapi

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	contract "example.com/saaskit/api"
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
	e.GET("/healthz", func(c echo.Context) error {
		return c.JSON(http.StatusOK, map[string]string{"status": "ok"})
	})
	e.GET("/readyz", func(c echo.Context) error {
		r := ready(c.Request().Context())
		if !r.Ready {
			return c.JSON(http.StatusServiceUnavailable, r)
		}
		return c.JSON(http.StatusOK, r)
	})
	e.GET("/openapi.yaml", func(c echo.Context) error {
		return c.Blob(http.StatusOK, "application/yaml; charset=utf-8", contract.Document)
	})
}
