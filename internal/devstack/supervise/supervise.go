// Package supervise runs a server that must not outlive the program that
// started it, whatever happens to that program.
//
// Between the two stands a small POSIX shell. It holds the reading end of a
// pipe whose writing end only the starting program has. When that program
// ends, by itself or by SIGKILL, the kernel closes the pipe, and the shell
// stops the server and deletes what the server leaves behind. This works alike
// on Linux and macOS, with a server of another user, and needs no second
// binary of ours: a re-executed one could not be read by another user under
// go run.
//
// The server is in a process group of its own, so that Ctrl-C on a terminal
// reaches only the program that uses it.
package supervise

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// script is the supervisor. $1 is the signal that stops the server, $2 the
// path to delete afterwards or nothing; the rest is the server's command. The
// pipe from the launcher is its standard input, its standard output takes the
// server's process id, and its standard error is the log.
//
// The watcher is a process of its own because a shell that waits for its child
// cannot read at the same time. A background command gets /dev/null as its
// standard input, hence the copy to descriptor 3.
const script = `
sig=$1; sweep=$2; shift 2
exec 3<&0 </dev/null
"$@" 3<&- >&2 & server=$!
echo "$server"
exec >&2
( read -r _ <&3; kill -s "$sig" "$server" ) 2>/dev/null & watcher=$!
exec 3<&-
wait "$server"; code=$?
kill "$watcher" 2>/dev/null
if [ -n "$sweep" ]; then rm -rf -- "$sweep"; fi
exit "$code"
`

// A Command is a server to run.
type Command struct {
	Args       []string            // program and arguments
	Env        []string            // its whole environment
	Log        *os.File            // takes its output
	StopSignal string              // name of the signal that stops it in order, such as INT
	Sweep      string              // a path to delete when the server has ended; may be empty
	User       *syscall.Credential // whom it runs as; nil for the caller
}

// A Process is a running server.
type Process struct {
	PID int // of the server, not of its supervisor

	pipe *os.File
	shut sync.Once
	done chan struct{}
	err  error // how the server ended; read it after done is closed
}

// Start runs c. It returns when the server has been started, which is well
// before it is ready.
func Start(c Command) (*Process, error) {
	stdin, pipe, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	defer stdin.Close()
	answer, stdout, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make pipe: %w", err), pipe.Close())
	}
	defer answer.Close()

	// No context ends it: it has to stay until the server has ended.
	cmd := exec.CommandContext(context.Background(), "/bin/sh", append([]string{"-c", script, "supervisor", c.StopSignal, c.Sweep}, c.Args...)...)
	cmd.Dir = "/" // the caller's may be closed to the server's user
	cmd.Env = c.Env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, c.Log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: c.User}
	err = cmd.Start()
	stdout.Close()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start supervisor: %w", err), pipe.Close())
	}

	p := &Process{pipe: pipe, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	line, err := bufio.NewReader(answer).ReadString('\n')
	if err == nil {
		p.PID, err = strconv.Atoi(strings.TrimSpace(line))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read process id of the server: %w", err), p.Stop(time.Second))
	}
	return p, nil
}

// Done is closed when the server has ended and its supervisor has swept.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the server ended. It is nil while the server runs.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Stop asks the server to end and waits for it. A server that takes longer
// than patience is killed. Stopping a second time does nothing.
func (p *Process) Stop(patience time.Duration) error {
	p.shut.Do(func() { p.pipe.Close() })
	select {
	case <-p.done:
		return nil
	case <-time.After(patience):
	}
	if p.PID > 0 {
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill server %d: %w", p.PID, err)
		}
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("server %d does not end", p.PID)
	}
}
