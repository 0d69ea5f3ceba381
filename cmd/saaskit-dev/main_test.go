package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/saaskit/internal/devstack/checkout"
	"example.com/saaskit/internal/postgres/pgtest"
)

// asProgram makes the test binary be the program.
const asProgram = "SAASKIT_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	main()
}

// The log obeys its settings as that of the server alone does.
func TestLogSettings(t *testing.T) {
	t.Parallel()
	here, err := checkout.Here()
	if err != nil {
		t.Fatal(err)
	}
	top := t.TempDir()
	if err := os.MkdirAll(filepath.Join(top, "dev", "pg"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dev/pg/package.json", "catalog.yaml"} {
		content, err := os.ReadFile(here.Path(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(top, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Dir = top
	cmd.Env = []string{
		asProgram + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "DATABASE_URL=" + pgtest.NewEmptyURL(t), "ADDR=127.0.0.1:0",
		"LOG_LEVEL=debug", "LOG_FORMAT=text",
	}
	var log strings.Builder
	cmd.Stderr = &log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	started := false
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if strings.Contains(lines.Text(), "saaskit is running") {
			started = true
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || !started {
		t.Fatalf("started %t, ended with %v:\n%s", started, err, log.String())
	}
	if got := log.String(); !strings.Contains(got, "level=INFO") || strings.Contains(got, `{"`) {
		t.Errorf("the log is not in the form that was asked for:\n%s", got)
	}
}
