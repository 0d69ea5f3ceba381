package redisserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// aptPatience bounds the whole download.
const aptPatience = 5 * time.Minute

// apt runs apt-get with lists and cache of its own: it needs no rights, and
// changes nothing on the machine. Sources, keys, proxies and the list of
// installed packages are the machine's.
type apt struct{ dir string }

// unpack fetches the Redis of this distribution into state/root.
func unpack(ctx context.Context, state string, logf func(string, ...any)) error {
	for _, program := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("it cannot be fetched: %w", err)
		}
	}
	logf("fetching redis-server for the tests (once)")
	ctx, cancel := context.WithTimeoutCause(ctx, aptPatience, errors.New("apt-get took too long"))
	defer cancel()
	work, err := os.MkdirTemp(state, "fetch-*")
	if err != nil {
		return fmt.Errorf("it cannot be fetched: %w", err)
	}
	defer os.RemoveAll(work)
	if err := (apt{work}).fetch(ctx); err != nil {
		return fmt.Errorf("it cannot be fetched: %w", err)
	}
	root := filepath.Join(state, "root")
	if err := os.RemoveAll(root); err != nil {
		return fmt.Errorf("it cannot be unpacked: %w", err)
	}
	if err := os.Rename(filepath.Join(work, "root"), root); err != nil {
		return fmt.Errorf("it cannot be unpacked: %w", err)
	}
	return nil
}

// fetch downloads what is missing for redis-server and unpacks it into root.
func (a apt) fetch(ctx context.Context) error {
	for _, dir := range []string{"lists/partial", "cache/archives/partial", "debs", "root"} {
		if err := os.MkdirAll(filepath.Join(a.dir, dir), 0o755); err != nil {
			return err
		}
	}
	if _, err := a.run(ctx, "update"); err != nil {
		return err
	}
	plan, err := a.run(ctx, "--simulate", "--no-install-recommends", "install", "redis-server")
	if err != nil {
		return err
	}
	packages := missing(plan)
	if len(packages) == 0 {
		return errors.New("apt-get names no package to fetch for redis-server")
	}
	if _, err := a.run(ctx, append([]string{"download"}, packages...)...); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(a.dir, "debs", "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if _, err := a.output(exec.CommandContext(ctx, "dpkg-deb", "-x", deb, filepath.Join(a.dir, "root"))); err != nil {
			return err
		}
	}
	return nil
}

// missing reads from a simulated installation which packages are new. What it
// would merely upgrade is left out: another C library beside the system's
// would keep the server from starting.
func missing(plan string) []string {
	var packages []string
	for line := range strings.Lines(plan) {
		fields := strings.Fields(line)
		if len(fields) >= 3 && fields[0] == "Inst" && !strings.HasPrefix(fields[2], "[") {
			packages = append(packages, fields[1])
		}
	}
	return packages
}

func (a apt) run(ctx context.Context, args ...string) (string, error) {
	options := []string{
		"-q",
		"-o", "Dir::State::Lists=" + filepath.Join(a.dir, "lists"),
		"-o", "Dir::Cache=" + filepath.Join(a.dir, "cache"),
		"-o", "Debug::NoLocking=1",
		"-o", "Acquire::Languages=none",
		"-o", "APT::Sandbox::User=root", // as root: the user _apt may not reach this directory
		"-o", "APT::Update::Post-Invoke::=",
		"-o", "APT::Update::Post-Invoke-Success::=",
	}
	cmd := exec.CommandContext(ctx, "apt-get", append(options, args...)...)
	cmd.Dir = filepath.Join(a.dir, "debs") // where download puts its files
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	return a.output(cmd)
}

func (apt) output(cmd *exec.Cmd) (string, error) {
	var errText strings.Builder
	cmd.Stderr = &errText
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(errText.String()))
	}
	return string(out), nil
}
