package pgserver_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/saaskit/internal/devstack/pgserver"
)

// Each test here shows something whoever runs it, and more where that is root: PostgreSQL does not run as root, who lends it
// another account.

// What one user has made is that user's: data lies in the checkout, and root, too, runs it as its owner.
func TestOrdinaryUser(t *testing.T) {
	t.Parallel()
	co := newCheckout(t)
	user, as := ordinary(t, co)
	l := launch(t, co, as)
	if l.Err != "" {
		t.Fatalf("Start: %s", l.Err)
	}
	keep(t, l.URL)
	if !strings.HasPrefix(l.Data, string(co)) {
		t.Errorf("data lies in %s", l.Data)
	}
	l.kill(t)
	again := start(t, pgserver.Options{Checkout: co}) // by whoever runs the tests
	wantKept(t, again.URL("postgres"))
	for _, path := range []string{again.Data(), again.Sockets(), filepath.Join(again.Data(), "postmaster.pid")} {
		if got := owner(t, path); got != user {
			t.Errorf("%s belongs to user %d, want %d", path, got, user)
		}
	}
}

// Nobody but its owner can enter the checkout. Root's is closed to the account that root's server runs as, whose data lies
// outside; anybody else's server enters.
func TestClosedCheckout(t *testing.T) {
	t.Parallel()
	co := newCheckout(t)
	if err := os.Chmod(string(co), 0o700); err != nil {
		t.Fatal(err)
	}
	pinned, err := pgserver.PackageOf(co)
	if err != nil {
		t.Fatal(err)
	}
	outside := pgserver.OutsidePath(co)
	t.Cleanup(func() { os.RemoveAll(outside) })
	want := co.Path(".saaskit", "pg", pinned.Major())
	if isRoot() {
		want = filepath.Join(outside, "pg", pinned.Major())
	}
	server := start(t, pgserver.Options{Checkout: co})
	keep(t, server.URL("postgres"))
	if server.Data() != want {
		t.Errorf("data lies in %s, want %s", server.Data(), want)
	}
	if exists(outside) != isRoot() {
		t.Errorf("%s: there is %t, want %t", outside, exists(outside), isRoot())
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	again := start(t, pgserver.Options{Checkout: co})
	wantKept(t, again.URL("postgres"))
	if err := again.Stop(); err != nil {
		t.Fatal(err)
	}
	// On a busy machine the supervisor lets go of the lock a moment after the server has ended.
	err = pgserver.Reset(co)
	for try := 0; err != nil && try < 50; try++ {
		time.Sleep(200 * time.Millisecond)
		err = pgserver.Reset(co)
	}
	if err != nil {
		t.Errorf("Reset: %v", err)
	}
	if exists(server.Data()) {
		t.Error("Reset leaves the cluster")
	}
}

// Somebody else may have been first at the socket's place, whose name is no secret. A link there is never followed, and a
// directory is used where it is the server's own, and closed then. The tests' directory is another user's for root's server.
func TestForeignSocketDirectory(t *testing.T) {
	t.Parallel()
	co := usedCheckout(t)
	server := start(t, pgserver.Options{Checkout: co})
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	place := func(first func() error) error {
		t.Helper()
		if err := os.RemoveAll(server.Sockets()); err != nil {
			t.Fatal(err)
		}
		if err := first(); err != nil {
			t.Fatal(err)
		}
		s, err := pgserver.Start(t.Context(), pgserver.Options{Checkout: co})
		if err != nil {
			return err
		}
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		return nil
	}
	t.Cleanup(func() { os.RemoveAll(server.Sockets()) })
	if err := place(func() error { return os.Symlink("/tmp", server.Sockets()) }); err == nil || !strings.Contains(err.Error(), "is not a directory") {
		t.Errorf("link: got %v", err)
	}
	err := place(func() error { return os.Mkdir(server.Sockets(), 0o777) })
	if isRoot() {
		if err == nil || !strings.Contains(err.Error(), "belongs to user") {
			t.Errorf("directory of another user: got %v", err)
		}
		return
	}
	if err != nil {
		t.Fatalf("own directory: %v", err)
	}
	info, err := os.Stat(server.Sockets())
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o700 {
		t.Errorf("own directory: its mode is %v", got)
	}
}
