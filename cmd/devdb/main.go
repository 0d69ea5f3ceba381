// Command devdb runs another command with the services that it needs:
//
//	devdb -test -- go test ./...
//
// starts a throw-away PostgreSQL, makes sure that a real Redis is at hand, runs
// the tests with TEST_DATABASE_URL set, and deletes everything afterwards.
// Variables that are already set name servers of the caller's own, which are
// used instead. The exit code is the command's.
//
//	devdb -test -migrate -- go tool -modfile=tools/go.mod sqlc vet
//
// also migrates a database and names it in DATABASE_URL.
//
//	devdb -reset
//
// deletes the databases that make dev keeps in .saaskit.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"example.com/saaskit/internal/devstack/checkout"
	"example.com/saaskit/internal/devstack/pgserver"
)

func main() {
	code, err := run(os.Args[1:], os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "devdb:", err)
	}
	os.Exit(code)
}

// Exit codes of our own; others are the command's.
const (
	exitFailed = 1
	exitUsage  = 2
)

const usage = `usage: devdb -test [-migrate] -- command [arguments]
       devdb -reset`

func run(args []string, stderr io.Writer) (int, error) {
	flags := flag.NewFlagSet("devdb", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprintln(stderr, usage); flags.PrintDefaults() }
	test := flags.Bool("test", false, "run the command with services for tests")
	migrate := flags.Bool("migrate", false, "name a migrated database in DATABASE_URL")
	reset := flags.Bool("reset", false, "delete the databases of make dev")
	if err := flags.Parse(args); err != nil {
		return exitUsage, nil //nolint:nilerr // the flag set has said why
	}
	co, err := checkout.Here()
	if err != nil {
		return exitFailed, err
	}
	switch {
	case *reset && !*test && flags.NArg() == 0:
		if err := pgserver.Reset(co); err != nil {
			return exitFailed, err
		}
		return 0, nil
	case *test && !*reset && flags.NArg() > 0:
		return runTests(co, *migrate, flags.Args(), stderr)
	default:
		flags.Usage()
		return exitUsage, nil
	}
}

// runTests runs the command between the start and the end of the services. A
// signal that arrives before the command runs ends the preparations.
func runTests(co checkout.Checkout, migrate bool, command []string, stderr io.Writer) (code int, err error) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()

	services := &services{
		checkout: co,
		env:      withoutPostgres(os.Environ()),
		logf:     func(format string, args ...any) { fmt.Fprintf(stderr, "devdb: "+format+"\n", args...) },
	}
	defer func() {
		if stopErr := services.stop(); stopErr != nil {
			code, err = max(code, exitFailed), errors.Join(err, stopErr)
		}
	}()
	if err := services.start(ctx, migrate); err != nil {
		return exitFailed, err
	}
	return services.runCommand(command, signals)
}

// runCommand runs the command to its end and returns its exit code. It passes
// signals on, and asks the command to end where its database has gone.
func (s *services) runCommand(command []string, signals <-chan os.Signal) (int, error) {
	cmd := exec.CommandContext(context.Background(), command[0], command[1:]...) // it ends by itself or by the signals passed on
	cmd.Env = s.env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return exitFailed, fmt.Errorf("run command: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	gone, lost := s.gone(), false
	for {
		select {
		case err := <-ended:
			code, err := exitCode(err)
			if lost && err == nil {
				code, err = max(code, exitFailed), errors.New("PostgreSQL ended while the command ran")
			}
			return code, err
		case sig := <-signals:
			passOn(cmd.Process, sig)
		case <-gone:
			gone, lost = nil, true
			passOn(cmd.Process, syscall.SIGTERM)
		}
	}
}

// passOn sends the signal to the command. Ctrl-C on a terminal reaches it
// without our help, and twice would be once too often.
func passOn(process *os.Process, sig os.Signal) {
	if sig == syscall.SIGINT && term.IsTerminal(int(os.Stdin.Fd())) {
		return
	}
	process.Signal(sig) //nolint:errcheck // it has ended meanwhile
}

// exitCode turns the end of a command into an exit code, as a shell does.
func exitCode(err error) (int, error) {
	if err == nil {
		return 0, nil
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return exitFailed, fmt.Errorf("run command: %w", err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		const signalled = 128
		return signalled + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}
