package supabase

import "time"

// A Session is the answer to a sign-in.
type Session struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	ExpiresAt    int64  `json:"expires_at"`
	RefreshToken string `json:"refresh_token"`
	User         User   `json:"user"`

	sessionID string
}

// passwordSession is the answer to a sign-in by password.
type passwordSession struct {
	Session
	WeakPassword *weakPassword `json:"weak_password"`
}

// A User is a user as the API shows it. Absent times are left out.
type User struct {
	ID                 string         `json:"id"`
	Aud                string         `json:"aud"`
	Role               string         `json:"role"`
	Email              string         `json:"email"`
	EmailConfirmedAt   *time.Time     `json:"email_confirmed_at,omitempty"`
	InvitedAt          *time.Time     `json:"invited_at,omitempty"`
	Phone              string         `json:"phone"`
	PhoneConfirmedAt   *time.Time     `json:"phone_confirmed_at,omitempty"`
	ConfirmationSentAt *time.Time     `json:"confirmation_sent_at,omitempty"`
	ConfirmedAt        *time.Time     `json:"confirmed_at,omitempty"`
	RecoverySentAt     *time.Time     `json:"recovery_sent_at,omitempty"`
	NewEmail           string         `json:"new_email,omitempty"`
	EmailChangeSentAt  *time.Time     `json:"email_change_sent_at,omitempty"`
	ReauthSentAt       *time.Time     `json:"reauthentication_sent_at,omitempty"`
	LastSignInAt       *time.Time     `json:"last_sign_in_at,omitempty"`
	AppMetadata        map[string]any `json:"app_metadata"`
	UserMetadata       map[string]any `json:"user_metadata"`
	Identities         []Identity     `json:"identities"` // null in lists
	CreatedAt          time.Time      `json:"created_at"`
	UpdatedAt          time.Time      `json:"updated_at"`
	BannedUntil        *time.Time     `json:"banned_until,omitempty"`
	DeletedAt          *time.Time     `json:"deleted_at,omitempty"`
	IsAnonymous        bool           `json:"is_anonymous"`
}

// An Identity is one way a user signs in.
type Identity struct {
	IdentityID   string         `json:"identity_id"`
	ID           string         `json:"id"`
	UserID       string         `json:"user_id"`
	IdentityData map[string]any `json:"identity_data"`
	Provider     string         `json:"provider"`
	LastSignInAt *time.Time     `json:"last_sign_in_at,omitempty"`
	CreatedAt    time.Time      `json:"created_at"`
	UpdatedAt    time.Time      `json:"updated_at"`
	Email        string         `json:"email,omitempty"`
}

// wire shows u. It shares no memory that a later change touches.
func (u *user) wire() User {
	w := User{
		ID: u.ID, Aud: audience, Role: u.Role, Email: u.Email, Phone: u.Phone, NewEmail: u.NewEmail,
		EmailConfirmedAt: u.EmailConfirmedAt, PhoneConfirmedAt: u.PhoneConfirmedAt,
		InvitedAt: u.InvitedAt, LastSignInAt: u.LastSignInAt, BannedUntil: u.BannedUntil, DeletedAt: u.DeletedAt,
		ConfirmationSentAt: u.sentAt(forConfirmation), RecoverySentAt: u.sentAt(forRecovery),
		EmailChangeSentAt: u.sentAt(forEmailChange), ReauthSentAt: u.sentAt(forReauthentication),
		AppMetadata: u.AppMetadata, UserMetadata: u.UserMetadata, Identities: []Identity{},
		CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt, IsAnonymous: u.Anonymous,
	}
	w.ConfirmedAt = u.EmailConfirmedAt
	if w.ConfirmedAt == nil {
		w.ConfirmedAt = u.PhoneConfirmedAt
	}
	for _, i := range u.Identities {
		email, _ := i.Data["email"].(string)
		w.Identities = append(w.Identities, Identity{
			IdentityID: i.ID, ID: u.ID, UserID: u.ID, IdentityData: i.Data, Provider: i.Provider, Email: email,
			LastSignInAt: i.LastSignInAt, CreatedAt: i.CreatedAt, UpdatedAt: i.UpdatedAt,
		})
	}
	return w
}

func (u *user) sentAt(p purpose) *time.Time {
	at, sent := u.Sent[p]
	if !sent {
		return nil
	}
	return &at
}
