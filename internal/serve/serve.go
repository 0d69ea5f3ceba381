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
	// Clock is the server's time where it can be moved; nil for real time.
	Clock Clock
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
	a, err := newApp(ctx, cfg, log, o.Clock)
	if err != nil {
		return err
	}
	defer a.close()
	// Both addresses are taken before anything runs: what cannot start leaves nothing running behind.
	listener, err := listen(ctx, o.Listener, cfg.Addr)
	if err != nil {
		return err
	}
	defer listener.Close()
	metricsListener, err := listenMetrics(ctx, cfg.MetricsAddr)
	if err != nil {
		return err
	}
	if metricsListener != nil {
		defer metricsListener.Close()
	}
	if err := a.domains.usage.MakePartitions(ctx); err != nil {
		return err
	}
	if err := a.jobs.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start jobs: %w", err)
	}
	failed := make(chan error, 2)
	metrics := a.serveMetrics(ctx, metricsListener, failed)
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
		log.InfoContext(ctx, "stopping", "delay", cfg.ShutdownDelay.String(), "timeout", cfg.ShutdownTimeout.String())
		a.draining.Store(true)
		// Requests are still answered while load balancers find out that no more should come here.
		select {
		case err = <-failed:
			err = fmt.Errorf("serve: %w", err)
		case <-time.After(cfg.ShutdownDelay):
		}
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

// listenMetrics returns nil where metrics are off.
func listenMetrics(ctx context.Context, address string) (net.Listener, error) {
	if address == config.Off {
		return nil, nil
	}
	l, err := listen(ctx, nil, address)
	if err != nil {
		return nil, fmt.Errorf("METRICS_ADDR: %w", err)
	}
	return l, nil
}

// serveMetrics answers /metrics on a listener of its own, which the public never reaches.
func (a *app) serveMetrics(ctx context.Context, l net.Listener, failed chan<- error) *http.Server {
	if l == nil {
		return nil
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
	return server
}

// shutdown lets requests finish, then jobs, for a request may still leave a job behind. Each has the whole timeout.
func (a *app) shutdown(timeout time.Duration, server, metrics *http.Server) error {
	var errs []error
	within := func(stop func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		return stop(ctx)
	}
	if err := within(server.Shutdown); err != nil {
		errs = append(errs, fmt.Errorf("requests were cut off: %w", err), server.Close())
	}
	if err := within(a.jobs.Stop); err != nil {
		// What is cut off is taken up by another instance: River rescues the job, and its effects are all or nothing.
		errs = append(errs, fmt.Errorf("jobs were cut off: %w", err), within(a.jobs.StopAndCancel))
	}
	if metrics != nil {
		errs = append(errs, metrics.Close())
	}
	return errors.Join(errs...)
}
