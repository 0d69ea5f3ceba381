package stripeemu

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
)

// An invoicePage is what hosted_invoice_url shows.
type invoicePage struct {
	Action string
	Title  string
	Error  string
	Due    string // empty where nothing is to be paid
	PDF    string
	Rows   []noticeRow
}

func (e *Emulator) showInvoice(w http.ResponseWriter, r *http.Request) {
	e.servePage(w, r, func(a *action) reply {
		invoice, refusal := a.hostedInvoice(r)
		if refusal != nil {
			return *refusal
		}
		return a.invoiceReply(http.StatusOK, invoice, "")
	})
}

// hostedInvoice finds an invoice that has been finalized.
func (a *action) hostedInvoice(r *http.Request) (object, *reply) {
	own := a.store.find("invoice", r.PathValue("invoice"))
	if own == nil || own.Object["number"] == nil {
		gone := noticeReply(http.StatusNotFound, "Page not found", "There is no such invoice.")
		return nil, &gone
	}
	a.enterTimeOf(text(own.Object, "id"))
	return own.Object, nil
}

func (a *action) invoiceReply(status int, i object, problem string) reply {
	p := invoicePage{
		Action: "/invoice/" + text(i, "id"), Title: "Invoice " + text(i, "number"), Error: problem,
		PDF: "/invoice/" + text(i, "id") + "/pdf", Rows: invoiceRows(i),
	}
	if i["status"] == "open" || i["status"] == "uncollectible" {
		p.Due = money(number(i, "amount_remaining"), text(i, "currency"))
	}
	return pageReply(status, "invoice", p)
}

func invoiceRows(i object) []noticeRow {
	currency := text(i, "currency")
	rows := []noticeRow{{"Status", text(i, "status")}, {"Billed to", text(i, "customer_email")}}
	for _, line := range elements(child(i, "lines"), "data") {
		rows = append(rows, noticeRow{text(line, "description"), money(number(line, "amount"), currency)})
	}
	for _, off := range elements(i, "total_discount_amounts") {
		rows = append(rows, noticeRow{"Discount", money(-number(off, "amount"), currency)})
	}
	return append(rows, noticeRow{"Total", money(number(i, "total"), currency)}, noticeRow{"Amount paid", money(number(i, "amount_paid"), currency)})
}

// submitInvoice pays with a card of the customer's choice, who is there to
// authenticate.
func (e *Emulator) submitInvoice(w http.ResponseWriter, r *http.Request) {
	if !readForm(w, r) {
		return
	}
	e.servePage(w, r, func(a *action) reply {
		i, refusal := a.hostedInvoice(r)
		if refusal != nil {
			return *refusal
		}
		a.store.changed = true
		page := reply{location: "/invoice/" + text(i, "id")}
		if i["status"] != "open" && i["status"] != "uncollectible" {
			return page
		}
		by := payer{email: text(i, "customer_email"), name: text(i, "customer_name")}
		refused := a.enterCard(r, true, &by)
		if refused == nil {
			refused = a.payInvoice(i, payment{method: a.newPaymentMethod(*by.card, by), how: onSession})
		}
		switch {
		case refused == nil:
			return page
		case refused.action:
			return reply{location: "/3ds/" + text(i, "payment_intent") + "?return=" + page.location}
		}
		return a.invoiceReply(http.StatusPaymentRequired, i, refused.message)
	})
}

func (e *Emulator) showInvoicePDF(w http.ResponseWriter, r *http.Request) {
	var body []byte
	e.do(func(a *action) {
		if i, refusal := a.hostedInvoice(r); refusal == nil {
			body = invoicePDF(i)
		}
	})
	if body == nil {
		noticeReply(http.StatusNotFound, "Page not found", "There is no such invoice.").write(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/pdf")
	_, _ = w.Write(body) // the browser is gone: nobody left to tell
}

// invoicePDF writes one page of text.
func invoicePDF(i object) []byte {
	escape := strings.NewReplacer("\\", "\\\\", "(", "\\(", ")", "\\)", "€", "EUR ", "£", "GBP ", "¥", "JPY ", "×", "x", "•", "*", "−", "-")
	var content strings.Builder
	fmt.Fprintf(&content, "BT /F1 16 Tf 60 760 Td (%s) Tj /F1 11 Tf 0 -30 Td", escape.Replace("Invoice "+text(i, "number")))
	for _, row := range invoiceRows(i) {
		fmt.Fprintf(&content, " (%s) Tj 0 -18 Td", escape.Replace(row.Name+": "+row.Value))
	}
	content.WriteString(" ET")
	parts := []string{
		"<< /Type /Catalog /Pages 2 0 R >>",
		"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
		fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", content.Len(), content.String()),
		"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
	}
	var file bytes.Buffer
	file.WriteString("%PDF-1.4\n")
	var offsets []int
	for index, part := range parts {
		offsets = append(offsets, file.Len())
		fmt.Fprintf(&file, "%d 0 obj\n%s\nendobj\n", index+1, part)
	}
	start := file.Len()
	fmt.Fprintf(&file, "xref\n0 %d\n0000000000 65535 f \n", len(parts)+1)
	for _, offset := range offsets {
		fmt.Fprintf(&file, "%010d 00000 n \n", offset)
	}
	fmt.Fprintf(&file, "trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(parts)+1, start)
	return file.Bytes()
}
