package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/page"
	"example.com/saaskit/internal/serve"
	"example.com/saaskit/internal/stripehook"
)

// eventFlags are the flags of all commands below `events`.
type eventFlags struct {
	filter stripehook.Filter
	limit  int
	dry    bool
	all    bool
}

func runEvents(ctx context.Context, p process, args []string) error {
	commands := map[string]func(context.Context, process, *stripehook.Service, eventFlags, []string) error{
		"list": listEvents, "show": showEvent, "replay": replayEvents, "sweep": sweepEvents, "reconcile": reconcile,
	}
	if len(args) == 1 && args[0] == "types" {
		// What to register at Stripe: one type a line, for a script as well as for a person.
		_, err := fmt.Fprintln(p.stdout, strings.Join(stripehook.EventTypes(), "\n"))
		return err
	}
	if len(args) == 0 || commands[args[0]] == nil {
		return p.wrongUsage("events knows: types, list, show, replay, sweep, reconcile")
	}
	var f eventFlags
	flags := flag.NewFlagSet("events", flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	flags.StringVar(&f.filter.Status, "status", "", "pending, done, ignored, quarantined or dead")
	flags.StringVar(&f.filter.Reason, "reason", "", "why it is ignored or in quarantine")
	flags.StringVar(&f.filter.Type, "type", "", "type of event")
	flags.StringVar(&f.filter.ObjectID, "object", "", "id at Stripe of what it is about")
	flags.IntVar(&f.limit, "limit", 50, "how many at the most")
	flags.BoolVar(&f.dry, "dry-run", false, "find out, and change nothing")
	flags.BoolVar(&f.all, "all", false, "also compare Stripe's lists with ours")
	if err := flags.Parse(args[1:]); err != nil {
		return p.wrongUsage("")
	}
	cfg, err := load(p)
	if err != nil {
		return err
	}
	service, closing, err := serve.Stripe(ctx, cfg, slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		return err
	}
	defer closing()
	return commands[args[0]](ctx, p, service, f, flags.Args())
}

func listEvents(ctx context.Context, p process, s *stripehook.Service, f eventFlags, args []string) error {
	if len(args) > 0 || f.limit < 1 || f.limit > 100 {
		return p.wrongUsage("events list takes flags only, and -limit is 1 to 100")
	}
	found, err := s.Events(ctx, f.filter, page.Request{Limit: f.limit})
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(p.stdout, 0, 4, 2, ' ', 0)
	for _, e := range found.Data {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", e.ReceivedAt.UTC().Format(time.DateTime), e.ID, e.Type, e.ObjectID,
			state(e.Status, e.Reason), e.LastError)
	}
	return table.Flush()
}

func state(status, reason string) string {
	if reason == "" {
		return status
	}
	return status + ":" + reason
}

func showEvent(ctx context.Context, p process, s *stripehook.Service, _ eventFlags, args []string) error {
	if len(args) != 1 {
		return p.wrongUsage("events show takes the id of an event")
	}
	e, err := s.Event(ctx, args[0])
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, `id          %s
type        %s
object      %s %s
looked at   %s
state       %s
attempts    %d
deliveries  %d
replays     %d
source      %s
received    %s
error       %s

%s
`,
		e.ID, e.Type, e.ObjectKind, e.ObjectID, e.RootID, state(e.Status, e.Reason), e.Attempts, e.DeliveryCount, e.Replays, e.Source,
		e.ReceivedAt.UTC().Format(time.RFC3339), e.LastError, e.Payload)
	return nil
}

// replayEvents queues events again; a running server works on them.
func replayEvents(ctx context.Context, p process, s *stripehook.Service, f eventFlags, args []string) error {
	actor := audit.Operator("events replay")
	if len(args) > 0 {
		for _, id := range args {
			e, _, err := s.Replay(ctx, idempotency.Key{}, id, actor)
			if err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
			fmt.Fprintf(p.stdout, "%s  %s\n", e.ID, state(e.Status, e.Reason))
		}
		return nil
	}
	if f.filter == (stripehook.Filter{}) {
		return p.wrongUsage("events replay takes ids, or -status, -reason, -type or -object")
	}
	if f.dry {
		f.limit = 100
		return listEvents(ctx, p, s, f, nil)
	}
	n, err := s.ReplayAll(ctx, f.filter, math.MaxInt32, actor)
	fmt.Fprintf(p.stdout, "%d events wait to be worked on\n", n)
	return err
}

func sweepEvents(ctx context.Context, p process, s *stripehook.Service, f eventFlags, args []string) error {
	if len(args) > 0 {
		return p.wrongUsage("events sweep takes -dry-run or nothing")
	}
	swept, err := s.Sweep(ctx, f.dry)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%d events since %s, %d of them new\n", swept.Listed, swept.Since.UTC().Format(time.RFC3339), swept.Found)
	return nil
}

func reconcile(ctx context.Context, p process, s *stripehook.Service, f eventFlags, args []string) error {
	if len(args) > 0 {
		return p.wrongUsage("events reconcile takes -all and -dry-run or nothing")
	}
	done, err := s.Reconcile(ctx, stripehook.Reconciliation{All: f.all, Dry: f.dry, Report: func(kind, id, what string) {
		fmt.Fprintf(p.stdout, "%s %s %s\n", kind, id, what)
	}})
	fmt.Fprintf(p.stdout, "%d looked at, %d differed, %d failed\n", done.Looked, done.Drift, done.Failed)
	if err == nil && done.Failed > 0 {
		err = errors.New("not everything could be looked at")
	}
	return err
}

// runStripe sets up and examines the webhook endpoint at Stripe.
func runStripe(ctx context.Context, p process, args []string) error {
	if len(args) == 0 || args[0] != "setup" && args[0] != "doctor" {
		return p.wrongUsage("stripe takes setup or doctor")
	}
	flags := flag.NewFlagSet("stripe", flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	url := flags.String("url", "", "where Stripe finds us: https://…/v1/webhooks/stripe")
	if err := flags.Parse(args[1:]); err != nil || flags.NArg() > 0 || args[0] == "setup" && *url == "" {
		return p.wrongUsage("stripe setup takes -url URL, stripe doctor may")
	}
	cfg, err := load(p)
	if err != nil && (args[0] == "doctor" || cfg.StripeAPIKey.Reveal() == "") {
		return err // setup comes before there is a signing secret
	}
	api, err := billing.NewAPI(cfg.StripeAPIKey.Reveal(), cfg.StripeAPIBase, nil)
	if err != nil {
		return err
	}
	if args[0] == "setup" {
		e, err := stripehook.SetUp(ctx, api, *url)
		if err != nil {
			return err
		}
		if !e.Created {
			fmt.Fprintf(p.stdout, "Endpoint %s is up to date.\n", e.ID)
			return nil
		}
		fmt.Fprintf(p.stdout, "Endpoint %s is made. Its signing secret is shown this once:\nSTRIPE_WEBHOOK_SECRET=%s\n", e.ID, e.Secret)
		return nil
	}
	found, err := stripehook.Examine(ctx, api, *url, cfg.Live(), time.Now())
	if err != nil {
		return err
	}
	for _, f := range found {
		fmt.Fprintf(p.stdout, "%s\n  → %s\n", f.What, f.Do)
	}
	if len(found) > 0 {
		return errors.New("events may not reach us as they should")
	}
	return nil
}
