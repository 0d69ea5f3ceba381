package supabase

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

type adminUser struct {
	Email        string         `json:"email"`
	Phone        string         `json:"phone"`
	Role         string         `json:"role"`
	Password     *string        `json:"password"`
	EmailConfirm bool           `json:"email_confirm"`
	PhoneConfirm bool           `json:"phone_confirm"`
	UserMetadata map[string]any `json:"user_metadata"`
	AppMetadata  map[string]any `json:"app_metadata"`
	BanDuration  string         `json:"ban_duration"`

	hash []byte
	ban  time.Duration
}

// readAdminUser decodes and checks the body of a write, hashing without the lock.
func (s *Server) readAdminUser(r *http.Request) (in adminUser, err error) {
	if err := decode(r, &in); err != nil {
		return in, err
	}
	if in.Email != "" {
		if in.Email, err = normalizeEmail(in.Email); err != nil {
			return in, err
		}
	}
	if in.BanDuration != "" && in.BanDuration != "none" {
		if in.ban, err = time.ParseDuration(in.BanDuration); err != nil {
			return in, invalidf("invalid format for ban duration: %v", err)
		}
	}
	if in.Password != nil && *in.Password != "" {
		in.hash, err = s.hash(*in.Password)
	}
	return in, err
}

// adminCreate answers POST /admin/users.
func (s *Server) adminCreate(r *http.Request) (answer, error) {
	in, err := s.readAdminUser(r)
	if err != nil {
		return answer{}, err
	}
	if in.Email == "" && in.Phone == "" {
		return answer{}, invalidf("Cannot create a user without either an email or phone")
	}
	var a answer
	err = s.update(func() error {
		if in.Email != "" && s.state.userByEmail(in.Email) != nil {
			return errEmailTaken()
		}
		u := s.state.addUser(user{
			Email: in.Email, Phone: in.Phone, PasswordHash: in.hash, UserMetadata: merge(nil, in.UserMetadata),
		}, s.now())
		in.Email, in.Phone, in.hash, in.UserMetadata = "", "", nil, nil
		s.apply(u, in)
		a = ok(u.wire())
		return nil
	})
	return a, err
}

// apply changes u as an administrator says. The caller holds the lock.
func (s *Server) apply(u *user, in adminUser) {
	now := s.now()
	u.UpdatedAt = now
	if in.Email != "" && in.Email != u.Email {
		s.setUserEmail(u, in.Email)
	}
	orKeep(&u.Phone, in.Phone)
	orKeep(&u.Role, in.Role)
	if in.hash != nil {
		u.PasswordHash = in.hash
		s.state.dropSessions(u.ID, func(*session) bool { return true })
	}
	if in.UserMetadata != nil {
		u.UserMetadata = merge(u.UserMetadata, in.UserMetadata)
	}
	if in.AppMetadata != nil {
		u.AppMetadata = merge(u.AppMetadata, in.AppMetadata)
	}
	if in.EmailConfirm {
		u.confirm(now)
	}
	if in.PhoneConfirm {
		u.PhoneConfirmedAt = &now
	}
	switch {
	case in.BanDuration == "none" || in.ban < 0:
		u.BannedUntil = nil
	case in.ban > 0:
		until := now.Add(in.ban)
		u.BannedUntil = &until
	}
}

func orKeep(v *string, change string) {
	if change != "" {
		*v = change
	}
}

// adminList answers GET /admin/users, newest first, without identities.
func (s *Server) adminList(r *http.Request) (answer, error) {
	page, err := positive(r, "page", 1)
	if err != nil {
		return answer{}, err
	}
	perPage, err := positive(r, "per_page", 50)
	if err != nil {
		return answer{}, err
	}
	users := []User{}
	_ = s.view(func() error {
		for _, u := range s.state.Users {
			w := u.wire()
			w.Identities = nil
			users = append(users, w)
		}
		return nil
	})
	if filter := strings.ToLower(r.URL.Query().Get("filter")); filter != "" {
		users = slices.DeleteFunc(users, func(u User) bool { return !strings.Contains(u.Email, filter) })
	}
	slices.SortFunc(users, func(a, b User) int {
		if c := b.CreatedAt.Compare(a.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	total := len(users)
	users = slices.Clip(users[min((page-1)*perPage, total):min(page*perPage, total)])
	a := ok(map[string]any{"users": users, "aud": audience})
	a.header = http.Header{
		"X-Total-Count": {strconv.Itoa(total)},
		"Link":          {links(r.URL, page, (total+perPage-1)/perPage)},
	}
	return a, nil
}

// positive reads a query parameter that counts. The bound keeps page times
// per_page within an int.
func positive(r *http.Request, name string, def int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return def, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 1<<30 {
		return 0, invalidf("Bad Pagination Parameters: %s is %q", name, text)
	}
	return n, nil
}

func links(u *url.URL, page, last int) string {
	to := func(page int, rel string) string {
		q := u.Query()
		q.Set("page", strconv.Itoa(page))
		return fmt.Sprintf("<%s?%s>; rel=%q", u.Path, q.Encode(), rel)
	}
	if page < last {
		return to(page+1, "next") + ", " + to(last, "last")
	}
	return to(last, "last")
}

// named finds the user that the path names. The caller holds the lock.
func (s *Server) named(r *http.Request) (*user, error) {
	id := r.PathValue("id")
	if uuid.Validate(id) != nil {
		return nil, failf(http.StatusNotFound, "validation_failed", "user_id must be an UUID")
	}
	u := s.state.Users[strings.ToLower(id)]
	if u == nil {
		return nil, failf(http.StatusNotFound, "user_not_found", "User not found")
	}
	return u, nil
}

// adminGet answers GET /admin/users/{id}.
func (s *Server) adminGet(r *http.Request) (answer, error) {
	var a answer
	err := s.view(func() error {
		u, err := s.named(r)
		if err == nil {
			a = ok(u.wire())
		}
		return err
	})
	return a, err
}

// adminUpdate answers PUT /admin/users/{id}.
func (s *Server) adminUpdate(r *http.Request) (answer, error) {
	if err := s.view(func() error { _, err := s.named(r); return err }); err != nil {
		return answer{}, err
	}
	in, err := s.readAdminUser(r)
	if err != nil {
		return answer{}, err
	}
	var a answer
	err = s.update(func() error {
		u, err := s.named(r)
		if err != nil {
			return err
		}
		if other := s.state.userByEmail(in.Email); in.Email != "" && other != nil && other != u {
			return errEmailTaken()
		}
		s.apply(u, in)
		a = ok(u.wire())
		return nil
	})
	return a, err
}

// adminDelete answers DELETE /admin/users/{id}. A soft delete keeps the id and
// forgets the rest.
func (s *Server) adminDelete(r *http.Request) (answer, error) {
	var in struct {
		Soft bool `json:"should_soft_delete"`
	}
	if err := decodeOptional(r, &in); err != nil {
		return answer{}, err
	}
	return ok(struct{}{}), s.update(func() error {
		u, err := s.named(r)
		if err != nil {
			return err
		}
		s.state.dropUser(u)
		if in.Soft {
			s.keepTombstone(u)
		}
		return nil
	})
}

func (s *Server) keepTombstone(u *user) {
	now := s.now()
	s.state.Users[u.ID] = &user{
		ID: u.ID, Role: u.Role, CreatedAt: u.CreatedAt, UpdatedAt: now, DeletedAt: &now,
		AppMetadata: map[string]any{}, UserMetadata: map[string]any{},
		Codes: map[purpose]code{}, Sent: map[purpose]time.Time{},
	}
}
