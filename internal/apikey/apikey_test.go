package apikey_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/apikey"
	"example.com/saaskit/internal/cache/redistest"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/page"
	"example.com/saaskit/internal/postgres/pgtest"
	"example.com/saaskit/internal/problem"
)

func TestCreate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	expires := w.clock.now().Add(time.Hour)
	created := w.create(apikey.Wish{
		Name: " deploy ", Scopes: []string{"credits:read", "usage:write", "credits:read"}, ExpiresAt: &expires,
		AllowedIPs: []string{"192.0.2.7", "10.1.2.3/8", "::ffff:198.51.100.9", "2001:db8::1", "192.0.2.7/32"},
	})
	want := apikey.Key{
		ID: created.ID, AccountID: &w.account, Name: "deploy", Start: string(created.Secret)[:7],
		Scopes: []string{"credits:read", "usage:write"}, CreatedBy: &w.user,
		CreatedAt: w.clock.now(), UpdatedAt: w.clock.now(), ExpiresAt: &expires,
		AllowedIPs: networks("192.0.2.7/32", "10.0.0.0/8", "198.51.100.9/32", "2001:db8::1/128"),
	}
	if diff := cmp.Diff(want, created.Key, compareNetworks()); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	got, err := w.Get(t.Context(), w.account, created.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, compareNetworks()); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
	p, err := w.Authenticate(t.Context(), string(created.Secret), from())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(account.Principal{
		Kind: account.KindAPIKey, AccountID: &w.account, KeyID: &created.ID, Scopes: want.Scopes,
	}, p); diff != "" {
		t.Errorf("principal (-want +got):\n%s", diff)
	}
	// The secret is nowhere, not even in part.
	if n := w.number("SELECT count(*) FROM api_keys k WHERE position($1 in k::text) > 0", string(created.Secret)[7:]); n != 0 {
		t.Error("the secret is in the database")
	}
	if n := w.number("SELECT count(*) FROM audit_log WHERE action = 'api_key.create' AND account_id = $1 AND target_id = $2 AND actor_id = $3",
		w.account, created.ID.String(), w.user.String()); n != 1 {
		t.Errorf("%d audit entries, want 1", n)
	}
}

func networks(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

func compareNetworks() cmp.Option {
	return cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	past := w.clock.now()
	tests := []struct {
		name string
		wish apikey.Wish
		at   string
	}{
		{"no name", apikey.Wish{Name: " \t "}, "body.name"},
		{"long name", apikey.Wish{Name: string(make([]rune, 101))}, "body.name"},
		{"NUL in the name", apikey.Wish{Name: "a\x00b"}, "body.name"},
		{"broken UTF-8 in the name", apikey.Wish{Name: "a\xffb"}, "body.name"},
		{"unknown scope", apikey.Wish{Name: "x", Scopes: []string{"credits:read", "root"}}, "body.scopes"},
		{"scope of a service key", apikey.Wish{Name: "x", Scopes: []string{"admin"}}, "body.scopes"},
		{"past expiry", apikey.Wish{Name: "x", ExpiresAt: &past}, "body.expires_at"},
		{"no address", apikey.Wish{Name: "x", AllowedIPs: []string{"example.com"}}, "body.allowed_ips"},
		{"network too long", apikey.Wish{Name: "x", AllowedIPs: []string{"10.0.0.0/33"}}, "body.allowed_ips"},
		{"address with zone", apikey.Wish{Name: "x", AllowedIPs: []string{"fe80::1%eth0"}}, "body.allowed_ips"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := w.Create(t.Context(), w.account, &w.user, tt.wish, idempotency.Key{}, w.actor())
			if !errors.Is(err, problem.InvalidRequest) {
				t.Fatalf("got %v, want %v", err, problem.InvalidRequest)
			}
			if p := problem.Of(err); len(p.Fields) != 1 || p.Fields[0].Location != tt.at {
				t.Errorf("fields: got %+v, want %s", p.Fields, tt.at)
			}
		})
	}
	if n := w.number("SELECT count(*) FROM api_keys"); n != 0 {
		t.Errorf("%d keys were made", n)
	}
}

func TestLimitOfTheTier(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.allow(2)
	soon := w.clock.now().Add(time.Minute)
	first := w.create(apikey.Wish{ExpiresAt: &soon})
	second := w.create(apikey.Wish{})
	refused := func() {
		t.Helper()
		if _, err := w.Create(t.Context(), w.account, nil, apikey.Wish{Name: "x"}, idempotency.Key{}, w.actor()); !errors.Is(err, problem.LimitReached) {
			t.Errorf("got %v, want %v", err, problem.LimitReached)
		}
	}
	refused()
	if err := w.Revoke(t.Context(), w.account, second.ID, w.actor()); err != nil {
		t.Fatal(err)
	}
	w.create(apikey.Wish{}) // in place of the revoked one
	refused()
	w.clock.move(time.Minute) // the first has expired
	w.create(apikey.Wish{})
	refused()
	// Bringing the expired one back to life takes a place too.
	later := w.clock.now().Add(time.Hour)
	_, _, err := w.Update(t.Context(), w.account, first.ID, apikey.Change{Expiry: &apikey.Expiry{At: &later}}, idempotency.Key{}, w.actor())
	if !errors.Is(err, problem.LimitReached) {
		t.Errorf("Update: got %v, want %v", err, problem.LimitReached)
	}
	// Another account has its own places.
	w.account = pgtest.Account(t, w.pool)
	w.create(apikey.Wish{})
}

// Two requests at once must not both take the last place.
func TestLimitUnderTheLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.allow(1)
	tx, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT FROM accounts WHERE id = $1 FOR UPDATE", w.account); err != nil {
		t.Fatal(err)
	}
	rival := make(chan error, 1)
	go func() {
		_, err := w.Create(t.Context(), w.account, nil, apikey.Wish{Name: "rival"}, idempotency.Key{}, w.actor())
		rival <- err
	}()
	pgtest.AwaitLock(t, w.pool)
	const place = `INSERT INTO api_keys (id, account_id, name, hash, start, scopes, created_at, updated_at)
		VALUES (gen_random_uuid(), $1, 'first', sha256('first'), 'sk_1', '{}', $2, $2)`
	if _, err := tx.Exec(t.Context(), place, w.account, w.clock.now()); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-rival; !errors.Is(err, problem.LimitReached) {
		t.Errorf("the rival: got %v, want %v", err, problem.LimitReached)
	}
}

func TestIdempotentCreation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	key, err := idempotency.New("user:"+w.user.String(), "createAPIKey", "abc", "body")
	if err != nil {
		t.Fatal(err)
	}
	make := func() apikey.Created {
		t.Helper()
		created, err := w.Create(t.Context(), w.account, &w.user, apikey.Wish{Name: "x", AllowedIPs: []string{"192.0.0.0/8"}}, key, w.actor())
		if err != nil {
			t.Fatal(err)
		}
		return created
	}
	first, again := make(), make()
	if first.Replayed || first.Secret == "" {
		t.Errorf("first: replayed %v, secret %q", first.Replayed, first.Secret)
	}
	if !again.Replayed || again.Secret != "" {
		t.Errorf("again: replayed %v, with secret %v", again.Replayed, again.Secret != "")
	}
	if diff := cmp.Diff(first.Key, again.Key, compareNetworks()); diff != "" {
		t.Errorf("the replay differs:\n%s", diff)
	}
	if n := w.number("SELECT count(*) FROM api_keys"); n != 1 {
		t.Errorf("%d keys, want 1", n)
	}
	w.want(w.Service, first.Secret, nil)
	if n := w.number("SELECT count(*) FROM idempotency_keys WHERE position($1 in result::text) > 0", string(first.Secret)[7:]); n != 0 {
		t.Error("the secret is stored with the result")
	}
}

func TestOtherAccountsKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	created := w.create(apikey.Wish{})
	other := pgtest.Account(t, w.pool)
	name := "mine"
	for what, try := range map[string]func() error{
		"get": func() error { _, err := w.Get(t.Context(), other, created.ID); return err },
		"update": func() error {
			_, _, err := w.Update(t.Context(), other, created.ID, apikey.Change{Name: &name}, idempotency.Key{}, w.actor())
			return err
		},
		"revoke": func() error { return w.Revoke(t.Context(), other, created.ID, w.actor()) },
		"rotate": func() error {
			_, err := w.Rotate(t.Context(), other, created.ID, nil, 0, idempotency.Key{}, w.actor())
			return err
		},
	} {
		if err := try(); !errors.Is(err, problem.NotFound) {
			t.Errorf("%s: got %v, want %v", what, err, problem.NotFound)
		}
	}
	w.want(w.Service, created.Secret, nil)
	list, err := w.List(t.Context(), other, page.Request{Limit: 10})
	if err != nil || len(list.Data) != 0 {
		t.Errorf("List: %d keys, %v", len(list.Data), err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	var want []uuid.UUID // newest first; two have the same time
	for i := range 5 {
		if i != 3 {
			w.clock.move(time.Second)
		}
		want = append([]uuid.UUID{w.create(apikey.Wish{}).ID}, want...)
	}
	if err := w.Revoke(t.Context(), w.account, want[4], w.actor()); err != nil {
		t.Fatal(err)
	}
	want = want[:4]
	var got []uuid.UUID
	request := page.Request{Limit: 2}
	for range 4 {
		p, err := w.List(t.Context(), w.account, request)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range p.Data {
			got = append(got, k.ID)
		}
		if request.Cursor = p.Next; p.Next == "" {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if _, err := w.List(t.Context(), w.account, page.Request{Limit: 2, Cursor: "!"}); !errors.Is(err, problem.InvalidCursor) {
		t.Errorf("broken cursor: got %v", err)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	at := w.clock.now().Add(time.Hour)
	created := w.create(apikey.Wish{ExpiresAt: &at, Scopes: []string{"usage:read"}})
	w.want(w.Service, created.Secret, nil)
	name, scopes, ips := "renamed", []string{"credits:write"}, []string{"10.0.0.0/8"}

	changed, _, err := w.Update(t.Context(), w.account, created.ID, apikey.Change{Name: &name}, idempotency.Key{}, w.actor())
	if err != nil || changed.Name != name || changed.ExpiresAt == nil || len(changed.Scopes) != 1 {
		t.Errorf("name only: got %+v, %v", changed, err)
	}
	changed, _, err = w.Update(t.Context(), w.account, created.ID,
		apikey.Change{Scopes: &scopes, AllowedIPs: &ips, Expiry: &apikey.Expiry{}}, idempotency.Key{}, w.actor())
	if err != nil || changed.ExpiresAt != nil || changed.Scopes[0] != scopes[0] || changed.Name != name {
		t.Errorf("the rest: got %+v, %v", changed, err)
	}
	w.want(w.Service, created.Secret, problem.AddressNotAllowed) // at once
	past := w.clock.now()
	if _, _, err := w.Update(t.Context(), w.account, created.ID, apikey.Change{Expiry: &apikey.Expiry{At: &past}}, idempotency.Key{}, w.actor()); !errors.Is(err, problem.InvalidRequest) {
		t.Errorf("past expiry: got %v", err)
	}
	if n := w.number(`SELECT count(*) FROM audit_log WHERE action = 'api_key.update' AND before->>'name' = 'renamed' AND after->'scopes' = '["credits:write"]'`); n != 1 {
		t.Errorf("%d audit entries, want 1", n)
	}
}

func TestUpdateReplays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	created := w.create(apikey.Wish{})
	key, err := idempotency.New("user:u", "updateAPIKey", "abc", "body")
	if err != nil {
		t.Fatal(err)
	}
	one, two := "one", "two"
	if _, _, err := w.Update(t.Context(), w.account, created.ID, apikey.Change{Name: &one}, key, w.actor()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.Update(t.Context(), w.account, created.ID, apikey.Change{Name: &two}, idempotency.Key{}, w.actor()); err != nil {
		t.Fatal(err)
	}
	got, replayed, err := w.Update(t.Context(), w.account, created.ID, apikey.Change{Name: &one}, key, w.actor())
	if err != nil || !replayed || got.Name != one {
		t.Errorf("replay: %+v, %v, %v", got.Name, replayed, err)
	}
	if now, err := w.Get(t.Context(), w.account, created.ID); err != nil || now.Name != two {
		t.Errorf("after the replay: %v, %v", now.Name, err)
	}
}

func TestRevokeTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	created := w.create(apikey.Wish{})
	for range 2 {
		if err := w.Revoke(t.Context(), w.account, created.ID, w.actor()); err != nil {
			t.Fatal(err)
		}
	}
	w.want(w.Service, created.Secret, problem.InvalidAPIKey)
	if n := w.number("SELECT count(*) FROM audit_log WHERE action = 'api_key.revoke'"); n != 1 {
		t.Errorf("%d audit entries, want 1", n)
	}
	if _, err := w.Get(t.Context(), w.account, created.ID); !errors.Is(err, problem.NotFound) {
		t.Errorf("Get: %v", err)
	}
	if err := w.Revoke(t.Context(), w.account, uuid.New(), w.actor()); !errors.Is(err, problem.NotFound) {
		t.Errorf("unknown: %v", err)
	}
}

func TestClosedAccount(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		sql  string
		want error
	}{
		{"account disabled", "UPDATE accounts SET status = 'disabled' WHERE id = $1", problem.UserDisabled},
		{"account deleted", "UPDATE accounts SET status = 'deleted' WHERE id = $1", problem.AccountClosed},
		{"user disabled", "UPDATE users SET status = 'disabled' WHERE id = (SELECT personal_of FROM accounts WHERE id = $1)", problem.UserDisabled},
		{"user on the way out", "UPDATE users SET status = 'deleting' WHERE id = (SELECT personal_of FROM accounts WHERE id = $1)", problem.AccountClosed},
	}
	w := newWorld(t, "")
	for _, tt := range tests {
		w.account = pgtest.Account(t, w.pool)
		created := w.create(apikey.Wish{})
		w.exec(tt.sql, w.account)
		if _, err := w.Authenticate(t.Context(), string(created.Secret), from()); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
	w.exec("UPDATE accounts SET status = 'disabled' WHERE id = $1", w.account)
	if _, err := w.Create(t.Context(), w.account, nil, apikey.Wish{Name: "x"}, idempotency.Key{}, w.actor()); !errors.Is(err, problem.AccountClosed) {
		t.Errorf("Create: got %v, want %v", err, problem.AccountClosed)
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	at := w.clock.now().Add(time.Hour)
	created := w.create(apikey.Wish{ExpiresAt: &at})
	w.clock.move(time.Hour - time.Microsecond)
	w.want(w.Service, created.Secret, nil)
	w.clock.move(time.Microsecond)
	w.want(w.Service, created.Secret, problem.APIKeyExpired)
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	created := w.create(apikey.Wish{AllowedIPs: []string{"10.0.0.0/8", "2001:db8::/32", "::ffff:198.51.100.0/120"}})
	for text, want := range map[string]error{
		"10.9.8.7":            nil,
		"::ffff:10.9.8.7":     nil,
		"11.0.0.1":            problem.AddressNotAllowed,
		"2001:db8:5::1":       nil,
		"2001:db9::1":         problem.AddressNotAllowed,
		"198.51.100.200":      nil,
		"::ffff:198.51.101.1": problem.AddressNotAllowed,
		"::1":                 problem.AddressNotAllowed,
	} {
		if _, err := w.Authenticate(t.Context(), string(created.Secret), netip.MustParseAddr(text)); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", text, err, want)
		}
	}
	if _, err := w.Authenticate(t.Context(), string(created.Secret), netip.Addr{}); !errors.Is(err, problem.AddressNotAllowed) {
		t.Errorf("no address: got %v", err)
	}
}

func TestLastUsedAt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	created := w.create(apikey.Wish{})
	w.want(w.Service, created.Secret, nil)
	w.clock.move(time.Minute)
	w.want(w.Service, created.Secret, nil)
	used := w.clock.now()
	other := w.instance(redistest.New(t))
	w.clock.move(-30 * time.Second)
	w.want(other, created.Secret, nil) // earlier, and written later
	if got, err := w.Get(t.Context(), w.account, created.ID); err != nil || got.LastUsedAt != nil {
		t.Fatalf("it is written on every request: %v, %v", got.LastUsedAt, err)
	}
	w.Close()
	other.Close()
	got, err := w.Get(t.Context(), w.account, created.ID)
	if err != nil || got.LastUsedAt == nil || !got.LastUsedAt.Equal(used) {
		t.Errorf("got %v, %v, want %v", got.LastUsedAt, err, used)
	}
}
