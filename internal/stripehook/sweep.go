package stripehook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/postgres"
)

const (
	sweepEvery   = 10 * time.Minute
	sweepTimeout = 10 * time.Minute
	// sweepOverlap is how far behind its watermark a sweep begins: an event is listed under the second in which it was made, and
	// may appear later.
	sweepOverlap = time.Hour
	// sweepDelay is how long the webhook has the first word: what is younger is left to the next sweep.
	sweepDelay = 5 * time.Minute
	// Stripe lists events for thirty days. Whoever has not swept for so long has to reconcile.
	eventLife    = 30 * 24 * time.Hour
	sweepTooLate = 25 * 24 * time.Hour
	maxSweep     = 10_000 // pages
)

// sweepArgs are the arguments of the periodic job that lists Stripe's events.
type sweepArgs struct{}

// Kind names the job.
func (sweepArgs) Kind() string { return "stripe_sweep" }

// InsertOpts keeps one such job at a time.
func (sweepArgs) InsertOpts() river.InsertOpts { return postgres.PeriodicJob() }

type sweepWorker struct {
	river.WorkerDefaults[sweepArgs]
	s *Service
}

// Timeout lets a sweep after a long absence page through all of it.
func (w *sweepWorker) Timeout(*river.Job[sweepArgs]) time.Duration { return sweepTimeout }

// Work sweeps.
func (w *sweepWorker) Work(ctx context.Context, _ *river.Job[sweepArgs]) error {
	_, err := w.s.Sweep(ctx, false)
	return err
}

// A Swept is what a sweep has seen.
type Swept struct {
	Since  time.Time
	Listed int // events
	Found  int // that no delivery has brought
}

// Sweep lists Stripe's events since the last one, and takes in those that no delivery has brought; dry only counts them. The
// watermark moves once the whole list was read, so a sweep that is interrupted is done again.
func (s *Service) Sweep(ctx context.Context, dry bool) (Swept, error) {
	start := s.now()
	watermark, err := s.queries().GetStripeSweep(ctx)
	if errors.Is(err, pgx.ErrNoRows) {
		watermark, err = start.Add(-eventLife+sweepOverlap), nil
	} else if err == nil && start.Sub(watermark) > sweepTooLate {
		s.alarm(ctx, "sweep_gap", "watermark", watermark)
	}
	if err != nil {
		return Swept{}, fmt.Errorf("read watermark: %w", err)
	}
	swept := Swept{Since: watermark.Add(-sweepOverlap)}
	params := &stripe.EventListParams{CreatedRange: &stripe.RangeQueryParams{GreaterThanOrEqual: swept.Since.Unix()}}
	params.Context, params.Limit, params.Single = ctx, stripe.Int64(pageSize), true
	for range maxSweep {
		more, err := s.sweepPage(ctx, params, start, dry, &swept)
		if err != nil {
			return swept, err
		}
		if more {
			continue
		}
		if dry {
			return swept, nil
		}
		if err := s.queries().SetStripeSweep(ctx, start.Add(-sweepDelay), s.now()); err != nil {
			return swept, fmt.Errorf("move watermark: %w", err)
		}
		return swept, s.endRound(ctx, roundSweep, start)
	}
	return swept, errors.New("the list of events does not end")
}

// sweepPage reads one page, from the newest event back: new ones do not move what is still to be read. It tells whether there is
// another page.
func (s *Service) sweepPage(ctx context.Context, params *stripe.EventListParams, start time.Time, dry bool, swept *Swept) (bool, error) {
	list := s.stripe.Events.List(params)
	if err := list.Err(); err != nil {
		return false, fmt.Errorf("list events: %w", s.listRefused(ctx, "events", err))
	}
	s.closeCircuit()
	var page struct {
		Data    []json.RawMessage `json:"data"`
		HasMore bool              `json:"has_more"`
	}
	if err := read(list.EventList().LastResponse, &page); err != nil {
		return false, fmt.Errorf("read events: %w", err)
	}
	bodies, ids := map[string][]byte{}, []string{}
	last := ""
	for _, body := range page.Data {
		e, _, err := parseEnvelope(body)
		if err != nil {
			return false, fmt.Errorf("read events: %w", err)
		}
		last = e.ID
		fresh := e.Created != nil && e.Created.After(start.Add(-sweepDelay)) && !e.Created.After(start)
		if _, known := looks[e.Type]; known && !fresh {
			bodies[e.ID], ids = body, append(ids, e.ID)
		}
	}
	swept.Listed += len(ids)
	known, err := s.queries().ListKnownStripeEvents(ctx, ids)
	if err != nil {
		return false, fmt.Errorf("look for events: %w", err)
	}
	for _, id := range known {
		delete(bodies, id)
	}
	for i := len(ids) - 1; i >= 0; i-- {
		body, missing := bodies[ids[i]]
		if !missing {
			continue
		}
		swept.Found++
		if dry {
			continue
		}
		e, reason, _ := parseEnvelope(body)
		s.noteVersion(ctx, e)
		if err := s.store(ctx, s.row(e, reason, sourceSweep, noSecret, body)); err != nil {
			return false, fmt.Errorf("store event %s: %w", e.ID, err)
		}
		s.metrics.swept.Inc()
	}
	if !page.HasMore || last == "" {
		return false, at(s.fail.AfterPage, last)
	}
	params.StartingAfter = stripe.String(last)
	return true, at(s.fail.AfterPage, last)
}

// noSecret is the index of an event that came without a signature: we have asked for it ourselves.
const noSecret = -1
