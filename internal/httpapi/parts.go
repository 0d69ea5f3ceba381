package httpapi

import "github.com/labstack/echo/v4"

// A Part is a part of the chains by itself, by operation. `make bench` measures what each of them costs.
type Part map[string][]echo.MiddlewareFunc

// Validation is the part that holds a request against the document.
func Validation() (Part, error) {
	return part(func(o *operation) []echo.MiddlewareFunc { return []echo.MiddlewareFunc{validate(o)} })
}

// Admission is the part that finds out who is calling, whether they may, and not too often.
func Admission(cfg Config) (Part, error) {
	r := newRouter(cfg)
	return part(func(o *operation) []echo.MiddlewareFunc {
		return []echo.MiddlewareFunc{visited, r.admit(o)}
	})
}

func part(of func(*operation) []echo.MiddlewareFunc) (Part, error) {
	ops, err := documented()
	if err != nil {
		return nil, err
	}
	p := make(Part, len(ops))
	for _, o := range ops {
		p[o.id] = []echo.MiddlewareFunc{composed(of(o))}
	}
	return p, nil
}

// visited stands for the observer and the deadline, which make the place for the caller otherwise.
func visited(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		v := &visit{}
		c.Set(keyVisit, v)
		c.SetRequest(c.Request().WithContext(withVisit(c.Request().Context(), v)))
		return next(c)
	}
}
