package serve

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"example.com/saaskit/internal/cache"
	"example.com/saaskit/internal/config"
	"example.com/saaskit/internal/httpapi"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/ratelimit"
)

// An app is everything that a process of the server holds.
type app struct {
	cfg      config.Config
	log      *slog.Logger
	pool     *pgxpool.Pool
	cache    *cache.Cache
	domains  *domains
	jobs     *river.Client[pgx.Tx]
	registry *prometheus.Registry
	handler  http.Handler
	draining atomic.Bool
	schema   schemaCheck
	closers  []func()
}

func newApp(ctx context.Context, cfg config.Config, log *slog.Logger, clock Clock) (_ *app, err error) {
	a := &app{cfg: cfg, log: log, registry: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	if a.pool, err = postgres.Open(ctx, cfg.DatabaseURL.Reveal(), int32(cfg.DatabaseMaxConns)); err != nil { //nolint:gosec // config bounds it
		return nil, err
	}
	a.closers = append(a.closers, a.pool.Close)
	if a.cache, err = cache.Open(ctx, cfg.RedisURL.Reveal(), cfg.RedisPrefix, log); err != nil {
		return nil, err
	}
	a.closers = append(a.closers, a.cache.Close)
	if a.domains, err = newDomains(cfg, log, a.pool, a.cache, clock); err != nil {
		return nil, err
	}
	a.closers = append(a.closers, a.domains.close)
	if a.jobs, err = newJobs(a.pool, log, a.domains); err != nil {
		return nil, err
	}
	a.registerMetrics()
	a.schema.ask, a.schema.now = a.schemaIsCurrent, time.Now
	a.handler, err = httpapi.New(httpapi.Config{
		Services: a.domains.services(), Log: log, Metrics: a.registry, Limiter: ratelimit.New(a.cache, time.Now), Ready: a.ready,
		CORSOrigins: cfg.CORSOrigins, TrustedProxies: cfg.TrustedProxies, RequireAAL2: cfg.RequireAAL2, DevMode: cfg.DevMode,
		AuthLimit:   ratelimit.Limit{PerMinute: cfg.AuthPerMinute, Burst: max(1, cfg.AuthPerMinute/3)},
		PublicLimit: ratelimit.Limit{PerMinute: cfg.PublicPerMinute, Burst: max(1, cfg.PublicPerMinute/6)},
	})
	if err != nil {
		return nil, fmt.Errorf("build the HTTP surface: %w", err)
	}
	return a, nil
}

// close gives back what newApp took, last first.
func (a *app) close() {
	for i := len(a.closers) - 1; i >= 0; i-- {
		a.closers[i]()
	}
	a.closers = nil
}
