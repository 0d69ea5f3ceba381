package page_test

import (
	"encoding/base64"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/saaskit/internal/page"
	"example.com/saaskit/internal/problem"
)

func position(n int) any { return n }

func TestPages(t *testing.T) {
	t.Parallel()
	rows := []int{9, 8, 7}
	first, err := page.New(page.Request{Limit: 2}, rows, position)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{9, 8}, first.Data); diff != "" || first.Next == "" {
		t.Errorf("first page: next %q (-want +got):\n%s", first.Next, diff)
	}
	var after int
	there, err := page.Request{Limit: 2, Cursor: first.Next}.Decode(&after)
	if err != nil || !there || after != 8 {
		t.Errorf("cursor: got %d, %t, %v; want 8", after, there, err)
	}
	last, err := page.New(page.Request{Limit: 3}, rows, position)
	if err != nil || last.Next != "" || len(last.Data) != 3 {
		t.Errorf("last page: %+v, %v", last, err)
	}
	if there, err := (page.Request{Limit: 3}).Decode(&after); there || err != nil {
		t.Errorf("no cursor: %t, %v", there, err)
	}
}

// PostgreSQL takes no NUL, so that no row of ours leads to such a cursor.
func TestCursorWithANUL(t *testing.T) {
	t.Parallel()
	var name string
	cursor := base64.RawURLEncoding.EncodeToString([]byte(`"a\u0000b"`))
	if _, err := (page.Request{Limit: 1, Cursor: cursor}).Decode(&name); !errors.Is(err, problem.InvalidCursor) {
		t.Errorf("got %v", err)
	}
}

func FuzzCursor(f *testing.F) {
	for _, cursor := range []string{"x", "!", "bnVsbA", "IjEi", "e30", "MQ", "MS41", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5"} {
		f.Add(cursor)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		var n int64
		if _, err := (page.Request{Limit: 1, Cursor: cursor}).Decode(&n); err != nil && !errors.Is(err, problem.InvalidCursor) {
			t.Errorf("Decode(%q): %v", cursor, err)
		}
	})
}
