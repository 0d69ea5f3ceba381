package servetest

import (
	"crypto/rand"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

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

func (w *World) person(t testing.TB, o supabase.SignUpOptions) Person {
	t.Helper()
	p := Person{Email: strings.ToLower(rand.Text()) + "@example.com"}
	var err error
	p.Subject, p.Session, err = w.Supabase.SignUp(p.Email, "correct horse battery", o)
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
	return p
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
