package stripeemu

import (
	"fmt"
	"net/http"
	"net/mail"
	"strings"
	"time"
)

// A portalPage is what the customer portal shows.
type portalPage struct {
	Action, Return string
	Email          string
	EmailChanges   bool
	CardChanges    bool
	Subscriptions  []portalSubscription
	Cards          []portalCard
	Invoices       []portalInvoice
	Error, Done    string
}

type portalSubscription struct {
	ID, Name, Price, Status, Until string
	Ending, CanCancel              bool
	Prices                         []portalPrice
}

type portalPrice struct {
	ID, Name string
	Current  bool
}

type portalCard struct {
	ID, Name string
	Default  bool
}

type portalInvoice struct{ Number, Date, Total, Status, URL string }

func (e *Emulator) showPortal(w http.ResponseWriter, r *http.Request) {
	e.servePage(w, r, func(a *action) reply {
		session, configuration, refusal := a.openPortal(r.PathValue("session"))
		if refusal != nil {
			return *refusal
		}
		return pageReply(http.StatusOK, "portal", a.portalPage(session, configuration))
	})
}

// openPortal finds a session whose link still works.
func (a *action) openPortal(id string) (session, configuration object, refusal *reply) {
	own := a.store.find("billing_portal.session", id)
	if own == nil || a.store.customer(text(own.Object, "customer")) == nil {
		gone := noticeReply(http.StatusNotFound, "Page not found", "There is no such portal session.")
		return nil, nil, &gone
	}
	a.enterTimeOf(id)
	if a.at > number(own.Object, "created")+portalTime {
		gone := noticeReply(http.StatusGone, "This page has expired", "Return to the shop and open the portal again.")
		return nil, nil, &gone
	}
	return own.Object, a.store.get("billing_portal.configuration", text(own.Object, "configuration")), nil
}

func (a *action) portalPage(session, configuration object) portalPage {
	customer := a.store.get("customer", text(session, "customer"))
	update := child(child(configuration, "features"), "customer_update")
	p := portalPage{
		Action: "/p/session/" + text(session, "id"), Return: text(session, "return_url"), Email: text(customer, "email"),
		EmailChanges: flag(update, "enabled"), CardChanges: offers(configuration, "payment_method_update"),
	}
	for _, r := range a.store.all("subscription") {
		if s := r.Object; s["customer"] == customer["id"] && !isEnded(s) && s["status"] != "incomplete" {
			p.Subscriptions = append(p.Subscriptions, a.portalSubscription(s, configuration))
		}
	}
	preferred := child(customer, "invoice_settings")["default_payment_method"]
	for _, r := range a.paymentMethodsOf(text(customer, "id"), "card") {
		card := child(r.Object, "card")
		p.Cards = append(p.Cards, portalCard{ID: text(r.Object, "id"), Default: r.Object["id"] == preferred,
			Name: fmt.Sprintf("%s •••• %s, until %02d/%d", text(card, "brand"), text(card, "last4"), number(card, "exp_month"),
				number(card, "exp_year"))})
	}
	if offers(configuration, "invoice_history") {
		p.Invoices = a.portalInvoices(customer)
	}
	return p
}

func (a *action) portalSubscription(s, configuration object) portalSubscription {
	var names []string
	var sum int64
	for _, item := range itemsOf(s) {
		price := a.store.get("price", text(child(item, "price"), "id"))
		unit, _ := a.amountIn(price, text(s, "currency"))
		names, sum = append(names, a.productName(price)), sum+unit*number(item, "quantity")
	}
	shown := portalSubscription{
		ID: text(s, "id"), Name: strings.Join(names, ", "), Status: text(s, "status"), Until: date(number(s, "current_period_end")),
		Price:  money(sum, text(s, "currency")) + " per " + rhythm(rhythmOf(s)),
		Ending: s["cancel_at"] != nil, CanCancel: offers(configuration, "subscription_cancel"),
	}
	if shown.Ending {
		shown.Until = date(number(s, "cancel_at"))
	}
	current := child(itemsOf(s)[0], "price")["id"]
	for _, price := range a.portalPrices(configuration, text(s, "currency")) {
		unit, _ := a.amountIn(price, text(s, "currency"))
		shown.Prices = append(shown.Prices, portalPrice{ID: text(price, "id"), Current: price["id"] == current,
			Name: a.productName(price) + ", " + money(unit, text(s, "currency")) + " per " + rhythm(child(price, "recurring"))})
	}
	return shown
}

func (a *action) portalInvoices(customer object) []portalInvoice {
	var shown []portalInvoice
	for _, r := range a.store.all("invoice") {
		i := r.Object
		if i["customer"] == customer["id"] && i["number"] != nil {
			shown = append(shown, portalInvoice{
				Number: text(i, "number"), Date: date(number(i, "created")), Status: text(i, "status"),
				Total: money(number(i, "total"), text(i, "currency")), URL: "/invoice/" + text(i, "id"),
			})
		}
	}
	return shown
}

func date(at int64) string { return time.Unix(at, 0).UTC().Format("2 January 2006") }

func (e *Emulator) submitPortal(w http.ResponseWriter, r *http.Request) {
	if !readForm(w, r) {
		return
	}
	e.servePage(w, r, func(a *action) reply {
		session, configuration, refusal := a.openPortal(r.PathValue("session"))
		if refusal != nil {
			return *refusal
		}
		a.store.changed = true
		customer := a.store.get("customer", text(session, "customer"))
		done, err := a.portalAction(r, customer, configuration)
		if target := afterFlow(session, r.PostForm.Get("action")); err == nil && target != "" {
			return reply{location: target}
		}
		page, status := a.portalPage(session, configuration), http.StatusOK
		if page.Done = done; err != nil {
			page.Error, status = err.Error(), http.StatusBadRequest
		}
		return pageReply(status, "portal", page)
	})
}

// portalAction does what a form of the portal asks for, and says what it did.
func (a *action) portalAction(r *http.Request, customer, configuration object) (string, error) {
	form := r.PostForm
	switch form.Get("action") {
	case "cancel", "resume", "update":
		s := a.store.find("subscription", form.Get("subscription"))
		if s == nil || s.Object["customer"] != customer["id"] || isEnded(s.Object) {
			return "", fmt.Errorf("there is no such subscription")
		}
		return a.portalChange(form.Get("action"), s.Object, configuration, form.Get("price"))
	case "add_card":
		return a.portalCard(r, customer, configuration)
	case "default_card", "remove_card":
		method, err := a.ownPaymentMethod(text(customer, "id"), "payment_method", form.Get("payment_method"))
		if err != nil {
			return "", err
		}
		if form.Get("action") == "remove_card" {
			a.detach(method)
			return "The card is removed.", nil
		}
		a.preferCard(customer, method)
		return "The card is the default now.", nil
	case "email":
		if _, err := mail.ParseAddress(form.Get("email")); err != nil || !offers(configuration, "customer_update") {
			return "", fmt.Errorf("the email is incomplete")
		}
		a.change(customer, "customer.updated", func(o object) { o["email"] = form.Get("email") })
		return "The email is changed.", nil
	}
	return "", fmt.Errorf("the portal knows no action %q", form.Get("action"))
}

func (a *action) portalChange(what string, s, configuration object, price string) (string, error) {
	features := child(configuration, "features")
	cancel := child(features, "subscription_cancel")
	switch {
	case what == "update":
		return a.portalUpdate(s, configuration, price)
	case !flag(cancel, "enabled"):
		return "", fmt.Errorf("the portal does not offer this")
	case what == "resume":
		a.change(s, "customer.subscription.updated", func(o object) { a.scheduleCancel(o, object{"cancel_at": ""}) })
		return "Your plan goes on.", nil
	case cancel["mode"] == "immediately":
		if behavior := cancel["proration_behavior"]; behavior != "none" && s["status"] != "trialing" {
			for _, item := range itemsOf(s) {
				a.prorate(s, item, -1, a.at)
			}
		}
		a.endSubscription(s, "cancellation_requested")
		return "Your plan is canceled.", nil
	}
	a.change(s, "customer.subscription.updated", func(o object) { a.scheduleCancel(o, object{"cancel_at_period_end": true}) })
	return "Your plan ends with its period.", nil
}

func (a *action) portalUpdate(s, configuration object, price string) (string, error) {
	offered := false
	for _, candidate := range a.portalPrices(configuration, text(s, "currency")) {
		offered = offered || candidate["id"] == price
	}
	if !offered {
		return "", fmt.Errorf("the portal does not offer this plan")
	}
	behavior := text(child(child(configuration, "features"), "subscription_update"), "proration_behavior")
	params := object{
		"items": []any{object{"id": itemsOf(s)[0]["id"], "price": price}}, "proration_behavior": behavior, "payment_behavior": "error_if_incomplete",
	}
	p, err := a.planUpdate(s, params)
	if err != nil {
		return "", err
	}
	if err := a.update(s, p, params); err != nil {
		return "", err
	}
	return "Your plan is changed.", nil
}

func (a *action) portalCard(r *http.Request, customer, configuration object) (string, error) {
	if !offers(configuration, "payment_method_update") {
		return "", fmt.Errorf("the portal does not offer this")
	}
	by := payer{email: text(customer, "email"), name: text(customer, "name")}
	if refused := a.enterCard(r, true, &by); refused != nil {
		return "", fmt.Errorf("%s", refused.message)
	}
	intent := a.newSetupIntent(customer)
	a.emit("setup_intent.created", intent)
	method := a.newPaymentMethod(*by.card, by)
	refused := a.setUp(intent, method)
	if refused != nil && refused.action { // the portal's own page of the bank agrees
		refused = a.authenticate(intent, true)
	}
	if refused != nil {
		return "", fmt.Errorf("%s", refused.message)
	}
	a.preferCard(customer, method)
	return "The card is saved.", nil
}

// preferCard makes a card the one that everything of the customer is charged to.
func (a *action) preferCard(customer, method object) {
	a.change(customer, "customer.updated", func(o object) {
		child(o, "invoice_settings")["default_payment_method"] = method["id"]
	})
	for _, r := range a.store.all("subscription") {
		if s := r.Object; s["customer"] == customer["id"] && !isEnded(s) && s["default_payment_method"] != nil {
			a.change(s, "customer.subscription.updated", func(o object) { o["default_payment_method"] = method["id"] })
		}
	}
}
