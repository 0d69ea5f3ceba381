package stripehook_test

import (
	"strings"
	"testing"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/stripehook"
)

// A status of Stripe's that is younger than this program: what the account had stays, and somebody is told.
func TestUnknownStatusKeepsAccessAndAlarms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.customer("cus_1")
	w.subscription("sub_1")
	w.settled(w.about("customer.subscription.updated", "sub_1"))
	if got := w.alarms("unknown_status"); got != 0 {
		t.Errorf("alarms about a status that is known: %v", got)
	}
	stored, _ := w.emu.Get("sub_1")
	defer w.emu.Inject(faultBody("/v1/subscriptions/sub_1", 200, laid(object{}, stored, object{"status": "hibernating"})))()
	w.settled(w.about("customer.subscription.updated", "sub_1"))
	w.want("hibernating true", `SELECT status || ' ' || access_known FROM subscriptions`)
	if got := w.alarms("unknown_status"); got != 1 || !strings.Contains(w.log.String(), "hibernating") {
		t.Errorf("alarms: %v\n%s", got, w.log.String())
	}
}

// What a status is worth is said in one place: the policy that decides over access.
func TestAccessKnownFollowsThePolicy(t *testing.T) {
	t.Parallel()
	for want, policy := range map[string]account.Policy{
		"false": {},
		"true":  {Statuses: map[string]account.Worth{"paused": account.GraceAccess}},
	} {
		w := newWorld(t, with(func(c *stripehook.Config) { c.Policy = policy }))
		w.customer("cus_1")
		w.subscription("sub_1", object{"status": "paused"})
		w.settled(w.about("customer.subscription.updated", "sub_1"))
		w.want(want, `SELECT access_known FROM subscriptions`)
	}
}
