package supabase

import (
	"net/http"
	"time"
)

// getUser answers GET /user.
func (s *Server) getUser(r *http.Request) (answer, error) {
	c, err := s.authenticate(r)
	if err != nil {
		return answer{}, err
	}
	var a answer
	err = s.view(func() error {
		u, _, err := s.find(c)
		if err == nil {
			a = ok(u.wire())
		}
		return err
	})
	return a, err
}

type userChange struct {
	Email       string         `json:"email"`
	Phone       string         `json:"phone"`
	Password    *string        `json:"password"`
	Nonce       string         `json:"nonce"`
	Data        map[string]any `json:"data"`
	AppMetadata map[string]any `json:"app_metadata"`
}

// putUser answers PUT /user.
func (s *Server) putUser(r *http.Request) (answer, error) {
	c, err := s.authenticate(r)
	if err != nil {
		return answer{}, err
	}
	var in userChange
	if err := decode(r, &in); err != nil {
		return answer{}, err
	}
	if in.AppMetadata != nil {
		return answer{}, failf(http.StatusForbidden, "not_admin", "Updating app_metadata requires admin privileges")
	}
	if in.Phone != "" {
		return answer{}, failf(http.StatusBadRequest, "phone_provider_disabled", "Unsupported phone provider")
	}
	if in.Email != "" {
		if in.Email, err = normalizeEmail(in.Email); err != nil {
			return answer{}, err
		}
	}
	hash, err := s.newPassword(c, in)
	if err != nil {
		return answer{}, err
	}
	var a answer
	err = s.update(func() error {
		u, sess, err := s.find(c)
		if err != nil {
			return err
		}
		if err := s.change(u, sess, in, hash, redirectTo(r)); err != nil {
			return err
		}
		a = ok(u.wire())
		return nil
	})
	return a, err
}

// newPassword hashes the new password, if there is one, without the lock.
func (s *Server) newPassword(c caller, in userChange) ([]byte, error) {
	if in.Password == nil {
		return nil, nil
	}
	hash, err := s.hash(*in.Password)
	if err != nil {
		return nil, err
	}
	var old []byte
	err = s.view(func() error {
		u, sess, err := s.find(c)
		if err != nil {
			return err
		}
		if u.Anonymous && in.Email == "" {
			return failf(http.StatusUnprocessableEntity, "validation_failed",
				"Updating password of an anonymous user without an email or phone is not allowed")
		}
		old = u.PasswordHash
		return s.checkReauthentication(u, sess, in.Nonce)
	})
	if err != nil {
		return nil, err
	}
	if matches(old, *in.Password) {
		return nil, failf(http.StatusUnprocessableEntity, "same_password", "New password should be different from the old password.")
	}
	return hash, nil
}

// checkReauthentication asks for a mailed code where the session is old.
func (s *Server) checkReauthentication(u *user, sess *session, nonce string) error {
	if !s.cfg.RequireReauthentication || (sess != nil && s.now().Before(sess.CreatedAt.Add(24*time.Hour))) {
		return nil
	}
	if nonce == "" {
		return failf(http.StatusBadRequest, "reauthentication_needed", "Password update requires reauthentication")
	}
	c, has := u.Codes[forReauthentication]
	if !has || c.Hash != hashCode(u.Email, nonce) || s.now().After(c.SentAt.Add(s.cfg.CodeTTL)) {
		return failf(http.StatusUnprocessableEntity, "reauthentication_not_valid", "Nonce has expired or is invalid")
	}
	return nil
}

// change applies in to u. A new password ends every other session.
func (s *Server) change(u *user, sess *session, in userChange, hash []byte, redirect string) error {
	if in.Email != "" && in.Email != u.Email {
		if err := s.requestEmail(u, in.Email, redirect); err != nil {
			return err
		}
	}
	if hash != nil {
		u.PasswordHash = hash
		delete(u.Codes, forReauthentication)
		delete(u.Codes, forRecovery)
		s.state.dropSessions(u.ID, func(other *session) bool { return other != sess })
	}
	if in.Data != nil {
		u.UserMetadata = merge(u.UserMetadata, in.Data)
	}
	u.UpdatedAt = s.now()
	return nil
}

func errEmailTaken() error {
	return failf(http.StatusUnprocessableEntity, "email_exists", "A user with this email address has already been registered")
}

// requestEmail mails the new address; it counts once its code comes back. Only
// an anonymous user takes an address at once, where sign-ups do so as well.
func (s *Server) requestEmail(u *user, email, redirect string) error {
	if s.state.userByEmail(email) != nil {
		return errEmailTaken()
	}
	if u.Anonymous && s.cfg.AutoConfirm {
		s.setUserEmail(u, email)
		u.confirm(s.now())
		return nil
	}
	if err := s.send(u, Message{To: email, Type: "email_change"}, forEmailChange, redirect); err != nil {
		return err
	}
	u.NewEmail = email
	return nil
}

// reauthenticate answers GET /reauthenticate.
func (s *Server) reauthenticate(r *http.Request) (answer, error) {
	c, err := s.authenticate(r)
	if err != nil {
		return answer{}, err
	}
	return s.mailed(func() error {
		u, _, err := s.find(c)
		if err != nil {
			return err
		}
		if u.Email == "" {
			return failf(http.StatusUnprocessableEntity, "validation_failed",
				"Reauthentication requires the user to have an email or a phone number")
		}
		if !u.confirmed() {
			return failf(http.StatusUnprocessableEntity, "email_not_confirmed", "Please verify your email first.")
		}
		return s.send(u, Message{To: u.Email, Type: "reauthentication"}, forReauthentication, "")
	})
}
