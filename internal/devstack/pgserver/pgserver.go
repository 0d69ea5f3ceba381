// Package pgserver runs a private PostgreSQL for development and for tests, on
// a machine that may have none, as root or not, without Docker.
//
// It listens on a Unix socket in a directory of its own, so that checkouts do
// not quarrel over a port and no password is needed. Its supervisor stops it
// when the launching program ends, however that ends; see package supervise.
package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"example.com/saaskit/internal/devstack/checkout"
	"example.com/saaskit/internal/devstack/supervise"
)

const (
	role          = "postgres"
	defaultPort   = 5432 // only part of the socket's name
	startPatience = time.Minute
	stopPatience  = 15 * time.Second
)

// Options say which server to start.
type Options struct {
	Checkout checkout.Checkout

	// Throwaway asks for an empty cluster that is deleted at the end and gives
	// up durability for speed. Otherwise the checkout's own one is used, whose
	// data stays.
	Throwaway bool

	// Port lets a kept cluster listen on 127.0.0.1 as well, with a password,
	// for programs that cannot use a Unix socket. Zero means no.
	Port int

	// Logf hears what takes long or is unexpected. It may be nil.
	Logf func(format string, args ...any)
}

// A Server is a running PostgreSQL.
type Server struct {
	place    place
	port     int
	password string // for the TCP port; empty where it has none
	lock     *checkout.Lock
	process  *supervise.Process
}

// Start starts PostgreSQL and returns when it takes connections. It fetches
// the binaries and makes the cluster where that has not been done yet.
func Start(ctx context.Context, o Options) (*Server, error) {
	s, err := start(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	return s, nil
}

func start(ctx context.Context, o Options) (_ *Server, err error) {
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	acc, err := chooseAccount()
	if err != nil {
		return nil, err
	}
	bin, err := finder{o.Checkout, acc, o.Logf}.find(ctx)
	if err != nil {
		return nil, err
	}
	s := &Server{port: defaultPort}
	if o.Throwaway {
		sweepThrowaways(ctx)
		s.place, err = throwawayPlace(acc)
	} else {
		s.place, err = keptPlace(ctx, o.Checkout, acc, bin.major)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.abandon()
		}
	}()
	if s.lock, err = checkout.TryLock(s.place.lock); errors.Is(err, checkout.ErrLocked) {
		return nil, fmt.Errorf("%s is in use: does make dev run in another terminal?", s.place.data)
	} else if err != nil {
		return nil, err
	}
	if acc, err = s.prepare(ctx, bin, acc); err != nil {
		return nil, err
	}
	if o.Port != 0 && !o.Throwaway {
		s.port = o.Port
		if s.password, err = readPassword(s.place); err != nil {
			return nil, err
		}
	}
	return s, s.run(ctx, bin, acc, o.Throwaway)
}

// prepare leaves a cluster that nobody else works on, and returns the account
// that owns it.
func (s *Server) prepare(ctx context.Context, bin binaries, acc account) (account, error) {
	info, err := os.Stat(s.place.data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := s.place.makeCluster(ctx, bin, acc); err != nil {
			return acc, err
		}
	case err != nil:
		return acc, fmt.Errorf("look for the cluster: %w", err)
	default:
		if acc, err = accountOf(ownerOf(info)); err != nil {
			return acc, fmt.Errorf("use %s: %w", s.place.data, err)
		}
		if err := clearOrphan(ctx, s.place.data); err != nil {
			return acc, err
		}
	}
	return acc, privateDir(s.place.sockets, 0o700, acc)
}

// run starts the server. Children of a postmaster that was killed may hold its
// shared memory for a moment longer; then it is tried again.
func (s *Server) run(ctx context.Context, bin binaries, acc account, throwaway bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience, errors.New("it did not become ready in time"))
	defer cancel()
	for {
		err := s.launch(ctx, bin, acc, throwaway)
		if err == nil || !strings.Contains(err.Error(), "pre-existing shared memory block") {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (s *Server) launch(ctx context.Context, bin binaries, acc account, throwaway bool) error {
	log, err := os.Create(s.place.log)
	if err != nil {
		return fmt.Errorf("make log: %w", err)
	}
	defer log.Close()
	command := supervise.Command{
		Args:       append([]string{bin.path("postgres"), "-D", s.place.data}, s.settings(throwaway)...),
		Env:        serverEnv(),
		Log:        log,
		StopSignal: "INT", // fast: ends sessions, writes a checkpoint
		Sweep:      s.place.sweep,
		User:       acc.cred,
	}
	if throwaway {
		command.StopSignal = "QUIT" // at once
	}
	if s.process, err = supervise.Start(command); err != nil {
		return err
	}
	if err := s.awaitReady(ctx); err != nil {
		return errors.Join(err, s.process.Stop(stopPatience))
	}
	return nil
}

func (s *Server) settings(throwaway bool) []string {
	pairs := []string{
		"unix_socket_directories=" + s.place.sockets,
		"listen_addresses=",
		"port=" + strconv.Itoa(s.port),
	}
	if s.password != "" {
		pairs[1] = "listen_addresses=127.0.0.1"
	}
	if throwaway {
		pairs = append(pairs,
			"fsync=off", "synchronous_commit=off", "full_page_writes=off",
			"wal_level=minimal", "max_wal_senders=0", "jit=off", "max_connections=500")
	}
	var args []string
	for _, pair := range pairs {
		args = append(args, "-c", pair)
	}
	return args
}

// awaitReady waits until the server says in postmaster.pid that it takes
// connections. The process id is compared, because a server that crashed has
// left its own "ready" there.
func (s *Server) awaitReady(ctx context.Context) error {
	for {
		file, err := readPIDFile(s.place.data)
		if err == nil && file.ready && file.pid == s.process.PID {
			return nil
		}
		select {
		case <-s.process.Done():
			return fmt.Errorf("it ended at once: %w\n%s", s.process.Err(), lastLines(s.place.log))
		case <-ctx.Done():
			return fmt.Errorf("%w\n%s", context.Cause(ctx), lastLines(s.place.log))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// URL returns the address of a database, over the Unix socket.
func (s *Server) URL(database string) string {
	host := strings.ReplaceAll(url.QueryEscape(s.place.sockets), "%2F", "/") // a query may hold slashes, and people read it
	return fmt.Sprintf("postgres://%s@/%s?host=%s&port=%d", role, url.PathEscape(database), host, s.port)
}

// TCPURL returns the address of a database on 127.0.0.1, password included, or
// nothing where the server has no port.
func (s *Server) TCPURL(database string) string {
	if s.password == "" {
		return ""
	}
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, s.password),
		Host: "127.0.0.1:" + strconv.Itoa(s.port), Path: "/" + database,
	}
	return u.String()
}

// Done is closed when the server has ended, be it by Stop or by itself.
func (s *Server) Done() <-chan struct{} { return s.process.Done() }

// LogFile is where the server writes its messages.
func (s *Server) LogFile() string { return s.place.log }

// Stop ends the server. It may be called more than once.
func (s *Server) Stop() error {
	err := s.process.Stop(stopPatience)
	s.lock.Unlock()
	if err != nil {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	return nil
}

// abandon gives back what a start that failed had taken.
func (s *Server) abandon() {
	if s.place.sweep != "" {
		os.RemoveAll(s.place.sweep) // what stays is swept by a later start
	}
	if s.lock != nil {
		s.lock.Unlock()
	}
}

// Reset deletes the checkout's own clusters, of every version, with all data.
// It refuses while one is in use.
func Reset(co checkout.Checkout) error {
	for _, base := range []string{co.Path(".saaskit", "pg"), filepath.Join(outsidePath(co), "pg")} {
		if err := resetBase(base); err != nil {
			return fmt.Errorf("reset PostgreSQL: %w", err)
		}
	}
	return removeInstallLock(co)
}

// removeInstallLock leaves the lock to a process that installs.
func removeInstallLock(co checkout.Checkout) error {
	path := co.Path(".saaskit", "pg-install.lock")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := checkout.TryLock(path)
	if errors.Is(err, checkout.ErrLocked) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reset PostgreSQL: %w", err)
	}
	defer lock.Unlock()
	return os.Remove(path)
}

func resetBase(base string) error {
	locks, err := filepath.Glob(filepath.Join(base, "*.lock"))
	if err != nil {
		return fmt.Errorf("look for clusters: %w", err)
	}
	for _, path := range locks {
		lock, err := checkout.TryLock(path)
		if err != nil {
			return fmt.Errorf("%s: %w", strings.TrimSuffix(path, ".lock"), err)
		}
		defer lock.Unlock()
		data := strings.TrimSuffix(path, ".lock")
		if err := clearOrphan(context.Background(), data); err != nil {
			return err
		}
		removeSocketDirs(data)
	}
	return os.RemoveAll(base)
}

// removeSocketDirs removes the directories of the cluster's socket, whatever account it ran as. One that is not empty is not ours to
// remove, and one that stays harms nobody.
func removeSocketDirs(data string) {
	for _, parent := range []string{"/tmp", os.Getenv("XDG_RUNTIME_DIR")} {
		if parent == "" {
			continue
		}
		found, _ := filepath.Glob(filepath.Join(parent, "saaskit-pg-*-"+digest(data)))
		for _, dir := range found {
			_ = os.Remove(dir)
		}
	}
}

// newPassword returns a random one.
func newPassword() string { return rand.Text() }
