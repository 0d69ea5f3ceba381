package supabase

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// purposes says which codes serve a type of POST /verify.
func purposes(kind string) []purpose {
	switch kind {
	case "signup", "invite":
		return []purpose{forConfirmation}
	case "recovery", "magiclink":
		return []purpose{forRecovery}
	case "email_change":
		return []purpose{forEmailChange}
	case "email": // whichever of the two was sent last
		return []purpose{forConfirmation, forRecovery}
	default:
		return nil
	}
}

// verify answers POST /verify, by the six digits or by the hash of the link.
func (s *Server) verify(r *http.Request) (answer, error) {
	var in struct {
		Type      string `json:"type"`
		Token     string `json:"token"`
		TokenHash string `json:"token_hash"`
		Email     string `json:"email"`
		Phone     string `json:"phone"`
	}
	if err := decode(r, &in); err != nil {
		return answer{}, err
	}
	expired := "Email link is invalid or has expired"
	switch {
	case in.Type == "":
		return answer{}, invalidf("Verify requires a verification type")
	case (in.Token == "") == (in.TokenHash == ""):
		return answer{}, invalidf("Verify requires either a token or a token hash")
	case in.TokenHash != "" && (in.Email != "" || in.Phone != ""):
		return answer{}, invalidf("Only the token_hash and type should be provided")
	case in.Token != "" && (in.Email == "") == (in.Phone == ""):
		return answer{}, invalidf("Only an email address or phone number should be provided on verify")
	case in.Token != "":
		in.TokenHash = hashCode(in.Email, in.Token)
		expired = "Token has expired or is invalid"
	}
	sess, err := s.redeem(in.Type, in.TokenHash, expired)
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK, header: sess.headers(), body: sess}, nil
}

// redeem spends a code and signs its user in.
func (s *Server) redeem(kind, hash, expired string) (Session, error) {
	if purposes(kind) == nil {
		return Session{}, invalidf("Invalid email verification type")
	}
	var sess Session
	err := s.update(func() error {
		u, p := s.findCode(kind, hash)
		if u == nil || s.now().After(u.Codes[p].SentAt.Add(s.cfg.CodeTTL)) {
			return failf(http.StatusForbidden, "otp_expired", "%s", expired)
		}
		if u.banned(s.now()) {
			return failf(http.StatusForbidden, "user_banned", "User is banned")
		}
		if p == forEmailChange {
			if err := s.changeEmail(u); err != nil {
				return err
			}
		}
		delete(u.Codes, p)
		if !u.confirmed() || p == forEmailChange {
			u.confirm(s.now())
		}
		var err error
		sess, err = s.signIn(u, "otp")
		return err
	})
	return sess, err
}

func (s *Server) findCode(kind, hash string) (*user, purpose) {
	for _, u := range s.state.Users {
		for _, p := range purposes(kind) {
			if c, has := u.Codes[p]; has && c.Hash == hash {
				return u, p
			}
		}
	}
	return nil, ""
}

// changeEmail makes the new address of u its address.
func (s *Server) changeEmail(u *user) error {
	if other := s.state.userByEmail(u.NewEmail); other != nil && other != u {
		return errEmailTaken() // taken since the mail went out
	}
	s.setUserEmail(u, u.NewEmail)
	u.NewEmail = ""
	return nil
}

// setUserEmail gives u an address, and an identity where it had none.
func (s *Server) setUserEmail(u *user, email string) {
	had := u.Email != ""
	s.state.setEmail(u, email)
	u.Anonymous = false
	if had {
		u.changeIdentity(map[string]any{"email": u.Email}, s.now())
		return
	}
	u.addIdentity("email", map[string]any{"email": u.Email}, s.now())
}

// verifyLink answers GET /verify, what the button of a mail opens. The outcome,
// good or bad, is in the fragment of the address it redirects to.
func (s *Server) verifyLink(r *http.Request) (answer, error) {
	q := r.URL.Query()
	kind, hash := q.Get("type"), q.Get("token")
	if kind == "" {
		return answer{}, invalidf("Verify requires a verification type")
	}
	if hash == "" {
		return answer{}, invalidf("Verify requires a token or a token hash")
	}
	target := s.target(q.Get("redirect_to"))
	sess, err := s.redeem(kind, hash, "Email link is invalid or has expired")
	if err != nil {
		refused, isRefused := errors.AsType[*apiError](err)
		if !isRefused || errors.Is(err, errSnapshot) {
			return answer{}, err
		}
		return redirect(target, refused.fragment()), nil
	}
	return redirect(target, url.Values{
		"access_token": {sess.AccessToken}, "refresh_token": {sess.RefreshToken}, "token_type": {sess.TokenType},
		"expires_in": {strconv.FormatInt(sess.ExpiresIn, 10)}, "expires_at": {strconv.FormatInt(sess.ExpiresAt, 10)},
		"type": {kind},
	}), nil
}

func (e *apiError) fragment() url.Values {
	kind := "invalid_request"
	if e.Status == http.StatusForbidden {
		kind = "access_denied"
	}
	return url.Values{"error": {kind}, "error_code": {e.Code}, "error_description": {e.Message}}
}

func redirect(target string, fragment url.Values) answer {
	target, _, _ = strings.Cut(target, "#")
	return answer{
		status: http.StatusSeeOther,
		header: http.Header{"Location": {target + "#" + fragment.Encode()}},
	}
}
