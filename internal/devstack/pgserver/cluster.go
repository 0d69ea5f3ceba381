package pgserver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// makeCluster runs initdb in a directory beside the final one and renames that
// last. So what has the final name is whole, and an initdb that outlived a
// killed launcher writes where nobody looks.
func (p place) makeCluster(ctx context.Context, bin binaries, acc account) error {
	p.sweepHalfMade()
	half, err := os.MkdirTemp(filepath.Dir(p.data), p.halfPrefix()+"*")
	if err != nil {
		return fmt.Errorf("make directory for the cluster: %w", err)
	}
	if err := acc.own(half); err != nil {
		return err
	}
	args := []string{
		"-D", half, "-U", role, "--encoding=UTF8", "--no-instructions",
		"--auth-local=trust", // the socket's directory is closed to others
	}
	args = append(args, localeArgs(bin.major)...)
	if p.sweep != "" {
		args = append(args, "--no-sync", "--auth-host=reject")
	} else {
		file, err := p.writePassword(half+".password", acc)
		if err != nil {
			return err
		}
		defer os.Remove(file)
		args = append(args, "--auth-host=scram-sha-256", "--pwfile="+file)
	}
	if out, err := acc.command(ctx, bin.path("initdb"), args...).CombinedOutput(); err != nil {
		return fmt.Errorf("make the cluster: initdb: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	if err := os.Rename(half, p.data); err != nil {
		return fmt.Errorf("make the cluster: %w", err)
	}
	return nil
}

func (p place) halfPrefix() string { return filepath.Base(p.data) + ".new-" }

// sweepHalfMade deletes what a killed launcher left of a cluster. What cannot
// be deleted because an initdb still writes there is left for the next time.
func (p place) sweepHalfMade() {
	half, err := filepath.Glob(filepath.Join(filepath.Dir(p.data), p.halfPrefix()+"*"))
	if err != nil {
		return // the pattern is right for every path without brackets
	}
	for _, path := range half {
		os.RemoveAll(path)
	}
}

// localeArgs ask for the same rules on Linux and macOS: characters are
// classified by Unicode, so that lower('Ä') works, and sorted by code point.
// The provider built into PostgreSQL does so from 17 on.
func localeArgs(major int) []string {
	if major >= 17 {
		return []string{"--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"}
	}
	ctype := "C.UTF-8"
	if runtime.GOOS == "darwin" {
		ctype = "UTF-8"
	}
	return []string{"--locale=C", "--lc-ctype=" + ctype}
}

// passwordPath is where the password for the TCP port is kept.
func (p place) passwordPath() string { return p.data + ".password" }

// writePassword makes the password and returns a second file with it, which
// the account may read.
func (p place) writePassword(forServer string, acc account) (string, error) {
	password := newPassword()
	for _, path := range []string{p.passwordPath(), forServer} {
		if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
			return "", fmt.Errorf("write password: %w", err)
		}
	}
	return forServer, acc.own(forServer)
}

func readPassword(p place) (string, error) {
	password, err := os.ReadFile(p.passwordPath())
	if err != nil {
		return "", fmt.Errorf("read password for the TCP port: %w", err)
	}
	return strings.TrimSpace(string(password)), nil
}
