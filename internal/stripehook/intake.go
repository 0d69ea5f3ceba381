package stripehook

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
	"example.com/saaskit/internal/problem"
)

// States of an event in the inbox.
const (
	statusPending     = "pending"
	statusDone        = "done"
	statusIgnored     = "ignored"
	statusQuarantined = "quarantined"
)

// Where an event came from.
const (
	sourceWebhook = "webhook"
	sourceSweep   = "sweep"
)

// storeDeadline bounds the storing of an event: Stripe waits for the answer, and sends the event again after a 503.
const storeDeadline = 3 * time.Second

// Receive takes in one delivery: the Stripe-Signature header and the exact body. After nil the event and what will work on
// it are committed. It fails with [problem.InvalidSignature], always in the same words, with [problem.InvalidEvent] where
// the signed bytes are no event, and with [problem.Unavailable] where the database does not take it in time.
func (s *Service) Receive(ctx context.Context, signature string, body []byte) error {
	secret, err := s.verify(signature, body)
	if err != nil {
		s.metrics.signatureFailures.Inc()
		return problem.InvalidSignature.Errorf("the request is not signed by Stripe for this endpoint, or is too old").Because(err)
	}
	s.metrics.secretUsed.WithLabelValues(strconv.Itoa(secret)).Inc()
	ctx, cancel := context.WithTimeout(ctx, storeDeadline)
	defer cancel()
	event, reason, err := parseEnvelope(body)
	if err != nil {
		return s.quarantine(ctx, secret, body)
	}
	s.noteVersion(ctx, event)
	if err := s.store(ctx, s.row(event, reason, sourceWebhook, secret, body)); err != nil {
		return problem.Unavailable.Errorf("the event was not stored, send it again").Because(fmt.Errorf("event %s: %w", event.ID, err))
	}
	return nil
}

// row judges what becomes of an event: pending, or kept with a reason.
func (s *Service) row(e envelope, reason, source string, secret int, body []byte) db.InsertStripeEventParams {
	status, reason := s.judge(e, reason)
	now, sum := s.now(), sha256.Sum256(body)
	row := db.InsertStripeEventParams{
		ID: e.ID, StripeAccount: e.Account, Livemode: e.Livemode, Type: e.Type, APIVersion: e.APIVersion,
		ObjectKind: e.ObjectKind, ObjectID: e.ObjectID, RootID: looks[e.Type].rootOf(e), CustomerID: e.CustomerID, EventCreated: e.Created,
		Payload: body, Sha256: sum[:], Source: source, SecretIndex: int32(secret),
		Status: status, Reason: reason, ReceivedAt: now,
	}
	if status != statusPending {
		row.DoneAt = &now
	}
	return row
}

func (s *Service) judge(e envelope, reason string) (status, why string) {
	look, known := looks[e.Type]
	switch {
	case reason != "":
		return statusQuarantined, reason
	case e.Livemode != s.live:
		return statusQuarantined, reasonLivemode
	case e.Account != "":
		return statusIgnored, reasonConnect
	case !known && isNotKept(e.Type):
		return statusIgnored, reasonNotKept
	case !known:
		return statusIgnored, reasonUnknownType
	case e.ObjectKind != look.kind:
		return statusQuarantined, reasonObject
	case look.via != "" && look.rootOf(e) == "":
		return statusIgnored, reasonNoID
	case !validID(look.rootOf(e)):
		return statusQuarantined, reasonObject
	}
	return statusPending, ""
}

// store commits the event together with its job. A delivery of an event that waits without a job queues it again.
func (s *Service) store(ctx context.Context, row db.InsertStripeEventParams) error {
	if err := at(s.fail.BeforeInsert, row.ID); err != nil {
		return err
	}
	var stored db.InsertStripeEventRow
	err := postgres.InJobTx(ctx, s.pool, func(tx pgx.Tx, q *db.Queries) (err error) {
		if err := limitStatements(ctx, q); err != nil {
			return err
		}
		if stored, err = q.InsertStripeEvent(ctx, row); err != nil {
			return fmt.Errorf("store event: %w", err)
		}
		if err := s.enqueue(ctx, tx, q, row.ID, stored); err != nil {
			return err
		}
		return at(s.fail.BeforeStored, row.ID)
	})
	if err != nil {
		return err
	}
	if stored.DeliveryCount == 1 {
		s.metrics.received.WithLabelValues(stored.Status).Inc()
		s.reportKept(ctx, row)
	}
	return at(s.fail.AfterStored, row.ID)
}

func (s *Service) enqueue(ctx context.Context, tx pgx.Tx, q *db.Queries, id string, stored db.InsertStripeEventRow) error {
	if stored.Status != statusPending {
		return nil
	}
	if stored.DeliveryCount > 1 {
		queued, err := q.HasLiveStripeJob(ctx, id)
		if err != nil {
			return fmt.Errorf("look for job: %w", err)
		}
		if queued {
			return nil
		}
	}
	if _, err := s.jobs.InsertTx(ctx, tx, eventArgs{EventID: id}, nil); err != nil {
		return fmt.Errorf("queue event: %w", err)
	}
	return nil
}

// quarantine keeps signed bytes that are no event: somebody with the secret has sent them, so somebody has to look.
func (s *Service) quarantine(ctx context.Context, secret int, body []byte) error {
	sum := sha256.Sum256(body)
	if body == nil {
		body = []byte{}
	}
	err := postgres.InTx(ctx, s.pool, func(q *db.Queries) error {
		if err := limitStatements(ctx, q); err != nil {
			return err
		}
		_, err := q.InsertStripeQuarantine(ctx, db.InsertStripeQuarantineParams{
			ID: postgres.NewID(), Reason: "no_event", Payload: body, Sha256: sum[:], SecretIndex: int32(secret), ReceivedAt: s.now(),
		})
		return err
	})
	if err != nil {
		return problem.Unavailable.Errorf("the body was not stored, send it again").Because(err)
	}
	s.alarm(ctx, "no_event", "sha256", fmt.Sprintf("%x", sum))
	return problem.InvalidEvent.Errorf("the signed body is no event")
}

// reportKept raises the alarm for events that should not have come here.
func (s *Service) reportKept(ctx context.Context, row db.InsertStripeEventParams) {
	if row.Status == statusQuarantined {
		s.alarm(ctx, row.Reason, "event", row.ID, "type", row.Type)
	}
}

func limitStatements(ctx context.Context, q *db.Queries) error {
	if err := q.SetStatementTimeout(ctx, strconv.FormatInt(storeDeadline.Milliseconds(), 10)); err != nil {
		return fmt.Errorf("limit statements: %w", err)
	}
	return nil
}

// errNotOwn is what a root of somebody else's ends with.
var errNotOwn = errors.New("no account of ours owns it")
