package stripehook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/stripe/stripe-go/v76"

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
	_, err = w.s.Reconcile(ctx, Reconciliation{All: job.Args.All})
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
	return ran == nil || s.now().Sub(*ran) >= every-every/20, nil
}

func (s *Service) endRound(ctx context.Context, name string, began time.Time) error {
	if err := s.queries().EndStripeRound(ctx, began, name); err != nil {
		return fmt.Errorf("note %s: %w", name, err)
	}
	return nil
}

// A Reconciliation says what to look at.
type Reconciliation struct {
	All    bool // also what Stripe lists and we do not know
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
// nothing else from being looked at; it is the error in the end.
func (s *Service) Reconcile(ctx context.Context, r Reconciliation) (Reconciled, error) {
	if r.Report == nil {
		r.Report = func(string, string, string) {}
	}
	var done Reconciled
	now := s.now()
	rows, err := s.queries().ListRootsToReconcile(ctx, now.Add(-lately), now.Add(-reconcileEvery/2), reconcileBatch)
	if err != nil {
		return done, fmt.Errorf("list what to look at: %w", err)
	}
	roots := make([]root, len(rows))
	for i, row := range rows {
		roots[i] = root{row.Kind, row.ID}
	}
	withheld, err := s.withheldGrants(ctx, reconcileBatch)
	if err != nil {
		return done, fmt.Errorf("list withheld grants: %w", err)
	}
	for _, row := range withheld {
		roots = append(roots, root{row.Kind, row.ID})
	}
	var unread error
	if r.All {
		var others []root
		others, unread = s.census(ctx, now)
		if errors.Is(unread, errKeyRefused) || ctx.Err() != nil {
			return done, unread
		}
		roots = append(roots, others...)
	}
	seen := map[root]bool{}
	for _, o := range roots {
		if seen[o] {
			continue
		}
		seen[o] = true
		if err := s.reconcileRoot(ctx, o, r, &done); err != nil {
			return done, err
		}
	}
	if r.Dry {
		return done, unread
	}
	if err := s.endRound(ctx, roundReconcile, now); err != nil {
		return done, err
	}
	if r.All && unread == nil {
		return done, s.endRound(ctx, roundCensus, now)
	}
	return done, unread
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

// A listing is what of Stripe's list is compared with our mirror.
type listing struct {
	ID             string `json:"id"`
	Status         string `json:"status"`
	Customer       ref    `json:"customer"`
	Charge         ref    `json:"charge"`
	AmountRefunded int64  `json:"amount_refunded"`
	Disputed       bool   `json:"disputed"`
	PaymentStatus  string `json:"payment_status"`
	// Of customers.
	Balance         int64 `json:"balance"`
	InvoiceSettings struct {
		DefaultPaymentMethod ref `json:"default_payment_method"`
	} `json:"invoice_settings"`
}

// lists are the lists of a census: of which kind, which query, and what of an element the mirror has, too.
var lists = []struct {
	path, kind string
	query      url.Values
	state      func(listing) string
}{
	{"/v1/subscriptions", kindSubscription, url.Values{"status": {"all"}}, func(l listing) string { return l.Status }},
	{"/v1/invoices", kindInvoice, nil, func(l listing) string { return l.Status }},
	{"/v1/charges", kindCharge, nil, func(l listing) string {
		return l.Status + " " + strconv.FormatInt(l.AmountRefunded, 10) + " " + strconv.FormatBool(l.Disputed)
	}},
	{"/v1/disputes", kindDispute, nil, func(l listing) string { return l.Status }},
	{"/v1/checkout/sessions", kindSession, nil, func(l listing) string { return l.Status + " " + l.PaymentStatus }},
	{"/v1/customers", kindCustomer, nil, func(l listing) string {
		return strconv.FormatInt(l.Balance, 10) + " " + string(l.InvoiceSettings.DefaultPaymentMethod)
	}},
}

// census compares Stripe's lists with our mirror, and returns what is missing or different. Lists may be behind, so they only say
// where to look. It returns what it has found also where lists could not be read to their end, and with it why.
func (s *Service) census(ctx context.Context, now time.Time) ([]root, error) {
	var roots []root
	var unread error
	for _, l := range lists {
		query := url.Values{"limit": {strconv.Itoa(pageSize)}}
		for name, values := range l.query {
			query[name] = values
		}
		switch l.kind {
		case kindSubscription, kindSession, kindCustomer:
		default:
			query.Set("created[gte]", strconv.FormatInt(now.Add(-lately).Unix(), 10))
		}
		for range maxSweep {
			page, more, err := s.listPage(ctx, l.path, query)
			if errors.Is(err, errKeyRefused) {
				return roots, err
			}
			if err != nil {
				unread = errors.Join(unread, fmt.Errorf("list %s: %w", l.path, err))
				break
			}
			states := map[string]string{}
			for _, e := range page {
				states[e.ID] = l.state(e)
			}
			found, err := s.unlike(ctx, l.kind, page, states)
			if err != nil {
				return roots, errors.Join(unread, err)
			}
			roots = append(roots, found...)
			if !more || len(page) == 0 {
				break
			}
			query.Set("starting_after", page[len(page)-1].ID)
		}
	}
	return roots, unread
}

// listPage reads one page of a list, whole: the library's types lack what is newer than they are.
func (s *Service) listPage(ctx context.Context, path string, query url.Values) ([]listing, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	answer, err := s.get(ctx, path+"?"+query.Encode())
	if err != nil {
		return nil, false, s.listRefused(ctx, path, err)
	}
	var page struct {
		Data    []listing `json:"data"`
		HasMore bool      `json:"has_more"`
	}
	if err := json.Unmarshal(answer.RawJSON, &page); err != nil {
		return nil, false, err
	}
	return page.Data, page.HasMore, nil
}

// get asks for a path through the client that everything else goes through.
func (s *Service) get(ctx context.Context, path string) (*stripe.APIResponse, error) {
	var raw stripe.APIResource
	err := s.stripe.Subscriptions.B.Call("GET", path, s.stripe.Subscriptions.Key, &stripe.Params{Context: ctx}, &raw)
	if err == nil && raw.LastResponse == nil {
		err = errors.New("no answer")
	}
	return raw.LastResponse, err
}

// unlike returns the roots of those elements of a list that belong to our customers and that the mirror has otherwise or not.
func (s *Service) unlike(ctx context.Context, kind string, page []listing, states map[string]string) ([]root, error) {
	ids, customers := make([]string, 0, len(page)), make([]string, 0, len(page))
	for i, e := range page {
		if kind == kindCustomer {
			page[i].Customer = ref(e.ID)
		}
		ids, customers = append(ids, e.ID), append(customers, string(page[i].Customer))
	}
	rows, err := s.queries().ListMirroredStates(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("read mirror: %w", err)
	}
	for _, row := range rows {
		if states[row.ID] == row.State {
			delete(states, row.ID)
		}
	}
	known, err := s.queries().ListKnownStripeCustomers(ctx, customers)
	if err != nil {
		return nil, fmt.Errorf("look for customers: %w", err)
	}
	ours := map[string]bool{}
	for _, id := range known {
		ours[id] = true
	}
	var roots []root
	for _, e := range page {
		if _, differs := states[e.ID]; !differs {
			continue
		}
		switch {
		case kind == kindDispute && e.Charge != "":
			roots = append(roots, root{kindCharge, string(e.Charge)}) // its charge says whose it is
		case ours[string(e.Customer)]:
			roots = append(roots, root{kind, e.ID})
		}
	}
	return roots, nil
}
