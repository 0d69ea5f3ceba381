// Package usage measures what accounts use.
//
// An event counts once, by the caller's id and the time it occurred at; whatever else a repetition says, the first one wins.
// Events lie in monthly partitions, which have to be there before the first event of their month: [Service.MakePartitions]
// makes them at start-up, once an hour, and when an event meets none. Sums are kept by hour, in the statement that adds the
// events, so they agree at every moment; days and months are sums of hours. Sums are exact, whatever their size: where 64 bits
// do not hold one, an answer tells the most that they hold.
package usage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/idempotency"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/problem"
)

// Bounds of an event and of a request.
const (
	MaxAge    = 35 * 24 * time.Hour // how late an event may come
	MaxAhead  = 24 * time.Hour      // how far a caller's clock may be ahead
	MaxEvents = 1000                // of one request
)

// An Event is something that was used.
type Event struct {
	ID         string // the caller's
	Meter      string
	Quantity   int64
	OccurredAt time.Time
	Dimension  string // a part of the meter; may be empty
}

// Accepted is what came of a request.
type Accepted struct {
	Accepted   int `json:"accepted"`
	Duplicates int `json:"duplicates"`
}

// A Service records and sums usage.
type Service struct {
	pool *pgxpool.Pool
	now  func() time.Time
}

// New returns a service.
func New(pool *pgxpool.Pool, now func() time.Time) *Service { return &Service{pool: pool, now: now} }

// Record stores the events of one request, all or none, and tells whether it answers an earlier request with the same key. It
// fails with [problem.UnknownMeter] or [problem.EventTime] where an event cannot be taken. What a service key records for an
// account is written to the audit log.
func (s *Service) Record(ctx context.Context, accountID uuid.UUID, events []Event, key idempotency.Key, actor audit.Actor) (Accepted, bool, error) {
	accepted, replayed, err := s.record(ctx, accountID, events, key, actor)
	if isMissingPartition(err) {
		// The job that makes them ahead has not run, or somebody moved the clock.
		if err := s.MakePartitions(ctx); err != nil {
			return Accepted{}, false, err
		}
		accepted, replayed, err = s.record(ctx, accountID, events, key, actor)
	}
	if err != nil {
		return Accepted{}, false, fmt.Errorf("record usage: %w", err)
	}
	return accepted, replayed, nil
}

func (s *Service) record(
	ctx context.Context, accountID uuid.UUID, events []Event, key idempotency.Key, actor audit.Actor,
) (a Accepted, replayed bool, err error) {
	now := s.now()
	err = postgres.InTx(ctx, s.pool, func(q *db.Queries) (err error) {
		a, replayed, err = idempotency.Do(ctx, q, now, key, func() (Accepted, error) {
			if err := check(ctx, q, now, events); err != nil {
				return Accepted{}, err
			}
			a, err := insert(ctx, q, now, accountID, events)
			if err != nil {
				return Accepted{}, err
			}
			return a, writeDown(ctx, q, now, accountID, a, actor)
		})
		return err
	})
	return a, replayed, err
}

// check refuses a request that has an event which cannot be taken, and names each such event.
func check(ctx context.Context, q *db.Queries, now time.Time, events []Event) error {
	if len(events) == 0 || len(events) > MaxEvents {
		return problem.InvalidRequest.Errorf("a request has 1 to %d events", MaxEvents).In("body.events", "are too few or too many")
	}
	if err := checkTimes(now, events); err != nil {
		return err
	}
	return checkMeters(ctx, q, events)
}

func checkTimes(now time.Time, events []Event) error {
	oldest, newest := now.Add(-MaxAge), now.Add(MaxAhead)
	var refusal *problem.Error
	for i, e := range events {
		if !e.OccurredAt.Before(oldest) && !e.OccurredAt.After(newest) {
			continue
		}
		if refusal == nil {
			refusal = problem.EventTime.Errorf("events have to be of the time from %s to %s",
				oldest.UTC().Format(time.RFC3339), newest.UTC().Format(time.RFC3339))
		}
		refusal.In(fmt.Sprintf("body.events.%d.occurred_at", i), "is out of range")
	}
	if refusal == nil {
		return nil
	}
	return refusal
}

func checkMeters(ctx context.Context, q *db.Queries, events []Event) error {
	known := map[string]bool{}
	var refusal *problem.Error
	for i, e := range events {
		if _, seen := known[e.Meter]; !seen {
			exists, err := catalog.MeterExists(ctx, q, e.Meter)
			if err != nil {
				return err
			}
			known[e.Meter] = exists
		}
		if known[e.Meter] {
			continue
		}
		if refusal == nil {
			refusal = problem.UnknownMeter.Errorf("event %d names the meter %q, which is not in the catalogue", i, e.Meter)
		}
		refusal.In(fmt.Sprintf("body.events.%d.meter", i), "is not in the catalogue")
	}
	if refusal == nil {
		return nil
	}
	return refusal
}

// insert adds the events that are new. PostgreSQL keeps microseconds: events are the same where they differ by less.
func insert(ctx context.Context, q *db.Queries, now time.Time, accountID uuid.UUID, events []Event) (Accepted, error) {
	type identity struct {
		id    string
		micro int64
	}
	seen := make(map[identity]bool, len(events))
	row := db.InsertUsageEventsParams{AccountID: accountID, ReceivedAt: now}
	for _, e := range events {
		key := identity{e.ID, e.OccurredAt.UnixMicro()}
		if seen[key] {
			continue
		}
		seen[key] = true
		row.EventIds, row.OccurredAts = append(row.EventIds, e.ID), append(row.OccurredAts, e.OccurredAt)
		row.MeterIds, row.Dimensions = append(row.MeterIds, e.Meter), append(row.Dimensions, e.Dimension)
		row.Quantities = append(row.Quantities, e.Quantity)
	}
	added, err := q.InsertUsageEvents(ctx, row)
	if err != nil {
		return Accepted{}, fmt.Errorf("insert events: %w", err)
	}
	return Accepted{Accepted: int(added), Duplicates: len(events) - int(added)}, nil
}

// writeDown audits a request of a service key. The account's own keys only say what the account itself has used.
func writeDown(ctx context.Context, q *db.Queries, now time.Time, accountID uuid.UUID, a Accepted, actor audit.Actor) error {
	if actor.Kind != audit.ByService {
		return nil
	}
	return audit.Record(ctx, q, now, audit.Entry{
		Actor: actor, AccountID: &accountID, Action: "usage.record", Target: "account", TargetID: accountID.String(), After: a,
	})
}

// isMissingPartition tells whether a row met no partition: the check violation that belongs to no constraint.
func isMissingPartition(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23514" && pg.ConstraintName == ""
}
