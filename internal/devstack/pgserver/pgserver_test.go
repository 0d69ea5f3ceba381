package pgserver_test

import (
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/devstack/checkout"
	"example.com/saaskit/internal/devstack/pgserver"
)

func TestKilledLauncher(t *testing.T) {
	t.Parallel()
	co := usedCheckout(t)
	l := launch(t, co, nil)
	keep(t, l.URL)
	l.kill(t)
	await(t, "the server to end with its launcher", func() bool { return !pgserver.Alive(l.PID) })

	l = launch(t, co, nil)
	l.kill(t)
	server := start(t, pgserver.Options{Checkout: co}) // at once: the last one is still ending
	wantKept(t, server.URL("postgres"))
}

func TestKilledLauncherAndSupervisor(t *testing.T) {
	t.Parallel()
	co := usedCheckout(t)
	l := launch(t, co, nil)
	keep(t, l.URL)
	pgid, err := syscall.Getpgid(l.PID)
	if err != nil {
		t.Fatal(err)
	}
	rest := group(t, pgid)
	for _, pid := range rest {
		if pid != l.PID {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatalf("kill supervisor: %v", err)
			}
		}
	}
	l.kill(t)
	if len(rest) < 3 || !pgserver.Alive(l.PID) {
		t.Fatalf("no orphan to test with: group %v of server %d", rest, l.PID)
	}
	server := start(t, pgserver.Options{Checkout: co})
	if pgserver.Alive(l.PID) {
		t.Error("the orphan still runs")
	}
	wantKept(t, server.URL("postgres"))
}

func TestKilledServer(t *testing.T) {
	t.Parallel()
	co := usedCheckout(t)
	server := start(t, pgserver.Options{Checkout: co})
	keep(t, server.URL("postgres"))
	if err := syscall.Kill(server.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-server.Done()
	if err := server.Stop(); err != nil {
		t.Fatalf("Stop: %v", err)
	}
	// The dead server's postmaster.pid says "ready". The new one must be waited for all the same.
	again := start(t, pgserver.Options{Checkout: co})
	wantKept(t, again.URL("postgres"))
}

func TestThrowawayLeavesNothing(t *testing.T) {
	t.Parallel()
	co := newCheckout(t)
	// What launchers have left who were killed together with their supervisor.
	dead, running, young := leftover(t), leftover(t), leftover(t)
	lock, err := checkout.TryLock(filepath.Join(running, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	longAgo := time.Now().Add(-time.Hour)
	for _, dir := range []string{dead, running} {
		if err := os.Chtimes(dir, longAgo, longAgo); err != nil {
			t.Fatal(err)
		}
	}

	l := launch(t, co, func(cmd *exec.Cmd) { cmd.Args = append(cmd.Args, "throwaway") })
	query(t, l.URL, "SELECT 'up'")
	if exists(dead) || !exists(running) || !exists(young) {
		t.Errorf("of what others left there is: dead %t, running %t, young %t", exists(dead), exists(running), exists(young))
	}
	l.kill(t)
	await(t, "its directory to go", func() bool { return !exists(filepath.Dir(l.Data)) })
	if pgserver.Alive(l.PID) {
		t.Error("the server of a launcher that was killed still runs")
	}
	if exists(co.Path(".saaskit", "pg")) {
		t.Error("a throw-away cluster touched the checkout's own")
	}
}

// leftover makes a directory like one of a throw-away cluster.
func leftover(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(pgserver.ThrowawayBase(), pgserver.ThrowawayPrefix+"*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// PostgreSQL alone refuses to start for as long as the other program runs.
func TestStalePIDFileOfAnotherProgram(t *testing.T) {
	t.Parallel()
	co := usedCheckout(t)
	server := start(t, pgserver.Options{Checkout: co})
	keep(t, server.URL("postgres"))
	content, err := os.ReadFile(filepath.Join(server.Data(), "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(server.Data())
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}

	other := exec.CommandContext(t.Context(), "sleep", "60")
	owner := info.Sys().(*syscall.Stat_t)
	if os.Geteuid() == 0 {
		other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		other.Process.Kill() //nolint:errcheck // it is about to end anyway
		other.Wait()         //nolint:errcheck // killed
	})
	lines := strings.SplitN(string(content), "\n", 2)
	stale := filepath.Join(server.Data(), "postmaster.pid")
	if err := os.WriteFile(stale, []byte(strconv.Itoa(other.Process.Pid)+"\n"+lines[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(stale, int(owner.Uid), int(owner.Gid)); err != nil {
		t.Fatal(err)
	}
	again := start(t, pgserver.Options{Checkout: co})
	wantKept(t, again.URL("postgres"))
	if !pgserver.Alive(other.Process.Pid) {
		t.Error("the other program was ended")
	}
}

func TestKilledWhileMakingTheCluster(t *testing.T) {
	t.Parallel()
	co := newCheckout(t)
	half := func() []string {
		found, err := filepath.Glob(co.Path(".saaskit", "pg", "*.new-*", "PG_VERSION"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	killed := make(chan struct{})
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), launchEnv+"="+string(co))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(killed)
		cmd.Wait() //nolint:errcheck // killed
	}()
	await(t, "initdb to begin", func() bool { return len(half()) > 0 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-killed

	server := start(t, pgserver.Options{Checkout: co}) // the orphaned initdb still writes
	query(t, server.URL("postgres"), "SELECT 'up'")
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	start(t, pgserver.Options{Checkout: co})
	if left := half(); len(left) > 0 {
		t.Errorf("half-made clusters stay: %v", left)
	}
}

func TestCheckoutsBesideEachOther(t *testing.T) {
	t.Parallel()
	one, other := usedCheckout(t), usedCheckout(t)
	a := start(t, pgserver.Options{Checkout: one})
	b := start(t, pgserver.Options{Checkout: other})
	keep(t, a.URL("postgres"))
	if got := query(t, b.URL("postgres"), "SELECT count(*)::text FROM pg_tables WHERE tablename = 'kept'"); got != "0" {
		t.Error("two checkouts share a cluster")
	}
	_, err := pgserver.Start(t.Context(), pgserver.Options{Checkout: one})
	if err == nil || !strings.Contains(err.Error(), "is in use") {
		t.Errorf("second launcher in one checkout: got %v", err)
	}
	if err := pgserver.Reset(one); err == nil {
		t.Error("Reset deletes a cluster in use")
	}
	wantKept(t, a.URL("postgres"))

	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := pgserver.Reset(one); err != nil {
		t.Errorf("Reset: %v", err)
	}
	if exists(a.Data()) {
		t.Error("Reset leaves the cluster")
	}
}

func TestPort(t *testing.T) {
	t.Parallel()
	co := usedCheckout(t)
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	_, err = pgserver.Start(t.Context(), pgserver.Options{Checkout: co, Port: port})
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("start on a port that is taken: got %v", err)
	}

	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	server := start(t, pgserver.Options{Checkout: co, Port: port})
	query(t, server.URL("postgres"), "SELECT 'over the socket'")
	query(t, server.TCPURL("postgres"), "SELECT 'over TCP'")
	wrong, err := url.Parse(server.TCPURL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	wrong.User = url.UserPassword("postgres", "guess")
	if conn, err := pgx.Connect(t.Context(), wrong.String()); err == nil {
		conn.Close(t.Context())
		t.Error("a wrong password is let in over TCP")
	}
}

func TestShellEnvironmentStaysOut(t *testing.T) {
	t.Parallel()
	l := launch(t, newCheckout(t), func(cmd *exec.Cmd) {
		cmd.Env = append(cmd.Env, "PGPORT=1", "PGDATA=/nonexistent", "PGHOST=nowhere.invalid", "LC_ALL=xx_XX.UTF-8", "TZ=Asia/Tokyo")
	})
	if l.Err != "" {
		t.Fatalf("Start: %s", l.Err)
	}
	if got := query(t, l.URL, "SELECT current_setting('timezone')"); got != "UTC" {
		t.Errorf("time zone: got %s", got)
	}
	if got := query(t, l.URL, "SELECT lower('ÄÖŽ')"); got != "äöž" {
		t.Errorf("lower('ÄÖŽ'): got %s", got)
	}
	if got := query(t, l.URL, "SELECT ('a' < 'B')::text"); got != "false" {
		t.Error("texts do not sort by code point")
	}
}

// Without npm an installed PostgreSQL is used; here it is found in PATH.
func TestInstalledPostgres(t *testing.T) {
	t.Parallel()
	pinned, err := pgserver.PackageOf(newCheckout(t))
	if err != nil {
		t.Fatal(err)
	}
	path := tempDir(t, "/tmp")
	for name, target := range map[string]string{"postgres": pinned.Path("native", "bin", "postgres"), "sh": "/bin/sh", "rm": "/bin/rm"} {
		if err := os.Symlink(target, filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
	}
	l := launch(t, bareCheckout(t), func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "PATH="+path) })
	if l.Err != "" {
		t.Fatalf("Start: %s", l.Err)
	}
	query(t, l.URL, "SELECT 'up'")
}

func TestWrongBinaries(t *testing.T) {
	t.Parallel()
	l := launch(t, bareCheckout(t), func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "SAASKIT_PG_BIN=/nonexistent") })
	if !strings.Contains(l.Err, "SAASKIT_PG_BIN") {
		t.Errorf("Start: got %q", l.Err)
	}
}
