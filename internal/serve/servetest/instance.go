package servetest

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/saaskit/internal/config"
	"example.com/saaskit/internal/serve"
)

// An Instance is a server in this process that a test may stop before it ends.
type Instance struct {
	URL  string
	stop func() error
}

// Stop tells the server to stop, as a signal would, and returns what it ends with. Calling it again returns the same.
func (i *Instance) Stop() error { return i.stop() }

// Run runs one more instance of the server on the same database and Redis. env changes its settings.
func (w *World) Run(t testing.TB, env map[string]string) *Instance {
	t.Helper()
	cfg, err := config.Load(w.getenv(env))
	if err != nil {
		t.Fatalf("settings: %v", err)
	}
	log, err := serve.NewLogger(cfg, w.Log)
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	started, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- serve.Run(ctx, cfg, log, serve.Options{Listener: l, Clock: w.clock, Started: func() { close(started) }})
	}()
	select {
	case <-started:
	case err := <-ended:
		cancel()
		t.Fatalf("the server does not start: %v", err)
	case <-time.After(startTimeout):
		cancel()
		t.Fatal("the server does not start in time")
	}
	stopped := false
	i := &Instance{URL: "http://" + l.Addr().String(), stop: sync.OnceValue(func() error {
		stopped = true
		cancel()
		return <-ended
	})}
	t.Cleanup(func() {
		if stopped {
			return // the test has seen how it ended
		}
		if err := i.Stop(); err != nil {
			t.Errorf("the server does not stop as it should: %v", err)
		}
	})
	return i
}

func (w *World) getenv(changes map[string]string) func(string) string {
	return func(name string) string {
		if v, ok := changes[name]; ok {
			return v
		}
		return w.env[name]
	}
}

// Setting returns one setting of the world's servers.
func (w *World) Setting(name string) string { return w.env[name] }

// Env returns the settings of the world's servers, as a process takes them.
func (w *World) Env(changes map[string]string) []string {
	get, env := w.getenv(changes), os.Environ()
	cfg, _ := config.Load(get) // the settings may be wrong on purpose
	for _, row := range cfg.Rows() {
		env = append(env, row.Name+"="+get(row.Name))
	}
	return env
}

// A Process is the real binary at work as a process of its own, which a test may kill.
type Process struct {
	URL string
	Log *LogBuffer
	cmd *exec.Cmd
}

// Spawn runs `saaskit serve` on the world's database and Redis. ADDR in env says where; a free port where it does not.
func (w *World) Spawn(t testing.TB, env map[string]string) *Process {
	t.Helper()
	if env["ADDR"] == "" {
		env["ADDR"] = "127.0.0.1:0"
	}
	p := &Process{Log: &LogBuffer{}, cmd: exec.CommandContext(context.Background(), w.build(t), "serve")} // Kill ends it
	p.cmd.Env, p.cmd.Stderr = w.Env(env), p.Log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	Eventually(t, startTimeout, func() bool {
		p.URL = logged(p.Log, "serving")
		return p.URL != ""
	}, "the process does not start: %s", p.Log)
	return p
}

// Kill ends the process at once, as if its machine had lost power.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	_ = p.cmd.Wait()
}

// MetricsURL is where the instance that was started last serves /metrics, or nothing where none does.
func (w *World) MetricsURL() string { return logged(w.Log, "serving metrics") }

// logged returns the address in the last record with a message.
func logged(log *LogBuffer, message string) string {
	found := ""
	for line := range strings.Lines(log.String()) {
		var record struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &record) == nil && record.Msg == message {
			found = "http://" + record.Address
		}
	}
	return found
}

// build makes the real binary once for the world.
func (w *World) build(t testing.TB) string {
	t.Helper()
	if w.binary == "" {
		w.binary = filepath.Join(w.t.TempDir(), "saaskit")
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", w.binary, "./cmd/saaskit")
		cmd.Dir = root()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build the binary: %v\n%s", err, out)
		}
	}
	return w.binary
}

// root is the directory of the module.
func root() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "..", "..", "..")
}

// Eventually waits until something holds and fails the test where it never does.
func Eventually(t testing.TB, patience time.Duration, holds func() bool, format string, args ...any) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf(format, args...)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
