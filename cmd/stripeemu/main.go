// Command stripeemu runs the Stripe emulator on its own.
//
//	stripeemu -addr 127.0.0.1:12111 -webhook-url http://127.0.0.1:8080/v1/webhooks/stripe -webhook-secret whsec_x
//
// It speaks API version 2023-10-16 under /v1, takes any key that begins with
// sk_test_ or rk_test_, and serves the payment pages beside it. It listens on
// loopback addresses only: whoever reaches it can read all of its state.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"example.com/saaskit/internal/stripeemu"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "stripeemu:", err)
		}
		os.Exit(1)
	}
}

// shutdownTime is how long requests under way may take at the end.
const shutdownTime = 5 * time.Second

// run serves until ctx ends. It prints the base URL once it can be reached.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("stripeemu", flag.ContinueOnError)
	addr := flags.String("addr", "127.0.0.1:12111", "loopback `host:port` to listen on; port 0 takes a free one")
	target := flags.String("webhook-url", "", "`URL` that gets every event")
	secret := flags.String("webhook-secret", "", "signing `secret` of that endpoint, whsec_…")
	compression := flags.Float64("retry-compression", 3600, "`factor` by which pauses between attempts are shortened; 1 is Stripe's own pace")
	state := flags.String("state", "", "`file` that keeps the account between two runs")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if (*target == "") != (*secret == "") {
		return errors.New("-webhook-url and -webhook-secret belong together")
	}
	listener, err := listen(ctx, *addr)
	if err != nil {
		return err
	}
	base := "http://" + listener.Addr().String()
	emulator, err := stripeemu.New(stripeemu.Config{BaseURL: base, RetryCompression: *compression, StateFile: *state})
	if err != nil {
		_ = listener.Close()
		return fmt.Errorf("start emulator: %w", err)
	}
	defer emulator.Close()
	if *target != "" {
		emulator.Register(*target, *secret)
	}
	fmt.Fprintln(out, base)
	return serve(ctx, listener, emulator.Handler())
}

// listen refuses every address that another machine could reach.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("read -addr: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("-addr %s is not a loopback address", addr)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return listener, nil
}

func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if err := server.Shutdown(deadline); err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	return nil
}
