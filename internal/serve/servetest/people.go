package servetest

import (
	"crypto/rand"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/apikey"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/cache"
	"example.com/saaskit/internal/devstack/supabase"
)

// A Person is a signed-in user.
type Person struct {
	ID        uuid.UUID // our user id
	AccountID uuid.UUID
	Subject   string // Supabase's user id
	Email     string
	Token     string
	Session   supabase.Session
}

// Person signs somebody up, confirmed, and lets the server see them.
func (w *World) Person(t testing.TB) Person {
	t.Helper()
	return w.person(t, supabase.SignUpOptions{})
}

// Admin is a person with the administrator's claim.
func (w *World) Admin(t testing.TB) Person {
	t.Helper()
	return w.person(t, supabase.SignUpOptions{AppMetadata: map[string]any{"saaskit_role": "admin"}})
}

// password is what everybody has.
const password = "correct horse battery"

func (w *World) person(t testing.TB, o supabase.SignUpOptions) Person {
	t.Helper()
	p := Person{Email: strings.ToLower(rand.Text()) + "@example.com"}
	var err error
	p.Subject, p.Session, err = w.Supabase.SignUp(p.Email, password, o)
	if err != nil {
		t.Fatal(err)
	}
	p.Token = p.Session.AccessToken
	var me struct {
		ID        uuid.UUID `json:"id"`
		AccountID uuid.UUID `json:"account_id"`
	}
	w.Do(t, Request{Method: http.MethodGet, Path: "/v1/users/me", Token: p.Token}).Want(http.StatusOK, &me)
	p.ID, p.AccountID = me.ID, me.AccountID
	if !w.manualMail {
		w.awaitConfirmed(t, p)
	}
	return p
}

// awaitConfirmed waits until the server knows that the address is confirmed, which it asks on the side: free credits wait for it.
func (w *World) awaitConfirmed(t testing.TB, p Person) {
	t.Helper()
	Eventually(t, requestTimeout, func() (confirmed bool) {
		err := w.Pool.QueryRow(t.Context(), "SELECT email_confirmed_at IS NOT NULL FROM users WHERE id = $1", p.ID).Scan(&confirmed)
		if err != nil {
			t.Fatal(err)
		}
		return confirmed
	}, "the address of %s is not known to be confirmed", p.Email)
}

// ServiceKey makes a service key, as `saaskit keys create` does.
func (w *World) ServiceKey(t testing.TB, scopes ...string) string {
	t.Helper()
	log := slog.New(slog.NewTextHandler(w.Log, nil))
	c, err := cache.Open(t.Context(), w.Redis.URL(), w.env["REDIS_PREFIX"], log)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	keys := apikey.New(apikey.Config{Pool: w.Pool, Cache: c, Log: log, Now: time.Now, Policy: account.DefaultPolicy()})
	defer keys.Close()
	made, err := keys.CreateService(t.Context(), apikey.Wish{Name: "test", Scopes: scopes}, audit.Operator("test"))
	if err != nil {
		t.Fatal(err)
	}
	return string(made.Secret)
}

// Key makes an API key of the person's account.
func (w *World) Key(t testing.TB, p Person, scopes ...string) (id, secret string) {
	t.Helper()
	if scopes == nil {
		scopes = []string{}
	}
	var key struct{ ID, Secret string }
	w.Do(t, Request{Method: http.MethodPost, Path: "/v1/api-keys", Token: p.Token, Body: map[string]any{"name": "test", "scopes": scopes}}).
		Want(http.StatusCreated, &key)
	return key.ID, key.Secret
}

// LogIn signs somebody in again and returns the access token.
func (w *World) LogIn(t testing.TB, p Person) string {
	t.Helper()
	var session struct {
		AccessToken string `json:"access_token"`
	}
	w.Do(t, Request{Method: http.MethodPost, Path: "/v1/auth/login", Body: map[string]any{"email": p.Email, "password": password}}).
		Want(http.StatusOK, &session)
	return session.AccessToken
}
