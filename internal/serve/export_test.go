package serve

import (
	"context"
	"time"
)

// SchemaCheck is what /readyz asks, with another database and clock.
func SchemaCheck(ask func(context.Context) (bool, error), now func() time.Time) func(context.Context) (bool, error) {
	s := &schemaCheck{ask: ask, now: now}
	return s.current
}
