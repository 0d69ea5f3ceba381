package auth_test

import (
	"testing"
	"time"

	"example.com/saaskit/internal/devstack/supabase"
)

func TestEmailConfirmation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	confirmed := func() bool {
		var yes bool
		w.scan(&yes, `SELECT email_confirmed_at IS NOT NULL FROM users`)
		return yes
	}
	id, session := w.person("ana@example.com", supabase.SignUpOptions{Unconfirmed: true, UserMetadata: map[string]any{"email_verified": true}})
	w.admitted(session.AccessToken)
	if confirmed() {
		t.Fatal("confirmed by what the user says of themselves")
	}
	if err := w.SetEmailConfirmed(id, true); err != nil {
		t.Fatal(err)
	}
	w.admitted(session.AccessToken)
	time.Sleep(50 * time.Millisecond)
	if confirmed() {
		t.Error("asked again within the minute")
	}
	w.Add(61 * time.Second)
	eventually(t, 5*time.Second, "confirmed", func() bool {
		w.admitted(session.AccessToken)
		return confirmed()
	})
}

// The first request finds the address confirmed already, and a sign-in tells as well.
func TestEmailConfirmationAtFirstSight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	_, session := w.person("ana@example.com", supabase.SignUpOptions{})
	w.admitted(session.AccessToken)
	eventually(t, 5*time.Second, "confirmed", func() bool {
		var yes bool
		w.scan(&yes, `SELECT email_confirmed_at IS NOT NULL FROM users`)
		return yes
	})
	id, other := w.person("bob@example.com", supabase.SignUpOptions{Unconfirmed: true})
	p := w.admitted(other.AccessToken)
	if err := w.SetEmailConfirmed(id, true); err != nil {
		t.Fatal(err)
	}
	if _, err := w.LogIn(t.Context(), ip, "bob@example.com", password); err != nil {
		t.Fatal(err)
	}
	var yes bool
	w.scan(&yes, `SELECT email_confirmed_at IS NOT NULL FROM users WHERE id = $1`, *p.UserID)
	if !yes {
		t.Error("not confirmed by a sign-in whose answer said so")
	}
}

// Supabase hangs: the very first request waits a moment, the others do not.
func TestEmailCheckHoldsUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	_, session := w.person("ana@example.com", supabase.SignUpOptions{})
	release := make(chan struct{})
	defer close(release)
	w.SetFault("/user", supabase.Fault{Hold: release})
	began := time.Now()
	w.admitted(session.AccessToken)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the first request took %v", took)
	}
	began = time.Now()
	for range 20 {
		w.admitted(session.AccessToken)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("twenty more took %v", took)
	}
}
