package serve

import (
	"context"
	"sync"
	"time"

	"example.com/saaskit/internal/httpapi"
	"example.com/saaskit/internal/postgres"
)

const (
	// readyTimeout bounds the look at the database; a balancer asks often.
	readyTimeout = 2 * time.Second
	// readyLife is how long the database's answer is repeated: anybody may ask, without a credential and without a limit.
	readyLife = time.Second
)

// ready looks at what requests need. It asks the database each second: a schema that was restored from a backup is behind.
func (a *app) ready(ctx context.Context) httpapi.Readiness {
	r := httpapi.Readiness{Ready: !a.draining.Load(), Database: "ok", Schema: "current", Redis: "ok"}
	if a.cache.Degraded() {
		r.Redis = "degraded"
	}
	switch current, err := a.schema.current(ctx); {
	case err != nil:
		r.Ready, r.Database, r.Schema = false, "unreachable", "unknown"
	case !current:
		r.Ready, r.Schema = false, "behind"
	}
	return r
}

func (a *app) schemaIsCurrent(ctx context.Context) (bool, error) {
	current, err := postgres.SchemaIsCurrent(ctx, a.pool)
	if err != nil {
		a.log.ErrorContext(ctx, "the database does not answer", "error", err)
	}
	return current, err
}

// A schemaCheck remembers for a moment what the database has answered. Those who come meanwhile wait for the one question.
type schemaCheck struct {
	ask func(context.Context) (bool, error)
	now func() time.Time

	mu    sync.Mutex
	until time.Time
	last  bool
	err   error
}

func (s *schemaCheck) current(ctx context.Context) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now().Before(s.until) {
		return s.last, s.err
	}
	// The answer is for others, too, when the caller has gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTimeout)
	defer cancel()
	s.last, s.err = s.ask(ctx)
	s.until = s.now().Add(readyLife)
	return s.last, s.err
}
