// Package page holds the paging of lists: a limit, an opaque cursor, and where the next page begins.
package page

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"example.com/saaskit/internal/problem"
)

// A Request asks for one page. Limit is 1 to 100; Cursor is empty for the first page.
type Request struct {
	Limit  int
	Cursor string
}

// A Page is a part of a list. Next is empty on the last page.
type Page[T any] struct {
	Data []T
	Next string
}

// Decode reads the position from the cursor into position, a pointer. It reports false where there is no cursor and
// [problem.InvalidCursor] where it is not one that [New] made for this list.
func (r Request) Decode(position any) (bool, error) {
	if r.Cursor == "" {
		return false, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(r.Cursor)
	if err == nil {
		err = json.Unmarshal(raw, position)
	}
	if err == nil {
		err = same(raw, position)
	}
	if err != nil {
		return false, problem.InvalidCursor.Errorf("use next_cursor of the page before, unchanged").Because(err)
	}
	return true, nil
}

// same refuses a cursor that does not say what [New] would: of another list, or made up. No row of ours has a NUL in it, and
// PostgreSQL takes none.
func same(raw []byte, position any) error {
	again, err := json.Marshal(position)
	if err == nil && (!bytes.Equal(raw, again) || bytes.Contains(raw, []byte(`\u0000`))) {
		err = errors.New("not a position of this list")
	}
	return err
}

// New makes a page of rows that were read with one row more than the limit: the extra row tells that there is a next page.
// position gives the sort key of a row, which the next page begins after.
func New[T any](r Request, rows []T, position func(T) any) (Page[T], error) {
	if len(rows) <= r.Limit {
		return Page[T]{Data: rows}, nil
	}
	rows = rows[:r.Limit]
	raw, err := json.Marshal(position(rows[len(rows)-1]))
	if err != nil {
		return Page[T]{}, fmt.Errorf("encode cursor: %w", err)
	}
	return Page[T]{Data: rows, Next: base64.RawURLEncoding.EncodeToString(raw)}, nil
}
