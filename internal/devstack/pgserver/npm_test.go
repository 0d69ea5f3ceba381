package pgserver_test

import (
	"os"
	"path/filepath"
	"testing"

	"example.com/saaskit/internal/devstack/pgserver"
)

// An installation that was interrupted, or that is of another version, must
// not be taken for a whole one.
func TestPackageComplete(t *testing.T) {
	t.Parallel()
	pkg := writePackage(t)
	if pkg.Complete() {
		t.Fatal("complete without its links")
	}
	for range 2 { // again does no harm
		if err := pkg.Link(); err != nil {
			t.Fatalf("Link: %v", err)
		}
	}
	if content, err := os.ReadFile(pkg.Path("native", "lib", "libpq.so.5")); err != nil || string(content) != "library" {
		t.Errorf("the link leads to %q, %v", content, err)
	}
	if !pkg.Complete() {
		t.Error("not complete with its links")
	}

	pins := pkg.Path("package.json")
	hidden := filepath.Join(pkg.Path(), "..", "..", ".package-lock.json")
	for name, spoil := range map[string]func() error{
		"another version": func() error { return os.WriteFile(pins, []byte(`{"version": "0.0.1"}`), 0o644) },
		"npm was killed":  func() error { return os.Remove(hidden) },
	} {
		before, err := os.ReadFile(pins)
		if err != nil {
			t.Fatal(err)
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if pkg.Complete() {
			t.Errorf("%s: taken for complete", name)
		}
		if err := os.WriteFile(pins, before, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(hidden, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLinkStaysInside(t *testing.T) {
	t.Parallel()
	pkg := writePackage(t)
	outside := `[{"source": "native/lib/libpq.so.5.18", "target": "../../../../outside"}]`
	if err := os.WriteFile(pkg.Path("native", "pg-symlinks.json"), []byte(outside), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := pkg.Link(); err == nil {
		t.Error("a link outside of the package is made")
	}
}

// writePackage makes what npm leaves without scripts: files, but no links.
func writePackage(t *testing.T) *pgserver.Package {
	t.Helper()
	pkg, err := pgserver.PackageOf(bareCheckout(t))
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{
		pkg.Path("package.json"):                                    `{"version": "` + pkg.Version() + `"}`,
		pkg.Path("native", "lib", "libpq.so.5.18"):                  "library",
		pkg.Path("native", "pg-symlinks.json"):                      `[{"source": "native/lib/libpq.so.5.18", "target": "native/lib/libpq.so.5"}]`,
		filepath.Join(pkg.Path(), "..", "..", ".package-lock.json"): "",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return pkg
}
