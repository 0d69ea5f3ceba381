package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/db"
)

// FreeTier is what an account falls back to where the catalogue is empty. Otherwise it is the tier of the lowest rank.
const FreeTier = "free"

// Behaviours of a subscription whose collection is paused.
const (
	PauseVoid              = "void"
	PauseKeepAsDraft       = "keep_as_draft"
	PauseMarkUncollectible = "mark_uncollectible"
)

// What a status is worth.
const (
	NoAccess    Worth = iota // nothing
	FullAccess               // access, unless a paused collection ends it
	GraceAccess              // access until the grace is over
)

// A Worth is what a status of a subscription is worth.
type Worth int

// A Policy says what a subscription's status is worth.
type Policy struct {
	// Statuses is the table from Stripe's statuses to their worth; nil is [DefaultStatuses]. One that is not in it keeps the access
	// that there was, and package stripehook tells the operator of it.
	Statuses map[string]Worth
	// Grace is how long access outlives the first failed payment.
	Grace time.Duration
	// PauseEndsAccess names the behaviours of a paused collection under which access ends with the period that was paid.
	PauseEndsAccess []string
}

// DefaultPolicy gives a week of grace, and ends access where paused invoices are voided.
func DefaultPolicy() Policy {
	return Policy{Grace: 7 * 24 * time.Hour, PauseEndsAccess: []string{PauseVoid}, Statuses: DefaultStatuses()}
}

// DefaultStatuses is the table for the statuses that Stripe has today.
func DefaultStatuses() map[string]Worth {
	return map[string]Worth{
		"trialing": FullAccess, "active": FullAccess, "past_due": GraceAccess,
		"unpaid": NoAccess, "paused": NoAccess, "incomplete": NoAccess, "incomplete_expired": NoAccess, "canceled": NoAccess,
	}
}

// Worth is what a status is worth, and whether the table has it at all.
func (p Policy) Worth(status string) (worth Worth, known bool) {
	table := p.Statuses
	if table == nil {
		table = DefaultStatuses()
	}
	worth, known = table[status]
	return worth, known
}

// A Standing is what an account may use now.
type Standing struct {
	Tier         string              // whose features and limits hold
	Access       bool                // whether a subscription gives that tier
	AccessUntil  *time.Time          // when access ends by itself, where that is known: end of a grace or of a paid period
	Rank         int32               // of the tier, where a subscription gives it
	Subscription *SubscriptionState  // the one that decides, or the latest
	All          []SubscriptionState // each by its own state, the newest first
}

// A SubscriptionState is a subscription and what it is worth now.
type SubscriptionState struct {
	db.Subscription
	Access      bool
	AccessUntil *time.Time
}

// Live tells whether the subscription has not ended. An incomplete one was never paid: its checkout decides.
func (s *SubscriptionState) Live() bool {
	switch s.Status {
	case "canceled", "incomplete", "incomplete_expired":
		return false
	}
	return s.EndedAt == nil
}

// facts is what a standing is derived from. It is what gets cached: a verdict would go stale by the time alone.
type facts struct {
	Lowest        string
	Subscriptions []db.ListStandingFactsRow
}

// StandingOf derives what an account may use from its subscriptions, the policy and the time. It joins the transaction of q.
func StandingOf(ctx context.Context, q *db.Queries, policy Policy, accountID uuid.UUID, now time.Time) (Standing, error) {
	all, err := StandingsOf(ctx, q, policy, []uuid.UUID{accountID}, now)
	return all[accountID], err
}

// Standing is [StandingOf] with the service's policy and clock, read through the cache.
func (s *Service) Standing(ctx context.Context, accountID uuid.UUID) (Standing, error) {
	f, _, err := s.standings.Get(ctx, accountID.String())
	if err != nil {
		return Standing{}, err
	}
	return f.derive(s.cfg.Policy, s.now()), nil
}

// ForgetStanding makes every instance read the subscriptions of accounts again. Call it in the transaction that changes them,
// as the last thing before the commit, and again after it.
func (s *Service) ForgetStanding(ctx context.Context, accountIDs ...uuid.UUID) {
	keys := make([]string, len(accountIDs))
	for i, id := range accountIDs {
		keys[i] = id.String()
	}
	s.standings.Invalidate(ctx, keys...)
}

// StandingIn is [StandingOf] with the service's policy and clock. It joins the transaction of q, and reads past the cache.
func (s *Service) StandingIn(ctx context.Context, q *db.Queries, accountID uuid.UUID) (Standing, error) {
	return StandingOf(ctx, q, s.cfg.Policy, accountID, s.now())
}

func (s *Service) loadFacts(ctx context.Context, key string) (facts, bool, error) {
	id, err := uuid.Parse(key)
	if err != nil {
		return facts{}, false, fmt.Errorf("read account id: %w", err)
	}
	all, err := factsOf(ctx, s.queries(), []uuid.UUID{id})
	return all[id], true, err
}

// StandingsOf is [StandingOf] for many accounts in two statements.
func StandingsOf(ctx context.Context, q *db.Queries, policy Policy, ids []uuid.UUID, now time.Time) (map[uuid.UUID]Standing, error) {
	all, err := factsOf(ctx, q, ids)
	if err != nil {
		return nil, err
	}
	standings := make(map[uuid.UUID]Standing, len(all))
	for id, f := range all {
		standings[id] = f.derive(policy, now)
	}
	return standings, nil
}

func factsOf(ctx context.Context, q *db.Queries, ids []uuid.UUID) (map[uuid.UUID]facts, error) {
	lowest, err := q.GetLowestTier(ctx)
	if errors.Is(err, pgx.ErrNoRows) {
		lowest, err = FreeTier, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read lowest tier: %w", err)
	}
	rows, err := q.ListStandingFacts(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("read subscriptions: %w", err)
	}
	all := make(map[uuid.UUID]facts, len(ids))
	for _, id := range ids {
		all[id] = facts{Lowest: lowest}
	}
	for _, row := range rows {
		f := all[row.Subscription.AccountID]
		f.Subscriptions = append(f.Subscriptions, row)
		all[row.Subscription.AccountID] = f
	}
	return all, nil
}

// derive is the whole policy. Of several subscriptions with access the highest rank decides, the newest among equals; where none has
// access the newest is shown that has not ended, for that one can be changed, and else the newest. The rows come newest first.
func (f facts) derive(policy Policy, now time.Time) Standing {
	standing := Standing{Tier: f.Lowest}
	for i, row := range f.Subscriptions {
		state := judge(row, policy, now)
		standing.All = append(standing.All, state)
		if i == 0 || !standing.Access && state.Live() && !standing.Subscription.Live() {
			standing.Subscription = &state
		}
		if !state.Access || (standing.Access && *row.Rank <= standing.Rank) {
			continue
		}
		standing.Tier, standing.Access, standing.Rank = *state.TierID, true, *row.Rank
		standing.AccessUntil, standing.Subscription = state.AccessUntil, &state
	}
	return standing
}

// judge says what one subscription is worth. A price that the catalogue does not know gives no tier to have access to. Of that,
// and of a status that is not known, package stripehook tells the operator when it comes in.
func judge(row db.ListStandingFactsRow, policy Policy, now time.Time) (state SubscriptionState) {
	state.Subscription = row.Subscription
	state.Access, state.AccessUntil = access(row.Subscription, policy)
	if state.AccessUntil != nil && !now.Before(*state.AccessUntil) {
		state.Access = false
	}
	if state.Access && (row.Subscription.TierID == nil || row.Rank == nil) {
		state.Access = false
	}
	return state
}

// access is the table from status to access. until is when it ends by itself. A status that is not known changes nothing.
func access(sub db.Subscription, policy Policy) (yes bool, until *time.Time) {
	worth, known := policy.Worth(sub.Status)
	switch {
	case !known:
		return sub.AccessKnown, nil
	case worth == FullAccess:
		return true, pauseEnd(sub, policy)
	case worth == GraceAccess:
		return true, graceEnd(sub, policy)
	}
	return false, nil
}

// graceEnd counts from when the payment was due. Where that was not written down the period in question began
// no later, so that nobody is locked out by a gap in our records and nobody has access for ever.
func graceEnd(sub db.Subscription, policy Policy) *time.Time {
	since := sub.UpdatedAt
	switch {
	case sub.PastDueSince != nil:
		since = *sub.PastDueSince
	case sub.CurrentPeriodStart != nil:
		since = *sub.CurrentPeriodStart
	}
	end := since.Add(policy.Grace)
	return &end
}

// pauseEnd is when a paused collection ends access: with the period that was running when the pause began. Stripe goes on
// renewing a paused subscription, so a period that began later was not paid.
func pauseEnd(sub db.Subscription, policy Policy) *time.Time {
	if sub.PauseBehavior == nil || !slices.Contains(policy.PauseEndsAccess, *sub.PauseBehavior) {
		return nil
	}
	start, since := sub.CurrentPeriodStart, sub.PausedSince
	if start != nil && since != nil && start.After(*since) {
		return start
	}
	if sub.AccessEnd != nil {
		return sub.AccessEnd
	}
	return sub.CurrentPeriodEnd
}
