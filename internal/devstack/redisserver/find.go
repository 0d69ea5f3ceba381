package redisserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"example.com/saaskit/internal/devstack/checkout"
)

// binary is a server program and the libraries that it needs beside those of
// the system.
type binary struct {
	path      string
	libraries string // for LD_LIBRARY_PATH; empty for an installed server
}

func (b binary) env() []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	if b.libraries != "" {
		env = append(env, "LD_LIBRARY_PATH="+b.libraries)
	}
	return env
}

// Prepare makes sure that a real Redis can be started, so that test processes
// need not fetch it one by one. It does nothing where there is one.
func Prepare(ctx context.Context, co checkout.Checkout, logf func(format string, args ...any)) error {
	_, err := find(ctx, co, logf)
	return err
}

// find returns an installed Redis or Valkey, or else one unpacked from the
// packages of a Debian or Ubuntu, which needs no rights.
func find(ctx context.Context, co checkout.Checkout, logf func(string, ...any)) (binary, error) {
	if b, ok := installed(); ok {
		return b, nil
	}
	state, err := co.State("redis")
	if err != nil {
		return binary{}, err
	}
	root := filepath.Join(state, "root")
	if b, ok := unpackedIn(root); ok {
		return b, nil
	}
	lock, err := checkout.WaitLock(ctx, filepath.Join(state, "install.lock"))
	if err != nil {
		return binary{}, err
	}
	defer lock.Unlock()
	if b, ok := unpackedIn(root); ok {
		return b, nil
	}
	if err := unpack(ctx, state, logf); err != nil {
		return binary{}, fmt.Errorf("find Redis: there is no redis-server or valkey-server on this machine, and %w\n%s", err, advice())
	}
	b, ok := unpackedIn(root)
	if !ok {
		return binary{}, errors.New("find Redis: the packages hold no redis-server")
	}
	return b, nil
}

// installed looks in PATH and where Homebrew and root-only paths have it.
func installed() (binary, bool) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return binary{path: path}, true
		}
		for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin", "/usr/local/bin"} {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return binary{path: path}, true
			}
		}
	}
	return binary{}, false
}

// advice is the line that helps.
func advice() string {
	install := "apt-get install redis-server"
	if runtime.GOOS == "darwin" {
		install = "brew install valkey"
	}
	return "Install it (" + install + "), or set TEST_REDIS_URL to a Redis of your own."
}

// unpackedIn returns the server that unpack has put into root.
func unpackedIn(root string) (binary, bool) {
	path := filepath.Join(root, "usr", "bin", "redis-server")
	if _, err := exec.LookPath(path); err != nil {
		return binary{}, false
	}
	var libraries []string
	for _, pattern := range []string{"usr/lib/*-linux-gnu*", "lib/*-linux-gnu*"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err == nil {
			libraries = append(libraries, found...)
		}
	}
	return binary{path, strings.Join(libraries, ":")}, true
}
