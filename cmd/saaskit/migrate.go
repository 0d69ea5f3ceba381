package main

import (
	"context"
	"errors"
	"fmt"

	"example.com/saaskit/internal/postgres"
)

// runMigrate needs DATABASE_URL only, so that it runs before anything else is set up.
func runMigrate(ctx context.Context, p process, args []string) error {
	what := "up"
	if len(args) > 0 {
		what = args[0]
	}
	if len(args) > 1 || (what != "up" && what != "status") {
		return p.wrongUsage("migrate takes up or status")
	}
	url := p.getenv("DATABASE_URL")
	if url == "" {
		return errors.New("DATABASE_URL is not set")
	}
	if what == "up" {
		if err := postgres.Migrate(ctx, url); err != nil {
			return err
		}
	}
	return printMigrations(ctx, p, url)
}

func printMigrations(ctx context.Context, p process, url string) error {
	list, err := postgres.MigrationStatus(ctx, url)
	if err != nil {
		return err
	}
	missing := 0
	for _, m := range list {
		state := "applied"
		if !m.Applied {
			state = "missing"
			missing++
		}
		fmt.Fprintf(p.stdout, "%-8s %s\n", state, m.Name)
	}
	if missing > 0 {
		return postgres.ErrSchemaBehind
	}
	return nil
}
