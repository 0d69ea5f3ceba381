package stripeemu

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/mail"
	"strings"
)

//go:embed *.html
var pageFiles embed.FS

// pages are the hosted pages; they are the same for every emulator.
var pages = template.Must(template.ParseFS(pageFiles, "*.html"))

// A checkoutPage is what the payment page shows.
type checkoutPage struct {
	Action     string
	Title      string
	Recurring  string // "per month"; empty for one-time payments
	Total      string
	TrialDays  int64
	Then       string // what is charged after the trial, "$29.00"
	Delayed    bool   // takes debits
	Codes      bool   // takes promotion codes
	Discount   string // what a code takes off
	Lines      []checkoutLine
	Email      string
	EmailFixed bool
	Name       string
	NeedsCard  bool
	CanCancel  bool
	Button     string
	Error      string
	Decline    string // decline_code or code, for those who drive the page by program
}

type checkoutLine struct {
	Name     string
	Quantity int64
	Amount   string
}

// A notice is a page that only says something.
type notice struct {
	Title string
	Text  string
	Rows  []noticeRow
}

type noticeRow struct{ Name, Value string }

// A reply is a page or a redirect, made under the lock and written after it:
// a browser that reads slowly must not stop the account.
type reply struct {
	status   int
	location string // of a redirect
	body     []byte
}

func pageReply(status int, name string, data any) reply {
	var body bytes.Buffer
	if err := pages.ExecuteTemplate(&body, name, data); err != nil {
		panic(err) // the template and its data are both of this file
	}
	return reply{status: status, body: body.Bytes()}
}

func noticeReply(status int, title, text string) reply {
	return pageReply(status, "notice", notice{Title: title, Text: text})
}

func (p reply) write(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if p.location != "" {
		http.Redirect(w, r, p.location, http.StatusSeeOther)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(p.status)
	_, _ = w.Write(p.body) // the browser is gone: nobody left to tell
}

func (e *Emulator) showCheckout(w http.ResponseWriter, r *http.Request) {
	e.servePage(w, r, func(a *action) reply {
		session, refusal := a.openSession(r.PathValue("session"))
		if refusal != nil {
			return *refusal
		}
		a.enterTimeOf(text(session.Object, "id"))
		return pageReply(http.StatusOK, "checkout", a.checkoutPage(session))
	})
}

func (e *Emulator) servePage(w http.ResponseWriter, r *http.Request, f func(*action) reply) {
	var made reply
	e.do(func(a *action) {
		a.reachedAt(r)
		made = f(a)
	})
	made.write(w, r)
}

// openSession finds a session that can still be paid, or says why there is none.
func (a *action) openSession(id string) (*record, *reply) {
	var refusal reply
	session := a.store.find("checkout.session", id)
	switch {
	case session == nil:
		refusal = noticeReply(http.StatusNotFound, "Page not found", "There is no such checkout session.")
	case session.Object["status"] == "complete":
		refusal = noticeReply(http.StatusGone, "You're all done here", "This checkout session has been completed.")
	case session.Object["status"] == "expired":
		refusal = noticeReply(http.StatusGone, "This page has expired", "The checkout session has timed out. Return to the shop and start again.")
	default:
		return session, nil
	}
	return nil, &refusal
}

func (a *action) checkoutPage(session *record) checkoutPage {
	o := session.Object
	currency := text(o, "currency")
	p := checkoutPage{
		Action: "/c/pay/" + text(o, "id"), Total: money(number(o, "amount_total"), currency), Title: "Pay", Button: "Pay",
		CanCancel: text(o, "cancel_url") != "", NeedsCard: a.needsCard(session),
		Email: text(child(o, "customer_details"), "email"),
	}
	p.EmailFixed = p.Email != ""
	if o["mode"] == "subscription" {
		p.Title, p.Button = "Subscribe", "Subscribe"
		if end, _ := a.trialEnd(child(session.Private, "subscription_data")); end > a.at {
			p.TrialDays = (end - a.at + day - 1) / day
		}
	}
	if o["mode"] == "setup" {
		p.Title, p.Button, p.Total = "Save payment details", "Save card", ""
	}
	p.Delayed = isDelayed(o) && p.NeedsCard
	p.Codes = flag(o, "allow_promotion_codes")
	if off := number(child(o, "total_details"), "amount_discount"); off > 0 {
		p.Discount = "−" + money(off, currency)
	}
	var then int64
	for _, line := range a.linesOf(session) {
		name := text(a.store.get("product", text(line.price, "product")), "name")
		p.Lines = append(p.Lines, checkoutLine{Name: name, Quantity: line.quantity, Amount: money(line.amount(), currency)})
		if recurring := child(line.price, "recurring"); recurring != nil {
			then += line.amount()
			p.Recurring = "per " + text(recurring, "interval")
			if count := number(recurring, "interval_count"); count > 1 {
				p.Recurring = fmt.Sprintf("every %d %ss", count, text(recurring, "interval"))
			}
		}
	}
	p.Then = money(then, currency)
	return p
}

// needsCard says whether the page asks for a card: where something is to be
// paid, and for a free subscription unless a card is wanted only if required.
func (a *action) needsCard(session *record) bool {
	o := session.Object
	return number(o, "amount_total") > 0 || o["mode"] == "setup" || o["mode"] == "subscription" && o["payment_method_collection"] == "always"
}

// readForm reads a posted form, or answers that it cannot.
func readForm(w http.ResponseWriter, r *http.Request) bool {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<16)
	if err := r.ParseForm(); err != nil {
		noticeReply(http.StatusBadRequest, "Bad request", "The form could not be read.").write(w, r)
		return false
	}
	return true
}

// localPath is a path of this server that a form hands on, "" for any other
// address.
func localPath(target string) string {
	if !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") || strings.Contains(target, "\\") {
		return ""
	}
	return target
}

func (e *Emulator) submitCheckout(w http.ResponseWriter, r *http.Request) {
	if !readForm(w, r) {
		return
	}
	e.servePage(w, r, func(a *action) reply {
		session, refusal := a.openSession(r.PathValue("session"))
		if refusal != nil {
			return *refusal
		}
		a.enterTimeOf(text(session.Object, "id"))
		switch r.PostForm.Get("action") {
		case "cancel":
			if target := text(session.Object, "cancel_url"); target != "" {
				return reply{location: target}
			}
			return reply{location: r.URL.Path}
		case "apply":
			return a.enterCode(r, session)
		case "pay", "decline", "debit", "debit_fails":
			return a.pay(r, session)
		}
		return noticeReply(http.StatusBadRequest, "Bad request", "The field action must be pay, decline, apply or cancel.")
	})
}

// pay takes the form. A refused card gets the page again, with 402.
func (a *action) pay(r *http.Request, session *record) reply {
	page := a.checkoutPage(session)
	by := payer{email: page.Email, name: strings.TrimSpace(r.PostForm.Get("name"))}
	if !page.EmailFixed {
		by.email = strings.TrimSpace(r.PostForm.Get("email"))
		page.Email = by.email
	}
	page.Name = by.name
	if _, err := mail.ParseAddress(by.email); err != nil {
		page.Error = "Your email is incomplete."
		return pageReply(http.StatusBadRequest, "checkout", page)
	}
	if code := strings.TrimSpace(r.PostForm.Get("promotion_code")); page.Codes && code != "" {
		if page.Error = a.applyCode(session, code); page.Error != "" {
			return pageReply(http.StatusBadRequest, "checkout", page)
		}
		page.NeedsCard = a.needsCard(session)
	}
	if action := r.PostForm.Get("action"); strings.HasPrefix(action, "debit") && page.Delayed {
		a.debit(session, by, action == "debit_fails")
		return a.afterPayment(session, page, nil)
	}
	refused := a.enterCard(r, page.NeedsCard, &by)
	if refused == nil {
		refused = a.complete(session, by)
	}
	return a.afterPayment(session, page, refused)
}

// afterPayment leads on to the shop, to the card's bank, or back to the page
// where the card was refused.
func (a *action) afterPayment(session *record, page checkoutPage, refused *decline) reply {
	switch {
	case refused == nil:
		id := text(session.Object, "id")
		return reply{location: strings.ReplaceAll(text(session.Object, "success_url"), "{CHECKOUT_SESSION_ID}", id)}
	case refused.action:
		return reply{location: "/3ds/" + a.waitsFor(session) + "?return=/c/pay/" + text(session.Object, "id")}
	}
	page.Error, page.Decline = refused.message, refused.code
	if refused.reason != "" {
		page.Decline = refused.reason
	}
	return pageReply(http.StatusPaymentRequired, "checkout", page)
}

// afterChallenge goes on with a session after its bank's page.
func (a *action) afterChallenge(target string, refused *decline) reply {
	if id, ok := strings.CutPrefix(target, "/invoice/"); ok && refused != nil && a.store.find("invoice", id) != nil {
		return a.invoiceReply(http.StatusPaymentRequired, a.store.get("invoice", id), refused.message)
	}
	id, ok := strings.CutPrefix(target, "/c/pay/")
	session := a.store.find("checkout.session", id)
	if !ok || session == nil || session.Object["status"] != "open" {
		return reply{location: target}
	}
	if refused == nil {
		a.conclude(session)
	}
	return a.afterPayment(session, a.checkoutPage(session), refused)
}

// enterCode shows the page again with a promotion code applied, or says why
// not.
func (a *action) enterCode(r *http.Request, session *record) reply {
	problem := "This order takes no codes."
	if flag(session.Object, "allow_promotion_codes") {
		problem = a.applyCode(session, r.PostForm.Get("promotion_code"))
	}
	page := a.checkoutPage(session)
	if page.Error = problem; problem != "" {
		return pageReply(http.StatusBadRequest, "checkout", page)
	}
	return pageReply(http.StatusOK, "checkout", page)
}

// enterCard reads the card fields. A field that is not sent at all has its
// test value, so that a program need not fill in what it does not care about.
func (a *action) enterCard(r *http.Request, needed bool, by *payer) *decline {
	if !needed {
		return nil
	}
	value := func(name, usual string) string {
		if r.PostForm.Has(name) {
			return strings.TrimSpace(r.PostForm.Get(name))
		}
		return usual
	}
	cardNumber := value("card_number", "4242424242424242")
	if r.PostForm.Get("action") == "decline" {
		cardNumber = "4000000000000002"
	}
	var refused *decline
	by.card, refused = readCard(cardNumber, value("card_expiry", "12/34"), value("card_cvc", "123"), a.wall())
	return refused
}

func (e *Emulator) showReceipt(w http.ResponseWriter, r *http.Request) {
	e.servePage(w, r, func(a *action) reply {
		charge := a.store.find("charge", r.PathValue("charge"))
		if charge == nil || charge.Object["status"] != "succeeded" {
			return noticeReply(http.StatusNotFound, "Page not found", "There is no such receipt.")
		}
		o := charge.Object
		card := child(child(o, "payment_method_details"), "card")
		return pageReply(http.StatusOK, "notice", notice{Title: "Receipt", Rows: []noticeRow{
			{"Amount paid", money(number(o, "amount"), text(o, "currency"))},
			{"Payment method", text(card, "brand") + " •••• " + text(card, "last4")},
		}})
	})
}
