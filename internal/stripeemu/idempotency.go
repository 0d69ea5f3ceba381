package stripeemu

import (
	"encoding/json"
	"net/http"

	"example.com/saaskit/internal/stripecontract"
)

// keepAnswers is how long Stripe remembers an idempotency key.
const keepAnswers = 24 * 60 * 60

// maxKey is how long an idempotency key may be.
const maxKey = 255

// A savedAnswer is what a repeated idempotency key gets.
type savedAnswer struct {
	Fingerprint string `json:"fingerprint"`
	Status      int    `json:"status"`
	Body        object `json:"body"`
	At          int64  `json:"at"`
}

// once performs a call for the first use of its key and repeats the answer for
// every other. A refusal that a corrected request could avoid is not kept, as
// at Stripe, where parameters are checked before the key is taken.
func (a *action) once(call *stripecontract.Call, path string) answer {
	params, err := json.Marshal([]any{call.Params, call.Expand})
	if err != nil {
		return errorAnswer(err)
	}
	fingerprint := call.Method + " " + path + " " + string(params)
	saved, known := a.answers[a.idempotency]
	if known && a.at-saved.At < keepAnswers {
		if saved.Fingerprint != fingerprint {
			return errorAnswer(&stripecontract.Error{Status: http.StatusBadRequest, Type: "idempotency_error",
				Message: "Keys for idempotent requests can only be used with the same parameters they were first used with. " +
					"Try using a key other than '" + a.idempotency + "' if you meant to execute a different request."})
		}
		return answer{status: saved.Status, body: clone(saved.Body), replayed: true}
	}
	reply := a.perform(call, path)
	if reply.status == http.StatusOK || reply.status == http.StatusPaymentRequired {
		a.answers[a.idempotency] = savedAnswer{Fingerprint: fingerprint, Status: reply.status, Body: clone(reply.body), At: a.at}
	}
	return reply
}
