package httpapi

import (
	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/api"
)

func exportedLot(l account.ExportedCreditLot) api.CreditLot {
	return api.CreditLot{
		ID: l.ID, Source: api.CreditLotSource(l.Source), Granted: l.Granted, Remaining: l.Remaining, ExpiresAt: l.ExpiresAt, CreatedAt: l.CreatedAt,
	}
}

func exportedCustomer(c account.ExportedCustomer) api.ExportedCustomer {
	return api.ExportedCustomer{
		ID: c.StripeID, Email: optional(c.Email), Balance: maybeMoney(&c.Balance, c.Currency), DefaultPaymentMethod: c.DefaultPaymentMethod,
		CreatedAt: c.CreatedAt, DeletedAt: c.DeletedAt,
	}
}

func exportedPaymentMethod(m account.ExportedPaymentMethod) api.ExportedPaymentMethod {
	number := func(n int32) *int32 {
		if n == 0 {
			return nil
		}
		return &n
	}
	return api.ExportedPaymentMethod{
		ID: m.ID, Type: m.Type, Brand: optional(m.Brand), Last4: optional(m.Last4), ExpMonth: number(m.ExpMonth), ExpYear: number(m.ExpYear),
		CreatedAt: m.CreatedAt, DetachedAt: m.DetachedAt,
	}
}

func exportedCheckoutAttempt(c account.ExportedCheckoutAttempt) api.ExportedCheckoutAttempt {
	return api.ExportedCheckoutAttempt{
		ID: c.ID, Kind: c.Kind, Price: c.PriceLookupKey, Tier: c.TierID, CreditPack: c.PackID, Quantity: c.Quantity, SuccessURL: c.SuccessURL,
		CancelURL: c.CancelURL, Status: c.Status, SessionID: c.StripeSessionID, CreatedAt: c.CreatedAt,
	}
}

func exportedCheckoutSession(c account.ExportedCheckoutSession) api.ExportedCheckoutSession {
	return api.ExportedCheckoutSession{
		ID: c.ID, Mode: c.Mode, Status: c.Status, PaymentStatus: c.PaymentStatus, Amount: maybeMoney(c.AmountTotal, c.Currency),
		PaymentID: c.PaymentIntentID, CreatedAt: c.CreatedAt,
	}
}

func exportedSubscriptionChange(c account.ExportedSubscriptionChange) api.ExportedSubscriptionChange {
	return api.ExportedSubscriptionChange{
		ID: c.ID, SubscriptionID: c.SubscriptionID, Kind: c.Kind, Status: c.Status, Wish: object(c.Wish), CreatedAt: c.CreatedAt,
	}
}

func exportedPayment(p account.ExportedPayment) api.ExportedPayment {
	return api.ExportedPayment{
		ID: p.ID, Status: p.Status, Amount: api.Money{Amount: p.Amount, Currency: p.Currency}, InvoiceID: p.InvoiceID, ChargeID: p.LatestChargeID,
		CreatedAt: p.CreatedAt,
	}
}

func exportedCharge(c account.ExportedCharge) api.ExportedCharge {
	return api.ExportedCharge{
		ID: c.ID, Status: c.Status, Amount: api.Money{Amount: c.Amount, Currency: c.Currency},
		Refunded: api.Money{Amount: c.AmountRefunded, Currency: c.Currency}, Disputed: c.Disputed, InvoiceID: c.InvoiceID,
		PaymentID: c.PaymentIntentID, CreatedAt: c.CreatedAt,
	}
}

func exportedRefund(r account.ExportedRefund) api.ExportedRefund {
	return api.ExportedRefund{
		ID: r.ID, ChargeID: r.ChargeID, Status: r.Status, Amount: api.Money{Amount: r.Amount, Currency: r.Currency}, Reason: optional(r.Reason),
		CreatedAt: r.CreatedAt,
	}
}

func exportedDispute(d account.ExportedDispute) api.ExportedDispute {
	return api.ExportedDispute{
		ID: d.ID, ChargeID: d.ChargeID, Status: d.Status, Amount: api.Money{Amount: d.Amount, Currency: d.Currency},
		Withdrawn: api.Money{Amount: d.Withdrawn, Currency: d.Currency}, Reason: optional(d.Reason), CreatedAt: d.CreatedAt,
	}
}

func exportedCreditNote(n account.ExportedCreditNote) api.ExportedCreditNote {
	return api.ExportedCreditNote{
		ID: n.ID, InvoiceID: n.InvoiceID, Status: n.Status, Amount: api.Money{Amount: n.Amount, Currency: n.Currency},
		Credited: api.Money{Amount: n.Credited, Currency: n.Currency}, Reason: optional(n.Reason), CreatedAt: n.CreatedAt,
	}
}

func exportedMessage(m account.ExportedMessage) api.ExportedMessage {
	content := object(m.Payload)
	if content == nil {
		content = map[string]any{}
	}
	return api.ExportedMessage{ID: m.ID, Kind: m.Kind, Content: content, CreatedAt: m.CreatedAt, SentAt: m.SentAt}
}

// maybeMoney is nothing where the amount or its currency is not known.
func maybeMoney(amount *int64, currency *string) *api.Money {
	if amount == nil || currency == nil {
		return nil
	}
	return &api.Money{Amount: *amount, Currency: *currency}
}
