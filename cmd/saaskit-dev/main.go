// Command saaskit-dev is the server with everything that it needs embedded: what `make dev` runs.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"example.com/saaskit/internal/config"
	"example.com/saaskit/internal/devstack"
	"example.com/saaskit/internal/serve"
)

func main() {
	reset := flag.Bool("reset", false, "delete the development data and end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := run(ctx, *reset)
	stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "saaskit-dev:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, reset bool) error {
	if reset {
		return devstack.Reset()
	}
	// The settings can be read when the parts are there that they name; until then the log has those two of its own.
	boot, err := serve.NewLogger(config.Config{LogFormat: cmp.Or(os.Getenv("LOG_FORMAT"), "auto"), LogLevel: cmp.Or(os.Getenv("LOG_LEVEL"), "info")}, os.Stderr)
	if err != nil {
		return err
	}
	stack, err := devstack.Start(ctx, os.Getenv, boot)
	if err != nil {
		return err
	}
	defer stack.Stop()
	cfg, err := config.Load(stack.Getenv)
	if err != nil {
		return fmt.Errorf("the settings are not right:\n%w", err)
	}
	log, err := serve.NewLogger(cfg, os.Stderr)
	if err != nil {
		return err
	}
	if err := stack.Prepare(ctx, cfg); err != nil {
		return err
	}
	if err := stack.WriteEnv(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-stack.Down():
			cancel(errors.New("the embedded PostgreSQL has ended"))
		case <-ctx.Done():
		}
	}()
	options := serve.Options{Listener: stack.Listener, Started: func() { stack.Greet(os.Stdout) }}
	if clock := stack.Clock(); clock != nil {
		options.Clock = clock
	}
	err = serve.Run(ctx, cfg, log, options)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}
