package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"text/tabwriter"
	"time"

	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/serve"
)

// migrateCatalog moves subscribers to another price. Without -apply it only shows whom.
func migrateCatalog(ctx context.Context, p process, args []string) error {
	flags := flag.NewFlagSet("catalog migrate", flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	from := flags.String("from", "", "the price to leave: its lookup key or its id at Stripe")
	to := flags.String("to", "", "the price to move to")
	apply := flags.Bool("apply", false, "move them; without it only shows whom")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 || *from == "" || *to == "" {
		return p.wrongUsage("catalog migrate takes --from PRICE --to PRICE and perhaps --apply")
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
	api, err := billing.NewAPI(cfg.StripeAPIKey.Reveal(), cfg.StripeAPIBase, nil)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	hook, closing, err := serve.Stripe(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer closing()
	s := billing.New(billing.Config{
		Pool: pool, Stripe: api, Catalog: catalog.New(pool), AppEnv: cfg.AppEnv, Now: time.Now, Log: log,
		// What was moved is looked at at once, so that nobody is shown the old price until the event comes.
		Sync: hook.Sync, Alarm: hook.Alarm,
	})
	m, err := s.PlanMigration(ctx, *from, *to)
	if err != nil {
		return err
	}
	return runMigration(ctx, p, s, m, *apply)
}

func runMigration(ctx context.Context, p process, s *billing.Service, m billing.Migration, apply bool) error {
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s (%d %s) to %s (%d %s), from the next renewal on:\n",
		m.From.LookupKey, m.From.Amount, m.From.Currency, m.To.LookupKey, m.To.Amount, m.To.Currency)
	moved, failed := 0, 0
	for _, who := range m.Subscribers {
		outcome := "would move"
		switch {
		case who.Ending:
			outcome = "stays, for it is to end"
		case apply:
			outcome = "moved"
			if err := s.Migrate(ctx, m, who); err != nil {
				failed++
				outcome = err.Error()
			} else {
				moved++
			}
		}
		renews := "-"
		if who.RenewsAt != nil {
			renews = who.RenewsAt.UTC().Format(time.DateOnly)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t× %d\trenews %s\t%s\n", who.AccountID, who.ID, who.Status, who.Quantity, renews, outcome)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if !apply {
		fmt.Fprintf(p.stdout, "%d subscriptions. Nothing was changed; --apply moves them.\n", len(m.Subscribers))
		return nil
	}
	fmt.Fprintf(p.stdout, "%d moved, %d not.\n", moved, failed)
	if failed > 0 {
		return fmt.Errorf("%d subscriptions were not moved\nrun it again: what is done stays done", failed)
	}
	return nil
}
