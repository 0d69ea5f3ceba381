package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRefusesAddressesOthersReach(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.com:0", "nonsense"} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if err := run(ctx, []string{"-addr", addr}, io.Discard); err == nil || ctx.Err() != nil {
			t.Errorf("-addr %s: served", addr)
		}
		cancel()
	}
}

func TestWantsSecretWithTarget(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := run(ctx, []string{"-addr", "127.0.0.1:0", "-webhook-url", "http://127.0.0.1:1/"}, io.Discard); err == nil || ctx.Err() != nil {
		t.Error("served without a secret")
	}
}

// TestServesAndKeeps starts the command twice on one state file: it prints
// where it is, ends with its context, and knows its objects again.
func TestServesAndKeeps(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "state.json")
	base, stop := start(t, file)
	if status, body := call(t, http.MethodPost, base+"/v1/products", "id=prod_kept&name=Kept"); status != http.StatusOK {
		t.Fatalf("create: %d %s", status, body)
	}
	stop()
	base, stop = start(t, file)
	defer stop()
	if status, body := call(t, http.MethodGet, base+"/v1/products/prod_kept", ""); status != http.StatusOK || !strings.Contains(body, `"Kept"`) {
		t.Errorf("after a restart: %d %s", status, body)
	}
}

func start(t *testing.T, file string) (base string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"-addr", "127.0.0.1:0", "-state", file}, writer)
		_ = writer.CloseWithError(io.EOF)
		ended <- err
	}()
	line, err := bufio.NewReader(reader).ReadString('\n')
	if err != nil {
		t.Fatalf("no base URL: %v; %v", err, <-ended)
	}
	return strings.TrimSpace(line), func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

func call(t *testing.T, method, url, form string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth("sk_test_1", "")
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}
