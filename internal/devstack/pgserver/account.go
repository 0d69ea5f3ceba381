package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// account is whom PostgreSQL runs as. It refuses to run as root, so root lends
// it another one.
type account struct {
	uid  int
	cred *syscall.Credential // nil: the caller's own
}

// chooseAccount returns the caller's account, or, for root, the one named
// postgres, or else nobody: PostgreSQL demands one that has a name.
func chooseAccount() (account, error) {
	if uid := os.Geteuid(); uid != 0 {
		return account{uid: uid}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			return lend(u)
		}
	}
	return account{}, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody to run it as")
}

// accountOf returns the account that owns a cluster already made, which must
// go on to own it.
func accountOf(uid int) (account, error) {
	if own := os.Geteuid(); own != 0 {
		if own != uid {
			return account{}, fmt.Errorf("it belongs to user %d, you are %d: continue as the one who made it, or delete it", uid, own)
		}
		return account{uid: uid}, nil
	}
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return account{}, fmt.Errorf("look up its owner: %w", err)
	}
	return lend(u)
}

func lend(u *user.User) (account, error) {
	uid, err := strconv.ParseInt(u.Uid, 10, 64)
	if err != nil {
		return account{}, fmt.Errorf("read user id of %s: %w", u.Username, err)
	}
	gid, err := strconv.ParseInt(u.Gid, 10, 64)
	if err != nil {
		return account{}, fmt.Errorf("read group id of %s: %w", u.Username, err)
	}
	// macOS writes nobody as -2, which is 4294967294 everywhere else.
	return account{uid: int(uint32(uid)), cred: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// command prepares a program that runs as the account, in a directory that
// every account can enter, and out of reach of the terminal's Ctrl-C.
func (a account) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = "/"
	cmd.Env = serverEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: a.cred}
	return cmd
}

// canEnter tells whether the account reaches dir, which needs the right to
// pass each directory above it.
func (a account) canEnter(ctx context.Context, dir string) bool {
	return a.command(ctx, "/bin/sh", "-c", `cd "$1"`, "sh", dir).Run() == nil
}

// own gives a path to the account.
func (a account) own(path string) error {
	if a.cred == nil {
		return nil
	}
	if err := os.Lchown(path, int(a.cred.Uid), int(a.cred.Gid)); err != nil {
		return fmt.Errorf("give directory to the server: %w", err)
	}
	return nil
}

// serverEnv is the whole environment of the server and of initdb. Nothing of
// the shell's reaches them: a PGPORT or PGDATA there would change what they do,
// and on macOS an unknown locale keeps the server from starting.
func serverEnv() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
}
