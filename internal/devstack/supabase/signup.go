package supabase

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/crypto/bcrypt"
)

type signupRequest struct {
	Email    string         `json:"email"`
	Phone    string         `json:"phone"`
	Password string         `json:"password"`
	Data     map[string]any `json:"data"`
}

// signup answers POST /signup: a session where the address counts as confirmed,
// else the bare user.
func (s *Server) signup(r *http.Request) (answer, error) {
	var in signupRequest
	if err := decode(r, &in); err != nil {
		return answer{}, err
	}
	if s.cfg.DisableSignup {
		return answer{}, failf(http.StatusUnprocessableEntity, "signup_disabled", "Signups not allowed for this instance")
	}
	if in.Email == "" && in.Phone == "" {
		return s.signupAnonymous(in.Data)
	}
	hash, err := s.checkSignup(&in)
	if err != nil {
		return answer{}, err
	}
	var a answer
	err = s.update(func() error {
		a, err = s.register(in, hash, redirectTo(r))
		return err
	})
	return a, err
}

func (s *Server) checkSignup(in *signupRequest) (hash []byte, err error) {
	if in.Password == "" {
		return nil, invalidf("Signup requires a valid password")
	}
	if in.Email != "" && in.Phone != "" {
		return nil, invalidf("Only an email address or phone number should be provided on signup.")
	}
	if in.Phone != "" {
		return nil, failf(http.StatusBadRequest, "phone_provider_disabled", "Phone signups are disabled")
	}
	if in.Email, err = normalizeEmail(in.Email); err != nil {
		return nil, err
	}
	return s.hash(in.Password)
}

// register makes or finds the user of a sign-up. The caller holds the lock.
func (s *Server) register(in signupRequest, hash []byte, redirect string) (answer, error) {
	if u := s.state.userByEmail(in.Email); u != nil && u.confirmed() {
		return s.repeatedSignup(in)
	}
	u := s.newUser(in, hash)
	if !s.cfg.AutoConfirm {
		// The password of an unconfirmed user is not replaced: whoever signs up
		// second has no better claim to the address.
		if err := s.send(u, Message{To: u.Email, Type: "signup"}, forConfirmation, redirect); err != nil {
			return answer{}, err
		}
		return ok(u.wire()), nil
	}
	u.confirm(s.now())
	sess, err := s.signIn(u, "password")
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, header: sess.headers(), body: sess}, nil
}

// newUser adds the unconfirmed user of a sign-up, or returns the one there is.
func (s *Server) newUser(in signupRequest, hash []byte) *user {
	if u := s.state.userByEmail(in.Email); u != nil {
		return u
	}
	u := s.state.addUser(user{Email: in.Email, PasswordHash: hash}, s.now())
	u.UserMetadata = merge(in.Data, map[string]any{
		"sub": u.ID, "email": u.Email, "email_verified": false, "phone_verified": false,
	})
	u.Identities[0].Data = merge(in.Data, u.Identities[0].Data)
	return u
}

// repeatedSignup answers for an address that is taken. Where mails are sent it
// makes up a user, so that nobody can ask who is registered.
func (s *Server) repeatedSignup(in signupRequest) (answer, error) {
	if s.cfg.AutoConfirm {
		return answer{}, failf(http.StatusUnprocessableEntity, "user_already_exists", "User already registered")
	}
	now := s.now()
	return ok(User{
		ID: uuid.NewString(), Aud: audience, Role: "", Email: in.Email, ConfirmationSentAt: &now,
		AppMetadata:  map[string]any{"provider": "email", "providers": []string{"email"}},
		UserMetadata: merge(in.Data, nil), Identities: []Identity{}, CreatedAt: now, UpdatedAt: now,
	}), nil
}

func (s *Server) signupAnonymous(data map[string]any) (answer, error) {
	if !s.cfg.Anonymous {
		return answer{}, failf(http.StatusUnprocessableEntity, "anonymous_provider_disabled", "Anonymous sign-ins are disabled")
	}
	var sess Session
	err := s.update(func() (err error) {
		u := s.state.addUser(user{
			Anonymous: true, AppMetadata: map[string]any{}, UserMetadata: merge(data, nil),
		}, s.now())
		sess, err = s.signIn(u, "anonymous")
		return err
	})
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, header: sess.headers(), body: sess}, nil
}

// emailForm is the form that HTML asks of an e-mail field.
var emailForm = regexp.MustCompile("^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@" +
	`[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$`)

func normalizeEmail(email string) (string, error) {
	switch {
	case email == "":
		return "", invalidf("An email address is required")
	case len(email) > 255:
		return "", invalidf("An email address is too long")
	case !emailForm.MatchString(email):
		return "", invalidf("Unable to validate email address: invalid format")
	}
	return strings.ToLower(email), nil
}

// hash checks the strength of a password and hashes it, without the lock.
func (s *Server) hash(password string) ([]byte, error) {
	if len(password) < minPasswordLength {
		return nil, &apiError{
			Status: http.StatusUnprocessableEntity, Code: "weak_password",
			Message: fmt.Sprintf("Password should be at least %d characters.", minPasswordLength),
			Weak:    &weakPassword{Reasons: []string{"length"}},
		}
	}
	if len(password) > 72 { // what bcrypt takes
		return nil, invalidf("Password cannot be longer than 72 characters")
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), s.cfg.BcryptCost)
	if err != nil {
		return nil, fmt.Errorf("hash password: %w", err)
	}
	return hash, nil
}
