package stripehook_test

import "testing"

func TestC50InvoiceBeforeSubscription(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.signup()
	w.settled(w.about("invoice.paid", "in_1"))
	w.wantAllDone(1)
	w.want("active basic "+w.t1.String(), `SELECT status || ' ' || tier_id || ' ' || account_id FROM subscriptions WHERE id = 'sub_1'`)
	w.want("10", `SELECT sum(granted) FROM credit_lots WHERE account_id = $1`, w.t1)
	w.want("1", `SELECT count(*) FROM credit_lots`)
	if n := w.gets("/v1/subscriptions/sub_1"); n != 1 {
		t.Errorf("%d reads of the subscription", n)
	}
}
