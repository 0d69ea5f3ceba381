package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// pidFile is what PostgreSQL writes into its data directory.
type pidFile struct {
	pid   int
	ready bool
}

// readPIDFile returns a zero pidFile where there is none, or only a part of
// one: the server writes it in several steps.
func readPIDFile(data string) (pidFile, error) {
	content, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return pidFile{}, nil
	}
	if err != nil {
		return pidFile{}, fmt.Errorf("read postmaster.pid: %w", err)
	}
	const statusLine = 7
	lines := strings.Split(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil {
		return pidFile{}, nil //nolint:nilerr // not written yet
	}
	ready := len(lines) > statusLine && strings.TrimSpace(lines[statusLine]) == "ready"
	return pidFile{pid, ready}, nil
}

// clearOrphan makes way in a data directory whose lock the caller holds, so
// that no launcher of its server can live: it stops a server that still runs
// there, and removes a postmaster.pid that names some other program by now,
// for PostgreSQL would refuse to start for as long as that runs.
//
// A postmaster.pid of a process that is gone stays: PostgreSQL also reads from
// it which shared memory to check for children that outlived their postmaster.
func clearOrphan(ctx context.Context, data string) error {
	file, err := readPIDFile(data)
	if err != nil || file.pid == 0 || !alive(file.pid) {
		return err
	}
	if !isServerOf(ctx, file.pid, data) {
		if !alive(file.pid) {
			return nil // it ended while we looked
		}
		if err := os.Remove(filepath.Join(data, "postmaster.pid")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove stale postmaster.pid: %w", err)
		}
		return nil
	}
	// Its supervisor may be stopping it right now. The same signal twice does no harm.
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT} {
		if err := syscall.Kill(file.pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop orphaned server %d: %w", file.pid, err)
		}
		if waitGone(ctx, file.pid) {
			return nil
		}
	}
	return fmt.Errorf("an orphaned server, process %d, does not end", file.pid)
}

func waitGone(ctx context.Context, pid int) bool {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for alive(pid) {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	return true
}

// alive tells whether there is such a process, of whatever user. One that has
// ended and that its parent has not asked about yet counts as gone: in a
// container nobody may ever ask about an orphan.
func alive(pid int) bool {
	if err := syscall.Kill(pid, 0); err != nil && !errors.Is(err, syscall.EPERM) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true // not Linux, or gone since
	}
	// The state follows the program's name, which may hold anything but is in parentheses.
	after := string(stat[strings.LastIndexByte(string(stat), ')')+1:])
	return !strings.HasPrefix(after, " Z")
}

// isServerOf tells whether the process is the PostgreSQL that works in data.
// Its working directory says so for certain, even where the checkout has been
// renamed meanwhile.
func isServerOf(ctx context.Context, pid int, data string) bool {
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		if cwd, err = cwdByLsof(ctx, pid); err != nil {
			return false
		}
	}
	at, err := os.Stat(cwd)
	if err != nil {
		return false
	}
	wanted, err := os.Stat(data)
	return err == nil && os.SameFile(at, wanted)
}

// cwdByLsof asks lsof, which macOS has and which needs no /proc.
func cwdByLsof(ctx context.Context, pid int) (string, error) {
	out, err := exec.CommandContext(ctx, "lsof", "-a", "-p", strconv.Itoa(pid), "-d", "cwd", "-Fn").Output()
	if err != nil {
		return "", fmt.Errorf("ask for working directory: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "n"); ok {
			return name, nil
		}
	}
	return "", errors.New("ask for working directory: no answer")
}
