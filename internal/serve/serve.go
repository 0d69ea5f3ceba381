// Package serve puts the server together from its configuration, runs it, and takes it down without losing anything.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.com/saaskit/internal/config"
	"example.com/saaskit/internal/postgres"
)

// Options change how [Run] meets its surroundings.
type Options struct {
	// Listener is used in place of the configured address.
	Listener net.Listener
	// Started is called once requests are answered.
	Started func()
}

// maxHeader bounds the headers of a request.
const maxHeader = 64 << 10

// Run serves until ctx ends, then lets requests and jobs finish for as long as the configuration allows. It refuses to run on a
// schema that is behind.
func Run(ctx context.Context, cfg config.Config, log *slog.Logger, o Options) error {
	if err := postgres.CheckSchema(ctx, cfg.DatabaseURL.Reveal()); err != nil {
		return err
	}
	a, err := newApp(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer a.close()
	listener, err := listen(ctx, o.Listener, cfg.Addr)
	if err != nil {
		return err
	}
	if err := a.domains.usage.MakePartitions(ctx); err != nil {
		return err
	}
	if err := a.jobs.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start jobs: %w", err)
	}
	failed := make(chan error, 2)
	metrics, err := a.serveMetrics(ctx, failed)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: a.handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() { failed <- server.Serve(listener) }()
	log.InfoContext(ctx, "serving", "address", listener.Addr().String(), "environment", cfg.AppEnv, "live", cfg.Live())
	if o.Started != nil {
		o.Started()
	}
	select {
	case err = <-failed:
		err = fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
		log.InfoContext(ctx, "stopping", "timeout", cfg.ShutdownTimeout.String())
	}
	return errors.Join(err, a.shutdown(cfg.ShutdownTimeout, server, metrics))
}

func listen(ctx context.Context, given net.Listener, address string) (net.Listener, error) {
	if given != nil {
		return given, nil
	}
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

// serveMetrics answers /metrics on a listener of its own, which the public never reaches.
func (a *app) serveMetrics(ctx context.Context, failed chan<- error) (*http.Server, error) {
	if a.cfg.MetricsAddr == "off" {
		return nil, nil
	}
	l, err := listen(ctx, nil, a.cfg.MetricsAddr)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{Registry: a.registry, Timeout: 5 * time.Second}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}()
	a.log.InfoContext(ctx, "serving metrics", "address", l.Addr().String())
	return server, nil
}

// shutdown tells load balancers first, then lets requests finish, then jobs: a request may still leave a job behind.
func (a *app) shutdown(timeout time.Duration, server, metrics *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	a.draining.Store(true)
	var errs []error
	if err := server.Shutdown(ctx); err != nil {
		errs = append(errs, fmt.Errorf("requests were cut off: %w", err), server.Close())
	}
	if err := a.jobs.Stop(ctx); err != nil {
		// What is cut off is taken up by another instance: River rescues the job, and its effects are all or nothing.
		errs = append(errs, fmt.Errorf("jobs were cut off: %w", err), a.jobs.StopAndCancel(context.WithoutCancel(ctx)))
	}
	if metrics != nil {
		errs = append(errs, metrics.Close())
	}
	return errors.Join(errs...)
}
