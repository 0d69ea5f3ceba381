package stripeemu

import "testing"

// TestTickSurvives lets a rule of time break: the process, and the next look at
// the clock, go on.
func TestTickSurvives(t *testing.T) {
	t.Parallel()
	e, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	e.do(func(a *action) { a.store.save(a.create("product", "prod_1")) })
	looks := 0
	e.mu.Lock()
	e.dueRules = []rule{{objectType: "product", due: func(*action, *record) int64 { looks++; return 1 },
		happen: func(*action, *record) { panic("a fault") }}}
	e.mu.Unlock()
	e.tick()
	e.tick()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dueRules = rules(); looks < 2 {
		t.Errorf("%d looks", looks)
	}
}

// TestStepsSkipWhatHasEnded looks at paid invoices once, however often time
// moves on after that.
func TestStepsSkipWhatHasEnded(t *testing.T) {
	t.Parallel()
	e, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	looks := 0
	e.mu.Lock()
	e.dueRules = []rule{{objectType: "invoice", due: func(*action, *record) int64 { looks++; return 0 }}}
	a := e.newAction()
	for range 50 {
		i := a.create("invoice", newID("in"))
		i["status"] = "paid"
		a.store.save(i)
	}
	open := a.create("invoice", newID("in"))
	open["status"] = "open"
	a.store.save(open)
	for range 10 {
		a.nextDue()
	}
	e.dueRules = nil
	e.mu.Unlock()
	if looks != 10 {
		t.Errorf("%d looks at 1 open and 50 paid invoices in 10 steps", looks)
	}
}
