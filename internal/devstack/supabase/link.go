package supabase

import "net/http"

// invite answers POST /invite.
func (s *Server) invite(r *http.Request) (answer, error) {
	var in signupRequest
	if err := decode(r, &in); err != nil {
		return answer{}, err
	}
	var err error
	if in.Email, err = normalizeEmail(in.Email); err != nil {
		return answer{}, err
	}
	var a answer
	err = s.update(func() error {
		u, err := s.invited(in)
		if err != nil {
			return err
		}
		if err := s.send(u, Message{To: u.Email, Type: "invite"}, forConfirmation, redirectTo(r)); err != nil {
			return err
		}
		a = ok(u.wire())
		return nil
	})
	return a, err
}

// invited returns the user to invite, made where there is none.
func (s *Server) invited(in signupRequest) (*user, error) {
	if u := s.state.userByEmail(in.Email); u != nil && u.confirmed() {
		return nil, errEmailTaken()
	}
	u := s.newUser(in, nil)
	now := s.now()
	u.InvitedAt = &now
	return u, nil
}

type linkRequest struct {
	signupRequest
	Type       string `json:"type"`
	NewEmail   string `json:"new_email"`
	RedirectTo string `json:"redirect_to"`
}

type linkAnswer struct {
	User
	ActionLink       string `json:"action_link"`
	EmailOTP         string `json:"email_otp"`
	HashedToken      string `json:"hashed_token"`
	VerificationType string `json:"verification_type"`
	RedirectTo       string `json:"redirect_to"`
}

// generateLink answers POST /admin/generate_link: the mail's content instead of
// the mail, and without its rate limit.
func (s *Server) generateLink(r *http.Request) (answer, error) {
	var in linkRequest
	if err := decode(r, &in); err != nil {
		return answer{}, err
	}
	var err error
	if in.Email, err = normalizeEmail(in.Email); err != nil {
		return answer{}, err
	}
	var hash []byte
	if in.Type == "signup" {
		if hash, err = s.hash(in.Password); err != nil {
			return answer{}, err
		}
	}
	if in.RedirectTo == "" {
		in.RedirectTo = redirectTo(r)
	}
	var a answer
	err = s.update(func() error {
		l, err := s.makeLink(in, hash)
		a = ok(l)
		return err
	})
	return a, err
}

func (s *Server) makeLink(in linkRequest, hash []byte) (linkAnswer, error) {
	kind, address := in.Type, in.Email
	u, p, err := s.linkUser(in, hash, &kind)
	if err != nil {
		return linkAnswer{}, err
	}
	if p == forEmailChange {
		address = u.NewEmail
	}
	digits, hashed, err := s.newCode(u, p, address)
	if err != nil {
		return linkAnswer{}, err
	}
	verifies := kind
	if p == forEmailChange {
		verifies = "email_change"
	}
	return linkAnswer{
		User: u.wire(), EmailOTP: digits, HashedToken: hashed, VerificationType: kind,
		RedirectTo: s.target(in.RedirectTo), ActionLink: s.link(verifies, hashed, in.RedirectTo),
	}, nil
}

// linkUser finds or makes the user of a link and says what its code is for. A
// magic link for an unknown address becomes a sign-up.
func (s *Server) linkUser(in linkRequest, hash []byte, kind *string) (*user, purpose, error) {
	u := s.state.userByEmail(in.Email)
	if u == nil && *kind == "magiclink" {
		*kind = "signup"
	}
	switch *kind {
	case "signup":
		if u != nil && u.confirmed() {
			return nil, "", errEmailTaken()
		}
		return s.newUser(in.signupRequest, hash), forConfirmation, nil
	case "invite":
		u, err := s.invited(in.signupRequest)
		return u, forConfirmation, err
	case "magiclink", "recovery", "email_change_new":
		if u == nil {
			return nil, "", failf(http.StatusNotFound, "user_not_found", "User with this email not found")
		}
	default:
		return nil, "", invalidf("Invalid email action link type requested: %v", in.Type)
	}
	if *kind != "email_change_new" {
		return u, forRecovery, nil
	}
	email, err := normalizeEmail(in.NewEmail)
	if err != nil {
		return nil, "", err
	}
	if s.state.userByEmail(email) != nil {
		return nil, "", errEmailTaken()
	}
	u.NewEmail = email
	return u, forEmailChange, nil
}
