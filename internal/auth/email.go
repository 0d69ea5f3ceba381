package auth

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/account"
)

const (
	// askPatience bounds a question that no request waits for.
	askPatience = 5 * time.Second
	// firstAskWait is how long the very first request of a user waits for the answer, so that it finds its credits. Supabase
	// being slow or gone costs no more than that, once.
	firstAskWait = 300 * time.Millisecond
)

// askEmail asks Supabase, with the user's own token, whether the address is confirmed. It runs on the side.
func (s *Service) askEmail(ctx context.Context, token string, b account.Bearer, id account.Identity) {
	done, mine := s.askings.begin(id.ID)
	if mine && s.askCtx.Err() == nil {
		s.asking.Go(func() {
			defer s.askings.end(id.ID)
			ctx, cancel := context.WithTimeout(s.askCtx, askPatience)
			defer cancel()
			if err := s.checkEmail(ctx, token, b, id.ID); err != nil {
				s.cfg.Log.WarnContext(ctx, "cannot find out whether an address is confirmed", "user_id", id.ID, "error", reason(err))
			}
		})
	} else if mine {
		s.askings.end(id.ID)
	}
	if id.EmailCheckedAt != nil {
		return
	}
	timer := time.NewTimer(firstAskWait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (s *Service) checkEmail(ctx context.Context, token string, b account.Bearer, userID uuid.UUID) error {
	mine, err := s.cfg.Accounts.ClaimEmailCheck(ctx, b, userID)
	if err != nil || !mine {
		return err
	}
	asked := s.cfg.Now()
	u, err := s.supabase.user(ctx, token)
	if err != nil {
		return err
	}
	return s.cfg.Accounts.RecordEmail(ctx, b.Issuer, b.Subject, u.Email, u.EmailConfirmedAt, asked)
}

// recordEmail keeps what an answer of Supabase to a sign-in says of the user. Signing in does not depend on it.
func (s *Service) recordEmail(ctx context.Context, u User) {
	if u.ID == "" {
		return
	}
	if err := s.cfg.Accounts.RecordEmail(ctx, s.cfg.Issuer, u.ID, u.Email, u.EmailConfirmedAt, s.cfg.Now()); err != nil {
		s.cfg.Log.WarnContext(ctx, "cannot keep what Supabase says of an address", "error", err)
	}
}

// flights tells who is being asked about.
type flights struct {
	mu    sync.Mutex
	under map[uuid.UUID]chan struct{}
}

func newFlights() *flights { return &flights{under: map[uuid.UUID]chan struct{}{}} }

// begin returns what is closed when the question is answered, and whether it is the caller's to ask.
func (f *flights) begin(id uuid.UUID) (done <-chan struct{}, mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, there := f.under[id]; there {
		return c, false
	}
	c := make(chan struct{})
	f.under[id] = c
	return c, true
}

func (f *flights) end(id uuid.UUID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.under[id])
	delete(f.under, id)
}
