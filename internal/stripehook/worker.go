package stripehook

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"example.com/saaskit/internal/db"
)

// backoff are the pauses after each failed attempt, about three days together. After the last attempt an event is dead.
var backoff = [...]time.Duration{
	10 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour,
	6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 24 * time.Hour,
}

// eventArgs are the arguments of the job that works on one event.
type eventArgs struct {
	EventID string `json:"event_id"`
}

// Kind names the job. The queries that look for an event's job know the name, too.
func (eventArgs) Kind() string { return "stripe_event" }

// InsertOpts gives the job one attempt more than there are pauses.
func (eventArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{MaxAttempts: len(backoff) + 1}
}

// A try is what an attempt has to know of its job.
type try struct {
	queued *time.Time // when the job was made, by the database's clock; nil for now
	last   bool       // there is no attempt after it
}

type eventWorker struct {
	river.WorkerDefaults[eventArgs]
	s *Service
}

// Work makes one attempt.
func (w *eventWorker) Work(ctx context.Context, job *river.Job[eventArgs]) error {
	return w.s.work(ctx, job.Args.EventID, try{queued: &job.CreatedAt, last: job.Attempt >= job.MaxAttempts})
}

// NextRetry is when the attempt after a failed one is made.
func (w *eventWorker) NextRetry(job *river.Job[eventArgs]) time.Time {
	from := time.Now()
	if job.AttemptedAt != nil {
		from = *job.AttemptedAt
	}
	return from.Add(backoff[min(max(job.Attempt, 1), len(backoff))-1])
}

// AddWorkers registers the jobs of the package.
func (s *Service) AddWorkers(workers *river.Workers) {
	river.AddWorker(workers, &eventWorker{s: s})
	river.AddWorker(workers, &requeueWorker{s: s})
	river.AddWorker(workers, &sweepWorker{s: s})
	river.AddWorker(workers, &reconcileWorker{s: s})
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, _ *river.Job[retentionArgs]) error {
		_, err := s.EndPayloads(ctx)
		return err
	}))
}

// work makes one attempt at an event. Only its result changes the event's row.
func (s *Service) work(ctx context.Context, id string, t try) error {
	event, err := s.queries().GetStripeEvent(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return river.JobCancel(fmt.Errorf("no event %s", id))
	}
	if err != nil {
		return fmt.Errorf("read event: %w", err)
	}
	if event.Status != statusPending {
		return nil // another look covered it, or a second job did the work
	}
	if wait := s.circuit.pause(s.now()); wait > 0 {
		return river.JobSnooze(wait)
	}
	if l, known := looks[event.Type]; known && l.moment == nil && !l.gone {
		if wait := s.pacing.wait(event.RootID, time.Now()); wait > 0 {
			return river.JobSnooze(wait) // by then a look of another event has covered it, most likely
		}
	}
	return s.conclude(ctx, event, s.attempt(ctx, event), t)
}

// attempt settles what the event is about. A panic is a failure like any other, so that it is counted and ends.
func (s *Service) attempt(ctx context.Context, event db.StripeEvent) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.log.ErrorContext(ctx, "panic", "event", event.ID, "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	l, known := looks[event.Type]
	if !known { // stored by a newer release than this one
		return &ending{statusIgnored, reasonUnknownType}
	}
	if err := s.awaitOwner(ctx, event); err != nil {
		return err
	}
	return s.settle(ctx, root{l.rootKind(), event.RootID}, event, true, nil)
}

// conclude turns the error of an attempt into what River and the event's row have to know.
func (s *Service) conclude(ctx context.Context, event db.StripeEvent, err error, t try) error {
	var parked *parking
	var ended *ending
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ended):
		return s.end(ctx, event, ended)
	case errors.As(err, &parked):
		return s.park(ctx, event, parked, t)
	case errors.Is(err, errGone):
		return s.park(ctx, event, &parking{reason: reasonGone}, t)
	case errors.Is(err, errKeyRefused):
		return river.JobSnooze(circuitPause)
	case errors.Is(ctx.Err(), context.Canceled):
		return river.JobSnooze(0) // the server stops: this was no attempt
	}
	return s.failed(ctx, event, err, t)
}

// end finishes an event that is not applied.
func (s *Service) end(ctx context.Context, event db.StripeEvent, e *ending) error {
	if e.reason == reasonUnowned {
		claimed, err := s.claimed(ctx, event)
		if err != nil {
			return err
		}
		if claimed {
			e = &ending{statusQuarantined, reasonClaim}
		}
	}
	done, err := s.queries().FinishStripeEvent(ctx, db.FinishStripeEventParams{
		Status: e.status, Reason: e.reason, Now: s.now(), ID: event.ID,
	})
	if err != nil {
		return fmt.Errorf("end event: %w", err)
	}
	if done == 0 {
		return nil
	}
	s.metrics.finished.WithLabelValues(e.status, e.reason).Inc()
	if e.status == statusQuarantined || e.reason == reasonGone {
		s.alarm(ctx, e.reason, "event", event.ID, "type", event.Type, "object", event.ObjectID)
	}
	return nil
}

// recordTimeout is what recording a failure may take after the attempt's own time is over.
const recordTimeout = 5 * time.Second

// failed counts the attempt. With the last one the event is dead, until somebody replays it.
func (s *Service) failed(ctx context.Context, event db.StripeEvent, cause error, t try) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	dead, err := s.queries().FailStripeEvent(ctx, db.FailStripeEventParams{
		LastError: shorten(cause.Error()), Last: t.last, QueuedAt: t.queued, Now: s.now(), ID: event.ID,
	})
	if err != nil && !errors.Is(err, pgx.ErrNoRows) { // somebody else may have finished it
		return errors.Join(cause, fmt.Errorf("record failure: %w", err))
	}
	if dead {
		s.metrics.finished.WithLabelValues("dead", "").Inc()
		s.alarm(ctx, "dead", "event", event.ID, "type", event.Type, "error", cause)
	}
	return cause
}

func shorten(text string) string {
	const most = 500
	if len(text) > most {
		return text[:most]
	}
	return text
}
