package supabase

import (
	"net/http"

	"golang.org/x/crypto/bcrypt"
)

// token answers POST /token. A body as a form is not JSON and fails as such,
// which is what the real server does.
func (s *Server) token(r *http.Request) (answer, error) {
	switch r.URL.Query().Get("grant_type") {
	case "password":
		return s.passwordGrant(r)
	case "refresh_token":
		var in struct {
			RefreshToken string `json:"refresh_token"`
		}
		if err := decode(r, &in); err != nil {
			return answer{}, err
		}
		sess, err := s.refresh(in.RefreshToken)
		if err != nil {
			return answer{}, err
		}
		return answer{status: http.StatusOK, header: sess.headers(), body: sess}, nil
	case "pkce":
		return s.pkceGrant(r)
	default:
		return answer{}, failf(http.StatusBadRequest, "invalid_credentials", "unsupported_grant_type")
	}
}

// pkceGrant knows no code: links of this server carry the session itself.
func (s *Server) pkceGrant(r *http.Request) (answer, error) {
	var in struct {
		AuthCode     string `json:"auth_code"`
		CodeVerifier string `json:"code_verifier"`
	}
	if err := decode(r, &in); err != nil {
		return answer{}, err
	}
	if in.AuthCode == "" || in.CodeVerifier == "" {
		return answer{}, invalidf("invalid request: both auth code and code verifier should be non-empty")
	}
	return answer{}, failf(http.StatusNotFound, "flow_state_not_found", "invalid flow state, no valid flow state found")
}

func (s *Server) passwordGrant(r *http.Request) (answer, error) {
	var in struct {
		Email    string `json:"email"`
		Phone    string `json:"phone"`
		Password string `json:"password"`
	}
	if err := decode(r, &in); err != nil {
		return answer{}, err
	}
	switch {
	case in.Email != "" && in.Phone != "":
		return answer{}, invalidf("Only an email address or phone number should be provided on login.")
	case in.Phone != "":
		return answer{}, failf(http.StatusBadRequest, "phone_provider_disabled", "Phone logins are disabled")
	case in.Email == "":
		return answer{}, invalidf("missing email or phone")
	}
	id, err := s.checkPassword(in.Email, in.Password)
	if err != nil {
		return answer{}, err
	}
	var sess Session
	err = s.update(func() error {
		u := s.state.Users[id]
		if u == nil { // deleted while the password was hashed
			return errBadLogin()
		}
		if !u.confirmed() {
			return failf(http.StatusBadRequest, "email_not_confirmed", "Email not confirmed")
		}
		sess, err = s.signIn(u, "password")
		return err
	})
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, header: sess.headers(), body: passwordSession{Session: sess}}, nil
}

func errBadLogin() error {
	return failf(http.StatusBadRequest, "invalid_credentials", "Invalid login credentials")
}

// checkPassword returns the id of the user whose address and password these
// are. It hashes without the lock, or one sign-in would hold up all others.
func (s *Server) checkPassword(email, password string) (string, error) {
	var id string
	var hash []byte
	err := s.view(func() error {
		u := s.state.userByEmail(email)
		if u == nil || len(u.PasswordHash) == 0 {
			return errBadLogin()
		}
		if u.banned(s.now()) {
			return failf(http.StatusBadRequest, "user_banned", "User is banned")
		}
		id, hash = u.ID, u.PasswordHash
		return nil
	})
	if err != nil {
		return "", err
	}
	if !matches(hash, password) {
		return "", errBadLogin()
	}
	return id, nil
}

func matches(hash []byte, password string) bool {
	return len(hash) > 0 && bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil
}
