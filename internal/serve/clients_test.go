package serve_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"example.com/saaskit/internal/serve/servetest"
)

// TestGoClient walks through the main job with the Go client, as `make demo` does: sign up, buy, spend, meter, upgrade, fail to
// pay, recover, be refunded, cancel, revoke, sign out.
func TestGoClient(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{Clock: true, Env: map[string]string{"REDIRECT_ORIGINS": "*"}})
	env := filepath.Join(t.TempDir(), "dev.env")
	settings := fmt.Appendf(nil, "BASE_URL='%s'\nSTRIPE_API_BASE='%s'\nSTRIPE_API_KEY='%s'\nSERVICE_KEY='%s'\n",
		w.BaseURL, w.Setting("STRIPE_API_BASE"), w.Setting("STRIPE_API_KEY"), w.ServiceKey(t, "admin"))
	if err := os.WriteFile(env, settings, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "../../sdk/go", nil, "go", "run", "./cmd/demo", "-env", env)
}

// TestTypeScriptClient does the same in short with the TypeScript client under node's test runner.
func TestTypeScriptClient(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{Env: map[string]string{"REDIRECT_ORIGINS": "*"}})
	dir := "../../sdk/typescript"
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "typescript")); err != nil {
		run(t, dir, nil, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	}
	run(t, dir, nil, "npm", "run", "--silent", "build")
	run(t, dir, []string{"BASE_URL=" + w.BaseURL}, "node", "--test", "e2e/")
}

// run runs a command and shows what it prints where it fails.
func run(t *testing.T, dir string, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}
