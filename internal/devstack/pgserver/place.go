package pgserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"example.com/saaskit/internal/devstack/checkout"
)

// place is where a cluster has its files.
type place struct {
	data    string // of PostgreSQL
	sockets string // short: a socket's path may have 104 bytes on macOS
	log     string
	lock    string
	sweep   string // to delete when the server has ended; empty for a kept cluster
}

// keptPlace returns the place of the checkout's own cluster. Each major version
// has its own, because none can read another's: a new version starts empty and
// leaves the old data alone.
func keptPlace(ctx context.Context, co checkout.Checkout, a account, major int) (place, error) {
	base, err := keptBase(ctx, co, a)
	if err != nil {
		return place{}, err
	}
	data := filepath.Join(base, strconv.Itoa(major))
	sockets := filepath.Join(socketBase(a), fmt.Sprintf("saaskit-pg-%d-%s", a.uid, digest(data)))
	return place{data: data, sockets: sockets, log: data + ".log", lock: data + ".lock"}, nil
}

// keptBase is .saaskit/pg, unless the server's account cannot get there. Root's
// home is such a place; data goes to /var/tmp then.
func keptBase(ctx context.Context, co checkout.Checkout, a account) (string, error) {
	base, err := co.State("pg")
	if err != nil {
		return "", err
	}
	if a.cred == nil || a.canEnter(ctx, base) {
		return base, nil
	}
	outside, err := outsideBase(co)
	if err != nil {
		return "", err
	}
	base = filepath.Join(outside, "pg")
	return base, privateDir(base, 0o755, account{uid: os.Geteuid()})
}

// outsideBase is a directory of this checkout outside of it.
func outsideBase(co checkout.Checkout) (string, error) {
	dir := outsidePath(co)
	return dir, privateDir(dir, 0o755, account{uid: os.Geteuid()})
}

func outsidePath(co checkout.Checkout) string {
	return filepath.Join("/var/tmp", fmt.Sprintf("saaskit-%d-%s", os.Geteuid(), digest(string(co))))
}

// socketBase is the user's runtime directory, which others cannot reach, or
// else /tmp. A lent account has no use for root's.
func socketBase(a account) string {
	const longest = 50 // leaves room for our part and PostgreSQL's within 104 bytes
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if a.cred != nil || dir == "" || len(dir) > longest || !filepath.IsAbs(dir) {
		return "/tmp"
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() || ownerOf(info) != a.uid {
		return "/tmp"
	}
	return dir
}

// throwawayPrefix begins the name of each throw-away cluster's directory.
const throwawayPrefix = "saaskit-test-pg-"

// throwawayPlace makes a directory for a cluster that lives as long as its
// launcher, in memory where there is room.
func throwawayPlace(a account) (place, error) {
	base, err := os.MkdirTemp(throwawayBase(), throwawayPrefix+"*")
	if err != nil {
		return place{}, fmt.Errorf("make directory for the cluster: %w", err)
	}
	if err := a.own(base); err != nil {
		return place{}, errors.Join(err, os.RemoveAll(base))
	}
	in := func(name string) string { return filepath.Join(base, name) }
	return place{data: in("data"), sockets: in("s"), log: in("log"), lock: in("lock"), sweep: base}, nil
}

// throwawayBase is /dev/shm where that has room for test databases; containers
// often give it 64 MB only.
func throwawayBase() string {
	const enough = 2 << 30
	var stat syscall.Statfs_t
	if runtime.GOOS == "linux" && syscall.Statfs("/dev/shm", &stat) == nil && stat.Bavail*uint64(stat.Bsize) >= enough {
		return "/dev/shm"
	}
	return "/tmp"
}

// sweepThrowaways deletes what earlier throw-away clusters left behind: those
// whose launcher and supervisor were both killed, or whose launcher was killed
// while it made them. One that is still young may be about to take its lock.
func sweepThrowaways(ctx context.Context) {
	left, err := filepath.Glob(filepath.Join(throwawayBase(), throwawayPrefix+"*"))
	if err != nil {
		return // the pattern is constant and right
	}
	for _, base := range left {
		info, err := os.Lstat(base)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		if own := os.Geteuid(); own != 0 && own != ownerOf(info) {
			continue
		}
		lock, err := checkout.TryLock(filepath.Join(base, "lock"))
		if err != nil {
			continue
		}
		if clearOrphan(ctx, filepath.Join(base, "data")) == nil {
			os.RemoveAll(base) // what stays is for the next start
		}
		lock.Unlock()
	}
}

// privateDir makes sure that dir is a directory, not a link, that the account
// owns and only it writes to. Names below /tmp can be guessed, so that somebody
// else may have been there first.
func privateDir(dir string, mode fs.FileMode, owner account) error {
	switch err := os.Mkdir(dir, mode); {
	case err == nil:
		if err := owner.own(dir); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrExist):
		return fmt.Errorf("make private directory: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("check private directory: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	if uid := ownerOf(info); uid != owner.uid {
		return fmt.Errorf("%s belongs to user %d, not %d: delete it", dir, uid, owner.uid)
	}
	if info.Mode().Perm() != mode {
		if err := os.Chmod(dir, mode); err != nil {
			return fmt.Errorf("protect private directory: %w", err)
		}
	}
	return nil
}

// reachableCopy copies PostgreSQL out of a checkout that the server's account
// cannot enter, once per version, and returns the copy.
func reachableCopy(co checkout.Checkout, tree, version string) (string, error) {
	base, err := outsideBase(co)
	if err != nil {
		return "", err
	}
	target := filepath.Join(base, "pgsql-"+version)
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	half, err := os.MkdirTemp(base, "half-*")
	if err != nil {
		return "", fmt.Errorf("copy PostgreSQL: %w", err)
	}
	defer os.RemoveAll(half)
	if err := os.CopyFS(half, os.DirFS(tree)); err != nil {
		return "", fmt.Errorf("copy PostgreSQL: %w", err)
	}
	if err := openTree(half); err != nil {
		return "", err
	}
	// Where another process was faster, its copy serves as well.
	if err := os.Rename(half, target); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("copy PostgreSQL: %w", err)
	}
	return target, nil
}

// openTree lets everybody read what is in dir, whatever the umask was.
func openTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm() | 0o444
		if entry.IsDir() || mode&0o100 != 0 {
			mode |= 0o111
		}
		return os.Chmod(path, mode)
	})
}

// digest shortens a path to a few letters that differ between checkouts.
func digest(path string) string {
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:5])
}

func ownerOf(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return -1
}

// lastLines returns the end of a log, for an error message.
func lastLines(path string) string {
	const most = 15
	data, err := os.ReadFile(path)
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(lines) > most {
		lines = lines[len(lines)-most:]
	}
	return strings.Join(lines, "\n")
}
