package stripeemu

import (
	"encoding/json"
	"slices"
	"strings"

	"example.com/saaskit/internal/stripecontract"
)

// keepEvents is how long Stripe lists an event.
const keepEvents = 30 * 24 * 60 * 60

// maxTypes is how many types a list of events may name.
const maxTypes = 20

// States of an event at an endpoint, in the event's private "endpoints".
const (
	statePending   = "pending"   // on its way, or waiting for the next attempt
	stateDelivered = "delivered" // answered with 2xx
	stateFailed    = "failed"    // given up, or dropped by a fault
)

func eventOperations() map[string]operation {
	listed := list("event", map[string]filter{"type": typeIs, "types": typeIn, "delivery_success": deliverySuccess})
	return map[string]operation{
		"GET /v1/events": {params: listed.params, handle: func(a *action, r *request) (object, error) {
			if types, _ := r.Params["types"].([]any); len(types) > maxTypes {
				return nil, invalid("types", "You may pass up to %d types.", maxTypes)
			}
			if r.Params["type"] != nil && r.Params["types"] != nil {
				return nil, stripecontract.Invalid("parameters_exclusive", "types", "You may only specify one of these parameters: type, types.")
			}
			a.forgetOldEvents()
			found, err := listed.handle(a, r)
			for index, event := range elements(found, "data") {
				found["data"].([]any)[index] = a.asListed(event)
			}
			return found, err
		}},
		"GET /v1/events/{id}": {handle: func(a *action, r *request) (object, error) {
			event, err := a.lookUp("event", "id", r.id())
			if err != nil {
				return nil, err
			}
			return a.asListed(event), nil
		}},
	}
}

// typeIs compares with one type, in which * stands for anything.
func typeIs(r *record, value any) bool {
	wanted, _ := value.(string)
	return matchesType(wanted, text(r.Object, "type"))
}

func matchesType(wanted, eventType string) bool {
	if prefix, open := strings.CutSuffix(wanted, "*"); open {
		return strings.HasPrefix(eventType, prefix)
	}
	return eventType == wanted
}

func typeIn(r *record, value any) bool {
	types, _ := value.([]any)
	return slices.ContainsFunc(types, func(wanted any) bool { return typeIs(r, wanted) })
}

// deliverySuccess looks at all endpoints: an event that one of them has not
// taken yet counts as not delivered.
func deliverySuccess(r *record, value any) bool {
	delivered := true
	for _, state := range child(r.Private, "endpoints") {
		delivered = delivered && state == stateDelivered
	}
	return delivered == value
}

func (a *action) forgetOldEvents() {
	for _, event := range a.store.all("event") {
		if number(event.Object, "created") < a.at-keepEvents {
			a.store.remove(text(event.Object, "id"))
		}
	}
}

// emit stores an event about an object as it is now and sends it out.
func (a *action) emit(eventType string, o object) {
	a.emitChange(eventType, o, nil)
}

// emitChange is emit for an update: previous has the old values.
func (a *action) emitChange(eventType string, o, previous object) {
	data := object{"object": a.render(o)}
	if previous != nil {
		data["previous_attributes"] = clone(previous)
	}
	a.publish(object{"type": eventType, "data": data})
}

// publish completes an event's envelope, stores it and queues one delivery for
// each endpoint that wants it.
func (a *action) publish(event object) string {
	if a.rehearsing {
		return ""
	}
	envelope := object{
		"id": newID("evt"), "object": "event", "api_version": a.contract.Version(), "created": a.at, "livemode": false,
		"request": object{"id": orNil(a.requestID), "idempotency_key": orNil(a.idempotency)},
	}
	for key, value := range event {
		envelope[key] = value
	}
	states := object{}
	for _, endpoint := range a.endpointsFor(text(envelope, "type")) {
		states[text(endpoint, "id")] = statePending
	}
	envelope["pending_webhooks"] = int64(len(states))
	own := a.store.save(envelope)
	own.Private["endpoints"] = states
	if a.accountVersion != "" {
		own.Private["version"] = a.accountVersion
	}
	if j := a.store.journal; j != nil {
		j.events = append(j.events, own)
	} else {
		a.dispatch(own)
	}
	return text(envelope, "id")
}

// eventBody is the payload, the same bytes for every attempt.
func eventBody(event object) []byte {
	body, err := json.MarshalIndent(event, "", "  ")
	if err != nil {
		panic(err) // the store holds nothing that JSON cannot
	}
	return body
}
