package stripeemu

import (
	"fmt"
	"net/http"
	"net/url"
)

// authenticated says whether the holder has authenticated this payment. It
// counts once: another card asks again.
func (a *action) authenticated(intent object) bool {
	own := a.store.lookUp(text(intent, "id"))
	ok := own.Private["authenticated"] == intent["payment_method"] && intent["payment_method"] != nil
	delete(own.Private, "authenticated")
	return ok
}

// awaitAuthentication sends the holder of the card to the page of their bank.
func (a *action) awaitAuthentication(intent object) *decline {
	intent["status"] = "requires_action"
	intent["next_action"] = object{
		"type": "redirect_to_url", "redirect_to_url": object{
			"return_url": orNil(a.returnOf(intent)), "url": a.base + "/3ds/" + text(intent, "id"),
		},
	}
	a.emit(text(intent, "object")+".requires_action", intent)
	return &decline{code: "authentication_required", message: "Please complete your authentication.", action: true}
}

// keepReturn remembers where the bank's page leads back to.
func (a *action) keepReturn(intent, params object) {
	if target := text(params, "return_url"); target != "" {
		a.store.lookUp(text(intent, "id")).Private["return_url"] = target
	}
}

func (a *action) returnOf(intent object) string {
	return text(a.store.lookUp(text(intent, "id")).Private, "return_url")
}

// backToShop is where the bank's page leads after the answer: the return_url
// with what Stripe adds to it. "" where none was given.
func (a *action) backToShop(intent object, refused *decline) string {
	target, err := url.Parse(a.returnOf(intent))
	if err != nil || target.Host == "" {
		return ""
	}
	kind, status := text(intent, "object"), "succeeded"
	if refused != nil {
		status = "failed"
	}
	query := target.Query()
	query.Set(kind, text(intent, "id"))
	query.Set(kind+"_client_secret", text(intent, "client_secret"))
	query.Set("redirect_status", status)
	target.RawQuery = query.Encode()
	return target.String()
}

// authenticate is what the holder answers to their bank. The payment goes on
// with the same card, or is open for another one.
func (a *action) authenticate(intent object, ok bool) *decline {
	method := a.store.get("payment_method", text(intent, "payment_method"))
	if ok {
		a.store.lookUp(text(intent, "id")).Private["authenticated"] = method["id"]
		return a.goOn(intent, method)
	}
	failed := &decline{
		code:    text(intent, "object") + "_authentication_failure",
		message: "We are unable to authenticate your payment method. Please choose a different payment method and try again.",
	}
	if intent["object"] == "setup_intent" {
		a.failSetup(intent, method, failed)
		return failed
	}
	a.failIntent(intent, method, failed, "")
	if id := text(intent, "invoice"); id != "" {
		a.invoiceFailed(a.store.get("invoice", id), failed, onSession)
	}
	return failed
}

func (a *action) goOn(intent, method object) *decline {
	if intent["object"] == "setup_intent" {
		return a.setUp(intent, method)
	}
	if id := text(intent, "invoice"); id != "" {
		return a.payInvoice(a.store.get("invoice", id), payment{method: method, how: onSession})
	}
	refused := a.charge(intent, method, onSession)
	if refused == nil {
		a.keepForLater(intent, method)
	}
	return refused
}

// Authenticate answers for the holder of a card whose payment intent or setup
// intent waits for 3-D Secure.
func (e *Emulator) Authenticate(intentID string, ok bool) error {
	err := fmt.Errorf("authenticate: %q does not wait for authentication", intentID)
	e.do(func(a *action) {
		if own := a.waiting(intentID); own != nil {
			a.enterTimeOf(intentID)
			a.authenticate(own.Object, ok)
			a.store.changed, err = true, nil
		}
	})
	return err
}

func (a *action) waiting(intentID string) *record {
	own := a.store.lookUp(intentID)
	if own == nil || own.Object["status"] != "requires_action" {
		return nil
	}
	return own
}

type challengePage struct {
	Action string
	Amount string
	Return string
}

// showChallenge is the page of the bank: /3ds/{intent}?return=…
func (e *Emulator) showChallenge(w http.ResponseWriter, r *http.Request) {
	e.servePage(w, r, func(a *action) reply {
		own := a.waiting(r.PathValue("intent"))
		if own == nil {
			return noticeReply(http.StatusGone, "Nothing to authenticate", "This payment does not wait for authentication.")
		}
		p := challengePage{Action: r.URL.Path, Return: localPath(r.URL.Query().Get("return"))}
		if own.Object["object"] == "payment_intent" {
			p.Amount = money(number(own.Object, "amount"), text(own.Object, "currency"))
		}
		return pageReply(http.StatusOK, "challenge", p)
	})
}

func (e *Emulator) submitChallenge(w http.ResponseWriter, r *http.Request) {
	if !readForm(w, r) {
		return
	}
	e.servePage(w, r, func(a *action) reply {
		own := a.waiting(r.PathValue("intent"))
		if own == nil {
			return noticeReply(http.StatusGone, "Nothing to authenticate", "This payment does not wait for authentication.")
		}
		a.enterTimeOf(text(own.Object, "id"))
		a.store.changed = true
		refused := a.authenticate(own.Object, r.PostForm.Get("action") == "complete")
		if target := localPath(r.PostForm.Get("return")); target != "" {
			return a.afterChallenge(target, refused)
		}
		if target := a.backToShop(own.Object, refused); target != "" {
			return reply{location: target}
		}
		if refused != nil {
			return noticeReply(http.StatusPaymentRequired, "Payment failed", refused.message)
		}
		return noticeReply(http.StatusOK, "Authenticated", "You can close this page.")
	})
}
