package devstack_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/saaskit/internal/config"
	"example.com/saaskit/internal/devstack"
	"example.com/saaskit/internal/devstack/checkout"
	"example.com/saaskit/internal/serve"
)

// patience bounds what a test waits for on a busy machine.
const patience = 60 * time.Second

// newCheckout makes a directory that looks like a fresh checkout, with the binaries of this one where it has them, and removes
// everything that a stack in it may leave.
func newCheckout(t *testing.T) checkout.Checkout {
	t.Helper()
	here, err := checkout.Here()
	if err != nil {
		t.Fatal(err)
	}
	base := "/dev/shm" // spares the disk
	if !exists(base) {
		base = "/tmp"
	}
	top, err := os.MkdirTemp(base, "devstack-*") // in a place that the account which root lends to PostgreSQL can enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	co := checkout.Checkout(top)
	if err := os.MkdirAll(co.Path("dev", "pg"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dev/pg/package.json", "dev/pg/package-lock.json", "catalog.yaml"} {
		content, err := os.ReadFile(here.Path(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(co.Path(name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if modules := here.Path("dev", "pg", "node_modules"); exists(modules) {
		if err := os.Symlink(modules, co.Path("dev", "pg", "node_modules")); err != nil {
			t.Fatal(err)
		}
	}
	return co
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// A running is what `make dev` runs: a stack and the server on it.
type running struct {
	*devstack.Stack
	greeting string
	stop     func() // as Ctrl-C does
}

// run runs it in a checkout, with nothing else in the environment than env, until the test ends or stop is called.
func run(t *testing.T, co checkout.Checkout, env map[string]string) *running {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	stack, err := devstack.StartIn(t.Context(), co, func(name string) string { return env[name] }, log)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	r := &running{Stack: stack, stop: stack.Stop}
	t.Cleanup(func() { r.stop() })
	if u, err := url.Parse(stack.Env["DATABASE_URL"]); err == nil && u.Query().Get("host") != "" {
		t.Cleanup(func() { os.RemoveAll(u.Query().Get("host")) }) // a real checkout has its socket's directory for ever
	}
	cfg, err := config.Load(stack.Getenv)
	if err != nil {
		t.Fatalf("settings: %v", err)
	}
	if err := stack.Prepare(t.Context(), cfg); err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	if err := stack.WriteEnv(); err != nil {
		t.Fatalf("WriteEnv: %v", err)
	}
	options := serve.Options{Listener: stack.Listener}
	if clock := stack.Clock(); clock != nil {
		options.Clock = clock
	}
	started, ended := make(chan struct{}), make(chan error, 1)
	options.Started = func() { close(started) }
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	go func() { ended <- serve.Run(ctx, cfg, log, options) }()
	r.stop = func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("serve: %v", err)
		}
		stack.Stop()
		r.stop = func() {}
	}
	select {
	case <-started:
	case err := <-ended:
		ended <- err
		t.Fatalf("serve: %v", err)
	case <-time.After(patience):
		t.Fatal("the server does not start")
	}
	var greeting bytes.Buffer
	stack.Greet(&greeting)
	r.greeting = greeting.String()
	return r
}

// shell runs a script as a person would who knows nothing of the test, and returns what it prints.
func shell(t *testing.T, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", script)
	cmd.Env, cmd.Dir = []string{"PATH=" + os.Getenv("PATH")}, "/"
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// get asks for a page that has to be there.
func get(t *testing.T, address string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s answers %d: %s (%v)", address, res.StatusCode, body, err)
	}
	return string(body)
}

// tried are the lines that the greeting offers to try.
func (r *running) tried(t *testing.T) (lines []string) {
	t.Helper()
	_, rest, _ := strings.Cut(r.greeting, "Try:")
	rest, _, _ = strings.Cut(rest, "Or walk")
	for line := range strings.Lines(rest) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) != 3 {
		t.Fatalf("the greeting has %d lines to try: %s", len(lines), r.greeting)
	}
	return lines
}

// envFile is where the settings of the running server stand.
func envFile(co checkout.Checkout) string { return filepath.Join(string(co), ".saaskit", "dev.env") }

// take takes a port of 127.0.0.1 until the test ends. That another program has it already serves as well.
func take(t *testing.T, port string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", port))
	if err == nil {
		t.Cleanup(func() { l.Close() })
	}
}

// listen answers on a free port until the test ends.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func answer(t *testing.T, l net.Listener, handler http.Handler) {
	t.Helper()
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	}()
	t.Cleanup(func() { _ = srv.Close() })
}
