package auth

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/problem"
)

// A UserChange is what a user changes at Supabase; what is empty stays.
type UserChange struct {
	Email, Password string
	Data            map[string]any
}

// UpdateUser changes e-mail, password or user_metadata. A new address counts once it is confirmed. A new password signs out
// every other session, as it does at Supabase; also where Supabase's answer was lost, for the password may be another by now.
func (s *Service) UpdateUser(ctx context.Context, p account.Principal, ip string, in UserChange, actor audit.Actor) (User, error) {
	// First, for the token may run out while Supabase is asked.
	c, err := s.verifier.verify(ctx, string(p.Token))
	if err != nil {
		return User{}, err
	}
	body := map[string]any{}
	if in.Email != "" {
		body["email"] = in.Email
	}
	if in.Password != "" {
		body["password"] = in.Password
	}
	if in.Data != nil {
		body["data"] = in.Data
	}
	var u User
	err = s.supabase.do(ctx, call{method: http.MethodPut, path: "/user", token: string(p.Token), clientIP: ip, body: body}, &u)
	if err == nil {
		s.recordEmail(ctx, u)
	}
	if in.Password == "" || err != nil && !errors.Is(err, problem.SupabaseFailed) {
		return u, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), denyPatience)
	defer cancel()
	return u, errors.Join(s.denyIssued(ctx, c, c.session, actor), err)
}

// ConfirmAdmin asks Supabase whether a user is an administrator still: a token says so until it expires. It fails with
// [problem.AdminRequired], and with [problem.SupabaseFailed] where nobody can tell. Service keys have their scope.
func (s *Service) ConfirmAdmin(ctx context.Context, p account.Principal) error {
	if p.Kind == account.KindService && p.Admin {
		return nil
	}
	if p.Kind != account.KindUser || !p.Admin {
		return problem.AdminRequired.Errorf("ask an administrator")
	}
	u, err := s.supabase.user(ctx, string(p.Token))
	if err != nil {
		return err
	}
	if !s.admin.holds(u.AppMetadata) {
		return problem.AdminRequired.Errorf("the user is an administrator no more")
	}
	return nil
}

// DeleteIdentity deletes a subject at Supabase, with the service role key. One that is gone is deleted.
func (s *Service) DeleteIdentity(ctx context.Context, subject string) error {
	err := s.supabase.do(ctx, call{
		method: http.MethodDelete, path: "/admin/users/" + url.PathEscape(subject), token: s.supabase.serviceKey,
	}, nil)
	if hasCode(err, "user_not_found") {
		return nil
	}
	return err
}
