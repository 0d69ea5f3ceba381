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
	verb := args[0]
	flags := flag.NewFlagSet("catalog "+verb, flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	var change catalogChange
	if verb != "show" {
		flags.StringVar(&change.file, "f", "catalog.yaml", "the catalogue")
		flags.BoolVar(&change.environment, "change-environment", false, "put everything on sale anew under another APP_ENV than the last apply's")
	}
	if err := flags.Parse(args[1:]); err != nil {
		return p.wrongUsage("")
	}
	if flags.NArg() > 0 {
		return p.wrongUsage("catalog " + verb + " takes flags only, not " + flags.Arg(0))
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
	if verb == "show" {
		return catalog.Show(ctx, pool, p.stdout)
	}
	change.apply = verb == "apply"
	return changeCatalog(ctx, p, cfg, pool, change)
}

// A catalogChange is what an operator asks for.
type catalogChange struct {
	file        string
	environment bool // may be another one than the last apply's
	apply       bool // instead of showing it only
}

// changeCatalog shows the difference first, then does it where it is to be applied.
func changeCatalog(ctx context.Context, p process, cfg config.Config, pool *pgxpool.Pool, c catalogChange) error {
	source, err := os.ReadFile(c.file)
	if err != nil {
		return fmt.Errorf("read catalogue: %w", err)
	}
	doc, err := catalog.Load(source)
	if err != nil {
		return fmt.Errorf("%s cannot be used:\n%w", c.file, err)
	}
	api, err := billing.NewAPI(cfg.StripeAPIKey.Reveal(), cfg.StripeAPIBase, nil)
	if err != nil {
		return err
	}
	applier := catalog.NewApplier(catalog.Config{Pool: pool, Stripe: api, AppEnv: cfg.AppEnv, ChangeEnvironment: c.environment, Now: time.Now})
	if !c.apply {
		plan, err := applier.Plan(ctx, doc)
		if err == nil {
			fmt.Fprint(p.stdout, plan)
		}
		return explainEnvironment(err)
	}
	_, err = applier.Apply(ctx, doc, func(plan catalog.Plan) error {
		fmt.Fprint(p.stdout, plan)
		return nil
	})
	if errors.Is(err, catalog.ErrRunning) {
		return errors.New("another apply is running")
	}
	if _, ok := errors.AsType[*catalog.EnvironmentError](err); ok {
		return explainEnvironment(err)
	}
	if err != nil {
		return fmt.Errorf("%w\nrun it again: what is done stays done", err)
	}
	fmt.Fprintln(p.stdout, "The catalogue is applied.")
	return nil
}

// explainEnvironment says what to do about an environment that is another one than before.
func explainEnvironment(err error) error {
	other, ok := errors.AsType[*catalog.EnvironmentError](err)
	if !ok {
		return err
	}
	return fmt.Errorf("%w\nset APP_ENV=%s; or, to make all products anew and take the prices of %s off sale, say -change-environment", err, other.Applied, other.Applied)
}
