package stripehook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/page"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/problem"
)

// An Event is one row of the inbox without its bytes.
type Event = db.ListStripeEventsRow

// A StoredEvent is one row of the inbox with its bytes, as long as they are kept.
type StoredEvent = db.StripeEvent

// A Filter chooses events; what is empty chooses all.
type Filter struct{ Status, Reason, Type, ObjectID string }

// place is where the next page begins.
type place struct {
	At time.Time `json:"at"`
	ID string    `json:"id"`
}

// Events lists the inbox, newest first.
func (s *Service) Events(ctx context.Context, f Filter, r page.Request) (page.Page[Event], error) {
	var from place
	more, err := r.Decode(&from)
	if err != nil {
		return page.Page[Event]{}, err
	}
	params := db.ListStripeEventsParams{
		Status: f.Status, Reason: f.Reason, Type: f.Type, ObjectID: f.ObjectID, BeforeID: from.ID, MaxRows: int32(r.Limit) + 1,
	}
	if more {
		params.Before = &from.At
	}
	rows, err := s.queries().ListStripeEvents(ctx, params)
	if err != nil {
		return page.Page[Event]{}, fmt.Errorf("list events: %w", err)
	}
	return page.New(r, rows, func(e Event) any { return place{e.ReceivedAt, e.ID} })
}

// Event returns one event.
func (s *Service) Event(ctx context.Context, id string) (StoredEvent, error) {
	event, err := s.queries().GetStripeEvent(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return StoredEvent{}, problem.NotFound.Errorf("there is no such event")
	}
	if err != nil {
		return StoredEvent{}, fmt.Errorf("read event: %w", err)
	}
	return event, nil
}

// Replay judges an event anew and has it worked on again, with all its attempts, whatever came of it before. It is always safe:
// the object is looked at as it is now, and every effect has a natural key. The jobs that it had are taken back, and the last attempt of
// one that runs at this moment ends nothing. It returns the event as it was then, without its bytes: what is answered is stored under the
// key, and they have an end of their own.
func (s *Service) Replay(ctx context.Context, key idempotency.Key, id string, actor audit.Actor) (event StoredEvent, replayed bool, err error) {
	err = postgres.InJobTx(ctx, s.pool, func(tx pgx.Tx, q *db.Queries) error {
		event, replayed, err = idempotency.Do(ctx, q, s.now(), key, func() (StoredEvent, error) {
			if err := s.replay(ctx, tx, q, id, actor); err != nil {
				return StoredEvent{}, err
			}
			event, err := q.GetStripeEvent(ctx, id)
			if err != nil {
				return event, fmt.Errorf("read event: %w", err)
			}
			event.Payload = nil
			return event, nil
		})
		return err
	})
	return event, replayed, err
}

func (s *Service) replay(ctx context.Context, tx pgx.Tx, q *db.Queries, id string, actor audit.Actor) error {
	event, err := q.LockStripeEvent(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return problem.NotFound.Errorf("there is no such event")
	}
	if err != nil {
		return fmt.Errorf("lock event: %w", err)
	}
	status, reason, root := s.judgeAgain(event)
	reset := db.ResetStripeEventParams{Status: status, Reason: reason, RootID: root, ID: id}
	if now := s.now(); status != statusPending {
		reset.DoneAt = &now
	}
	if err := q.ResetStripeEvent(ctx, reset); err != nil {
		return fmt.Errorf("reset event: %w", err)
	}
	if err := q.CancelWaitingStripeJobs(ctx, id); err != nil {
		return fmt.Errorf("cancel jobs: %w", err)
	}
	if status == statusPending {
		if _, err := s.jobs.InsertTx(ctx, tx, eventArgs{EventID: id}, nil); err != nil {
			return fmt.Errorf("queue event: %w", err)
		}
	}
	return audit.Record(ctx, q, s.now(), audit.Entry{
		Actor: actor, Action: "stripe_event.replay", Target: "stripe_event", TargetID: id,
		Before: map[string]string{"status": event.Status}, After: map[string]string{"status": status},
	})
}

// judgeAgain is the judgement of an event by this release. Where its bytes are gone, what was stored of it has to do.
func (s *Service) judgeAgain(event StoredEvent) (status, reason, root string) {
	if event.Payload != nil {
		e, reason, err := parseEnvelope(event.Payload)
		if err != nil {
			return statusQuarantined, reasonMalformed, event.RootID
		}
		status, reason = s.judge(e, reason)
		return status, reason, looks[e.Type].rootOf(e)
	}
	if _, known := looks[event.Type]; !known || !validID(event.RootID) || event.Livemode != s.live || event.StripeAccount != "" {
		return event.Status, event.Reason, event.RootID
	}
	return statusPending, "", event.RootID
}

// ReplayAll replays what a filter chooses, up to a number of events, oldest of them first, and returns how many wait now.
func (s *Service) ReplayAll(ctx context.Context, f Filter, most int, actor audit.Actor) (int, error) {
	var ids []string
	for r := (page.Request{Limit: pageSize}); len(ids) < most; {
		p, err := s.Events(ctx, f, r)
		if err != nil {
			return 0, err
		}
		for _, e := range p.Data {
			ids = append(ids, e.ID)
		}
		if r.Cursor = p.Next; p.Next == "" {
			break
		}
	}
	waiting := 0
	for i := min(len(ids), most) - 1; i >= 0; i-- {
		event, _, err := s.Replay(ctx, idempotency.Key{}, ids[i], actor)
		if err != nil {
			return waiting, fmt.Errorf("replay %s: %w", ids[i], err)
		}
		if event.Status == statusPending {
			waiting++
		}
	}
	return waiting, nil
}
