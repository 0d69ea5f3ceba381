package stripehook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/outbox"
	"example.com/saaskit/internal/postgres"
)

// A root is an object with a fence of its own.
type root struct{ kind, id string }

// A sight is one look at a root.
type sight struct {
	root
	seq     int64    // taken before the fetch
	covered []string // events that were committed before seq was taken
	object  object   // nil where it is gone
}

// A settling is the transaction that stores a sight.
type settling struct {
	q       *db.Queries
	now     time.Time
	event   db.StripeEvent
	account uuid.UUID // whose the root is; nil for what belongs to nobody
	// standing is the account whose subscriptions have changed; nil where none have.
	standing uuid.UUID
	alarm    func(reason string, attrs ...any)
	actor    audit.Actor // the event, or who else made us look
	// noUpgrade is whether upgrades grant nothing.
	noUpgrade bool
	policy    account.Policy
}

// deleted tells whether whoever the root belongs to is gone: then nothing of the person is written any more.
func (t *settling) deleted(ctx context.Context) (bool, error) {
	deleted, err := t.q.IsStripeAccountDeleted(ctx, t.account)
	if err != nil {
		return false, fmt.Errorf("look at account: %w", err)
	}
	return deleted, nil
}

// audit writes down that a payment's object has changed.
func (t *settling) audit(ctx context.Context, target, id, before, after string, detail map[string]any) error {
	entry := audit.Entry{Actor: t.actor, AccountID: &t.account, Action: target + ".update", Target: target, TargetID: id}
	if before == "" {
		entry.Action = target + ".create"
	} else {
		entry.Before = map[string]any{"status": before}
	}
	state := map[string]any{"status": after}
	maps.Copy(state, detail)
	entry.After = state
	return audit.Record(ctx, t.q, t.now, entry)
}

// tellOperator leaves a message for the operator, once for ever, beside the alarm.
func (t *settling) tellOperator(ctx context.Context, reason, key string, detail map[string]any) error {
	payload := map[string]any{"reason": reason, "account": t.account, "object": key}
	maps.Copy(payload, detail)
	added, err := outbox.Add(ctx, t.q, t.now, outbox.Message{Kind: "operator_alarm", NaturalKey: reason + ":" + key, Payload: payload})
	if err == nil && added {
		t.alarm(reason, "object", key)
	}
	return err
}

// actorOf is the event as ledger and audit log name it; without one it is our own look at Stripe.
func actorOf(event db.StripeEvent) audit.Actor {
	if event.ID == "" {
		return audit.System(event.Source)
	}
	return audit.Stripe(event.ID)
}

func (s *Service) queries() *db.Queries { return db.New(s.pool) }

// settle brings a root up to date, and what it leads to: each a root and a transaction of its own. finish ends the event
// with the last of them. w, which may be nil, learns whether anything has changed.
func (s *Service) settle(ctx context.Context, r root, event db.StripeEvent, finish bool, w *watch) error {
	seen, err := s.look(ctx, r, event)
	if err != nil {
		return err
	}
	before, after, err := s.related(ctx, seen, event)
	if err != nil {
		return err
	}
	for _, other := range before {
		if err := s.settle(ctx, other, event, false, w); err != nil {
			return err
		}
	}
	if err := s.apply(ctx, seen, event, finish && len(after) == 0, w); err != nil {
		return err
	}
	for i, other := range after {
		if err := s.settle(ctx, other, event, finish && i == len(after)-1, w); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) related(ctx context.Context, seen sight, event db.StripeEvent) (before, after []root, err error) {
	k := keepers[seen.kind]
	if seen.object == nil && seen.kind == kindCustomer {
		after, err = subscriptionsOf(ctx, s.queries(), seen.id)
		return nil, after, err
	}
	if seen.object == nil {
		return nil, nil, nil
	}
	if k.before != nil {
		if before, err = k.before(ctx, s.queries(), seen.object, event); err != nil {
			return nil, nil, err
		}
	}
	if k.after != nil {
		after, err = k.after(ctx, s.queries(), seen.object)
	}
	return before, after, err
}

// look takes the sequence, then fetches. No lock is held meanwhile.
func (s *Service) look(ctx context.Context, r root, event db.StripeEvent) (sight, error) {
	if !validID(r.id) {
		return sight{}, &ending{statusQuarantined, reasonObject}
	}
	covered, err := s.queries().ListPendingStripeEvents(ctx, r.id, coverable())
	if err != nil {
		return sight{}, fmt.Errorf("list pending events of %s: %w", r.id, err)
	}
	taken, err := s.queries().TakeStripeSequence(ctx, r.id, r.kind)
	if err != nil {
		return sight{}, fmt.Errorf("take sequence of %s: %w", r.id, err)
	}
	if err := at(s.fail.AfterSequence, r.id); err != nil {
		return sight{}, err
	}
	seen := sight{root: r, seq: taken.NextSeq, covered: covered}
	seen.object, err = s.fetch(ctx, r)
	if errors.Is(err, errGone) && (taken.DeletedAt != nil || goneByEvent(r, event)) {
		err = nil
	}
	if err != nil {
		return sight{}, err
	}
	if whole, ok := seen.object.(interface{ has(kind, id string) bool }); ok && event.RootID == r.id && !whole.has(event.ObjectKind, event.ObjectID) {
		return sight{}, fmt.Errorf("fetch %s: its %s %s is not listed yet", r.id, event.ObjectKind, event.ObjectID)
	}
	return seen, at(s.fail.AfterFetch, r.id)
}

// apply stores a sight in one transaction: fence, mirror, effects, and with finish the event's end. A sight that was
// overtaken stores nothing, and what the event itself asks for is then judged by what the later one has stored.
func (s *Service) apply(ctx context.Context, seen sight, event db.StripeEvent, finish bool, w *watch) error {
	var done int64
	var standing uuid.UUID
	err := postgres.InTx(ctx, s.pool, func(q *db.Queries) error {
		t := &settling{q: q, now: s.now(), event: event, actor: actorOf(event), noUpgrade: s.noUpgrade, policy: s.policy}
		t.alarm = func(reason string, attrs ...any) { s.alarm(ctx, reason, append(attrs, "event", event.ID)...) }
		applied, err := q.AdvanceStripeObject(ctx, seen.seq, t.now, seen.id)
		if err != nil {
			return fmt.Errorf("advance %s: %w", seen.id, err)
		}
		if err := t.lockOwner(ctx, seen); err != nil {
			return err
		}
		if applied > 0 {
			if err := t.watched(ctx, seen, w); err != nil {
				return err
			}
		} else {
			s.metrics.dropped.Inc()
		}
		if finish {
			if done, err = t.finish(ctx); err != nil {
				return err
			}
		}
		standing = t.standing
		s.forget(ctx, standing)
		return at(s.fail.BeforeCommit, seen.id)
	})
	if errors.Is(err, errDry) {
		return nil
	}
	s.forget(ctx, standing)
	if err != nil {
		return err
	}
	if done > 0 {
		s.metrics.finished.WithLabelValues(statusDone, "").Inc()
	}
	return at(s.fail.AfterCommit, seen.id)
}

// forget buries what every instance believes of an account's tier: once before the commit, so that no reader fills the cache
// with what is about to be over, and once after it.
func (s *Service) forget(ctx context.Context, accountID uuid.UUID) {
	if accountID != uuid.Nil && s.forgetStanding != nil {
		s.forgetStanding(ctx, accountID)
	}
}

// keep writes the root and ends the events that it covers.
func (t *settling) keep(ctx context.Context, seen sight) error {
	k := keepers[seen.kind]
	var err error
	switch {
	case seen.object != nil:
		err = k.store(ctx, t, seen.object)
	default:
		if err = t.q.MarkStripeObjectDeleted(ctx, t.now, seen.id); err == nil && k.gone != nil && (t.account != uuid.Nil || !k.owned) {
			err = k.gone(ctx, t, seen.id)
		}
	}
	if err != nil {
		return fmt.Errorf("store %s: %w", seen.id, err)
	}
	covered := seen.covered[:0:0]
	for _, id := range seen.covered {
		if id != t.event.ID { // it ends with its own last root
			covered = append(covered, id)
		}
	}
	if len(covered) == 0 {
		return nil
	}
	if _, err := t.q.CoverStripeEvents(ctx, t.now, covered); err != nil {
		return fmt.Errorf("finish covered events of %s: %w", seen.id, err)
	}
	return nil
}

// finish ends the event and does what it asks for by itself, once: an attempt that has stalled may come when the event ended long ago.
func (t *settling) finish(ctx context.Context) (int64, error) {
	done, err := t.q.FinishStripeEvent(ctx, db.FinishStripeEventParams{Status: statusDone, Now: t.now, ID: t.event.ID})
	if err != nil {
		return 0, fmt.Errorf("finish event: %w", err)
	}
	if moment := looks[t.event.Type].moment; moment != nil && done > 0 {
		if err := moment(ctx, t); err != nil {
			return 0, fmt.Errorf("%s: %w", t.event.Type, err)
		}
	}
	return done, nil
}

// lockOwner finds whose the root is. The answer comes from our own table alone; a claim in the object's metadata changes
// nothing, and one that names another account is told to the operator.
func (t *settling) lockOwner(ctx context.Context, seen sight) error {
	if !keepers[seen.kind].owned {
		return nil
	}
	customer := t.event.CustomerID
	if seen.object != nil && (seen.object.customer() != "" || seen.kind != kindPaymentMethod) {
		customer = seen.object.customer() // a payment method that was detached names its customer in the event alone
	}
	if customer == "" && seen.object != nil {
		return &ending{statusIgnored, reasonUnowned}
	}
	owner, err := t.q.LockStripeOwner(ctx, customer)
	if errors.Is(err, pgx.ErrNoRows) {
		if seen.object == nil {
			return nil
		}
		return &parking{reasonUnowned, customer}
	}
	if err != nil {
		return fmt.Errorf("lock owner of %s: %w", customer, err)
	}
	t.account = owner
	if seen.object != nil {
		if claim := seen.object.claim(); claim != "" && claim != owner.String() {
			t.alarm("ownership_claim", "object", seen.id, "claimed", claim, "owner", owner)
		}
	}
	return nil
}

// moved is the error of a mirror that belongs to another account already.
func moved(rows int64, err error, what string) error {
	if err != nil {
		return fmt.Errorf("write %s: %w", what, err)
	}
	if rows == 0 {
		return fmt.Errorf("write %s: %w", what, errNotOwn)
	}
	return nil
}
