package supervise_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/saaskit/internal/devstack/supervise"
)

const patience = 20 * time.Second

// launchEnv makes the test binary start the server that its arguments name,
// print the process id and stay.
const launchEnv = "SUPERVISE_TEST_LAUNCH"

func TestMain(m *testing.M) {
	if os.Getenv(launchEnv) == "" {
		os.Exit(m.Run())
	}
	p, err := supervise.Start(supervise.Command{Args: os.Args[2:], Log: os.Stderr, StopSignal: "TERM", Sweep: os.Args[1], Env: os.Environ()})
	if err != nil {
		panic(err)
	}
	os.Stdout.WriteString(strconv.Itoa(p.PID) + "\n") //nolint:errcheck // the test notices
	time.Sleep(time.Minute)
}

// start starts a shell script as the server.
func start(t *testing.T, script, signal, sweep string) (*supervise.Process, string) {
	t.Helper()
	logPath := filepath.Join(t.TempDir(), "log")
	log, err := os.Create(logPath)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p, err := supervise.Start(supervise.Command{
		Args: []string{"/bin/sh", "-c", script}, Env: os.Environ(), Log: log, StopSignal: signal, Sweep: sweep,
	})
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() {
		if err := p.Stop(patience); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return p, logPath
}

func TestStop(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		script string
		signal string
		within time.Duration // the server's, before it is killed
		log    string
	}{
		{name: "in order", script: `trap 'echo asked; exit' TERM; echo up; while :; do sleep 0.01; done`, signal: "TERM", within: patience, log: "up\nasked\n"},
		{name: "stubborn", script: `trap '' TERM; echo up; while :; do sleep 0.01; done`, signal: "TERM", within: 300 * time.Millisecond, log: "up\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sweep := filepath.Join(t.TempDir(), "swept")
			if err := os.MkdirAll(filepath.Join(sweep, "deep"), 0o755); err != nil {
				t.Fatal(err)
			}
			p, log := start(t, tt.script, tt.signal, sweep)
			await(t, "the server to be up", func() bool { return strings.Contains(read(t, log), "up") })
			if err := p.Err(); err != nil {
				t.Errorf("Err of a running server: %v", err)
			}
			if err := p.Stop(tt.within); err != nil {
				t.Fatalf("Stop: %v", err)
			}
			if alive(p.PID) {
				t.Error("the server still runs")
			}
			if _, err := os.Stat(sweep); err == nil {
				t.Error("nothing was swept")
			}
			if got := read(t, log); !strings.HasPrefix(got, tt.log) {
				t.Errorf("log %q, want %q", got, tt.log)
			}
		})
	}
}

func TestEndByItself(t *testing.T) {
	t.Parallel()
	p, _ := start(t, "exit 3", "TERM", "")
	select {
	case <-p.Done():
	case <-time.After(patience):
		t.Fatal("the end of the server goes unnoticed")
	}
	if p.Err() == nil || !strings.Contains(p.Err().Error(), "exit status 3") {
		t.Errorf("Err: got %v", p.Err())
	}
}

// The signal of a terminal goes to the foreground group, which must not have
// the server in it.
func TestOwnProcessGroup(t *testing.T) {
	t.Parallel()
	p, _ := start(t, "sleep 60", "TERM", "")
	group, err := syscall.Getpgid(p.PID)
	if err != nil {
		t.Fatal(err)
	}
	if group == syscall.Getpgrp() {
		t.Error("the server is in its launcher's process group")
	}
}

func TestKilledLauncher(t *testing.T) {
	t.Parallel()
	sweep := filepath.Join(t.TempDir(), "swept")
	if err := os.Mkdir(sweep, 0o755); err != nil {
		t.Fatal(err)
	}
	launcher := exec.CommandContext(t.Context(), os.Args[0], sweep, "sleep", "60")
	launcher.Env = append(os.Environ(), launchEnv+"=1")
	stdout, err := launcher.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := launcher.Start(); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 20)
	n, err := stdout.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(answer[:n])))
	if err != nil {
		t.Fatal(err)
	}
	if err := launcher.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	launcher.Wait() //nolint:errcheck // it was killed
	await(t, "the server to end", func() bool { return !alive(pid) })
	await(t, "the sweep", func() bool {
		_, err := os.Stat(sweep)
		return err != nil
	})
}

func TestNoSuchProgram(t *testing.T) {
	t.Parallel()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p, err := supervise.Start(supervise.Command{Args: []string{"/nonexistent"}, Log: log, StopSignal: "TERM"})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if p.Err() == nil {
		t.Error("no error")
	}
	if err := p.Stop(patience); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
