// Package redisserver runs a Redis for development and for tests, without
// Docker and without rights on the machine.
//
// Tests need the real one, because client-side caching is what revocation
// rests on, and nothing else has it: see [Start]. Development does with one
// inside the launching program: see [StartMemory].
package redisserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"example.com/saaskit/internal/devstack/checkout"
	"example.com/saaskit/internal/devstack/supervise"
)

const (
	startPatience = 20 * time.Second
	stopPatience  = 10 * time.Second
)

// Options say which server to start.
type Options struct {
	Checkout checkout.Checkout

	// Logf hears what takes long. It may be nil.
	Logf func(format string, args ...any)
}

// A Server is a real Redis on a port of 127.0.0.1 that is its own. It keeps
// nothing on disk, and ends with the program that started it.
type Server struct {
	binary  binary
	port    int
	process *supervise.Process
}

// Start starts a real Redis and returns when it answers.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	b, err := find(ctx, o.Checkout, o.Logf)
	if err != nil {
		return nil, err
	}
	s := &Server{binary: b}
	const attempts = 20
	for range attempts {
		s.port = somePort()
		if err = s.launch(ctx); !errors.Is(err, errPortTaken) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("start Redis: %w", err)
	}
	return s, nil
}

// somePort returns a port below those that the system gives to outgoing
// connections, so that it is still free after a restart.
func somePort() int {
	const lowest, beyond = 15000, 32000
	return lowest + rand.IntN(beyond-lowest)
}

var errPortTaken = errors.New("the port is taken")

func (s *Server) launch(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "saaskit-test-redis-*")
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return fmt.Errorf("make log: %w", err)
	}
	defer log.Close()
	s.process, err = supervise.Start(supervise.Command{
		Args: []string{
			s.binary.path, "--bind", "127.0.0.1", "--port", strconv.Itoa(s.port),
			"--save", "", "--appendonly", "no", "--dir", dir, "--daemonize", "no",
		},
		Env:        s.binary.env(),
		Log:        log,
		StopSignal: "KILL", // it has nothing to save, and a gentle end takes up to 0.1 s
		Sweep:      dir,
	})
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.awaitReady(ctx, log); err != nil {
		return errors.Join(err, s.process.Stop(stopPatience))
	}
	return nil
}

// awaitReady waits until the server answers. It asks for the process id,
// because on a port that was taken another Redis may answer.
func (s *Server) awaitReady(ctx context.Context, log *os.File) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience, errors.New("it did not answer in time"))
	defer cancel()
	for {
		switch pid, err := processID(ctx, s.Addr()); {
		case err == nil && pid == s.process.PID:
			return nil
		case err == nil:
			return errPortTaken
		}
		select {
		case <-s.process.Done():
			return s.whyEnded(log)
		case <-ctx.Done():
			return fmt.Errorf("%w\n%s", context.Cause(ctx), contents(log))
		case <-time.After(3 * time.Millisecond):
		}
	}
}

func (s *Server) whyEnded(log *os.File) error {
	text := contents(log)
	if strings.Contains(text, "Address already in use") {
		return errPortTaken
	}
	return fmt.Errorf("it ended at once: %w\n%s", s.process.Err(), text)
}

// contents reads a log that may have been deleted meanwhile.
func contents(log *os.File) string {
	const most = 64 << 10
	text, err := io.ReadAll(io.NewSectionReader(log, 0, most))
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	return string(text)
}

// processID asks the server at addr for its process id.
func processID(ctx context.Context, addr string) (int, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		return 0, err
	}
	if _, err := conn.Write([]byte("INFO server\r\n")); err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		if id, ok := strings.CutPrefix(lines.Text(), "process_id:"); ok {
			return strconv.Atoi(strings.TrimSpace(id))
		}
	}
	return 0, errors.Join(lines.Err(), errors.New("no answer"))
}

// Addr returns host and port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL returns the address of database 0.
func (s *Server) URL() string { return "redis://" + s.Addr() + "/0" }

// Done is closed when the server has ended. After Restart ask for it again.
func (s *Server) Done() <-chan struct{} { return s.process.Done() }

// Stop ends the server at once. It may be called more than once.
func (s *Server) Stop() error {
	if err := s.process.Stop(stopPatience); err != nil {
		return fmt.Errorf("stop Redis: %w", err)
	}
	return nil
}

// Restart ends the server if it runs, and starts an empty one at the same
// address.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Stop(); err != nil {
		return err
	}
	if err := s.launch(ctx); err != nil {
		return fmt.Errorf("restart Redis: %w", err)
	}
	return nil
}
