package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/db"
)

// Show prints for people what the tables have on sale and how the last apply ended.
func Show(ctx context.Context, pool *pgxpool.Pool, out io.Writer) error {
	read, err := readTables(ctx, pool)
	if err != nil {
		return fmt.Errorf("read catalogue: %w", err)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TIER\tRANK\tREQUESTS/MIN\tBURST\tKEYS\tCREDITS/MONTH\tPRICES")
	for _, row := range read.tiers {
		if row.ArchivedAt == nil {
			o := read.offer(row)
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%s\n", o.ID, o.Rank, o.Limits.RequestsPerMinute, o.Limits.Burst,
				o.Limits.APIKeys, o.Allowance.Amount, priceList(o.Prices))
		}
	}
	fmt.Fprintln(w, "\nPACK\tCREDITS\tEXPIRES\tPRICES")
	for _, row := range read.packs {
		if row.ArchivedAt == nil {
			k := read.pack(row)
			expires := "never"
			if k.ExpiresAfterDays > 0 {
				expires = fmt.Sprintf("after %d days", k.ExpiresAfterDays)
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", k.ID, k.Credits, expires, priceList(k.Prices))
		}
	}
	fmt.Fprintln(w, "\nMETER\tUNIT")
	for _, m := range read.meters {
		fmt.Fprintf(w, "%s\t%s\n", m.ID, m.Unit)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return showApplies(ctx, db.New(pool), out)
}

func priceList(prices []Price) string {
	parts := make([]string, len(prices))
	for i, p := range prices {
		parts[i] = fmt.Sprintf("%s %s %d (%s)", p.LookupKey, p.Currency, p.Amount, p.StripePriceID)
	}
	if len(parts) == 0 {
		return "free"
	}
	return strings.Join(parts, ", ")
}

func showApplies(ctx context.Context, q *db.Queries, out io.Writer) error {
	last, err := q.GetLastApply(ctx)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		fmt.Fprintln(out, "\nNothing was ever applied.")
	case err != nil:
		return fmt.Errorf("read last apply: %w", err)
	default:
		as := ""
		if last.Environment != nil {
			as = " as " + *last.Environment
		}
		fmt.Fprintf(out, "\nLast applied %s%s.\n", last.FinishedAt.UTC().Format(time.RFC3339), as)
	}
	unfinished, found, err := unfinishedApply(ctx, q)
	if err != nil || !found {
		return err
	}
	steps, err := q.ListApplySteps(ctx, unfinished.id)
	if err != nil {
		return fmt.Errorf("read steps: %w", err)
	}
	fmt.Fprintln(out, "An apply was interrupted; run it again. Done so far at Stripe:")
	for _, s := range steps {
		fmt.Fprintf(out, "  %s %s (%s)\n", s.DoneAt.UTC().Format(time.RFC3339), s.Step, s.StripeID)
	}
	return nil
}
