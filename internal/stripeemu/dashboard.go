package stripeemu

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// maxRows bounds each table of the emulator's own page.
const maxRows = 50

// A dashboardPage is the emulator's own page: what happened, what exists, what
// time it is.
type dashboardPage struct {
	Now      string
	Clocks   []dashboardClock
	Events   []dashboardEvent
	Objects  []dashboardObject
	Requests []Request
	Attempts []dashboardAttempt
	Faults   []string
	Queued   int
}

type dashboardClock struct{ ID, Name, At, Status string }

type dashboardEvent struct{ ID, Type, At, About, State, JSON string }

type dashboardObject struct{ Type, ID, Status, At, JSON string }

type dashboardAttempt struct{ Event, Type, At, Result string }

func (e *Emulator) showDashboard(w http.ResponseWriter, r *http.Request) {
	e.servePage(w, r, func(a *action) reply {
		return pageReply(http.StatusOK, "dashboard", a.dashboard())
	})
}

// submitDashboard moves the clock or sends an event again, then shows the page.
func (e *Emulator) submitDashboard(w http.ResponseWriter, r *http.Request) {
	if !sameSite(r) {
		noticeReply(http.StatusForbidden, "Not from there", "Pages of other sites may not steer the emulator.").write(w, r)
		return
	}
	if !readForm(w, r) {
		return
	}
	var err error
	switch r.PostForm.Get("action") {
	case "advance":
		var by time.Duration
		if by, err = parseSpan(r.PostForm.Get("by")); err == nil {
			e.Advance(by)
		}
	case "resend":
		err = e.Resend(r.PostForm.Get("event"))
	case "clear":
		e.ClearFaults()
	default:
		err = fmt.Errorf("no action %q", r.PostForm.Get("action"))
	}
	if err != nil {
		noticeReply(http.StatusBadRequest, "That did not work", err.Error()).write(w, r)
		return
	}
	http.Redirect(w, r, controlPrefix+"/", http.StatusSeeOther)
}

func (a *action) dashboard() dashboardPage {
	p := dashboardPage{Now: moment(a.at), Queued: a.queued}
	for _, r := range a.store.all("test_helpers.test_clock") {
		p.Clocks = append(p.Clocks, dashboardClock{
			ID: text(r.Object, "id"), Name: text(r.Object, "name"), At: moment(number(r.Object, "frozen_time")), Status: text(r.Object, "status"),
		})
	}
	for _, r := range first(a.store.all("event")) {
		p.Events = append(p.Events, a.dashboardEvent(r))
	}
	p.Objects = a.dashboardObjects()
	p.Requests = slices.Clone(a.requests[max(0, len(a.requests)-maxRows):])
	slices.Reverse(p.Requests)
	for _, attempt := range a.attempts[max(0, len(a.attempts)-maxRows):] {
		result := fmt.Sprint(attempt.Status)
		if attempt.Err != nil {
			result = attempt.Err.Error()
		}
		p.Attempts = append(p.Attempts,
			dashboardAttempt{Event: attempt.EventID, Type: attempt.EventType, At: attempt.At.Format(time.TimeOnly), Result: result})
	}
	slices.Reverse(p.Attempts)
	for _, fault := range a.faults {
		p.Faults = append(p.Faults, fmt.Sprintf("%s %s: status %d, delay %s, abort %t, after %t, %d times", fault.Method, fault.Path,
			fault.Status, fault.Delay, fault.Abort, fault.After, fault.Times))
	}
	return p
}

func (a *action) dashboardEvent(r *record) dashboardEvent {
	state := "nobody asked for it"
	for _, s := range child(r.Private, "endpoints") {
		state, _ = s.(string)
	}
	subject := child(child(r.Object, "data"), "object")
	return dashboardEvent{
		ID: text(r.Object, "id"), Type: text(r.Object, "type"), At: moment(number(r.Object, "created")),
		About: cmp.Or(text(subject, "id"), text(subject, "subscription"), text(subject, "customer")), // an upcoming invoice has no id
		State: state, JSON: indented(r.Object),
	}
}

// dashboardObjects are the newest of everything that is no event.
func (a *action) dashboardObjects() []dashboardObject {
	var newest []*record
	for kind := range a.store.byType {
		if kind != "event" {
			newest = append(newest, first(a.store.all(kind))...)
		}
	}
	slices.SortFunc(newest, func(x, y *record) int { return int(y.Seq - x.Seq) })
	var shown []dashboardObject
	for _, r := range first(newest) {
		shown = append(shown, dashboardObject{
			Type: text(r.Object, "object"), ID: text(r.Object, "id"), Status: text(r.Object, "status"),
			At: moment(number(r.Object, "created")), JSON: indented(r.Object),
		})
	}
	return shown
}

func first(records []*record) []*record { return records[:min(len(records), maxRows)] }

func moment(at int64) string {
	if at == 0 {
		return ""
	}
	return time.Unix(at, 0).UTC().Format("2006-01-02 15:04:05")
}

func indented(o object) string {
	encoded, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(encoded)
}
