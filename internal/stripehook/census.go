package stripehook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/db"
)

// A listing is what of Stripe's list is compared with our mirror.
type listing struct {
	ID             string `json:"id"`
	Status         string `json:"status"`
	Customer       ref    `json:"customer"`
	Charge         ref    `json:"charge"`
	Invoice        ref    `json:"invoice"`
	AmountRefunded int64  `json:"amount_refunded"`
	Disputed       bool   `json:"disputed"`
	PaymentStatus  string `json:"payment_status"`
	// Of customers.
	Balance         int64 `json:"balance"`
	InvoiceSettings struct {
		DefaultPaymentMethod ref `json:"default_payment_method"`
	} `json:"invoice_settings"`
}

// A list is one of a census: of which kind, since when, and what of an element the mirror has, too. What has no fence of its own is looked
// at with the object that of names, which says whose it is.
type list struct {
	path, kind string
	whole      bool // what is in it changes to no end
	query      url.Values
	state      func(listing) string
	of         func(listing) root
}

var lists = []list{
	{path: "/v1/subscriptions", kind: kindSubscription, whole: true, query: url.Values{"status": {"all"}}, state: listing.status},
	{path: "/v1/invoices", kind: kindInvoice, state: listing.status},
	{path: "/v1/charges", kind: kindCharge, state: func(l listing) string {
		return l.Status + " " + strconv.FormatInt(l.AmountRefunded, 10) + " " + strconv.FormatBool(l.Disputed)
	}},
	{path: "/v1/refunds", kind: kindRefund, state: listing.status, of: listing.charge}, // of charges of any age
	{path: "/v1/disputes", kind: kindDispute, state: listing.status, of: listing.charge},
	{path: "/v1/credit_notes", kind: kindCreditNote, state: listing.status, of: func(l listing) root { return root{kindInvoice, string(l.Invoice)} }},
	{path: "/v1/checkout/sessions", kind: kindSession, whole: true, state: func(l listing) string { return l.Status + " " + l.PaymentStatus }},
	{path: "/v1/customers", kind: kindCustomer, whole: true, state: func(l listing) string {
		return strconv.FormatInt(l.Balance, 10) + " " + string(l.InvoiceSettings.DefaultPaymentMethod)
	}},
}

func (l listing) status() string { return l.Status }

func (l listing) charge() root { return root{kindCharge, string(l.Charge)} }

var (
	// errPlaceGone is of a list that is asked for what follows an element that is not there any more.
	errPlaceGone = errors.New("what was read last is gone, the next run begins anew")
	errNoAdvance = errors.New("the list does not advance")
)

// census compares Stripe's lists with our mirror, and settles what is missing or different. Lists may be behind, so they only say where
// to look. Each is read for itself: one that cannot be read is part of the error in the end, and the round is as old as the oldest.
func (s *Service) census(ctx context.Context, r Reconciliation, now time.Time, settle func(root) error) error {
	rows, err := s.queries().ListStripeCensus(ctx)
	if err != nil {
		return fmt.Errorf("list how far the census is: %w", err)
	}
	known := map[string]db.StripeCensusList{}
	for _, row := range rows {
		known[row.Path] = row
	}
	var all error
	oldest := &now
	for _, l := range lists {
		row := known[l.path]
		if !r.Resume || row.BegunAt != nil || row.RanAt == nil || longAgo(now, *row.RanAt, censusEvery) {
			from := place{At: now}
			if r.Resume && row.BegunAt != nil {
				from = place{*row.BegunAt, row.AfterID}
			}
			unread, err := s.readList(ctx, l, from, r, settle)
			if all = errors.Join(all, unread); err != nil {
				return errors.Join(all, err)
			}
			if unread == nil {
				row.RanAt = &from.At
			}
		}
		if oldest != nil && (row.RanAt == nil || row.RanAt.Before(*oldest)) {
			oldest = row.RanAt
		}
	}
	if r.Dry || oldest == nil {
		return all
	}
	return errors.Join(all, s.endRound(ctx, roundCensus, *oldest))
}

// readList reads a list from a place on, and settles the differences of each page before it reads the next. unread is why it is not read
// to its end while the others may be; err ends the census. It keeps the place only for the runs that go on from it: any other reads all.
func (s *Service) readList(ctx context.Context, l list, from place, r Reconciliation, settle func(root) error) (unread, err error) {
	keep := func(begun *time.Time, after string) error {
		if r.Dry || !r.Resume {
			return nil
		}
		return s.queries().MoveStripeCensus(ctx, l.path, begun, after)
	}
	query := l.since(from.At)
	for after := from.ID; ; {
		if after != "" {
			query.Set("starting_after", after)
		}
		page, more, err := s.listPage(ctx, l.path, query)
		if err == nil && more && (len(page) == 0 || page[len(page)-1].ID == after) {
			err = errNoAdvance
		}
		if errors.Is(err, errPlaceGone) {
			if err := keep(nil, ""); err != nil {
				return nil, fmt.Errorf("forget place in %s: %w", l.path, err)
			}
		}
		if err != nil {
			err = fmt.Errorf("list %s: %w", l.path, err)
			if errors.Is(err, errKeyRefused) || ctx.Err() != nil {
				return nil, err
			}
			return err, nil
		}
		if err := s.settleUnlike(ctx, l, page, settle); err != nil {
			return nil, err
		}
		if !more {
			break
		}
		after = page[len(page)-1].ID
		if err := keep(&from.At, after); err != nil {
			return nil, fmt.Errorf("keep place in %s: %w", l.path, err)
		}
	}
	if r.Dry {
		return nil, nil
	}
	if err := s.queries().EndStripeCensus(ctx, l.path, from.At); err != nil {
		return nil, fmt.Errorf("end %s: %w", l.path, err)
	}
	return nil, nil
}

// since is the query for what a census that begins at a time compares: of what changes to no end, all.
func (l list) since(began time.Time) url.Values {
	query := url.Values{"limit": {strconv.Itoa(pageSize)}}
	for name, values := range l.query {
		query[name] = values
	}
	if !l.whole {
		query.Set("created[gte]", strconv.FormatInt(began.Add(-lately).Unix(), 10))
	}
	return query
}

// settleUnlike settles what of a page differs from our mirror.
func (s *Service) settleUnlike(ctx context.Context, l list, page []listing, settle func(root) error) error {
	states := map[string]string{}
	for _, e := range page {
		states[e.ID] = l.state(e)
	}
	found, err := s.unlike(ctx, l, page, states)
	if err != nil {
		return err
	}
	for _, o := range found {
		if err := settle(o); err != nil {
			return err
		}
	}
	return nil
}

// listPage reads one page of a list, whole: the library's types lack what is newer than they are.
func (s *Service) listPage(ctx context.Context, path string, query url.Values) ([]listing, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	answer, err := s.get(ctx, path+"?"+query.Encode())
	var refusal *stripe.Error
	if errors.As(err, &refusal) && refusal.Code == stripe.ErrorCodeResourceMissing && query.Has("starting_after") {
		return nil, false, errPlaceGone
	}
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
func (s *Service) unlike(ctx context.Context, l list, page []listing, states map[string]string) ([]root, error) {
	ids, customers := make([]string, 0, len(page)), make([]string, 0, len(page))
	for i, e := range page {
		if l.kind == kindCustomer {
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
		case l.of != nil:
			if of := l.of(e); of.id != "" {
				roots = append(roots, of)
			}
		case ours[string(e.Customer)]:
			roots = append(roots, root{l.kind, e.ID})
		}
	}
	return roots, nil
}
