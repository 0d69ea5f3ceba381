package checkout_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.com/saaskit/internal/devstack/checkout"
)

func TestFind(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	deep := filepath.Join(top, "internal", "deep")
	for _, dir := range []string{deep, filepath.Join(top, "dev", "pg")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := checkout.Find(deep); err == nil {
		t.Error("Find outside of a checkout: no error")
	}
	if err := os.WriteFile(filepath.Join(top, "dev", "pg", "package.json"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{deep, top} {
		if got, err := checkout.Find(dir); err != nil || string(got) != top {
			t.Errorf("Find(%s) = %s, %v; want %s", dir, got, err, top)
		}
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	co := checkout.Checkout(t.TempDir())
	dir, err := co.State("pg")
	if err != nil {
		t.Fatal(err)
	}
	if want := co.Path(".saaskit", "pg"); dir != want {
		t.Errorf("State: got %s, want %s", dir, want)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		t.Errorf("no directory was made: %v", err)
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	first, err := checkout.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := checkout.TryLock(path); !errors.Is(err, checkout.ErrLocked) {
		t.Fatalf("second TryLock: got %v, want ErrLocked", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := checkout.WaitLock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("WaitLock: got %v", err)
	}
	got := make(chan error, 1)
	go func() {
		lock, err := checkout.WaitLock(t.Context(), path)
		if err == nil {
			lock.Unlock()
		}
		got <- err
	}()
	first.Unlock()
	if err := <-got; err != nil {
		t.Errorf("WaitLock after Unlock: %v", err)
	}
}
