// Package redistest gives each test a real Redis of its own.
//
// A server per test is what isolates: channels and the invalidations of
// client-side caching know no database numbers. It takes some 20 ms and ends
// with the test, or with the test process, however that ends.
//
// Where TEST_REDIS_URL names a server, [New] gives each test a database number
// of it instead, for machines on which no Redis can be installed. Tests that
// stop the server ([Start]) need one of their own even then.
package redistest

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"example.com/saaskit/internal/devstack/checkout"
	"example.com/saaskit/internal/devstack/redisserver"
)

// URLEnv names the server to share.
const URLEnv = "TEST_REDIS_URL"

// patience bounds what a test waits for. Fetching Redis, which happens once
// per checkout, may take minutes.
const patience = 10 * time.Minute

// New returns the URL of an empty Redis that no other test uses.
func New(t testing.TB) string {
	t.Helper()
	if shared := os.Getenv(URLEnv); shared != "" {
		return claim(t, shared)
	}
	return Start(t).URL()
}

// A Server is a test's own Redis, which it may stop.
type Server struct {
	t      testing.TB
	server *redisserver.Server
}

// Start starts a Redis of the test's own.
func Start(t testing.TB) *Server {
	t.Helper()
	co, err := checkout.Here()
	if err != nil {
		t.Fatalf("start Redis: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	server, err := redisserver.Start(ctx, redisserver.Options{
		Checkout: co,
		Logf:     func(format string, args ...any) { fmt.Fprintf(os.Stderr, "redistest: "+format+"\n", args...) },
	})
	if err != nil {
		t.Fatalf("start Redis: %v", err)
	}
	s := &Server{t, server}
	t.Cleanup(s.Stop)
	return s
}

// URL returns the server's address, which a restart does not change.
func (s *Server) URL() string { return s.server.URL() }

// Stop ends the server: from now on Redis is gone.
func (s *Server) Stop() {
	s.t.Helper()
	if err := s.server.Stop(); err != nil {
		s.t.Errorf("%v", err)
	}
}

// Restart brings an empty server back at the same address, whether the last
// one was stopped before or not.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.server.Restart(context.Background()); err != nil {
		s.t.Fatalf("%v", err)
	}
}

// Empty deletes every key: nothing is cached and nothing is buried any more. FLUSHALL would look like a lost connection to
// those who are told of changes.
func (s *Server) Empty() {
	s.t.Helper()
	option, err := rueidis.ParseURL(s.URL())
	if err != nil {
		s.t.Fatal(err)
	}
	client, err := rueidis.NewClient(option)
	if err != nil {
		s.t.Fatalf("connect to Redis: %v", err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	keys, err := client.Do(ctx, client.B().Keys().Pattern("*").Build()).AsStrSlice()
	if err == nil && len(keys) > 0 {
		err = client.Do(ctx, client.B().Del().Key(keys...).Build()).Error()
	}
	if err != nil {
		s.t.Fatalf("empty Redis: %v", err)
	}
}
