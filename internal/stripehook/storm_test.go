package stripehook_test

import (
	"testing"
	"time"

	"example.com/saaskit/internal/stripehook"
)

func TestC103Storm(t *testing.T) {
	t.Parallel()
	w := newWorld(t, with(func(c *stripehook.Config) { c.Pace = stripehook.DefaultPace() }))
	w.customer("cus_1")
	w.subscription("sub_1")
	w.startRiver(w.service)
	start := time.Now()
	for i := range 1000 {
		w.patch("sub_1", object{"cancel_at_period_end": i%2 == 0})
		w.post(w.about(updated, "sub_1"))
	}
	w.await("0", `SELECT count(*) FROM stripe_events WHERE status = 'pending'`)
	w.want("false", `SELECT cancel_at_period_end FROM subscriptions`)
	w.wantAllDone(1000)
	most := 10 + int(time.Since(start)/stripehook.DefaultPace().Every)
	if n := w.gets("/v1/subscriptions/sub_1"); n > most || n > 40 && time.Since(start) < time.Minute {
		t.Errorf("%d reads in %s, want %d at the most", n, time.Since(start), most)
	}
}

// All at once: a thousand that were stored before anybody worked cost a handful of reads.
func TestC103StormAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	w.subscription("sub_1")
	for range 1000 {
		w.post(w.about(updated, "sub_1"))
	}
	w.patch("sub_1", object{"status": "past_due"})
	w.settled(w.about(updated, "sub_1"))
	w.wantAllDone(1001)
	w.want("past_due", `SELECT status FROM subscriptions`)
	if n := w.gets("/v1/subscriptions/sub_1"); n > 40 {
		t.Errorf("%d reads", n)
	}
}
