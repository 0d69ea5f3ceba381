package stripeemu

import (
	"context"
	"fmt"
	"maps"
)

// Register adds a webhook endpoint with a secret of the caller's choice and
// returns its id. Without event types it gets all of them. One that exists
// already at this URL, as after a restart with a StateFile, gets the new secret
// and types instead.
func (e *Emulator) Register(url, secret string, eventTypes ...string) string {
	types := []any{}
	for _, eventType := range eventTypes {
		types = append(types, eventType)
	}
	if len(types) == 0 {
		types = append(types, "*")
	}
	var id string
	e.do(func(a *action) {
		for _, own := range a.store.all("webhook_endpoint") {
			if own.Object["url"] == url {
				own.Private["secret"], own.Object["enabled_events"], a.store.changed = secret, types, true
				id = text(own.Object, "id")
				return
			}
		}
		id = text(a.newEndpoint(url, secret, object{"enabled_events": types}), "id")
	})
	return id
}

// What a test has set with Create, Put or Patch changes only when the test or
// the API says so: time does not expire it.
func (r *record) scripted() bool {
	return flag(r.Private, "scripted")
}

// Create stores a new object of a type: the sample of Stripe's document with
// the given fields laid over it, such as {"id": "sub_1", "status": "past_due"}.
// Without an id it gets one. No event is emitted. The ids of the sample lead
// nowhere; name all that a test follows.
func (e *Emulator) Create(objectType string, fields map[string]any) (map[string]any, error) {
	given, err := imported(fields)
	if err != nil {
		return nil, err
	}
	var created object
	e.do(func(a *action) {
		o := a.create(objectType, newID(objectType))
		if objectType == "subscription" {
			o["current_period_end"] = periodEnd(a.at, object{"interval": "month"})
		}
		maps.Copy(o, given)
		if err = a.contract.CheckObject(o); err == nil {
			a.store.save(o).Private["scripted"] = true
			created = clone(o)
		}
	})
	return created, err
}

// Put stores an object as it is given, over one with its id if there is one.
// It must fit Stripe's schema of its type. No event is emitted.
func (e *Emulator) Put(given map[string]any) error {
	o, err := imported(given)
	if err != nil {
		return err
	}
	if err := e.contract.CheckObject(o); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	e.do(func(a *action) { a.store.save(o).Private["scripted"] = true })
	return nil
}

// Patch replaces fields of a stored object and returns a copy of the result.
// No event is emitted.
func (e *Emulator) Patch(id string, fields map[string]any) (map[string]any, error) {
	given, err := imported(fields)
	if err != nil {
		return nil, err
	}
	var patched object
	e.do(func(a *action) {
		own := a.store.lookUp(id)
		if own == nil {
			err = fmt.Errorf("patch: no object %q", id)
			return
		}
		changed := clone(own.Object)
		maps.Copy(changed, given)
		if err = a.contract.CheckObject(changed); err == nil {
			a.store.changed = true
			maps.Copy(own.Object, given)
			own.Private["scripted"] = true
			patched = clone(own.Object)
		}
	})
	return patched, err
}

// Get returns a copy of a stored object.
func (e *Emulator) Get(id string) (map[string]any, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	own := e.store.lookUp(id)
	if own == nil {
		return nil, false
	}
	return clone(own.Object), true
}

// Objects returns copies of all stored objects of a type, newest first.
func (e *Emulator) Objects(objectType string) []map[string]any {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []map[string]any
	for _, own := range e.store.all(objectType) {
		all = append(all, clone(own.Object))
	}
	return all
}

// Remove forgets an object, so that reading it answers 404. No event is
// emitted.
func (e *Emulator) Remove(id string) {
	e.do(func(a *action) {
		a.store.remove(id)
		a.store.changed = true
	})
}

// Emit stores an event of a type about an object, delivers it and returns its
// id. Neither is checked: a test may send what Stripe has not invented yet.
func (e *Emulator) Emit(eventType string, given map[string]any) (string, error) {
	return e.EmitEvent(map[string]any{"type": eventType, "data": map[string]any{"object": given}})
}

// EmitEvent is [Emulator.Emit] for a whole event: what is missing of its
// envelope (id, created, api_version and so on) is filled in, the rest goes out
// as given.
func (e *Emulator) EmitEvent(event map[string]any) (string, error) {
	o, err := imported(event)
	if err != nil {
		return "", err
	}
	var id string
	e.do(func(a *action) { id = a.publish(o) })
	return id, nil
}

// Resend delivers a stored event once more to every endpoint that wants its
// type, as the button in Stripe's dashboard does.
func (e *Emulator) Resend(eventID string) error {
	var err error
	e.do(func(a *action) {
		event := a.store.find("event", eventID)
		if event == nil {
			err = fmt.Errorf("resend: no event %q", eventID)
			return
		}
		states := child(event.Private, "endpoints")
		for _, endpoint := range a.endpointsFor(text(event.Object, "type")) {
			if states[text(endpoint, "id")] != statePending {
				states[text(endpoint, "id")] = statePending
				event.Object["pending_webhooks"] = number(event.Object, "pending_webhooks") + 1
			}
		}
		a.dispatch(event)
	})
	return err
}

// Settle waits until no delivery is under way or waiting for its next attempt.
func (e *Emulator) Settle(ctx context.Context) error {
	wake := context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.idle.Broadcast()
	})
	defer wake()
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.queued > 0 {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("settle: %d deliveries are not done: %w", e.queued, err)
		}
		e.idle.Wait()
	}
	return nil
}
