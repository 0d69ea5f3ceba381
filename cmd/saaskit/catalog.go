package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/config"
	"example.com/saaskit/internal/postgres"
)

func runCatalog(ctx context.Context, p process, args []string) error {
	if len(args) > 0 && args[0] == "migrate" {
		return migrateCatalog(ctx, p, args[1:])
	}
	if len(args) == 0 || !slices.Contains([]string{"plan", "apply", "show"}, args[0]) {
		return p.wrongUsage("catalog takes plan, apply, show or migrate")
	}
	flags := flag.NewFlagSet("catalog", flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	file := flags.String("f", "catalog.yaml", "the catalogue")
	if err := flags.Parse(args[1:]); err != nil || flags.NArg() > 0 {
		return p.wrongUsage("catalog plan|apply|show takes -f FILE or nothing")
	}
	cfg, err := load(p)
	if err != nil {
		return err
	}
	pool, err := postgres.Open(ctx, cfg.DatabaseURL.Reveal(), 0)
	if err != nil {
		return err
	}
	defer pool.Close()
	if args[0] == "show" {
		return catalog.Show(ctx, pool, p.stdout)
	}
	return changeCatalog(ctx, p, cfg, pool, *file, args[0] == "apply")
}

// changeCatalog shows the difference first, then does it where it is to be applied.
func changeCatalog(ctx context.Context, p process, cfg config.Config, pool *pgxpool.Pool, file string, apply bool) error {
	source, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read catalogue: %w", err)
	}
	doc, err := catalog.Load(source)
	if err != nil {
		return fmt.Errorf("%s cannot be used:\n%w", file, err)
	}
	api, err := billing.NewAPI(cfg.StripeAPIKey.Reveal(), cfg.StripeAPIBase, nil)
	if err != nil {
		return err
	}
	applier := catalog.NewApplier(catalog.Config{Pool: pool, Stripe: api, AppEnv: cfg.AppEnv, Now: time.Now})
	if !apply {
		plan, err := applier.Plan(ctx, doc)
		if err == nil {
			fmt.Fprint(p.stdout, plan)
		}
		return err
	}
	_, err = applier.Apply(ctx, doc, func(plan catalog.Plan) error {
		fmt.Fprint(p.stdout, plan)
		return nil
	})
	if errors.Is(err, catalog.ErrRunning) {
		return errors.New("another apply is running")
	}
	if err != nil {
		return fmt.Errorf("%w\nrun it again: what is done stays done", err)
	}
	fmt.Fprintln(p.stdout, "The catalogue is applied.")
	return nil
}
