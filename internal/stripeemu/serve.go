package stripeemu

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"example.com/saaskit/internal/stripecontract"
)

func (e *Emulator) newMux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/", e.serveAPI)
	mux.HandleFunc("GET /c/pay/{session}", e.showCheckout)
	mux.HandleFunc("POST /c/pay/{session}", e.submitCheckout)
	mux.HandleFunc("GET /invoice/{invoice}", e.showInvoice)
	mux.HandleFunc("POST /invoice/{invoice}", e.submitInvoice)
	mux.HandleFunc("GET /invoice/{invoice}/pdf", e.showInvoicePDF)
	mux.HandleFunc("GET /receipts/{charge}", e.showReceipt)
	e.handleControls(mux)
	mux.HandleFunc("GET "+controlPrefix+"/{$}", e.showDashboard)
	mux.HandleFunc("POST "+controlPrefix+"/{$}", e.submitDashboard)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, controlPrefix+"/", http.StatusSeeOther)
	})
	mux.HandleFunc("GET /p/session/{session}", e.showPortal)
	mux.HandleFunc("POST /p/session/{session}", e.submitPortal)
	mux.HandleFunc("GET /3ds/{intent}", e.showChallenge)
	mux.HandleFunc("POST /3ds/{intent}", e.submitChallenge)
	return mux
}

// ServeHTTP answers the API and the hosted pages.
func (e *Emulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mux.ServeHTTP(w, r)
}

// An answer is what goes back to the client.
type answer struct {
	status   int
	body     object
	replayed bool
}

func (e *Emulator) serveAPI(w http.ResponseWriter, r *http.Request) {
	requestID := "req_" + randomText(14)
	entry := e.logRequest(r, requestID)
	fault := e.takeFault(r)
	if fault != nil && !fault.After && fault.strike(w, r) {
		e.logStatus(entry, fault.Status)
		return
	}
	reply := e.answerAPI(r, requestID)
	if fault != nil && fault.After && fault.strike(w, r) {
		e.logStatus(entry, fault.Status)
		return
	}
	e.logStatus(entry, reply.status)
	w.Header().Set("Request-Id", requestID)
	w.Header().Set("Stripe-Version", e.contract.Version())
	if key := r.Header.Get("Idempotency-Key"); key != "" {
		w.Header().Set("Idempotency-Key", key)
	}
	if reply.replayed {
		w.Header().Set("Idempotent-Replayed", "true")
	}
	writeJSON(w, reply.status, reply.body)
}

func (e *Emulator) answerAPI(r *http.Request, requestID string) answer {
	if refusal := checkKey(r); refusal != nil {
		return errorAnswer(refusal)
	}
	call, err := e.contract.Decode(r)
	if err != nil {
		return errorAnswer(err)
	}
	normalize(call.Params)
	if err := inBounds(call.Params, ""); err != nil {
		return errorAnswer(err)
	}
	if len(r.Header.Get("Idempotency-Key")) > maxKey {
		return errorAnswer(invalid("", "Idempotency keys may have up to %d characters.", maxKey))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	defer e.keep()
	a := e.newAction()
	a.requestID, a.idempotency = requestID, r.Header.Get("Idempotency-Key")
	a.reachedAt(r)
	a.settleDue()
	if r.Method == http.MethodPost && a.idempotency != "" {
		return a.once(call, r.URL.Path)
	}
	return a.perform(call, r.URL.Path)
}

// perform finds the operation, lets it work and expands its answer.
func (a *action) perform(call *stripecontract.Call, path string) answer {
	op, ok := a.operations[call.Method+" "+call.Pattern]
	if !ok {
		return errorAnswer(notEmulated(call.Method + " " + path))
	}
	if name := unsupported(call.Params, op.params); name != "" {
		return errorAnswer(notEmulated("parameter " + name + " of " + call.Method + " " + call.Pattern))
	}
	r := &request{Call: call, path: path}
	a.enterTime(r)
	result, err := a.wholly(op, r)
	if err != nil {
		return errorAnswer(err)
	}
	body := a.render(result)
	for _, field := range call.Expand {
		a.expand(body, strings.Split(field, "."))
	}
	return answer{status: http.StatusOK, body: body}
}

// wholly lets an operation happen, or not at all: what is refused, or fails in
// this package, leaves nothing behind and tells nobody. Only an attempt to
// charge a card stays, as its failure is a fact that the intent shows.
func (a *action) wholly(op operation, r *request) (result object, err error) {
	if r.Method == http.MethodGet {
		return op.handle(a, r)
	}
	a.store.begin()
	done := false
	defer func() {
		if !done && a.store.journal != nil {
			a.store.rollBack() // a panic: net/http reports it and hangs up
		}
	}()
	result, err = op.handle(a, r)
	done = true
	if err != nil && !isAttempt(err) {
		a.store.rollBack()
		return nil, err
	}
	for _, event := range a.store.commit() {
		a.dispatch(event)
	}
	a.store.changed = true
	return result, err
}

// isAttempt says whether an error tells of a card that was tried.
func isAttempt(err error) bool {
	refusal, ok := errors.AsType[*stripecontract.Error](err)
	if !ok || refusal.Status != http.StatusPaymentRequired {
		return false
	}
	return refusal.Extra["payment_intent"] != nil || refusal.Extra["setup_intent"] != nil
}

func errorAnswer(err error) answer {
	refusal, ok := errors.AsType[*stripecontract.Error](err)
	if !ok {
		refusal = &stripecontract.Error{Status: http.StatusInternalServerError, Type: "api_error", Message: err.Error()}
	}
	return answer{status: refusal.Status, body: refusal.Body()}
}

// checkKey accepts keys of test mode only, so that a live key which ends up
// here by mistake is refused at the first call.
func checkKey(r *http.Request) *stripecontract.Error {
	scheme, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Basic") {
		decoded, err := base64.StdEncoding.DecodeString(credential)
		if err != nil {
			return unauthorized("Invalid API Key provided.")
		}
		credential, _, _ = strings.Cut(string(decoded), ":")
	}
	if credential == "" {
		return unauthorized("You did not provide an API key.")
	}
	for _, prefix := range []string{"sk_test_", "rk_test_"} {
		if rest, ok := strings.CutPrefix(credential, prefix); ok && rest != "" {
			return nil
		}
	}
	return unauthorized("Invalid API Key provided: the Stripe emulator takes keys of test mode only.")
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(body) // the client is gone: nobody left to tell
}
