package account_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/page"
	"example.com/saaskit/internal/problem"
)

func TestList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var all []string
	add := func(email string) uuid.UUID {
		b := w.bearer()
		b.Email = email
		all = append(all, email)
		return w.admitted(b).ID
	}
	ana := add("Ana@example.com")
	add("anatol@example.com")
	add("a_n%a@example.com")
	add(`a\b@example.com`)
	for i := range 5 {
		add(fmt.Sprintf("zoe%d@example.com", i))
	}
	slices.Reverse(all) // newest first
	list := func(query string, limit int) (found []string) {
		t.Helper()
		cursor := ""
		for range 20 {
			p, err := w.List(t.Context(), query, page.Request{Limit: limit, Cursor: cursor})
			if err != nil {
				t.Fatalf("List(%q): %v", query, err)
			}
			if len(p.Data) > limit {
				t.Fatalf("List(%q): a page of %d, want at most %d", query, len(p.Data), limit)
			}
			for _, u := range p.Data {
				if u.Tier != account.FreeTier || u.AccountID == uuid.Nil {
					t.Errorf("user %s: tier %q account %v", u.Email, u.Tier, u.AccountID)
				}
				found = append(found, u.Email)
			}
			if cursor = p.Next; cursor == "" {
				return found
			}
		}
		t.Fatalf("List(%q): no last page", query)
		return nil
	}
	for _, tt := range []struct {
		query string
		want  []string
	}{
		{"", all},
		{"ana", []string{"anatol@example.com", "Ana@example.com"}},
		{"ANA@", []string{"Ana@example.com"}},
		{"a_", []string{"a_n%a@example.com"}},
		{"a_n%a", []string{"a_n%a@example.com"}},
		{"%", nil},
		{`a\b`, []string{`a\b@example.com`}},
		{"example.com", nil},
		{"zoe", all[:5]},
		{ana.String(), []string{"Ana@example.com"}},
		{uuid.NewString(), nil},
	} {
		for _, limit := range []int{1, 2, 100} {
			if got := list(tt.query, limit); !slices.Equal(got, tt.want) {
				t.Errorf("List(%q) by %d: got %q, want %q", tt.query, limit, got, tt.want)
			}
		}
	}
	for _, cursor := range []string{"x", "e30x", "bnVsbA"} {
		if _, err := w.List(t.Context(), "", page.Request{Limit: 5, Cursor: cursor}); err != nil && !errors.Is(err, problem.InvalidCursor) {
			t.Errorf("cursor %q: got %v, want nil or %v", cursor, err, problem.InvalidCursor)
		}
	}
}

func TestSetStatus(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var forgotten [][]byte
	w := newWorld(t, func(c *account.Config) {
		c.ForgetKeys = func(_ context.Context, hashes [][]byte) {
			mu.Lock()
			defer mu.Unlock()
			forgotten = append(forgotten, hashes...)
		}
	})
	b := w.bearer()
	id := w.admitted(b)
	hash := []byte(strings.Repeat("h", 32))
	w.exec(`INSERT INTO api_keys (id, account_id, name, hash, start, scopes, created_at, updated_at) VALUES ($1, $2, 'k', $3, 'sk_', '{}', now(), now())`,
		uuid.New(), id.AccountID, hash)
	admin := audit.Actor{Kind: audit.ByUser, ID: uuid.NewString(), RequestID: "r1"}
	key, err := idempotency.New("user:admin", "updateUser", "key-1", "disable")
	if err != nil {
		t.Fatal(err)
	}
	for again := range 3 {
		p, replayed, err := w.SetStatus(t.Context(), key, id.ID, account.StatusDisabled, "abuse", admin)
		if err != nil || p.Status != account.StatusDisabled || replayed != (again > 0) {
			t.Fatalf("SetStatus, time %d: got %q replayed %t, %v", again, p.Status, replayed, err)
		}
	}
	if _, _, err := w.SetStatus(t.Context(), noKey(), id.ID, account.StatusDisabled, "again", admin); err != nil {
		t.Fatal(err)
	}
	if got := w.count(`SELECT count(*) FROM audit_log WHERE action = 'user.disable'`); got != 1 {
		t.Errorf("audit entries: got %d, want 1", got)
	}
	if got := w.text(`SELECT (before->>'status') || '>' || (after->>'status') || '>' || (after->>'reason') FROM audit_log WHERE action = 'user.disable'`); got != "active>disabled>abuse" {
		t.Errorf("audit entry: got %q", got)
	}
	if len(forgotten) == 0 || string(forgotten[0]) != string(hash) {
		t.Errorf("keys forgotten: got %q", forgotten)
	}
	if _, err := w.Admit(t.Context(), b); !errors.Is(err, problem.UserDisabled) {
		t.Errorf("Admit of a disabled user: got %v, want %v", err, problem.UserDisabled)
	}
	if got := w.text(`SELECT status FROM accounts WHERE id = $1`, id.AccountID); got != account.StatusDisabled {
		t.Errorf("account: got %q, want disabled", got)
	}
	if _, _, err := w.SetStatus(t.Context(), noKey(), id.ID, account.StatusActive, "", admin); err != nil {
		t.Fatal(err)
	}
	w.admitted(b)
	if got := w.text(`SELECT status FROM accounts WHERE id = $1`, id.AccountID); got != account.StatusActive {
		t.Errorf("account after enabling: got %q, want active", got)
	}
	if _, _, err := w.SetStatus(t.Context(), noKey(), uuid.New(), account.StatusDisabled, "", admin); !errors.Is(err, problem.NotFound) {
		t.Errorf("nobody: got %v, want %v", err, problem.NotFound)
	}
	self := audit.Actor{Kind: audit.ByUser, ID: id.ID.String()}
	if _, _, err := w.SetStatus(t.Context(), noKey(), id.ID, account.StatusDisabled, "", self); !errors.Is(err, problem.Conflict) {
		t.Errorf("oneself: got %v, want %v", err, problem.Conflict)
	}
	if err := w.Delete(t.Context(), id.ID, self); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.SetStatus(t.Context(), noKey(), id.ID, account.StatusActive, "", admin); !errors.Is(err, problem.Conflict) {
		t.Errorf("somebody who is being deleted: got %v, want %v", err, problem.Conflict)
	}
}

func TestRename(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.admitted(w.bearer())
	name := "Ana 🌱"
	key, err := idempotency.New("user:x", "updateMe", "k", name)
	if err != nil {
		t.Fatal(err)
	}
	for again := range 2 {
		p, replayed, err := w.Rename(t.Context(), key, id.ID, &name, operator())
		if err != nil || p.DisplayName != name || p.AccountID != id.AccountID || replayed != (again > 0) {
			t.Fatalf("Rename, time %d: got %+v replayed %t, %v", again, p, replayed, err)
		}
	}
	other, err := idempotency.New("user:x", "updateMe", "k", "another")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.Rename(t.Context(), other, id.ID, &name, operator()); !errors.Is(err, problem.IdempotencyMismatch) {
		t.Errorf("same key, other request: got %v, want %v", err, problem.IdempotencyMismatch)
	}
	if p, _, err := w.Rename(t.Context(), noKey(), id.ID, nil, operator()); err != nil || p.DisplayName != name {
		t.Errorf("nothing to change: got %q, %v", p.DisplayName, err)
	}
	empty := ""
	if p, _, err := w.Rename(t.Context(), noKey(), id.ID, &empty, operator()); err != nil || p.DisplayName != "" {
		t.Errorf("taking the name back: got %q, %v", p.DisplayName, err)
	}
	if got := w.count(`SELECT count(*) FROM audit_log WHERE action = 'user.update'`); got != 2 {
		t.Errorf("audit entries: got %d, want 2", got)
	}
	if _, err := w.Profile(t.Context(), uuid.New()); !errors.Is(err, problem.NotFound) {
		t.Errorf("Profile of nobody: got %v, want %v", err, problem.NotFound)
	}
}
