package stripehook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"example.com/saaskit/internal/db"
	"example.com/saaskit/internal/postgres"
)

const (
	reconcileEvery = time.Hour
	censusEvery    = 24 * time.Hour
	// reconcileBatch bounds how much one run looks at; what was looked at longest ago comes first.
	reconcileBatch   = 1000
	reconcileTimeout = 20 * time.Minute
	// lately is how far back payments are looked at again, and lists are compared.
	lately = 60 * 24 * time.Hour
)

// reconcileArgs are the arguments of the periodic job that looks again at what may have changed without a word; with All, also
// at what Stripe lists and we do not know.
type reconcileArgs struct {
	All bool `json:"all"`
}

// Kind names the job.
func (reconcileArgs) Kind() string { return "stripe_reconcile" }

// InsertOpts keeps one such job at a time.
func (reconcileArgs) InsertOpts() river.InsertOpts {
	o := postgres.PeriodicJob()
	o.UniqueOpts.ByArgs = true
	return o
}

type reconcileWorker struct {
	river.WorkerDefaults[reconcileArgs]
	s *Service
}

// Timeout lets a run look at all that it lists.
func (w *reconcileWorker) Timeout(*river.Job[reconcileArgs]) time.Duration { return reconcileTimeout }

// Work reconciles where that is due.
func (w *reconcileWorker) Work(ctx context.Context, job *river.Job[reconcileArgs]) error {
	name, every := roundReconcile, reconcileEvery
	if job.Args.All {
		name, every = roundCensus, censusEvery
	}
	due, err := w.s.roundDue(ctx, name, every)
	if err != nil || !due {
		return err
	}
	_, err = w.s.Reconcile(ctx, Reconciliation{All: job.Args.All, Resume: true})
	if job.Args.All && errors.Is(ctx.Err(), context.DeadlineExceeded) { // the lists are long; the age of the round tells where it is never over
		w.s.log.InfoContext(ctx, "the census goes on with the next run", "stopped", err)
		return nil
	}
	return err
}

// What is looked at by the clock, as the table stripe_rounds names it.
const (
	roundSweep     = "sweep"
	roundReconcile = "reconcile"
	roundCensus    = "census"
)

// roundDue tells whether the last round that came to its end is long enough ago. A tick that is a little early counts.
func (s *Service) roundDue(ctx context.Context, name string, every time.Duration) (bool, error) {
	ran, err := s.queries().GetStripeRound(ctx, name)
	if err != nil {
		return false, fmt.Errorf("read last %s: %w", name, err)
	}
	return ran == nil || longAgo(s.now(), *ran, every), nil
}

func longAgo(now, ran time.Time, every time.Duration) bool { return now.Sub(ran) >= every-every/20 }

func (s *Service) endRound(ctx context.Context, name string, began time.Time) error {
	if err := s.queries().EndStripeRound(ctx, began, name); err != nil {
		return fmt.Errorf("note %s: %w", name, err)
	}
	return nil
}

// A Reconciliation says what to look at.
type Reconciliation struct {
	All bool // also what Stripe lists and we do not know
	// Resume goes on in Stripe's lists where the last such run was cut off, and leaves out those that were read within a day.
	Resume bool
	Dry    bool // find out, and change nothing
	Report func(kind, id, what string)
}

// A Reconciled is what a reconciliation has found.
type Reconciled struct{ Looked, Drift, Failed int }

// errDry undoes a transaction of a dry run.
var errDry = errors.New("dry run")

// Reconcile looks at objects that may have changed although no event has told us: an event can fail to be made at all, and is then
// not listed either. It goes the same way as an event, with a fence of its own for each look. What differed is drift, and repaired. What
// was paid and could not be granted is granted where the catalogue knows it by now. A list of Stripe's that cannot be read keeps
// nothing else from being looked at; it is the error in the end. What is found is settled before more is read, so a run that is cut off
// has not been in vain.
func (s *Service) Reconcile(ctx context.Context, r Reconciliation) (Reconciled, error) {
	if r.Report == nil {
		r.Report = func(string, string, string) {}
	}
	var done Reconciled
	now := s.now()
	roots, err := s.rootsToReconcile(ctx, now)
	if err != nil {
		return done, err
	}
	seen := map[root]bool{}
	once := func(o root) error {
		if seen[o] {
			return nil
		}
		seen[o] = true
		return s.reconcileRoot(ctx, o, r, &done)
	}
	for _, o := range roots {
		if err := once(o); err != nil {
			return done, err
		}
	}
	if !r.Dry {
		if err := s.endRound(ctx, roundReconcile, now); err != nil {
			return done, err
		}
	}
	if !r.All {
		return done, nil
	}
	return done, s.census(ctx, r, now, once)
}

// rootsToReconcile lists what may have changed without a word, and what was paid and may be granted by now.
func (s *Service) rootsToReconcile(ctx context.Context, now time.Time) ([]root, error) {
	rows, err := s.queries().ListRootsToReconcile(ctx, now.Add(-lately), now.Add(-reconcileEvery/2), reconcileBatch)
	if err != nil {
		return nil, fmt.Errorf("list what to look at: %w", err)
	}
	withheld, err := s.withheldGrants(ctx, reconcileBatch)
	if err != nil {
		return nil, fmt.Errorf("list withheld grants: %w", err)
	}
	roots := make([]root, 0, len(rows)+len(withheld))
	for _, row := range rows {
		roots = append(roots, root{row.Kind, row.ID})
	}
	for _, row := range withheld {
		roots = append(roots, root{row.Kind, row.ID})
	}
	return roots, nil
}

// reconcileRoot looks at one object. What fails for it alone is told and left to the next run, behind all others.
func (s *Service) reconcileRoot(ctx context.Context, o root, r Reconciliation, done *Reconciled) error {
	done.Looked++
	look := &watch{dry: r.Dry}
	err := s.settle(ctx, o, db.StripeEvent{Source: sourceReconcile}, false, look)
	if errors.Is(err, errGone) && o.kind == kindInvoice {
		err = s.settleDraft(ctx, o, look, err)
	}
	if err != nil && !errors.Is(err, errKeyRefused) && ctx.Err() == nil && !r.Dry {
		if err := s.queries().NoteStripeTry(ctx, o.id, o.kind, s.now()); err != nil {
			return fmt.Errorf("note try of %s: %w", o.id, err)
		}
	}
	var parked *parking
	var ended *ending
	switch {
	case errors.Is(err, errKeyRefused) || ctx.Err() != nil:
		return err
	case errors.As(err, &parked) || errors.As(err, &ended):
		return nil // nobody's of ours
	case err != nil:
		if errors.Is(err, errGone) {
			err = fmt.Errorf("%w: %s", err, whyGone)
		}
		done.Failed++
		r.Report(o.kind, o.id, err.Error())
		s.log.WarnContext(ctx, "not reconciled", "kind", o.kind, "object", o.id, "error", err)
		return nil
	}
	if look.drift {
		done.Drift++
		r.Report(o.kind, o.id, "differs from Stripe")
		if !r.Dry {
			s.metrics.drift.WithLabelValues(o.kind).Inc()
		}
	}
	return nil
}

// whyGone says what it means that Stripe does not know what our mirror has, and no event has said that it was deleted.
const whyGone = "it was wiped with the test data, or STRIPE_API_KEY is of another Stripe account; see `saaskit stripe doctor`"

// sourceReconcile is whose looks these are.
const sourceReconcile = "stripe_reconcile"

// settleDraft ends an invoice that Stripe does not find and that our mirror has as a draft: drafts are deleted, and the event that said so
// is lost. gone is the error where it is no draft.
func (s *Service) settleDraft(ctx context.Context, o root, look *watch, gone error) error {
	customer, err := s.queries().FindDraftInvoice(ctx, o.id)
	if errors.Is(err, pgx.ErrNoRows) {
		return gone
	}
	if err != nil {
		return fmt.Errorf("look for draft %s: %w", o.id, err)
	}
	// In the place of the event stands what it would have said.
	told := db.StripeEvent{
		Source: sourceReconcile, ObjectKind: kindInvoice, ObjectID: o.id, CustomerID: customer, Payload: []byte(`{"data":{"object":{"status":"draft"}}}`),
	}
	return s.settle(ctx, o, told, false, look)
}

// A watch tells whether a look has changed anything, and may undo it.
type watch struct{ dry, drift bool }

// watched stores a sight and compares the mirror before and after, where somebody wants to know.
func (t *settling) watched(ctx context.Context, seen sight, w *watch) error {
	if w == nil {
		return t.keep(ctx, seen)
	}
	before, err := t.q.GetMirrorDigest(ctx, seen.id, t.account)
	if err != nil {
		return fmt.Errorf("read mirror: %w", err)
	}
	if err := t.keep(ctx, seen); err != nil {
		return err
	}
	after, err := t.q.GetMirrorDigest(ctx, seen.id, t.account)
	if err != nil {
		return fmt.Errorf("read mirror: %w", err)
	}
	w.drift = w.drift || before != after
	if w.dry {
		return errDry
	}
	return nil
}
