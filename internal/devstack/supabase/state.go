package supabase

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	audience          = "authenticated"
	roleAuthenticated = "authenticated"
	roleService       = "service_role"
	roleAnon          = "anon"
)

// state is all that outlives a request. It is also the snapshot.
type state struct {
	CreatedAt time.Time           `json:"created_at"`
	Users     map[string]*user    `json:"users"`
	Sessions  map[string]*session `json:"sessions"`
	Keys      []signingKey        `json:"keys"` // the last one signs

	byEmail map[string]string // address → user id
	byToken map[string]string // refresh token → session id
}

// user is a row of auth.users. Its maps are replaced, never changed, so that
// an answer can be written without the lock.
type user struct {
	ID           string         `json:"id"`
	Role         string         `json:"role"`
	Email        string         `json:"email"` // in lower case
	Phone        string         `json:"phone"`
	PasswordHash []byte         `json:"password_hash,omitempty"`
	Anonymous    bool           `json:"anonymous,omitempty"`
	AppMetadata  map[string]any `json:"app_metadata"`
	UserMetadata map[string]any `json:"user_metadata"`
	Identities   []identity     `json:"identities"`
	NewEmail     string         `json:"new_email,omitempty"`

	CreatedAt        time.Time  `json:"created_at"`
	UpdatedAt        time.Time  `json:"updated_at"`
	EmailConfirmedAt *time.Time `json:"email_confirmed_at,omitempty"`
	PhoneConfirmedAt *time.Time `json:"phone_confirmed_at,omitempty"`
	InvitedAt        *time.Time `json:"invited_at,omitempty"`
	LastSignInAt     *time.Time `json:"last_sign_in_at,omitempty"`
	BannedUntil      *time.Time `json:"banned_until,omitempty"`
	DeletedAt        *time.Time `json:"deleted_at,omitempty"`

	// Codes holds the last code of each purpose; Sent when it was made, which
	// is shown and limits the rate even after the code is spent.
	Codes map[purpose]code      `json:"codes"`
	Sent  map[purpose]time.Time `json:"sent"`
}

type identity struct {
	ID           string         `json:"id"`
	Provider     string         `json:"provider"`
	Data         map[string]any `json:"data"`
	CreatedAt    time.Time      `json:"created_at"`
	UpdatedAt    time.Time      `json:"updated_at"`
	LastSignInAt *time.Time     `json:"last_sign_in_at,omitempty"`
}

// session is one sign-in with the family of its refresh tokens.
type session struct {
	ID        string         `json:"id"`
	UserID    string         `json:"user_id"`
	CreatedAt time.Time      `json:"created_at"`
	AMR       []amr          `json:"amr"`
	Tokens    []refreshToken `json:"tokens"`            // oldest first
	Revoked   bool           `json:"revoked,omitempty"` // a stolen token was seen
}

type amr struct {
	Method    string `json:"method"`
	Timestamp int64  `json:"timestamp"`
}

type refreshToken struct {
	Token   string     `json:"token"`
	Parent  string     `json:"parent,omitempty"`
	SpentAt *time.Time `json:"spent_at,omitempty"`
}

func newState(now time.Time) state {
	return state{CreatedAt: now, Users: map[string]*user{}, Sessions: map[string]*session{}}
}

// index builds the look-ups that the snapshot does not carry.
func (st *state) index() {
	st.byEmail, st.byToken = map[string]string{}, map[string]string{}
	for id, u := range st.Users {
		if u.Email != "" {
			st.byEmail[u.Email] = id
		}
	}
	for id, sess := range st.Sessions {
		for _, t := range sess.Tokens {
			st.byToken[t.Token] = id
		}
	}
}

// userByEmail finds a user by an address as somebody typed it.
func (st *state) userByEmail(email string) *user {
	return st.Users[st.byEmail[strings.ToLower(email)]]
}

// setEmail gives u an address in lower case, or takes its address with "".
func (st *state) setEmail(u *user, email string) {
	delete(st.byEmail, u.Email)
	u.Email = email
	if email != "" {
		st.byEmail[u.Email] = u.ID
	}
}

func (st *state) dropSession(id string) {
	sess := st.Sessions[id]
	if sess == nil {
		return
	}
	for _, t := range sess.Tokens {
		delete(st.byToken, t.Token)
	}
	delete(st.Sessions, id)
}

// dropSessions ends the sessions of a user for which f is true.
func (st *state) dropSessions(userID string, f func(*session) bool) {
	for id, sess := range st.Sessions {
		if sess.UserID == userID && f(sess) {
			st.dropSession(id)
		}
	}
}

func (st *state) dropUser(u *user) {
	st.dropSessions(u.ID, func(*session) bool { return true })
	st.setEmail(u, "")
	delete(st.Users, u.ID)
}

// addUser makes a user with an identity for each of its addresses.
func (st *state) addUser(n user, now time.Time) *user {
	u := &n
	u.ID = uuid.NewString()
	u.CreatedAt, u.UpdatedAt = now, now
	u.Codes, u.Sent = map[purpose]code{}, map[purpose]time.Time{}
	orDefault(&u.Role, roleAuthenticated)
	email := u.Email
	u.Email = ""
	st.Users[u.ID] = u
	st.setEmail(u, email)
	if email != "" {
		u.addIdentity("email", map[string]any{"email": u.Email}, now)
	}
	if u.Phone != "" {
		u.addIdentity("phone", map[string]any{"phone": u.Phone}, now)
	}
	return u
}

func (u *user) addIdentity(provider string, data map[string]any, now time.Time) {
	data = merge(data, map[string]any{"sub": u.ID, "email_verified": false, "phone_verified": false})
	u.Identities = append(u.Identities, identity{
		ID: uuid.NewString(), Provider: provider, Data: data, CreatedAt: now, UpdatedAt: now,
	})
	providers := make([]any, 0, len(u.Identities))
	for _, i := range u.Identities {
		providers = append(providers, i.Provider)
	}
	u.AppMetadata = merge(u.AppMetadata, map[string]any{"provider": u.Identities[0].Provider, "providers": providers})
}

// confirm marks the address as the user's own.
func (u *user) confirm(now time.Time) {
	u.EmailConfirmedAt, u.UpdatedAt = &now, now
	u.UserMetadata = merge(u.UserMetadata, map[string]any{"email_verified": true})
	u.changeIdentity(map[string]any{"email_verified": true}, now)
	delete(u.Codes, forConfirmation)
}

// changeIdentity merges data into the identity of the e-mail address.
func (u *user) changeIdentity(data map[string]any, now time.Time) {
	u.Identities = slices.Clone(u.Identities)
	for i := range u.Identities {
		if u.Identities[i].Provider == "email" {
			u.Identities[i].Data = merge(u.Identities[i].Data, data)
			u.Identities[i].UpdatedAt = now
		}
	}
}

func (u *user) confirmed() bool { return u.EmailConfirmedAt != nil }

func (u *user) banned(now time.Time) bool { return u.BannedUntil != nil && now.Before(*u.BannedUntil) }

// merge returns base with the members of change; a nil removes one.
func merge(base, change map[string]any) map[string]any {
	merged := maps.Clone(base)
	if merged == nil {
		merged = map[string]any{}
	}
	for k, v := range change {
		if v == nil {
			delete(merged, k)
			continue
		}
		merged[k] = v
	}
	return merged
}
