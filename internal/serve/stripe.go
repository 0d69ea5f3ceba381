package serve

import (
	"context"
	"log/slog"

	"example.com/saaskit/internal/cache"
	"example.com/saaskit/internal/config"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/stripehook"
)

// Stripe is the part of the server that receives Stripe's events, for the commands of its operator. What it changes is known to
// all instances as if one of them had changed it. Call close at the end.
func Stripe(ctx context.Context, cfg config.Config, log *slog.Logger) (_ *stripehook.Service, closing func(), err error) {
	pool, err := postgres.Open(ctx, cfg.DatabaseURL.Reveal(), 0)
	if err != nil {
		return nil, nil, err
	}
	shared, err := cache.Open(ctx, cfg.RedisURL.Reveal(), cfg.RedisPrefix, log)
	if err != nil {
		pool.Close()
		return nil, nil, err
	}
	d, err := newDomains(cfg, log, pool, shared, nil)
	if err != nil {
		shared.Close()
		pool.Close()
		return nil, nil, err
	}
	return d.stripe, func() {
		d.close()
		shared.Close()
		pool.Close()
	}, nil
}
