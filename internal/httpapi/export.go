package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"

	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/api"
	"example.com/saaskit/internal/apikey"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/billing"
)

// ExportMe answers GET /v1/users/me/export.
func (s *Server) ExportMe(ctx context.Context, _ api.ExportMeRequestObject) (api.ExportMeResponseObject, error) {
	export, err := s.Accounts.Export(ctx, *callerOf(ctx).UserID)
	if err != nil {
		return nil, err
	}
	return exportResponse{export}, nil
}

// exportResponse writes an [api.UserExport] while it is read: it may be longer than memory.
type exportResponse struct {
	account.Export
}

// VisitExportMeResponse writes the answer. Where the database fails after a part of it is on its way, the connection is cut:
// half an export must not look like a whole one.
func (e exportResponse) VisitExportMeResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	sent := &sentWriter{w: w}
	out := &jsonWriter{w: bufio.NewWriterSize(sent, 32<<10)}
	out.raw(`{"exported_at":`).value(e.At).raw(`,"user":`).value(toUser(e.User)).raw(`,"accounts":[`)
	for i, a := range e.Accounts {
		if i > 0 {
			out.raw(",")
		}
		writeAccount(out, a)
	}
	out.raw("]}\n")
	if out.err == nil {
		out.err = out.w.Flush()
	}
	if out.err != nil && sent.any {
		panic(http.ErrAbortHandler)
	}
	return out.err
}

// A sentWriter knows whether anything was written.
type sentWriter struct {
	w   io.Writer
	any bool
}

func (s *sentWriter) Write(p []byte) (int, error) {
	s.any = true
	return s.w.Write(p)
}

func writeAccount(out *jsonWriter, a account.ExportedAccount) {
	subscriptions := make([]api.Subscription, len(a.Subscriptions))
	for i, sub := range a.Subscriptions {
		subscriptions[i] = toSubscription(billing.StateOf(sub))
	}
	out.raw(`{"account":`).value(toAccount(a.Account, a.Standing, a.Role)).raw(`,"subscriptions":`).value(subscriptions)
	writeList(out, "api_keys", a.Keys, exportedKey)
	writeList(out, "invoices", a.Invoices, func(i account.ExportedInvoice) api.Invoice { return toInvoice(billing.Invoice(i)) })
	writeList(out, "transactions", a.Transactions, toTransaction)
	writeList(out, "credit_transactions", a.CreditEntries, toCreditTransaction)
	writeList(out, "usage", a.Usage, func(u account.ExportedUsage) api.UsageTotal {
		return api.UsageTotal{Meter: u.MeterID, Month: u.Month, Quantity: u.Quantity}
	})
	writeList(out, "audit_log", a.AuditLog, func(l account.ExportedAuditEntry) api.AuditLogEntry { return toAuditLogEntry(audit.Row(l)) })
	writePayments(out, a)
	out.raw("}")
}

func writePayments(out *jsonWriter, a account.ExportedAccount) {
	writeList(out, "credit_lots", a.CreditLots, exportedLot)
	writeList(out, "customers", a.Customers, exportedCustomer)
	writeList(out, "payment_methods", a.PaymentMethods, exportedPaymentMethod)
	writeList(out, "checkout_attempts", a.CheckoutAttempts, exportedCheckoutAttempt)
	writeList(out, "checkout_sessions", a.CheckoutSessions, exportedCheckoutSession)
	writeList(out, "subscription_changes", a.SubscriptionChanges, exportedSubscriptionChange)
	writeList(out, "payments", a.Payments, exportedPayment)
	writeList(out, "charges", a.Charges, exportedCharge)
	writeList(out, "refunds", a.Refunds, exportedRefund)
	writeList(out, "disputes", a.Disputes, exportedDispute)
	writeList(out, "credit_notes", a.CreditNotes, exportedCreditNote)
	writeList(out, "messages", a.Messages, exportedMessage)
}

func writeList[T, A any](out *jsonWriter, name string, rows iter.Seq2[T, error], to func(T) A) {
	out.raw(",").value(name).raw(":[")
	first := true
	for row, err := range rows {
		if err != nil {
			out.fail(err)
		}
		if out.err != nil {
			return
		}
		if !first {
			out.raw(",")
		}
		first = false
		out.value(to(row))
	}
	out.raw("]")
}

// A jsonWriter writes pieces of JSON until the first error.
type jsonWriter struct {
	w   *bufio.Writer
	err error
}

func (j *jsonWriter) raw(text string) *jsonWriter {
	if j.err == nil {
		_, j.err = j.w.WriteString(text)
	}
	return j
}

func (j *jsonWriter) value(v any) *jsonWriter {
	if j.err != nil {
		return j
	}
	raw, err := json.Marshal(v)
	if err != nil {
		j.fail(fmt.Errorf("encode: %w", err))
		return j
	}
	_, j.err = j.w.Write(raw)
	return j
}

func (j *jsonWriter) fail(err error) {
	if j.err == nil {
		j.err = err
	}
}

func exportedKey(k account.ExportedKey) api.APIKey {
	return toAPIKey(apikey.Key{
		ID: k.ID, Name: k.Name, Start: k.Start, Scopes: k.Scopes, AllowedIPs: k.AllowedIps,
		CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt, LastUsedAt: k.LastUsedAt,
	})
}
