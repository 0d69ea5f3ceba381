package httpapi_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/uuid"
)

func TestCredits(t *testing.T) {
	t.Parallel()
	w := generous(t)
	p := w.Person(t)
	_, secret := w.Key(t, p, "credits:read", "credits:write")
	me, program := by{token: p.Token}, by{key: secret}

	free := decoded(t, w.Do(t, me.get("/v1/credits")).Want(http.StatusOK, nil))
	lots := free["lots"].([]any)
	if free["available"] != 100.0 || free["balance"] != 100.0 || free["held"] != 0.0 || len(lots) != 1 {
		t.Fatalf("the free tier gives %v", free)
	}
	if lot := lots[0].(object); lot["source"] != "allowance" || lot["granted"] != 100.0 || lot["expires_at"] == nil {
		t.Errorf("the allowance is %v", lot)
	}
	spent := decoded(t, w.Do(t, program.post("/v1/credits/consume", object{"amount": 30, "description": "a report", "reference": "r-1"})).Want(http.StatusOK, nil))
	if spent["amount"] != 30.0 || spent["available"] != 70.0 {
		t.Errorf("spent %v", spent)
	}
	again := decoded(t, w.Do(t, program.post("/v1/credits/consume", object{"amount": 30, "reference": "r-1"})).Want(http.StatusOK, nil))
	if again["transaction_id"] != spent["transaction_id"] || again["available"] != 70.0 {
		t.Errorf("the same reference is %v, then %v", spent, again)
	}
	rows := walk(t, w, program, "/v1/credits/transactions", 2)
	if e := rows[0]; e["id"] != spent["transaction_id"] || e["kind"] != "consume" || e["amount"] != -30.0 || e["balance_after"] != 70.0 ||
		e["description"] != "a report" || e["reference"] != "r-1" {
		t.Errorf("the newest entry is %v", e)
	}
	if e := rows[1]; e["kind"] != "grant" || e["amount"] != 100.0 || e["balance_after"] != 100.0 {
		t.Errorf("the oldest entry is %v", e)
	}

	replays(t, w, program.post("/v1/credits/consume", object{"amount": 5}), http.StatusOK, object{"amount": 6})
	for i := range 4 {
		w.Do(t, program.post("/v1/credits/consume", object{"amount": 1, "reference": fmt.Sprint("page-", i)})).Want(http.StatusOK, nil)
	}
	rows = walk(t, w, me, "/v1/credits/transactions", 7)
	for i := range rows[:len(rows)-1] {
		if rows[i]["balance_after"] != rows[i+1]["balance_after"].(float64)+rows[i]["amount"].(float64) {
			t.Errorf("%v does not follow %v", rows[i], rows[i+1])
		}
	}
}

func TestCreditsRefused(t *testing.T) {
	t.Parallel()
	w := generous(t)
	p, other := w.Person(t), w.Person(t)
	_, reading := w.Key(t, p, "credits:read")
	_, writing := w.Key(t, p, "credits:write")
	service, narrow := by{key: w.ServiceKey(t, "credits")}, by{key: w.ServiceKey(t, "usage")}
	program, consume := by{key: writing}, "/v1/credits/consume"
	w.Do(t, program.post(consume, object{"amount": 1, "reference": "taken"})).Want(http.StatusOK, nil)
	mine, theirs := p.AccountID.String(), other.AccountID.String()
	refuses(t, w, []wrong{
		{"more than there is", program.post(consume, object{"amount": 100}), 402, "insufficient_credits"},
		{"far more than there is", program.post(consume, object{"amount": 1000000000000}), 402, "insufficient_credits"},
		{"more than the document allows", program.post(consume, object{"amount": 1000000000001}), 400, "invalid_request"},
		{"a reference with another amount", program.post(consume, object{"amount": 2, "reference": "taken"}), 409, "reference_reused"},
		{"an empty reference", program.post(consume, object{"amount": 1, "reference": ""}), 400, "invalid_request"},
		{"no amount", program.post(consume, object{}), 400, "invalid_request"},
		{"a key that may only read", by{key: reading}.post(consume, object{"amount": 1}), 403, "insufficient_scope"},
		{"reading with a key that may only spend", program.get("/v1/credits"), 403, "insufficient_scope"},
		{"the ledger with a key that may only spend", program.get("/v1/credits/transactions"), 403, "insufficient_scope"},
		{"a person", by{token: p.Token}.post(consume, object{"amount": 1}), 403, "credential_not_allowed"},
		{"a key for another account", program.post(consume, object{"amount": 1, "account_id": theirs}), 403, "account_forbidden"},
		{"a person for another account", by{token: p.Token}.with("Saaskit-Account", theirs).get("/v1/credits"), 403, "account_forbidden"},
		{"a service key for no account", service.post(consume, object{"amount": 1}), 400, "account_required"},
		{"a service key that reads of no account", service.get("/v1/credits"), 400, "account_required"},
		{"a service key for an account that is not there", service.post(consume, object{"amount": 1, "account_id": uuid.NewString()}), 403, "account_forbidden"},
		{"a service key for two accounts", service.with("Saaskit-Account", mine).post(consume, object{"amount": 1, "account_id": theirs}), 403, "account_forbidden"},
		{"a service key without the scope", narrow.with("Saaskit-Account", mine).post(consume, object{"amount": 1}), 403, "insufficient_scope"},
	})
	// Named in the header or in the body it is the same request, and one key for two accounts is two.
	once := service.with("Idempotency-Key", "service-1")
	first := decoded(t, w.Do(t, once.post(consume, object{"amount": 1, "account_id": mine})).Want(http.StatusOK, nil))
	second := w.Do(t, once.with("Saaskit-Account", mine).post(consume, object{"amount": 1})).Want(http.StatusOK, nil)
	if second.Header.Get("Idempotent-Replayed") != "true" || decoded(t, second)["transaction_id"] != first["transaction_id"] {
		t.Errorf("answered %v, then %s", first, second.Body)
	}
	w.Do(t, once.post(consume, object{"amount": 1, "account_id": theirs})).WantProblem(http.StatusUnprocessableEntity, "idempotency_key_reused")
}
