package account_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/problem"
)

// A thousand first requests at four instances make one user, one account, one membership.
func TestFirstSightByAThousandRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	instances := []*account.Service{w.Service, w.instance(), w.instance(), w.instance()}
	b := w.bearer()
	var mu sync.Mutex
	seen := map[[2]uuid.UUID]int{}
	start := make(chan struct{})
	var rush sync.WaitGroup
	for i := range 1000 {
		rush.Go(func() {
			<-start
			id, err := instances[i%len(instances)].Admit(t.Context(), b)
			if err != nil {
				t.Errorf("Admit: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[[2]uuid.UUID{id.ID, id.AccountID}]++
		})
	}
	close(start)
	rush.Wait()
	if len(seen) != 1 {
		t.Errorf("users and accounts seen: got %v, want one of each", seen)
	}
	for _, table := range []string{"users", "accounts", "memberships", "audit_log"} {
		if got := w.count(`SELECT count(*) FROM ` + table); got != 1 {
			t.Errorf("rows of %s: got %d, want 1", table, got)
		}
	}
}

// A rival in the middle of making the same user is waited for, whichever way it ends.
func TestFirstSightAwaitsARival(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		commits bool
	}{{"that commits", true}, {"that rolls back", false}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			b := w.bearer()
			ctx := t.Context()
			tx, err := w.pool.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback(context.Background()) }()
			q, userID, accountID := db.New(tx), uuid.New(), uuid.New()
			rival := func() error {
				if _, err := q.InsertUser(ctx, db.InsertUserParams{ID: userID, Issuer: b.Issuer, Subject: b.Subject, Email: b.Email, EmailAsOf: b.IssuedAt, Now: w.Now()}); err != nil {
					return err
				}
				return q.InsertPersonalAccount(ctx, db.InsertPersonalAccountParams{ID: accountID, Name: "Personal", UserID: userID, Now: w.Now()})
			}
			if err := rival(); err != nil {
				t.Fatal(err)
			}
			admitted := make(chan account.Identity, 1)
			go func() { admitted <- w.admitted(b) }()
			pgtest.AwaitLock(t, w.pool)
			end := tx.Rollback
			if tt.commits {
				end = tx.Commit
			}
			if err := end(ctx); err != nil {
				t.Fatal(err)
			}
			id := <-admitted
			if same := id.ID == userID && id.AccountID == accountID; same != tt.commits {
				t.Errorf("same user as the rival's: got %t, want %t", same, tt.commits)
			}
			if got := w.count(`SELECT count(*) FROM users`); got != 1 {
				t.Errorf("users: got %d, want 1", got)
			}
		})
	}
}

func TestEmailNeverLinksIdentities(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.bearer(), w.bearer()
	other.Email = one.Email
	third := one
	third.Issuer = "https://other.example.com/auth/v1"
	ids := map[uuid.UUID]bool{}
	for _, b := range []account.Bearer{one, other, third} {
		ids[w.admitted(b).ID] = true
	}
	if len(ids) != 3 {
		t.Errorf("users: got %d, want 3", len(ids))
	}
}

func TestEmailOfALaterTokenIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bearer()
	id := w.admitted(b)
	confirmed := w.Now()
	if err := w.RecordEmail(t.Context(), b.Issuer, b.Subject, b.Email, &confirmed, b.IssuedAt); err != nil {
		t.Fatal(err)
	}
	later := b
	later.Email, later.IssuedAt = "new@example.com", b.IssuedAt.Add(time.Minute)
	if got := w.admitted(later); got.Email != "new@example.com" || got.EmailConfirmedAt != nil {
		t.Errorf("after a later token: got %q confirmed %v, want new@example.com, not confirmed", got.Email, got.EmailConfirmedAt)
	}
	w.admitted(b) // the older token is still good, and changes nothing
	if got := w.text(`SELECT email FROM users WHERE id = $1`, id.ID); got != "new@example.com" {
		t.Errorf("after an older token: got %q, want new@example.com", got)
	}
	// What Supabase says of the old address, asked before the change, confirms nothing.
	if err := w.RecordEmail(t.Context(), b.Issuer, b.Subject, b.Email, &confirmed, b.IssuedAt.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if got := w.admitted(later); got.Email != "new@example.com" || got.EmailConfirmedAt != nil {
		t.Errorf("after a stale answer: got %q confirmed %v, want new@example.com, not confirmed", got.Email, got.EmailConfirmedAt)
	}
}

func TestEmailCheckIsClaimedOnceAMinute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bearer()
	id := w.admitted(b)
	claims := func() (n int) {
		for _, s := range []*account.Service{w.Service, w.instance()} {
			mine, err := s.ClaimEmailCheck(t.Context(), b, id.ID)
			if err != nil {
				t.Fatal(err)
			}
			if mine {
				n++
			}
		}
		return n
	}
	if got := claims(); got != 1 {
		t.Errorf("first claims: got %d, want 1", got)
	}
	if w.admitted(b).EmailCheckDue(w.Now()) {
		t.Error("a check is due right after one")
	}
	w.Add(time.Minute)
	if !w.admitted(b).EmailCheckDue(w.Now()) {
		t.Error("no check is due after a minute")
	}
	if got := claims(); got != 1 {
		t.Errorf("claims after a minute: got %d, want 1", got)
	}
	at := w.Now()
	if err := w.RecordEmail(t.Context(), b.Issuer, b.Subject, b.Email, &at, at); err != nil {
		t.Fatal(err)
	}
	w.Add(time.Hour)
	if got := claims(); got != 0 {
		t.Errorf("claims once confirmed: got %d, want 0", got)
	}
}

func TestSignOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bearer()
	w.admitted(b)
	session := func(issued time.Time) account.Bearer {
		other, id := b, uuid.New()
		other.SessionID, other.IssuedAt = &id, issued
		return other
	}
	refused := func(name string, b account.Bearer, want bool) {
		t.Helper()
		_, err := w.Admit(t.Context(), b)
		if got := errors.Is(err, problem.SessionRevoked); got != want || (!want && err != nil) {
			t.Errorf("%s: got %v, want refused %t", name, err, want)
		}
	}
	now := b.IssuedAt
	desk, phone := session(now), session(now)
	if err := w.SignOut(t.Context(), desk, *desk.SessionID, now.Add(time.Hour), operator()); err != nil {
		t.Fatal(err)
	}
	refused("the session that was signed out", desk, true)
	refused("another one", phone, false)
	refused("the first one", b, false)

	cut := now.Add(10 * time.Second)
	if err := w.SignOutAll(t.Context(), b, cut, b.SessionID, operator()); err != nil {
		t.Fatal(err)
	}
	refused("the session that signed out the others", b, false)
	refused("another one, issued before", phone, true)
	refused("another one, issued in the last second before", session(cut.Add(-time.Second)), true)
	refused("a later one", session(cut), false)

	// Whoever was signed out cannot sign out the rest and exempt itself.
	if err := w.SignOutAll(t.Context(), phone, cut, phone.SessionID, operator()); !errors.Is(err, problem.SessionRevoked) {
		t.Errorf("sign out others by a session that is out: got %v, want %v", err, problem.SessionRevoked)
	}
	if err := w.SignOutAll(t.Context(), b, cut.Add(time.Second), nil, operator()); err != nil {
		t.Fatal(err)
	}
	refused("the session that signed out all", b, true)
	refused("one issued after the others were out", session(cut), true)
	refused("a token that does not say when it was issued", session(time.Time{}), true)
	// An earlier moment does not take a later one back.
	last := session(cut.Add(time.Second))
	if err := w.SignOutAll(t.Context(), last, now, last.SessionID, operator()); err != nil {
		t.Fatal(err)
	}
	refused("the same, after an earlier moment", session(cut), true)
	if got := w.count(`SELECT count(*) FROM audit_log WHERE action LIKE 'session.%'`); got != 4 {
		t.Errorf("audit entries: got %d, want 4", got)
	}
}

// Two requests of one user at once: one signs out a session, which at the same time signs out all others and exempts itself.
func TestSignOutLooksAgainUnderTheLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bearer()
	id := w.admitted(b)
	tx, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	q := db.New(tx)
	if _, err := q.LockUser(t.Context(), id.ID); err != nil {
		t.Fatal(err)
	}
	if err := q.RevokeTokens(t.Context(), db.RevokeTokensParams{ID: id.ID, ValidAfter: b.IssuedAt.Add(time.Second), Now: w.Now()}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- w.SignOutAll(t.Context(), b, b.IssuedAt.Add(time.Second), b.SessionID, operator())
	}()
	pgtest.AwaitLock(t, w.pool)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, problem.SessionRevoked) {
		t.Errorf("got %v, want %v", err, problem.SessionRevoked)
	}
}

// Disabling, signing out and deleting are seen by another instance within a second, though it has just read the user.
func TestSeenByOtherInstancesWithinASecond(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		do   func(w *world, b account.Bearer, id account.Identity) error
		want error
	}{
		{"sign-out", func(w *world, b account.Bearer, _ account.Identity) error {
			return w.SignOut(w.t.Context(), b, *b.SessionID, w.Now().Add(time.Hour), operator())
		}, problem.SessionRevoked},
		{"sign-out everywhere", func(w *world, b account.Bearer, _ account.Identity) error {
			return w.SignOutAll(w.t.Context(), b, b.IssuedAt.Add(time.Second), nil, operator())
		}, problem.SessionRevoked},
		{"disabled", func(w *world, _ account.Bearer, id account.Identity) error {
			_, _, err := w.SetStatus(w.t.Context(), noKey(), id.ID, account.StatusDisabled, "", operator())
			return err
		}, problem.UserDisabled},
		{"deleted", func(w *world, _ account.Bearer, id account.Identity) error {
			return w.Delete(w.t.Context(), id.ID, operator())
		}, problem.UserDeleted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			other := w.instance()
			b := w.bearer()
			w.known(b)
			id := w.admitted(b) // Redis is filled with it now
			for range 3 {
				if _, err := other.Admit(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			}
			if err := tt.do(w, b, id); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Admit(t.Context(), b); !errors.Is(err, tt.want) {
				t.Errorf("on the same instance, at once: got %v, want %v", err, tt.want)
			}
			eventually(t, time.Second, "refused by the other instance", func() bool {
				_, err := other.Admit(t.Context(), b)
				return errors.Is(err, tt.want)
			})
		})
	}
}

// When warm, no request asks the database.
func TestAdmitAsksTheCache(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bearer()
	want := w.admitted(b)
	eventually(t, 15*time.Second, "a read that Redis remembers", func() bool {
		w.admitted(b)
		before := w.pool.Stat().AcquireCount()
		for range 100 {
			if got := w.admitted(b); got.ID != want.ID {
				t.Fatalf("user: got %v, want %v", got.ID, want.ID)
			}
		}
		return w.pool.Stat().AcquireCount() == before
	})
}

func TestActFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, stranger := w.admitted(w.bearer()), w.admitted(w.bearer())
	team, closed := uuid.New(), uuid.New()
	w.exec(`INSERT INTO accounts (id, kind, name, status, created_at, updated_at) VALUES ($1, 'team', 'T', 'active', now(), now()), ($2, 'team', 'C', 'disabled', now(), now())`, team, closed)
	w.exec(`INSERT INTO memberships (account_id, user_id, role, created_at) VALUES ($1, $3, 'member', now()), ($2, $3, 'owner', now())`, team, closed, id.ID)
	user := account.Principal{Kind: account.KindUser, UserID: &id.ID, AccountID: &id.AccountID, Role: account.RoleOwner}
	key := account.Principal{Kind: account.KindAPIKey, KeyID: &team, AccountID: &id.AccountID}
	service := account.Principal{Kind: account.KindService, KeyID: &team}
	tests := []struct {
		name string
		p    account.Principal
		id   uuid.UUID
		role string
		want error
	}{
		{"own account", user, id.AccountID, account.RoleOwner, nil},
		{"team of the user", user, team, account.RoleMember, nil},
		{"closed team of the user", user, closed, "", problem.AccountClosed},
		{"account of a stranger", user, stranger.AccountID, "", problem.AccountForbidden},
		{"account that is not there", user, uuid.New(), "", problem.AccountForbidden},
		{"nil account", user, uuid.Nil, "", problem.AccountForbidden},
		{"key, own account", key, id.AccountID, "", nil},
		{"key, team of its maker", key, team, "", problem.AccountForbidden},
		{"service key, any account", service, stranger.AccountID, "", nil},
		{"service key, closed account", service, closed, "", problem.AccountClosed},
		{"service key, no such account", service, uuid.New(), "", problem.AccountForbidden},
		{"nobody", account.Principal{}, id.AccountID, "", problem.AccountForbidden},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := w.ActFor(t.Context(), tt.p, tt.id)
			if (tt.want == nil && err != nil) || (tt.want != nil && !errors.Is(err, tt.want)) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err == nil && (*got.AccountID != tt.id || got.Role != tt.role) {
				t.Errorf("got account %v as %q, want %v as %q", got.AccountID, got.Role, tt.id, tt.role)
			}
		})
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.admitted(w.bearer())
	tx, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	if _, err := account.Lock(t.Context(), db.New(tx), uuid.New()); !errors.Is(err, problem.NotFound) {
		t.Errorf("no such account: got %v, want %v", err, problem.NotFound)
	}
	if _, err := account.Open(t.Context(), db.New(tx), id.AccountID); err != nil {
		t.Errorf("Open: %v", err)
	}
	done := make(chan error, 1)
	go func() {
		done <- pgx.BeginFunc(t.Context(), w.pool, func(rival pgx.Tx) error {
			_, err := account.Open(t.Context(), db.New(rival), id.AccountID)
			return err
		})
	}()
	pgtest.AwaitLock(t, w.pool)
	if _, err := tx.Exec(t.Context(), `UPDATE accounts SET status = 'disabled' WHERE id = $1`, id.AccountID); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, problem.AccountClosed) {
		t.Errorf("Open by the rival: got %v, want %v", err, problem.AccountClosed)
	}
}
