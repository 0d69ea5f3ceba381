package stripehook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/saaskit/internal/db"
)

// apiVersion is the one that the library asks for; answers come in its shape whatever the endpoint renders.
const apiVersion = stripe.APIVersion

// fetchTimeout bounds one look; the client's retries and further pages are within.
const fetchTimeout = 10 * time.Second

var (
	errGone       = errors.New("no such object at Stripe")
	errKeyRefused = errors.New("our key is refused by Stripe")
)

// An ending is the error of an event that ends without having been applied.
type ending struct{ status, reason string }

// Error gives state and reason.
func (e *ending) Error() string { return e.status + ": " + e.reason }

// A parking is the error of an event for which something is not there yet.
type parking struct{ reason, customer string }

// Error gives the reason.
func (p *parking) Error() string { return "parked: " + p.reason }

// fetch asks Stripe for the object and makes sure that the answer is about it: asked for an empty id, Stripe answers with a
// list, and the library takes that for an object.
func (s *Service) fetch(ctx context.Context, r root) (object, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	o, err := keepers[r.kind].fetch(ctx, s.stripe, r.id)
	if err != nil {
		return nil, s.refused(ctx, r, err)
	}
	s.closeCircuit()
	if id, kind := o.names(); id != r.id || kind != r.kind {
		return nil, fmt.Errorf("fetch %s %s: the answer is about another object", r.kind, r.id)
	}
	return o, nil
}

// refused sorts what can go wrong. The text of an error is stored and logged, so it has nothing of the answer's content.
func (s *Service) refused(ctx context.Context, r root, err error) error {
	var answer *stripe.Error
	if !errors.As(err, &answer) {
		var shape *json.UnmarshalTypeError
		if errors.As(err, &shape) {
			return fmt.Errorf("fetch %s: field %s: %w", r.id, shape.Field, &ending{statusQuarantined, reasonDecode})
		}
		return fmt.Errorf("fetch %s: %w", r.id, err)
	}
	switch {
	case strings.Contains(answer.Msg, "similar object exists in"):
		return &ending{statusQuarantined, reasonEnvironment}
	case answer.HTTPStatusCode == http.StatusNotFound && answer.Code == stripe.ErrorCodeResourceMissing:
		s.closeCircuit()
		return fmt.Errorf("fetch %s: %w", r.id, errGone)
	case answer.HTTPStatusCode == http.StatusUnauthorized, answer.HTTPStatusCode == http.StatusForbidden:
		s.openCircuit(ctx, answer.HTTPStatusCode)
		return fmt.Errorf("fetch %s: %w", r.id, errKeyRefused)
	}
	return fmt.Errorf("fetch %s: stripe answered %d %s %s", r.id, answer.HTTPStatusCode, answer.Type, answer.Code)
}

// listRefused is [Service.refused] for a list. A key that may not read one list is good for everything else: it leaves the circuit
// closed, and what the list would have told comes to nothing, which the age of the last round shows.
func (s *Service) listRefused(ctx context.Context, path string, err error) error {
	var answer *stripe.Error
	if errors.As(err, &answer) && answer.HTTPStatusCode == http.StatusForbidden {
		return fmt.Errorf("list %s: our key may not: stripe answered %d %s %s", path, answer.HTTPStatusCode, answer.Type, answer.Code)
	}
	return s.refused(ctx, root{id: path}, err)
}

// read decodes the whole answer: the library's types lack what is newer than they are.
func read(answer *stripe.APIResponse, into any) error {
	if answer == nil {
		return errors.New("no answer")
	}
	return json.Unmarshal(answer.RawJSON, into)
}

// goneByEvent tells whether the event itself explains that its object is not found: it says deleted, or the object was a
// draft or lived on a test clock, which go away without a word.
func goneByEvent(r root, event db.StripeEvent) bool {
	if event.ObjectID != r.id {
		return false
	}
	if looks[event.Type].gone {
		return true
	}
	var payload struct {
		Data struct {
			Object struct {
				Status    string `json:"status"`
				TestClock ref    `json:"test_clock"`
			} `json:"object"`
		} `json:"data"`
	}
	if json.Unmarshal(event.Payload, &payload) != nil {
		return false
	}
	o := payload.Data.Object
	return o.TestClock != "" || r.kind == kindInvoice && o.Status == "draft"
}
