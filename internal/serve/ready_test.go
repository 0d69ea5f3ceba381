package serve_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/saaskit/internal/serve"
	"example.com/saaskit/internal/serve/servetest"
)

// However many ask whether the server is ready, the database is asked once in a second.
func TestReadinessIsRemembered(t *testing.T) {
	t.Parallel()
	var asked, offset atomic.Int64
	gone := errors.New("gone")
	answer := gone
	current := serve.SchemaCheck(func(ctx context.Context) (bool, error) {
		asked.Add(1)
		if err := ctx.Err(); err != nil {
			return false, err
		}
		return answer == nil, answer
	}, func() time.Time { return time.Unix(0, offset.Load()) })
	left, leave := context.WithCancel(t.Context())
	leave() // who has gone asks for the others
	for n, want := range []error{gone, nil} {
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				if ok, err := current(left); !errors.Is(err, want) || ok != (want == nil) {
					t.Errorf("got %t, %v, want %v", ok, err, want)
				}
			})
		}
		callers.Wait()
		if asked.Load() != int64(n+1) {
			t.Errorf("the database was asked %d times, want %d", asked.Load(), n+1)
		}
		answer = nil
		offset.Add(int64(time.Second))
	}
}

func TestProbesMayAskForNoBody(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{})
	for _, path := range []string{"/healthz", "/readyz"} {
		if res := w.Do(t, servetest.Request{Method: http.MethodHead, Path: path}); res.Status != http.StatusOK || len(res.Body) > 0 {
			t.Errorf("HEAD %s: answered %d %s", path, res.Status, res.Body)
		}
	}
}
