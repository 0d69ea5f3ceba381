package serve

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// registerMetrics adds what is to be watched besides requests: the process, the pool, Redis, Stripe's inbox, deletions, and mails.
func (a *app) registerMetrics() {
	a.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		a.domains.stripe, a.domains.accounts, a.domains.outbox,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "saaskit_redis_degraded", Help: "1 while Redis does not answer and the process works on its own.",
		}, func() float64 {
			if a.cache.Degraded() {
				return 1
			}
			return 0
		}),
		a.poolGauge("max", "Connections that may be open.", func() int32 { return a.pool.Stat().MaxConns() }),
		a.poolGauge("open", "Connections that are open.", func() int32 { return a.pool.Stat().TotalConns() }),
		a.poolGauge("in_use", "Connections at work.", func() int32 { return a.pool.Stat().AcquiredConns() }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "saaskit_postgres_waits_total", Help: "Requests that had to wait for a connection.",
		}, func() float64 { return float64(a.pool.Stat().EmptyAcquireCount()) }),
	)
}

func (a *app) poolGauge(name, help string, read func() int32) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "saaskit_postgres_connections_" + name, Help: help,
	}, func() float64 { return float64(read()) })
}
