package supabase

import (
	"crypto/rand"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// signIn begins a session of u. The caller holds the lock.
func (s *Server) signIn(u *user, method string) (Session, error) {
	now := s.now()
	sess := &session{
		ID: uuid.NewString(), UserID: u.ID, CreatedAt: now,
		AMR: []amr{{Method: method, Timestamp: now.Unix()}},
	}
	s.state.Sessions[sess.ID] = sess
	u.LastSignInAt, u.UpdatedAt = &now, now
	u.Identities = slices.Clone(u.Identities)
	for i := range u.Identities {
		u.Identities[i].LastSignInAt = &now
	}
	return s.issue(u, sess, s.state.addToken(sess, ""))
}

// issue makes the answer that carries the refresh token and a new access token.
func (s *Server) issue(u *user, sess *session, refresh string) (Session, error) {
	access, err := s.signed(s.claimsFor(u, sess))
	if err != nil {
		return Session{}, err
	}
	return Session{
		AccessToken: access, TokenType: "bearer", RefreshToken: refresh,
		ExpiresIn: int64(s.cfg.TokenTTL.Seconds()), ExpiresAt: s.now().Add(s.cfg.TokenTTL).Unix(),
		User: u.wire(), sessionID: sess.ID,
	}, nil
}

func (st *state) addToken(sess *session, parent string) string {
	token := strings.ToLower(rand.Text()[:12])
	sess.Tokens = append(sess.Tokens, refreshToken{Token: token, Parent: parent})
	st.byToken[token] = sess.ID
	return token
}

// headers name the session, as the real server does for its gateway.
func (sess Session) headers() http.Header {
	return http.Header{
		"Sb-Auth-User-Id":              {sess.User.ID},
		"Sb-Auth-Session-Id":           {sess.sessionID},
		"Sb-Auth-Refresh-Token-Prefix": {sess.RefreshToken[:5]},
	}
}

var refreshTokenForm = regexp.MustCompile(`^[a-z0-9]{12}$`)

// refresh trades a refresh token for a new session answer.
func (s *Server) refresh(token string) (Session, error) {
	if !refreshTokenForm.MatchString(token) {
		return Session{}, invalidf("Refresh token is not valid")
	}
	var answer Session
	err := s.update(func() error {
		sess := s.state.Sessions[s.state.byToken[token]]
		if sess == nil {
			return failf(http.StatusBadRequest, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
		}
		u := s.state.Users[sess.UserID]
		if u.banned(s.now()) {
			return failf(http.StatusBadRequest, "user_banned", "Invalid Refresh Token: User Banned")
		}
		next, err := s.rotate(sess, token)
		if err != nil {
			return err
		}
		answer, err = s.issue(u, sess, next)
		return err
	})
	return answer, err
}

// rotate spends a token of sess and returns the one that follows it.
//
// A client that lost the answer sends the parent of the current token again:
// it gets the current one, however late. Any other spent token may be used for
// a short while, for clients that race themselves. After that it is taken for
// stolen, and the whole family is revoked.
func (s *Server) rotate(sess *session, token string) (string, error) {
	used := failf(http.StatusBadRequest, "refresh_token_already_used", "Invalid Refresh Token: Already Used")
	if sess.Revoked {
		return "", used
	}
	now := s.now()
	i := slices.IndexFunc(sess.Tokens, func(t refreshToken) bool { return t.Token == token })
	t := &sess.Tokens[i]
	if t.SpentAt != nil {
		current := sess.Tokens[len(sess.Tokens)-1]
		if current.Parent == token {
			return current.Token, nil
		}
		if now.After(t.SpentAt.Add(s.cfg.ReuseInterval)) {
			sess.Revoked = true
			return "", used
		}
	}
	t.SpentAt = &now
	return s.state.addToken(sess, token), nil
}

// logout answers POST /logout. The access token itself stays valid until it
// expires: only this server looks at the session.
func (s *Server) logout(r *http.Request) (answer, error) {
	c, err := s.authenticate(r)
	if err != nil {
		return answer{}, err
	}
	var ends func(*session) bool
	switch scope := r.URL.Query().Get("scope"); scope {
	case "", "global":
		ends = func(*session) bool { return true }
	case "local":
		ends = func(sess *session) bool { return c.sessionID == "" || sess.ID == c.sessionID }
	case "others":
		ends = func(sess *session) bool { return sess.ID != c.sessionID }
	default:
		return answer{}, invalidf("Unsupported logout scope %q", scope)
	}
	err = s.update(func() error {
		s.state.dropSessions(c.userID, ends)
		return nil
	})
	return answer{status: http.StatusNoContent}, err
}
