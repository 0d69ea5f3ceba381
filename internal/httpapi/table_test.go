package httpapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"example.com/saaskit/internal/serve/servetest"
)

// generous runs a world whose tiers let a table through that has more requests and keys than the free one allows.
func generous(t *testing.T) *servetest.World {
	t.Helper()
	return generousWith(t, nil)
}

func generousWith(t *testing.T, env map[string]string) *servetest.World {
	t.Helper()
	w := servetest.Start(t, servetest.Options{Env: env})
	if _, err := w.Pool.Exec(t.Context(), "UPDATE tiers SET requests_per_minute = 100000, burst = 10000, api_keys = 1000"); err != nil {
		t.Fatal(err)
	}
	return w
}

// A by is a credential, and what else goes with each of its requests.
type by struct {
	token, key string
	header     map[string]string
}

func (b by) request(method, path string, body any) servetest.Request {
	return servetest.Request{Method: method, Path: path, Body: body, Token: b.token, Key: b.key, Header: maps.Clone(b.header)}
}

func (b by) get(path string) servetest.Request { return b.request(http.MethodGet, path, nil) }
func (b by) post(path string, body any) servetest.Request {
	return b.request(http.MethodPost, path, body)
}
func (b by) patch(path string, body any) servetest.Request {
	return b.request(http.MethodPatch, path, body)
}
func (b by) del(path string) servetest.Request { return b.request(http.MethodDelete, path, nil) }

func (b by) with(name, value string) by {
	b.header = maps.Clone(b.header)
	if b.header == nil {
		b.header = map[string]string{}
	}
	b.header[name] = value
	return b
}

// object is a JSON object.
type object = map[string]any

// A wrong is a request and how it is refused.
type wrong struct {
	name   string
	req    servetest.Request
	status int
	code   string
}

// refuses sends each request and wants the refusal, and that nothing of what counts has changed.
func refuses(t *testing.T, w *servetest.World, list []wrong) {
	t.Helper()
	before := counts(t, w)
	for _, c := range list {
		if res := w.Do(t, c.req); res.Status != c.status || res.Code() != c.code {
			t.Errorf("%s: answered %d %s, want %d %s: %s", c.name, res.Status, res.Code(), c.status, c.code, res.Body)
		}
	}
	if after := counts(t, w); after != before {
		t.Errorf("refusals have changed the database: %s, then %s", before, after)
	}
}

// replays sends a request twice under one Idempotency-Key and wants one effect: the second answer is the first one, but for a
// secret. The same key with another body is refused. It returns the first answer.
func replays(t *testing.T, w *servetest.World, r servetest.Request, status int, other any) servetest.Response {
	t.Helper()
	if r.Header == nil {
		r.Header = map[string]string{}
	}
	r.Header["Idempotency-Key"] = uuid.NewString()
	first := w.Do(t, r).Want(status, nil)
	before := counts(t, w)
	second := w.Do(t, r).Want(status, nil)
	if first.Header.Get("Idempotent-Replayed") != "" || second.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("%s: Idempotent-Replayed is %q, then %q", r.Path, first.Header.Get("Idempotent-Replayed"), second.Header.Get("Idempotent-Replayed"))
	}
	one, two := decoded(t, first), decoded(t, second)
	if _, secret := two["secret"]; secret {
		t.Errorf("%s: the secret is answered twice", r.Path)
	}
	delete(one, "secret")
	if fmt.Sprint(one) != fmt.Sprint(two) {
		t.Errorf("%s: answered %v, then %v", r.Path, one, two)
	}
	r.Body = other
	w.Do(t, r).WantProblem(http.StatusUnprocessableEntity, "idempotency_key_reused")
	if after := counts(t, w); after != before {
		t.Errorf("%s: a replay has changed the database: %s, then %s", r.Path, before, after)
	}
	return first
}

func decoded(t *testing.T, r servetest.Response) object {
	t.Helper()
	var o object
	if err := json.Unmarshal(r.Body, &o); err != nil {
		t.Fatalf("%v: %s", err, r.Body)
	}
	return o
}

// walk reads a list page by page and wants the same as in one page, nothing twice.
func walk(t *testing.T, w *servetest.World, who by, path string, want int) []object {
	t.Helper()
	join := "?"
	if strings.Contains(path, "?") {
		join = "&"
	}
	var whole, page struct {
		Data       []object `json:"data"`
		NextCursor *string  `json:"next_cursor"`
	}
	w.Do(t, who.get(path+join+"limit=100")).Want(http.StatusOK, &whole)
	if len(whole.Data) != want || whole.NextCursor != nil {
		t.Fatalf("%s: %d rows and cursor %v, want %d and none: %v", path, len(whole.Data), whole.NextCursor, want, whole.Data)
	}
	var ids []any
	for next := path + join + "limit=2"; ; next = path + join + "limit=2&cursor=" + *page.NextCursor {
		page.Data, page.NextCursor = nil, nil
		w.Do(t, who.get(next)).Want(http.StatusOK, &page)
		for _, row := range page.Data {
			ids = append(ids, row["id"])
		}
		if page.NextCursor == nil {
			break
		}
		if len(page.Data) != 2 || len(ids) > want {
			t.Fatalf("%s: a page of %d before the last, %d rows so far", path, len(page.Data), len(ids))
		}
	}
	if all := idsOf(whole.Data); !slices.Equal(ids, all) {
		t.Errorf("%s: page by page %v, at once %v", path, ids, all)
	}
	return whole.Data
}

func idsOf(rows []object) []any {
	ids := make([]any, len(rows))
	for i, row := range rows {
		ids[i] = row["id"]
	}
	return ids
}
