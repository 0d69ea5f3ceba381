package redistest_test

import (
	"testing"

	"example.com/saaskit/internal/cache/redistest"
)

func TestNew(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	t.Log(s.URL())
	s.Stop()
	s.Restart()
}
func TestNew2(t *testing.T) {
	t.Parallel()
	t.Log(redistest.New(t))
}
