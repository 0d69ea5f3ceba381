package stripeemu

// debitTime is how long a bank takes to say whether it pays a debit.
const debitTime = 3 * day

// isDelayed says whether a session takes payments that come later.
func isDelayed(session object) bool {
	types, _ := session["payment_method_types"].([]any)
	for _, kind := range types {
		if kind == "sepa_debit" {
			return true
		}
	}
	return false
}

// debitRules settle what a bank has taken its time for.
func debitRules() []rule {
	return []rule{{
		objectType: "payment_intent",
		due: func(_ *action, r *record) int64 {
			if r.Object["status"] != "processing" {
				return 0
			}
			return number(r.Private, "debited_at") + debitTime
		},
		happen: func(a *action, r *record) { a.settleDebit(r) },
	}}
}

// newDebitMethod is a bank account that is debited.
func (a *action) newDebitMethod(by payer) object {
	method := a.create("payment_method", newID("pm"))
	delete(method, "card")
	method["type"], method["billing_details"] = "sepa_debit", billingDetails(by)
	method["sepa_debit"] = debitDetails()
	method["sepa_debit"].(object)["generated_from"] = object{"charge": nil, "setup_attempt": nil}
	a.store.save(method)
	return method
}

func debitDetails() object {
	return object{"bank_code": "37040044", "branch_code": "", "country": "DE", "fingerprint": "emulatedDebit0001", "last4": "3000"}
}

// debit begins a payment whose success only shows days later. The session is
// complete meanwhile, and not paid.
func (a *action) debit(session *record, by payer, fails bool) {
	session.Private["payer"] = object{"email": by.email, "name": by.name}
	o := session.Object
	var customer object
	if text(o, "customer") != "" || o["customer_creation"] == "always" {
		customer = a.payingCustomer(session, by)
	}
	intent, method := a.sessionIntent(session, customer), a.newDebitMethod(by)
	intent["payment_method_types"] = o["payment_method_types"]
	c := a.newCharge(intent, method)
	details := debitDetails()
	details["mandate"] = nil
	c["payment_method_details"] = object{"type": "sepa_debit", "sepa_debit": details}
	c["status"], c["paid"], c["receipt_url"] = "pending", false, nil
	a.emit("charge.pending", c)
	intent["status"], intent["payment_method"], intent["latest_charge"] = "processing", method["id"], c["id"]
	own := a.store.lookUp(text(intent, "id"))
	own.Private["debited_at"], own.Private["fails"], own.Private["session"] = a.at, fails, o["id"]
	a.emit("payment_intent.processing", intent)
	o["payment_intent"] = intent["id"]
	a.finish(session, by, "unpaid")
}

// settleDebit is the word of the bank.
func (a *action) settleDebit(r *record) {
	intent := r.Object
	c := a.store.get("charge", text(intent, "latest_charge"))
	session := a.store.find("checkout.session", text(r.Private, "session"))
	if flag(r.Private, "fails") {
		c["status"], c["failure_code"], c["failure_message"] = "failed", "payment_intent_payment_attempt_failed", "The bank refused the debit."
		a.emit("charge.failed", c)
		method := a.store.get("payment_method", text(intent, "payment_method"))
		a.failIntent(intent, method, &decline{code: "payment_intent_payment_attempt_failed", message: "The bank refused the debit."}, text(c, "id"))
		a.emit("checkout.session.async_payment_failed", session.Object)
		return
	}
	amount := number(intent, "amount")
	c["status"], c["paid"], c["captured"], c["amount_captured"] = "succeeded", true, true, amount
	c["receipt_url"], c["balance_transaction"] = a.base+"/receipts/"+text(c, "id"), a.newBalanceTransaction(c)["id"]
	a.emit("charge.succeeded", c)
	intent["status"], intent["amount_received"] = "succeeded", amount
	a.emit("payment_intent.succeeded", intent)
	session.Object["payment_status"] = "paid"
	if flag(child(session.Object, "invoice_creation"), "enabled") {
		kept := child(session.Private, "payer")
		by := payer{email: text(kept, "email"), name: text(kept, "name")}
		session.Object["invoice"] = a.invoiceOfPayment(session, a.payingCustomer(session, by))["id"]
	}
	a.emit("checkout.session.async_payment_succeeded", session.Object)
}
