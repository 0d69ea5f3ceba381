// Command saaskit is the server and what its operator needs.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: saaskit <command> [arguments]

  serve                        run the server
  migrate [up|status]          bring the database up to date, or show what it lacks
  catalog plan|apply|show      compare catalog.yaml with what is on sale, put it on sale, print it
  catalog migrate              move subscribers from one price to another; shows whom, --apply does it
  keys create|list|revoke      service keys
  events types                 list the event types to register at Stripe
  doctor ledger                prove every balance from its entries
  events list|show|replay      Stripe's events as they came in, and working on them again
  events sweep|reconcile       take in what no delivery has brought; look again at what may differ (-dry-run)
  stripe setup|doctor          make the webhook endpoint at Stripe, find what is wrong with it
  config [-markdown]           show the effective settings
  version                      show the version

Settings come from the environment; 'saaskit config' lists them.
`

// A command runs with the arguments after its name.
type command func(ctx context.Context, p process, args []string) error

// A process is what a command has of its surroundings.
type process struct {
	getenv         func(string) string
	stdout, stderr io.Writer
}

// errUsage ends the process with exit code 2, after the usage.
var errUsage = errors.New("wrong usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := run(ctx, process{getenv: os.Getenv, stdout: os.Stdout, stderr: os.Stderr}, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "saaskit:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, p process, args []string) error {
	commands := map[string]command{
		"serve": runServe, "migrate": runMigrate, "catalog": runCatalog, "keys": runKeys, "doctor": runDoctor,
		"events": runEvents, "stripe": runStripe,
		"config": runConfig, "version": runVersion,
	}
	if len(args) == 0 {
		return p.wrongUsage("")
	}
	switch args[0] {
	case "help", "-h", "--help":
		fmt.Fprint(p.stdout, usage)
		return nil
	}
	c, ok := commands[args[0]]
	if !ok {
		return p.wrongUsage("there is no command " + args[0])
	}
	return c(ctx, p, args[1:])
}

func (p process) wrongUsage(why string) error {
	if why != "" {
		fmt.Fprintf(p.stderr, "saaskit: %s\n\n", why)
	}
	fmt.Fprint(p.stderr, usage)
	return errUsage
}
