package pgserver_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/devstack/checkout"
	"example.com/saaskit/internal/devstack/pgserver"
)

// launchEnv tells the test binary to be a launcher in this checkout.
const launchEnv = "PGSERVER_TEST_LAUNCH"

// patience bounds what a test waits for on a busy machine.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if dir := os.Getenv(launchEnv); dir != "" {
		beLauncher(checkout.Checkout(dir))
		return
	}
	code := m.Run()
	if prepared.dir != "" {
		os.RemoveAll(prepared.dir)
	}
	os.Exit(code)
}

// report is what a launcher prints when its server runs.
type report struct {
	URL, Data, Sockets string
	PID                int
	Err                string
}

// beLauncher starts a server and stays until its standard input ends.
func beLauncher(co checkout.Checkout) {
	server, err := pgserver.Start(context.Background(), pgserver.Options{
		Checkout:  co,
		Throwaway: len(os.Args) > 1 && os.Args[1] == "throwaway",
	})
	var r report
	if err != nil {
		r.Err = err.Error()
	} else {
		r = report{server.URL("postgres"), server.Data(), server.Sockets(), server.PID(), ""}
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		os.Exit(1)
	}
	if server != nil {
		io.Copy(io.Discard, os.Stdin) //nolint:errcheck // any end is the end
		server.Stop()                 //nolint:errcheck // the test looks at what is left
	}
}

// A launcher is another process that runs a server.
type launcher struct {
	report
	cmd   *exec.Cmd
	stdin io.Closer
}

// launch starts a launcher in a checkout and waits until its server runs.
func launch(t *testing.T, co checkout.Checkout, change func(*exec.Cmd)) *launcher {
	t.Helper()
	l := &launcher{cmd: exec.CommandContext(t.Context(), os.Args[0])}
	l.cmd.Env = append(os.Environ(), launchEnv+"="+string(co))
	l.cmd.Stderr = os.Stderr
	if change != nil {
		change(l.cmd)
	}
	stdout, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if l.stdin, err = l.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatalf("start launcher: %v", err)
	}
	t.Cleanup(func() {
		l.stdin.Close()
		l.cmd.Wait() //nolint:errcheck // some are killed
		await(t, "the server to end", func() bool { return l.PID == 0 || !pgserver.Alive(l.PID) })
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatalf("read launcher's report: %v", err)
	}
	if err := json.Unmarshal(line, &l.report); err != nil {
		t.Fatalf("read launcher's report: %v", err)
	}
	return l
}

// kill ends the launcher as kill -9 does, and returns when it is gone.
func (l *launcher) kill(t *testing.T) {
	t.Helper()
	if err := l.cmd.Process.Kill(); err != nil {
		t.Fatalf("kill launcher: %v", err)
	}
	l.cmd.Wait() //nolint:errcheck // it was killed
}

// prepared is a checkout with a cluster that was stopped in order. Copying it
// costs far less than initdb.
var prepared struct {
	once sync.Once
	dir  string
}

// usedCheckout makes a checkout that has a cluster already.
func usedCheckout(t *testing.T) checkout.Checkout {
	t.Helper()
	prepared.once.Do(func() {
		co := newCheckout(t)
		server, err := pgserver.Start(t.Context(), pgserver.Options{Checkout: co})
		if err != nil {
			t.Fatalf("Start: %v", err)
		}
		if err := server.Stop(); err != nil {
			t.Fatalf("Stop: %v", err)
		}
		if prepared.dir, err = os.MkdirTemp(pgserver.ThrowawayBase(), "pgserver-*"); err != nil {
			t.Fatal(err)
		}
		copyTree(t, co.Path(".saaskit"), prepared.dir)
	})
	co := newCheckout(t)
	copyTree(t, filepath.Join(prepared.dir, ".saaskit"), string(co))
	return co
}

// copyTree copies a directory into another one, owners included.
func copyTree(t *testing.T, from, into string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "cp", "-Rp", from, into).CombinedOutput(); err != nil {
		t.Fatalf("copy cluster: %v\n%s", err, out)
	}
}

// newCheckout makes a directory that looks like a checkout and has the
// binaries of this one.
func newCheckout(t *testing.T) checkout.Checkout {
	t.Helper()
	here, err := checkout.Here()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := pgserver.Fetch(ctx, here); err != nil {
		t.Fatalf("fetch PostgreSQL: %v", err)
	}
	co := bareCheckout(t)
	if err := os.Symlink(here.Path("dev", "pg", "node_modules"), co.Path("dev", "pg", "node_modules")); err != nil {
		t.Fatal(err)
	}
	return co
}

// bareCheckout makes one without binaries.
func bareCheckout(t *testing.T) checkout.Checkout {
	t.Helper()
	here, err := checkout.Here()
	if err != nil {
		t.Fatal(err)
	}
	pins, err := os.ReadFile(here.Path("dev", "pg", "package.json"))
	if err != nil {
		t.Fatal(err)
	}
	co := checkout.Checkout(tempDir(t, pgserver.ThrowawayBase()))
	t.Cleanup(func() { removeSockets(t, co) })
	if err := os.MkdirAll(co.Path("dev", "pg"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(co.Path("dev", "pg", "package.json"), pins, 0o644); err != nil {
		t.Fatal(err)
	}
	return co
}

// removeSockets deletes the directories that the checkout's servers have left
// in /tmp. A real checkout has one for ever.
func removeSockets(t *testing.T, co checkout.Checkout) {
	t.Helper()
	for _, dir := range pgserver.SocketDirs(co) {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("tidy up: %v", err)
		}
	}
}

// tempDir is t.TempDir in a place that every user can enter.
func tempDir(t *testing.T, base string) string {
	t.Helper()
	dir, err := os.MkdirTemp(base, "pgserver-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// start starts a server in this process and stops it with the test.
func start(t *testing.T, o pgserver.Options) *pgserver.Server {
	t.Helper()
	server, err := pgserver.Start(t.Context(), o)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return server
}

// query runs one statement that returns one text.
func query(t *testing.T, url, sql string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatalf("connect to %s: %v", url, err)
	}
	defer conn.Close(ctx)
	var text string
	if err := conn.QueryRow(ctx, sql).Scan(&text); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return text
}

// keep writes something that a later server must still have; see kept.
func keep(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatalf("connect to %s: %v", url, err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE TABLE kept AS SELECT 'still here' AS what"); err != nil {
		t.Fatalf("write: %v", err)
	}
}

// wantKept fails the test where the server does not have what keep wrote.
func wantKept(t *testing.T, url string) {
	t.Helper()
	if got := query(t, url, "SELECT what FROM kept"); got != "still here" {
		t.Errorf("data after the restart: got %q", got)
	}
}

// await waits until the condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// exists tells whether there is such a file.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// group lists the processes of a process group.
func group(t *testing.T, pgid int) []int {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ps", "-A", "-o", "pid=,pgid=").Output()
	if err != nil {
		t.Fatalf("list processes: %v", err)
	}
	var members []int
	for line := range strings.Lines(string(out)) {
		var pid, of int
		if _, err := fmt.Sscan(line, &pid, &of); err == nil && of == pgid {
			members = append(members, pid)
		}
	}
	return members
}

// ordinary is a user without rights over others, and what makes a command run as that user: whoever runs the tests, or, where
// that is root, nobody, who gets the checkout and a copy of the program. Go's own build directory is closed.
func ordinary(t *testing.T, co checkout.Checkout) (uid int, as func(*exec.Cmd)) {
	t.Helper()
	if !isRoot() {
		return os.Geteuid(), nil
	}
	const nobody = 65534
	program := filepath.Join(tempDir(t, "/tmp"), "launcher")
	content, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, content, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(string(co), nobody, nobody); err != nil {
		t.Fatal(err)
	}
	return nobody, func(cmd *exec.Cmd) {
		cmd.Path = program
		cmd.Dir = "/"
		cmd.Env = append(cmd.Env, "HOME=/nonexistent")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
}

func isRoot() bool { return os.Geteuid() == 0 }

// owner is the user whom a file belongs to.
func owner(t *testing.T, path string) int {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Sys().(*syscall.Stat_t).Uid)
}
