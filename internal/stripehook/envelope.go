package stripehook

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"time"
)

// An envelope is what routes an event. Its content comes from a fetch.
type envelope struct {
	ID         string
	Type       string
	APIVersion string
	Account    string // a connected account, or the context of an organisation
	Created    *time.Time
	Livemode   bool
	ObjectKind string
	ObjectID   string
	CustomerID string
	Refs       map[string]ref // what the object refers to, by field
}

// Reasons why an event is kept and not worked on.
const (
	reasonThin        = "thin"         // an event of the v2 API, without an object
	reasonMalformed   = "malformed"    // lacks what every event has
	reasonLivemode    = "livemode"     // of the other mode
	reasonConnect     = "connect"      // of a connected account
	reasonUnknownType = "unknown_type" // no type that we look at
	reasonObject      = "object"       // the object is not of the type's kind, or its id cannot be one
	reasonNoID        = "no_id"        // it names nothing that could be fetched
	reasonUnowned     = "unowned"      // no customer of ours
	reasonGone        = "gone"         // the object cannot be fetched any more
	reasonEnvironment = "environment"  // our key is of the other mode
	reasonDecode      = "decode"       // the answer cannot be read
	reasonNotKept     = "not_kept"     // a type that is known, and of which nothing is kept
	reasonClaim       = "claim"        // paid for by nobody we know, in the name of one we do
)

var errNoEvent = errors.New("no event")

// parseEnvelope reads an event without trusting its shape; encoding/json alone would take `TYPE` for `type` and null for an
// event. It fails where there is no event or none with an id, and returns the reason for which any other is quarantined.
func parseEnvelope(body []byte) (e envelope, reason string, err error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(body, &top); err != nil {
		return envelope{}, "", errNoEvent
	}
	e.ID = text(top["id"])
	if !validID(e.ID) {
		return envelope{}, "", errNoEvent
	}
	e.Type, e.APIVersion = text(top["type"]), text(top["api_version"])
	if e.Account = text(top["account"]); e.Account == "" {
		e.Account = text(top["context"])
	}
	e.Created = timeOf(top["created"])
	known := json.Unmarshal(top["livemode"], &e.Livemode) == nil && string(top["livemode"]) != "null"
	if strings.HasPrefix(text(top["object"]), "v2.") {
		return e, reasonThin, nil
	}
	if !e.readObject(top["data"]) {
		return e, reasonThin, nil
	}
	if e.Type == "" || !known {
		return e, reasonMalformed, nil
	}
	return e, "", nil
}

// readObject tells whether there is an object to route by.
func (e *envelope) readObject(data json.RawMessage) bool {
	var fields, object, previous map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil || json.Unmarshal(fields["object"], &object) != nil || object == nil {
		return false
	}
	e.ObjectKind, e.ObjectID = text(object["object"]), text(object["id"])
	var customer ref
	if json.Unmarshal(object["customer"], &customer) == nil && validID(string(customer)) {
		e.CustomerID = string(customer)
	}
	// What was detached names its customer no more.
	if e.CustomerID == "" && json.Unmarshal(fields["previous_attributes"], &previous) == nil &&
		json.Unmarshal(previous["customer"], &customer) == nil && validID(string(customer)) {
		e.CustomerID = string(customer)
	}
	e.readRefs(object)
	if e.ObjectKind == kindCustomer {
		e.CustomerID = e.ObjectID
	}
	return e.ObjectKind != ""
}

// readRefs reads the fields that lead to the root of what is looked at with something else, in the shapes of all versions.
func (e *envelope) readRefs(object map[string]json.RawMessage) {
	e.Refs = map[string]ref{}
	for _, field := range []string{"charge", "invoice", "payment_method", "subscription", "released_subscription"} {
		var to ref
		if json.Unmarshal(object[field], &to) == nil && validID(string(to)) {
			e.Refs[field] = to
		}
	}
	var parent struct {
		Details struct {
			Subscription ref `json:"subscription"`
		} `json:"subscription_details"`
	}
	if e.Refs["subscription"] == "" {
		if json.Unmarshal(object["parent"], &parent) == nil && validID(string(parent.Details.Subscription)) {
			e.Refs["subscription"] = parent.Details.Subscription
		} else if to := e.Refs["released_subscription"]; to != "" {
			e.Refs["subscription"] = to
		}
	}
}

// maxText is as long as Stripe lets ids become; no text of an envelope is longer.
const maxText = 255

// text reads a string that can be stored and logged; anything else is empty.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil || len(s) > maxText || strings.ContainsFunc(s, unprintable) {
		return ""
	}
	return s
}

func unprintable(r rune) bool { return r < ' ' || r == 0x7f || r == '�' }

// timeOf reads a time in seconds, or in RFC 3339 as the v2 API writes it. Zero is unknown.
func timeOf(raw json.RawMessage) *time.Time {
	var seconds stamp
	if json.Unmarshal(raw, &seconds) == nil {
		return seconds.Time
	}
	if t, err := time.Parse(time.RFC3339, text(raw)); err == nil && t.Year() < maxYear {
		return &t
	}
	return nil
}

// A prefix is not asked for: Stripe changes those. An id becomes part of a path, so it must not mean another one.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}$`)

func validID(id string) bool { return idPattern.MatchString(id) }
