package pgserver_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/saaskit/internal/devstack/pgserver"
)

// When the tests run as an ordinary user all others show the same.
func TestOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("the tests run as an ordinary user")
	}
	co := newCheckout(t)
	l := launch(t, co, asNobody(t, co))
	if l.Err != "" {
		t.Fatalf("Start: %s", l.Err)
	}
	keep(t, l.URL)
	if !strings.HasPrefix(l.Data, string(co)) {
		t.Errorf("data lies in %s", l.Data)
	}
	l.kill(t)
	again := start(t, pgserver.Options{Checkout: co}) // root takes over and runs it as its owner
	wantKept(t, again.URL("postgres"))
}

// Root's own directories are closed to the account that the server runs as.
func TestClosedCheckout(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root lends its server another account")
	}
	co := newCheckout(t)
	if err := os.Chmod(string(co), 0o700); err != nil {
		t.Fatal(err)
	}
	outside := pgserver.OutsidePath(co)
	t.Cleanup(func() { os.RemoveAll(outside) })
	server := start(t, pgserver.Options{Checkout: co})
	keep(t, server.URL("postgres"))
	pinned, err := pgserver.PackageOf(co)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(outside, "pg", pinned.Major()); server.Data() != want {
		t.Errorf("data lies in %s, want %s", server.Data(), want)
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
		t.Error("Reset leaves the cluster outside of the checkout")
	}
}

// Somebody else may have made the socket's directory, whose name is no secret.
func TestForeignSocketDirectory(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can make another user's directory")
	}
	co := usedCheckout(t)
	server := start(t, pgserver.Options{Checkout: co})
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	for name, foreign := range map[string]func() error{
		"directory of another user": func() error { return os.Mkdir(server.Sockets(), 0o777) },
		"link":                      func() error { return os.Symlink("/tmp", server.Sockets()) },
	} {
		if err := os.RemoveAll(server.Sockets()); err != nil {
			t.Fatal(err)
		}
		if err := foreign(); err != nil {
			t.Fatal(err)
		}
		s, err := pgserver.Start(t.Context(), pgserver.Options{Checkout: co})
		if err == nil {
			s.Stop() //nolint:errcheck // the test has failed anyway
			t.Fatalf("%s: the server uses it", name)
		}
		if !strings.Contains(err.Error(), "belongs to user") && !strings.Contains(err.Error(), "is not a directory") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := os.RemoveAll(server.Sockets()); err != nil {
		t.Fatal(err)
	}
}
