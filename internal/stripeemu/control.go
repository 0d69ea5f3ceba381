package stripeemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// controlPrefix is the path below which tests and people steer the emulator.
// Stripe has nothing there.
const controlPrefix = "/_emulator"

// A control is one entry of the control API: it reads a JSON object and
// answers with one.
type control func(e *Emulator, r *http.Request, given controlRequest) (any, error)

// A controlRequest has all fields that an entry of the control API may have.
type controlRequest struct {
	Advance span      `json:"advance"`
	To      time.Time `json:"to"`
	Timeout span      `json:"timeout"`

	Reason  string `json:"reason"`
	OK      bool   `json:"ok"`
	Charge  string `json:"charge"`
	Amount  int64  `json:"amount"`
	Inquiry bool   `json:"inquiry"`
	Outcome string `json:"outcome"`

	APIVersion string   `json:"api_version"`
	Delay      span     `json:"delay"`
	Shuffle    span     `json:"shuffle"`
	Duplicate  int      `json:"duplicate"`
	Drop       []string `json:"drop"`

	Retries []span `json:"retries"`
	Then    string `json:"then"`

	Method string            `json:"method"`
	Path   string            `json:"path"`
	Times  int               `json:"times"`
	After  bool              `json:"after"`
	Abort  bool              `json:"abort"`
	Status int               `json:"status"`
	Body   any               `json:"body"`
	Header map[string]string `json:"header"`

	Type   string         `json:"type"`
	Object map[string]any `json:"object"`
}

// A span is a duration as people write it: "90s", "12h", "31d".
type span time.Duration

// UnmarshalJSON reads days beside the units of package time.
func (s *span) UnmarshalJSON(data []byte) error {
	var written string
	if err := json.Unmarshal(data, &written); err != nil {
		return fmt.Errorf("a duration is a text such as \"12h\" or \"31d\"")
	}
	parsed, err := parseSpan(written)
	*s = span(parsed)
	return err
}

func parseSpan(written string) (time.Duration, error) {
	if count, ok := strings.CutSuffix(written, "d"); ok {
		number, err := strconv.ParseFloat(count, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration", written)
		}
		if !(math.Abs(number) <= maxStep.Hours()/24*10) {
			return 0, fmt.Errorf("%q is too long", written)
		}
		return time.Duration(number * float64(24*time.Hour)), nil
	}
	parsed, err := time.ParseDuration(written)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration", written)
	}
	return parsed, nil
}

// controls are all entries of the control API.
func controls() map[string]control {
	done := func(err error) (any, error) { return object{"ok": true}, err }
	return map[string]control{
		"GET /clock":  func(e *Emulator, _ *http.Request, _ controlRequest) (any, error) { return e.clockState(), nil },
		"POST /clock": (*Emulator).controlClock,
		"PUT /delivery": func(e *Emulator, _ *http.Request, g controlRequest) (any, error) {
			return done(e.controlDelivery(g))
		},
		"PUT /dunning": func(e *Emulator, _ *http.Request, g controlRequest) (any, error) { return done(e.controlDunning(g)) },
		"PUT /account": func(e *Emulator, _ *http.Request, g controlRequest) (any, error) {
			return done(e.SetAccountVersion(g.APIVersion))
		},
		"PUT /endpoints/{id}": func(e *Emulator, r *http.Request, g controlRequest) (any, error) {
			return done(e.SetEndpointVersion(r.PathValue("id"), g.APIVersion))
		},
		"POST /faults": (*Emulator).controlFault,
		"DELETE /faults": func(e *Emulator, _ *http.Request, _ controlRequest) (any, error) {
			e.ClearFaults()
			return done(nil)
		},
		"POST /cards/{id}": func(e *Emulator, r *http.Request, g controlRequest) (any, error) {
			return done(e.DeclineCard(r.PathValue("id"), g.Reason))
		},
		"POST /intents/{id}": func(e *Emulator, r *http.Request, g controlRequest) (any, error) {
			return done(e.Authenticate(r.PathValue("id"), g.OK))
		},
		"POST /disputes": func(e *Emulator, _ *http.Request, g controlRequest) (any, error) {
			id, err := e.Dispute(g.Charge, DisputeOptions{Amount: g.Amount, Reason: g.Reason, Inquiry: g.Inquiry})
			return object{"id": id}, err
		},
		"POST /disputes/{id}": func(e *Emulator, r *http.Request, g controlRequest) (any, error) {
			return done(e.DecideDispute(r.PathValue("id"), g.Outcome))
		},
		"POST /refunds/{id}": func(e *Emulator, r *http.Request, _ controlRequest) (any, error) {
			return done(e.FailRefund(r.PathValue("id")))
		},
		"POST /events": func(e *Emulator, _ *http.Request, g controlRequest) (any, error) {
			id, err := e.Emit(g.Type, g.Object)
			return object{"id": id}, err
		},
		"POST /events/{id}": func(e *Emulator, r *http.Request, _ controlRequest) (any, error) {
			return done(e.Resend(r.PathValue("id")))
		},
		"POST /settle": (*Emulator).controlSettle,
		"GET /requests": func(e *Emulator, _ *http.Request, _ controlRequest) (any, error) {
			return object{"data": e.Requests()}, nil
		},
		"GET /attempts": func(e *Emulator, _ *http.Request, _ controlRequest) (any, error) {
			return object{"data": shownAttempts(e.Attempts())}, nil
		},
		"GET /objects/{id}": func(e *Emulator, r *http.Request, _ controlRequest) (any, error) {
			o, ok := e.Get(r.PathValue("id"))
			if !ok {
				return nil, fmt.Errorf("no object %q", r.PathValue("id"))
			}
			return o, nil
		},
	}
}

// handleControls adds the control API to the mux.
func (e *Emulator) handleControls(mux *http.ServeMux) {
	for pattern, c := range controls() {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" "+controlPrefix+path, func(w http.ResponseWriter, r *http.Request) {
			e.serveControl(w, r, c)
		})
	}
}

func (e *Emulator) serveControl(w http.ResponseWriter, r *http.Request, c control) {
	if !sameSite(r) {
		writeJSON(w, http.StatusForbidden, object{"error": "pages of other sites may not steer the emulator"})
		return
	}
	var given controlRequest
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&given); err != nil && !errors.Is(err, io.EOF) {
		writeJSON(w, http.StatusBadRequest, object{"error": err.Error()})
		return
	}
	answer, err := c(e, r, given)
	if err != nil {
		writeJSON(w, http.StatusBadRequest, object{"error": err.Error()})
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// sameSite refuses what a page from elsewhere sends through the browser of
// somebody who runs the emulator.
func sameSite(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site == "" || site == "same-origin" || site == "none"
}

func (e *Emulator) clockState() object {
	now := e.Time()
	return object{"now": now.UTC().Format(time.RFC3339), "unix": now.Unix()}
}

func (e *Emulator) controlClock(_ *http.Request, g controlRequest) (any, error) {
	if !g.To.IsZero() {
		if err := e.AdvanceTo(g.To); err != nil {
			return nil, err
		}
		return e.clockState(), nil
	}
	if g.Advance <= 0 {
		return nil, errors.New("say how far with \"advance\", or where to with \"to\"")
	}
	if err := e.advance(time.Duration(g.Advance)); err != nil {
		return nil, err
	}
	return e.clockState(), nil
}

func (e *Emulator) controlDelivery(g controlRequest) error {
	if err := checkVersion(g.APIVersion); err != nil {
		return err
	}
	faults := DeliveryFaults{
		Delay: time.Duration(g.Delay), Shuffle: time.Duration(g.Shuffle), Duplicate: g.Duplicate, APIVersion: g.APIVersion,
	}
	if len(g.Drop) > 0 {
		faults.Drop = func(eventType string) bool {
			return slices.ContainsFunc(g.Drop, func(pattern string) bool { return matchesType(pattern, eventType) })
		}
	}
	e.SetDeliveryFaults(faults)
	return nil
}

func (e *Emulator) controlDunning(g controlRequest) error {
	if g.Then != "" && g.Then != "cancel" && g.Then != "unpaid" && g.Then != "past_due" {
		return fmt.Errorf("then must be cancel, unpaid or past_due")
	}
	d := Dunning{Then: g.Then}
	for _, pause := range g.Retries {
		d.Retries = append(d.Retries, time.Duration(pause))
	}
	e.SetDunning(d)
	return nil
}

func (e *Emulator) controlFault(_ *http.Request, g controlRequest) (any, error) {
	if err := faultFits(g); err != nil {
		return nil, err
	}
	header := http.Header{}
	for name, value := range g.Header {
		header.Set(name, value)
	}
	e.Inject(Fault{
		Method: g.Method, Path: g.Path, Times: g.Times, After: g.After, Delay: time.Duration(g.Delay), Abort: g.Abort,
		Status: g.Status, Body: g.Body, Header: header,
	})
	return object{"ok": true}, nil
}

// faultFits refuses a fault that could not strike, or not be sent.
func faultFits(g controlRequest) error {
	_, badPath := path.Match(g.Path, "")
	switch {
	case g.Status != 0 && (g.Status < 200 || g.Status > 599):
		return errors.New("status must be between 200 and 599")
	case g.Times < 0 || g.Delay < 0:
		return errors.New("times and delay cannot be negative")
	case badPath != nil:
		return fmt.Errorf("path %q is not a pattern", g.Path)
	case g.Method != "" && !slices.Contains([]string{"GET", "POST", "DELETE"}, g.Method):
		return fmt.Errorf("no request has the method %q", g.Method)
	case g.Status == 0 && g.Delay == 0 && !g.Abort:
		return errors.New("say what happens: status, delay or abort")
	}
	return nil
}

func (e *Emulator) controlSettle(r *http.Request, g controlRequest) (any, error) {
	timeout := time.Duration(g.Timeout)
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	return object{"ok": true}, e.Settle(ctx)
}

// shownAttempts writes the errors of attempts as texts.
func shownAttempts(attempts []Attempt) []object {
	shown := make([]object, 0, len(attempts))
	for _, attempt := range attempts {
		problem := ""
		if attempt.Err != nil {
			problem = attempt.Err.Error()
		}
		shown = append(shown, object{
			"event": attempt.EventID, "type": attempt.EventType, "endpoint": attempt.EndpointID, "number": attempt.Number,
			"status": attempt.Status, "error": problem, "at": attempt.At,
		})
	}
	return shown
}

// ClearFaults removes all faults of the API.
func (e *Emulator) ClearFaults() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faults = nil
}
