// Package checkout knows where the embedded services of this checkout keep
// their files, and which process may touch them.
package checkout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// marker is the file by which the top of a checkout is known. No other module
// has it at this place.
const marker = "dev/pg/package.json"

// A Checkout is the top directory of the repository.
type Checkout string

// Find returns the checkout that holds dir.
func Find(dir string) (Checkout, error) {
	start, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find checkout: %w", err)
	}
	for at := start; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, marker)); err == nil {
			return Checkout(at), nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("find checkout: no %s in %s or above it", marker, start)
		}
	}
}

// Here returns the checkout that holds the working directory.
func Here() (Checkout, error) { return Find(".") }

// Path joins elements to the checkout's top.
func (c Checkout) Path(elements ...string) string {
	return filepath.Join(append([]string{string(c)}, elements...)...)
}

// State returns a directory below .saaskit, the place of everything that make
// reset may delete, and makes it. Its mode lets a server that runs as another
// user pass.
func (c Checkout) State(elements ...string) (string, error) {
	dir := c.Path(append([]string{".saaskit"}, elements...)...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make state directory: %w", err)
	}
	return dir, nil
}

// ErrLocked is returned by [TryLock] where another process holds the lock.
var ErrLocked = errors.New("locked by another process")

// A Lock is an exclusive lock on a file. The kernel frees it when the process
// ends, however it ends, and no child inherits it.
type Lock struct{ file *os.File }

// TryLock takes the lock on path, making the file where it is missing. It
// fails with [ErrLocked] where another process has it.
func TryLock(path string) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("open lock: %w (was it made by another user?)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &Lock{file}, nil
}

// WaitLock takes the lock on path as soon as it is free.
func WaitLock(ctx context.Context, path string) (*Lock, error) {
	for {
		lock, err := TryLock(path)
		if !errors.Is(err, ErrLocked) {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %s: %w", path, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Unlock frees the lock.
func (l *Lock) Unlock() { l.file.Close() }
