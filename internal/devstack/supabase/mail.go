package supabase

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A purpose is what a mailed code is good for. A user has one code of each at
// most: a new one replaces the last.
type purpose string

const (
	forConfirmation     purpose = "confirmation"
	forRecovery         purpose = "recovery" // recovery and magic links
	forEmailChange      purpose = "email_change"
	forReauthentication purpose = "reauthentication"
)

// code is a mailed code, kept as the hash that the link carries.
type code struct {
	Hash   string    `json:"hash"`
	SentAt time.Time `json:"sent_at"`
}

// A Message is a mail that the real server would have sent.
type Message struct {
	To        string
	Type      string // signup, invite, recovery, magiclink, email_change or reauthentication
	Code      string // the six digits for POST /verify
	TokenHash string // the other form for POST /verify
	Link      string // what the button of the mail opens; "" for reauthentication
	SentAt    time.Time
}

// maxMail bounds the memory of a server that runs for long: the oldest
// messages go first.
const maxMail = 1000

// send records m with a new code for p, unless the last one is too young. The
// caller holds the lock.
func (s *Server) send(u *user, m Message, p purpose, redirect string) error {
	now := s.now()
	if last, sent := u.Sent[p]; sent {
		if left := last.Add(s.cfg.MailInterval).Sub(now); left > 0 {
			return failf(http.StatusTooManyRequests, "over_email_send_rate_limit",
				"For security purposes, you can only request this after %d seconds.", (left+time.Second-1)/time.Second)
		}
	}
	var err error
	if m.Code, m.TokenHash, err = s.newCode(u, p, m.To); err != nil {
		return err
	}
	m.SentAt = now
	if p != forReauthentication {
		m.Link = s.link(m.Type, m.TokenHash, redirect)
	}
	if len(s.mail) == maxMail {
		s.mail = s.mail[1:]
	}
	s.mail = append(s.mail, m)
	s.cfg.Log.Info("mail not sent, for this is no real server", "to", m.To, "type", m.Type, "code", m.Code, "link", m.Link)
	return nil
}

// newCode makes and stores a code of u for p. The hash covers the address, so
// that a code is of no use with another one.
func (s *Server) newCode(u *user, p purpose, email string) (digits, hash string, err error) {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return "", "", fmt.Errorf("make code: %w", err)
	}
	digits = fmt.Sprintf("%06d", n)
	hash = hashCode(email, digits)
	u.Codes[p] = code{Hash: hash, SentAt: s.now()}
	u.Sent[p] = s.now()
	return digits, hash, nil
}

func hashCode(email, digits string) string {
	return fmt.Sprintf("%x", sha256.Sum224([]byte(strings.ToLower(email)+digits)))
}

func (s *Server) link(kind, hash, redirect string) string {
	q := url.Values{"token": {hash}, "type": {kind}, "redirect_to": {s.target(redirect)}}
	return s.cfg.Issuer + "/verify?" + q.Encode()
}

func redirectTo(r *http.Request) string {
	if to := r.URL.Query().Get("redirect_to"); to != "" {
		return to
	}
	return r.Header.Get("redirect_to")
}

// target is where a link leads: the wish, where it is allowed, or the site.
func (s *Server) target(wish string) string {
	to, err := url.Parse(wish)
	if wish == "" || err != nil || to.Scheme == "" {
		return s.cfg.SiteURL
	}
	site, err := url.Parse(s.cfg.SiteURL)
	web := to.Scheme == "http" || to.Scheme == "https"
	if err == nil && web && to.Hostname() == site.Hostname() {
		return wish
	}
	for _, allowed := range s.cfg.RedirectURLs {
		a, err := url.Parse(allowed)
		if err == nil && a.Scheme == to.Scheme && a.Host == to.Host && strings.HasPrefix(to.Path, a.Path) {
			return wish
		}
	}
	return s.cfg.SiteURL
}

// recovery answers POST /recover. It says the same of an unknown address.
func (s *Server) recovery(r *http.Request) (answer, error) {
	var in struct {
		Email string `json:"email"`
	}
	if err := decode(r, &in); err != nil {
		return answer{}, err
	}
	if in.Email == "" {
		return answer{}, invalidf("Password recovery requires an email")
	}
	email, err := normalizeEmail(in.Email)
	if err != nil {
		return answer{}, err
	}
	return s.mailed(func() error {
		u := s.state.userByEmail(email)
		if u == nil {
			return nil
		}
		return s.send(u, Message{To: u.Email, Type: "recovery"}, forRecovery, redirectTo(r))
	})
}

// mailed answers {} for an endpoint that does no more than send.
func (s *Server) mailed(f func() error) (answer, error) {
	return ok(struct{}{}), s.update(f)
}

// resend answers POST /resend.
func (s *Server) resend(r *http.Request) (answer, error) {
	var in struct {
		Type  string `json:"type"`
		Email string `json:"email"`
		Phone string `json:"phone"`
	}
	if err := decode(r, &in); err != nil {
		return answer{}, err
	}
	if in.Phone != "" {
		return answer{}, failf(http.StatusBadRequest, "phone_provider_disabled", "Phone logins are disabled")
	}
	if in.Type != "signup" && in.Type != "email_change" {
		return answer{}, invalidf("Missing one of these types: signup, email_change, sms, phone_change")
	}
	email, err := normalizeEmail(in.Email)
	if err != nil {
		return answer{}, err
	}
	return s.mailed(func() error {
		u := s.state.userByEmail(email)
		switch {
		case u == nil:
			return nil
		case in.Type == "signup" && !u.confirmed():
			return s.send(u, Message{To: u.Email, Type: "signup"}, forConfirmation, redirectTo(r))
		case in.Type == "email_change" && u.NewEmail != "":
			return s.send(u, Message{To: u.NewEmail, Type: "email_change"}, forEmailChange, redirectTo(r))
		}
		return nil
	})
}

// otp answers POST /otp: a magic link, which for an address without a
// confirmed user is a sign-up.
func (s *Server) otp(r *http.Request) (answer, error) {
	in := struct {
		Email      string         `json:"email"`
		Phone      string         `json:"phone"`
		CreateUser bool           `json:"create_user"`
		Data       map[string]any `json:"data"`
	}{CreateUser: true}
	if err := decode(r, &in); err != nil {
		return answer{}, err
	}
	if in.Phone != "" {
		return answer{}, failf(http.StatusBadRequest, "phone_provider_disabled", "Unsupported phone provider")
	}
	if in.Email == "" {
		return answer{}, invalidf("One of email or phone must be set")
	}
	email, err := normalizeEmail(in.Email)
	if err != nil {
		return answer{}, err
	}
	return s.mailed(func() error {
		u := s.state.userByEmail(email)
		if u == nil && !in.CreateUser {
			return failf(http.StatusUnprocessableEntity, "otp_disabled", "Signups not allowed for otp")
		}
		if u == nil || (!u.confirmed() && !s.cfg.AutoConfirm) {
			return s.otpSignup(signupRequest{Email: email, Data: in.Data}, redirectTo(r))
		}
		return s.send(u, Message{To: u.Email, Type: "magiclink"}, forRecovery, redirectTo(r))
	})
}

// otpSignup makes a user without a password. A confirmed address gets a magic
// link; the link that confirms one signs in as well.
func (s *Server) otpSignup(in signupRequest, redirect string) error {
	if s.cfg.DisableSignup {
		return failf(http.StatusUnprocessableEntity, "signup_disabled", "Signups not allowed for this instance")
	}
	u := s.newUser(in, nil)
	if s.cfg.AutoConfirm {
		u.confirm(s.now())
		return s.send(u, Message{To: u.Email, Type: "magiclink"}, forRecovery, redirect)
	}
	return s.send(u, Message{To: u.Email, Type: "signup"}, forConfirmation, redirect)
}
