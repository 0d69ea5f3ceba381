package main

import (
	"context"
	"errors"
	"fmt"

	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/postgres"
)

func runDoctor(ctx context.Context, p process, args []string) error {
	if len(args) != 1 || args[0] != "ledger" {
		return p.wrongUsage("doctor looks at: ledger")
	}
	url := p.getenv("DATABASE_URL")
	if url == "" {
		return errors.New("DATABASE_URL is not set")
	}
	pool, err := postgres.Open(ctx, url, 0)
	if err != nil {
		return err
	}
	defer pool.Close()
	report, err := credit.Verify(ctx, pool, func(v credit.Violation) { fmt.Fprintln(p.stdout, v) })
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%d accounts, %d entries, %d violations\n", report.Accounts, report.Entries, report.Violations)
	if report.Violations > 0 {
		return errors.New("the ledger does not add up")
	}
	return nil
}
