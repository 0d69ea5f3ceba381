package serve_test

import (
	"net/http"
	"testing"
	"time"

	"example.com/saaskit/internal/serve/servetest"
)

// Without the key that deletes identities nothing is written down as done at Supabase, so that a later key still finds it to do.
func TestDeletionWithoutServiceRoleKey(t *testing.T) {
	t.Parallel()
	w := servetest.Start(t, servetest.Options{Env: map[string]string{"SUPABASE_SERVICE_ROLE_KEY": ""}})
	p := w.Person(t)
	w.Do(t, servetest.Request{Method: http.MethodDelete, Path: "/v1/users/me", Token: p.Token}).Want(http.StatusAccepted, nil)
	var finished, closed *time.Time
	for deadline := time.Now().Add(30 * time.Second); finished == nil && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err := w.Pool.QueryRow(t.Context(), `SELECT finished_at, identity_closed_at FROM user_deletions`).Scan(&finished, &closed); err != nil {
			t.Fatal(err)
		}
	}
	if finished == nil || closed != nil {
		t.Errorf("finished at %v, identity closed at %v; want it finished with the identity open", finished, closed)
	}
}
