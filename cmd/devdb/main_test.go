package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// commandEnv makes the test binary be devdb itself.
const commandEnv = "DEVDB_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(commandEnv) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// devdb prepares devdb with arguments, as a process of its own group.
func devdb(env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), os.Args[0], args...)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "TEST_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(append(cmd.Env, commandEnv+"=1"), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

func TestCommand(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		env  []string
		args []string
		code int
		want string // in its output
	}{
		{
			name: "gets a database and passes the exit code on",
			args: []string{"-test", "--", "sh", "-c", `echo "$TEST_DATABASE_URL ${DATABASE_URL:-none}"; exit 7`},
			code: 7, want: "/postgres?host=/",
		},
		{
			name: "uses the caller's database",
			env:  []string{"TEST_DATABASE_URL=postgres://mine@127.0.0.1:1/x"},
			args: []string{"-test", "--", "sh", "-c", `echo "$TEST_DATABASE_URL"`},
			want: "postgres://mine@127.0.0.1:1/x",
		},
		{
			name: "keeps the shell's PGHOST away",
			env:  []string{"TEST_DATABASE_URL=postgres://mine@127.0.0.1:1/x", "PGHOST=elsewhere"},
			args: []string{"-test", "--", "sh", "-c", `echo "host ${PGHOST:-none}"`},
			want: "host none",
		},
		{
			name: "a signal that ends the command is told as a shell tells it",
			env:  []string{"TEST_DATABASE_URL=postgres://mine@127.0.0.1:1/x"},
			args: []string{"-test", "--", "sh", "-c", `kill -9 $$`},
			code: 128 + 9,
		},
		{
			name: "no such command",
			env:  []string{"TEST_DATABASE_URL=postgres://mine@127.0.0.1:1/x"},
			args: []string{"-test", "--", "/nonexistent/command"},
			code: exitFailed, want: "/nonexistent/command",
		},
		{name: "no command", args: []string{"-test"}, code: exitUsage, want: "usage:"},
		{name: "no mode", args: []string{"--", "true"}, code: exitUsage, want: "usage:"},
		{name: "unknown flag", args: []string{"-x"}, code: exitUsage, want: "usage:"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cmd := devdb(tt.env, tt.args...)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if code := cmd.ProcessState.ExitCode(); code != tt.code {
				t.Errorf("exit code %d, want %d\n%s", code, tt.code, out)
			}
			if !strings.Contains(string(out), tt.want) {
				t.Errorf("output lacks %q:\n%s", tt.want, out)
			}
		})
	}
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	cmd := devdb(nil, "-test", "-migrate", "--", "sh", "-c", `echo "$DATABASE_URL"`)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "/devdb_") {
		t.Errorf("DATABASE_URL: got %s", out)
	}
}

// The wrapper is asked to end; the command, told so, decides on the exit code,
// and the database outlives it.
func TestSignalIsPassedOn(t *testing.T) {
	t.Parallel()
	const script = `trap 'test -S "$(echo "$TEST_DATABASE_URL" | sed "s/.*host=//; s/&.*//")"/.s.PGSQL.5432 && exit 5; exit 6' TERM INT
		echo "$TEST_DATABASE_URL"; while :; do sleep 0.02; done`
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			cmd := devdb(nil, "-test", "--", "sh", "-c", script)
			cmd.Stderr = os.Stderr
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }) //nolint:errcheck // it has ended
			line, err := bufio.NewReader(stdout).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if code, err := waitCode(cmd); err != nil || code != 5 {
				t.Errorf("exit code %d, %v; want 5", code, err)
			}
			_, host, _ := strings.Cut(line, "host=")
			host, _, _ = strings.Cut(host, "&")
			if _, err := os.Stat(host); err == nil {
				t.Errorf("%s is still there", host)
			}
		})
	}
}

func waitCode(cmd *exec.Cmd) (int, error) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait() //nolint:errcheck // the exit code says it
	}()
	select {
	case <-ended:
		return cmd.ProcessState.ExitCode(), nil
	case <-time.After(30 * time.Second):
		return 0, fmt.Errorf("process %d does not end", cmd.Process.Pid)
	}
}
