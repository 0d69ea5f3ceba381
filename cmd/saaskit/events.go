package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
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

// eventFlags are the flags of the commands below `events`; each command knows those that it obeys.
type eventFlags struct {
	filter stripehook.Filter
	limit  int
	dry    bool
	all    bool
}

// An eventCommand is one command below `events`.
type eventCommand struct {
	flags func(*flag.FlagSet, *eventFlags)
	// check finds what is wrong with the flags and arguments before anything is connected to; "" is nothing.
	check func(f eventFlags, args []string) string
	run   func(context.Context, process, *stripehook.Service, eventFlags, []string) error
}

var eventStatuses = []string{"pending", "done", "ignored", "quarantined", "dead"}

func eventCommands() map[string]eventCommand {
	dryFlag := func(s *flag.FlagSet, f *eventFlags) {
		s.BoolVar(&f.dry, "dry-run", false, "find out, and change nothing")
	}
	no := func(*flag.FlagSet, *eventFlags) {}
	return map[string]eventCommand{
		"list": {listFlags, checkList, listEvents},
		"show": {no, func(_ eventFlags, args []string) string {
			return unless(len(args) == 1, "events show takes the id of an event")
		}, showEvent},
		"replay": {func(s *flag.FlagSet, f *eventFlags) { replayFlags(s, f); dryFlag(s, f) }, checkReplay, replayEvents},
		"sweep": {dryFlag, func(_ eventFlags, args []string) string {
			return unless(len(args) == 0, "events sweep takes -dry-run or nothing")
		}, sweepEvents},
		"reconcile": {
			func(s *flag.FlagSet, f *eventFlags) {
				dryFlag(s, f)
				s.BoolVar(&f.all, "all", false, "also compare Stripe's lists with ours")
			},
			func(_ eventFlags, args []string) string {
				return unless(len(args) == 0, "events reconcile takes -all and -dry-run or nothing")
			},
			reconcile,
		},
	}
}

func filterFlags(s *flag.FlagSet, f *eventFlags) {
	s.StringVar(&f.filter.Status, "status", "", strings.Join(eventStatuses, ", "))
	s.StringVar(&f.filter.Reason, "reason", "", "why it is ignored or in quarantine")
	s.StringVar(&f.filter.Type, "type", "", "type of event")
	s.StringVar(&f.filter.ObjectID, "object", "", "id at Stripe of what it is about")
}

func listFlags(s *flag.FlagSet, f *eventFlags) {
	filterFlags(s, f)
	s.IntVar(&f.limit, "limit", 50, "how many at the most")
}

func replayFlags(s *flag.FlagSet, f *eventFlags) {
	filterFlags(s, f)
	s.IntVar(&f.limit, "limit", 0, "how many of those that are found at the most, the newest first; 0 is all")
}

func checkList(f eventFlags, args []string) string {
	if len(args) > 0 || f.limit < 1 || f.limit > 100 {
		return "events list takes flags only, and -limit is 1 to 100"
	}
	return checkStatus(f)
}

// checkReplay keeps apart what is named and what is searched for: it would be unclear to which of both a filter belongs.
func checkReplay(f eventFlags, args []string) string {
	filtered := f.filter != (stripehook.Filter{})
	switch {
	case filtered == (len(args) > 0):
		return "events replay takes ids, or -status, -reason, -type or -object"
	case f.limit < 0 || f.limit > 0 && len(args) > 0:
		return "-limit is how many of those that a filter finds, from 1 on"
	}
	return checkStatus(f)
}

func checkStatus(f eventFlags) string {
	return unless(f.filter.Status == "" || slices.Contains(eventStatuses, f.filter.Status),
		"-status is one of: "+strings.Join(eventStatuses, ", "))
}

func unless(ok bool, text string) string {
	if ok {
		return ""
	}
	return text
}

func runEvents(ctx context.Context, p process, args []string) error {
	if len(args) == 1 && args[0] == "types" {
		// What to register at Stripe: one type a line, for a script as well as for a person.
		_, err := fmt.Fprintln(p.stdout, strings.Join(stripehook.EventTypes(), "\n"))
		return err
	}
	if len(args) == 0 {
		return p.wrongUsage("events knows: types, list, show, replay, sweep, reconcile")
	}
	command, ok := eventCommands()[args[0]]
	if !ok {
		return p.wrongUsage("events knows: types, list, show, replay, sweep, reconcile")
	}
	var f eventFlags
	flags := flag.NewFlagSet("events "+args[0], flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	command.flags(flags, &f)
	if err := flags.Parse(args[1:]); err != nil {
		return p.wrongUsage("")
	}
	// Parsing ends at the first argument: a flag behind it would be taken for an id.
	if i := slices.IndexFunc(flags.Args(), func(arg string) bool { return strings.HasPrefix(arg, "-") }); i >= 0 {
		return p.wrongUsage("flags come before ids: " + flags.Arg(i))
	}
	if why := command.check(f, flags.Args()); why != "" {
		return p.wrongUsage(why)
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
	return command.run(ctx, p, service, f, flags.Args())
}

func listEvents(ctx context.Context, p process, s *stripehook.Service, f eventFlags, _ []string) error {
	found, err := s.Events(ctx, f.filter, page.Request{Limit: f.limit})
	if err != nil {
		return err
	}
	table := eventTable(p)
	for _, e := range found.Data {
		printEvent(table, e)
	}
	return table.Flush()
}

func eventTable(p process) *tabwriter.Writer { return tabwriter.NewWriter(p.stdout, 0, 4, 2, ' ', 0) }

func printEvent(w io.Writer, e stripehook.Event) {
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", e.ReceivedAt.UTC().Format(time.DateTime), e.ID, e.Type, e.ObjectID,
		state(e.Status, e.Reason), e.LastError)
}

func state(status, reason string) string {
	if reason == "" {
		return status
	}
	return status + ":" + reason
}

func showEvent(ctx context.Context, p process, s *stripehook.Service, _ eventFlags, args []string) error {
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
	if len(args) > 0 {
		return replayNamed(ctx, p, s, f.dry, args)
	}
	most := cmp.Or(f.limit, math.MaxInt32)
	if f.dry {
		return listReplay(ctx, p, s, f.filter, most)
	}
	n, err := s.ReplayAll(ctx, f.filter, most, audit.Operator("events replay"))
	fmt.Fprintf(p.stdout, "%d events wait to be worked on\n", n)
	return err
}

func replayNamed(ctx context.Context, p process, s *stripehook.Service, dry bool, ids []string) error {
	for _, id := range ids {
		e, err := s.Event(ctx, id)
		if err == nil && !dry {
			e, _, err = s.Replay(ctx, idempotency.Key{}, id, audit.Operator("events replay"))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		fmt.Fprintf(p.stdout, "%s  %s\n", e.ID, state(e.Status, e.Reason))
	}
	if dry {
		fmt.Fprintf(p.stdout, "%d events would be replayed\n", len(ids))
	}
	return nil
}

// listReplay lists exactly what a replay with the same flags would take.
func listReplay(ctx context.Context, p process, s *stripehook.Service, f stripehook.Filter, most int) error {
	table, n := eventTable(p), 0
	for r := (page.Request{Limit: min(most, 100)}); ; r.Limit = min(most-n, 100) {
		found, err := s.Events(ctx, f, r)
		if err != nil {
			return err
		}
		for _, e := range found.Data {
			printEvent(table, e)
		}
		n += len(found.Data)
		if r.Cursor = found.Next; found.Next == "" || n >= most {
			break
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%d events would be replayed\n", n)
	return nil
}

func sweepEvents(ctx context.Context, p process, s *stripehook.Service, f eventFlags, _ []string) error {
	swept, err := s.Sweep(ctx, f.dry)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%d events since %s, %d of them new\n", swept.Listed, swept.Since.UTC().Format(time.RFC3339), swept.Found)
	return nil
}

func reconcile(ctx context.Context, p process, s *stripehook.Service, f eventFlags, _ []string) error {
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
	looked, err := stripehook.Examine(ctx, api, *url, cfg.Live(), time.Now())
	if err != nil {
		return err
	}
	if looked.URL != "" {
		fmt.Fprintf(p.stdout, "Looked at the endpoint %s\n", looked.URL)
	}
	for _, f := range looked.Found {
		fmt.Fprintf(p.stdout, "%s\n  → %s\n", f.What, f.Do)
	}
	if len(looked.Found) > 0 {
		return errors.New("events may not reach us as they should")
	}
	fmt.Fprintln(p.stdout, "It is as it should be.")
	return nil
}
