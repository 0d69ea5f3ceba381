package outbox_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/saaskit/internal/outbox"
	"example.com/saaskit/internal/postgres/pgtest"
)

// A postOffice is an SMTP server that keeps what it gets.
type postOffice struct {
	address string
	mu      sync.Mutex
	mails   []string
	auths   []string
	// answers are what it says to a recipient instead of 250.
	answers map[string]string
	tls     *tls.Config // offers STARTTLS
}

func newPostOffice(t *testing.T, secure *tls.Config) *postOffice {
	t.Helper()
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p := &postOffice{address: l.Addr().String(), answers: map[string]string{}, tls: secure}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(conn)
		}
	}()
	return p
}

func (p *postOffice) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in, to := bufio.NewReader(conn), ""
	say := func(line string) { _, _ = fmt.Fprintf(conn, "%s\r\n", line) }
	say("220 here")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(line)
		switch verb := strings.ToUpper(strings.SplitN(line+" ", " ", 2)[0]); verb {
		case "EHLO":
			_, encrypted := conn.(*tls.Conn)
			if p.tls != nil && !encrypted {
				say("250-here\r\n250 STARTTLS")
			} else {
				say("250-here\r\n250 AUTH PLAIN")
			}
		case "STARTTLS":
			say("220 go on")
			secured := tls.Server(conn, p.tls)
			conn, in = secured, bufio.NewReader(secured)
		case "AUTH":
			p.mu.Lock()
			p.auths = append(p.auths, line)
			p.mu.Unlock()
			say("235 welcome")
		case "RCPT":
			to = strings.Trim(strings.TrimPrefix(line[5:], "TO:"), "<>")
			p.mu.Lock()
			answer := p.answers[to]
			p.mu.Unlock()
			if answer == "" {
				answer = "250 fine"
			}
			say(answer)
		case "DATA":
			say("354 go on")
			var text strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				text.WriteString(line)
			}
			p.mu.Lock()
			p.mails = append(p.mails, text.String())
			p.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 fine")
		}
	}
}

func (p *postOffice) answer(to, with string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[to] = with
}

// got returns the mails as subject and body, and empties the office.
func (p *postOffice) got(t *testing.T) (all []*mail.Message) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, text := range p.mails {
		m, err := mail.ReadMessage(strings.NewReader(text))
		if err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
		all = append(all, m)
	}
	p.mails = nil
	return all
}

func body(t *testing.T, m *mail.Message) string {
	t.Helper()
	text, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// A sender is a delivery with a mailer, at a time that the test moves.
type sender struct {
	*outbox.Delivery
	t    *testing.T
	pool *pgxpool.Pool
	log  *bytes.Buffer
	now  time.Time
}

const password = "not-in-any-log"

func newSender(t *testing.T, p *postOffice, dir string) *sender {
	t.Helper()
	templates, err := outbox.LoadTemplates(dir)
	if err != nil {
		t.Fatal(err)
	}
	mailer, err := outbox.NewMailer("smtp://saaskit:"+password+"@"+p.address, "Example <billing@example.com>", templates)
	if err != nil {
		t.Fatal(err)
	}
	s := &sender{t: t, pool: pgtest.New(t), log: &bytes.Buffer{}, now: noon}
	s.Delivery = outbox.NewDelivery(s.pool, func() time.Time { return s.now }, slog.New(slog.NewJSONHandler(s.log, nil)), mailer)
	return s
}

// owner makes an account and returns it with the address of its owner.
func (s *sender) owner() (uuid.UUID, string) {
	s.t.Helper()
	_, account := pgtest.User(s.t, s.pool)
	address := account.String() + "@example.org"
	if _, err := s.pool.Exec(s.t.Context(), `UPDATE users SET email = $1 WHERE id = (SELECT personal_of FROM accounts WHERE id = $2)`, address, account); err != nil {
		s.t.Fatal(err)
	}
	return account, address
}

func (s *sender) receipt(account uuid.UUID, key string) {
	s.t.Helper()
	add(s.t, s.pool, outbox.Message{AccountID: &account, Kind: "receipt", NaturalKey: key, Payload: map[string]any{
		"invoice": "in_1", "number": "A-1", "amount": 1250, "currency": "usd", "hosted_invoice_url": "https://pay.example.com/?a=1&b=ü",
	}})
}

// deliver delivers once and wants so many to have been told.
func (s *sender) deliver(want int) {
	s.t.Helper()
	told, err := s.Deliver(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if told != want {
		s.t.Errorf("told %d, want %d\n%s", told, want, s.log)
	}
}

func TestMail(t *testing.T) {
	t.Parallel()
	p := newPostOffice(t, nil)
	s := newSender(t, p, "")
	account, address := s.owner()
	s.receipt(account, "receipt:in_1")
	add(t, s.pool, outbox.Message{Kind: "operator_alarm", NaturalKey: "alarm:1"})
	add(t, s.pool, outbox.Message{AccountID: &account, Kind: "renewal_upcoming", NaturalKey: "renewal_upcoming:sub_1:1"})
	s.deliver(3)
	mails := p.got(t)
	if len(mails) != 1 {
		t.Fatalf("%d mails, want the receipt alone", len(mails))
	}
	h := mails[0].Header
	for name, want := range map[string]string{
		"From": `"Example" <billing@example.com>`, "To": "<" + address + ">", "Subject": "Receipt A-1: 12.50 USD", "Auto-Submitted": "auto-generated",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if text := body(t, mails[0]); !strings.Contains(text, "12.50 USD") || !strings.Contains(text, "\nhttps://pay.example.com/?a=1&b=ü\n") {
		t.Errorf("body:\n%s", text)
	}
	if len(p.auths) != 1 {
		t.Errorf("signed in %d times", len(p.auths))
	}
	s.deliver(0)
	for _, secret := range []string{password, address, "pay.example.com", "12.50"} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}

// C95: an amount without minor units is not divided by 100, and one with thousandths by 1,000.
func TestC95MailShowsWholeYen(t *testing.T) {
	t.Parallel()
	p := newPostOffice(t, nil)
	s := newSender(t, p, "")
	account, _ := s.owner()
	for currency, want := range map[string]string{"jpy": "5000 JPY", "usd": "50.00 USD", "kwd": "5.000 KWD"} {
		add(t, s.pool, outbox.Message{AccountID: &account, Kind: "receipt", NaturalKey: want, Payload: map[string]any{
			"invoice": "in_1", "number": "A-1", "amount": 5000, "total": 5000, "from_balance": 0, "currency": currency, "hosted_invoice_url": nil,
		}})
	}
	s.deliver(3)
	var texts []string
	for _, m := range p.got(t) {
		texts = append(texts, m.Header.Get("Subject")+body(t, m))
	}
	for _, want := range []string{"5000 JPY", "50.00 USD", "5.000 KWD"} {
		if !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, " "+want) }) {
			t.Errorf("no mail shows %s:\n%s", want, strings.Join(texts, "\n"))
		}
	}
}

// All texts, with what their messages have.
func TestMailKinds(t *testing.T) {
	t.Parallel()
	p := newPostOffice(t, nil)
	s := newSender(t, p, "")
	account, _ := s.owner()
	for kind, payload := range map[string]map[string]any{
		"trial_will_end":          {"subscription": "sub_1", "trial_end": noon},
		"payment_failed":          {"invoice": "in_1", "attempt": 1, "amount": 900, "currency": "jpy", "hosted_invoice_url": nil},
		"payment_action_required": {"invoice": "in_1", "hosted_invoice_url": "https://pay.example.com/in_1"},
	} {
		add(t, s.pool, outbox.Message{AccountID: &account, Kind: kind, NaturalKey: kind, Payload: payload})
	}
	s.deliver(3)
	subjects := map[string]bool{}
	for _, m := range p.got(t) {
		subjects[m.Header.Get("Subject")] = true
		if text := body(t, m); strings.Contains(text, "<no value>") || strings.Contains(text, "nil") {
			t.Errorf("body:\n%s", text)
		}
	}
	for _, want := range []string{"Your trial ends on 1 March 2026", "Your payment of 900 JPY has failed", "Please confirm your payment"} {
		if !subjects[want] {
			t.Errorf("no mail %q: %v", want, subjects)
		}
	}
}

// Who died after sending and before marking sends the same mail again.
func TestMailTwiceIsTheSame(t *testing.T) {
	t.Parallel()
	p := newPostOffice(t, nil)
	s := newSender(t, p, "")
	account, _ := s.owner()
	s.receipt(account, "receipt:in_1")
	s.deliver(1)
	if _, err := s.pool.Exec(t.Context(), "UPDATE outbox SET sent_at = NULL"); err != nil {
		t.Fatal(err)
	}
	s.deliver(0) // the lease of the dead one
	s.now = s.now.Add(2 * time.Minute)
	s.deliver(1)
	mails := p.got(t)
	if len(mails) != 2 || mails[0].Header.Get("Message-ID") != mails[1].Header.Get("Message-ID") {
		t.Errorf("%d mails: %v", len(mails), mails)
	}
}

// A server that cannot be used delays all and loses none.
func TestMailServerAway(t *testing.T) {
	t.Parallel()
	p := newPostOffice(t, nil)
	s := newSender(t, &postOffice{address: "127.0.0.1:1"}, "")
	account, _ := s.owner()
	for i := range 30 {
		s.receipt(account, fmt.Sprint("receipt:in_", i))
	}
	s.deliver(0)
	templates, err := outbox.LoadTemplates("")
	if err != nil {
		t.Fatal(err)
	}
	mailer, err := outbox.NewMailer("smtp://"+p.address, "billing@example.com", templates)
	if err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(time.Hour)
	back := outbox.NewDelivery(s.pool, func() time.Time { return s.now }, slog.New(slog.DiscardHandler), mailer)
	if told, err := back.Deliver(t.Context()); err != nil || told != 30 {
		t.Errorf("told %d, %v", told, err)
	}
}

// A password goes over TLS where the server offers it, and a server that cannot prove who it is gets none.
func TestMailStartTLS(t *testing.T) {
	t.Parallel()
	p := newPostOffice(t, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, MinVersion: tls.VersionTLS12})
	s := newSender(t, p, "")
	account, _ := s.owner()
	s.receipt(account, "receipt:in_1")
	s.deliver(0)
	if len(p.auths) != 0 || len(p.got(t)) != 0 {
		t.Error("a server without a valid certificate got something")
	}
	if !strings.Contains(s.log.String(), "certificate") {
		t.Errorf("the log does not say why: %s", s.log)
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

func TestMailTemplatesOfTheOperator(t *testing.T) {
	t.Parallel()
	p, dir := newPostOffice(t, nil), t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("receipt.txt", "Subject: Quittung über {{money .amount .currency}}\n\nDanke.\n")
	s := newSender(t, p, dir)
	account, _ := s.owner()
	s.receipt(account, "receipt:in_1")
	s.deliver(1)
	if mails := p.got(t); len(mails) != 1 || body(t, mails[0]) != "Danke.\n" || mails[0].Header.Get("Subject") != "=?utf-8?q?Quittung_=C3=BCber_12.50_USD?=" {
		t.Errorf("mails: %v", mails)
	}
	for name, text := range map[string]string{"receipt.txt": "{{", "reciept.txt": "Subject: x\n\n", "payment_failed.txt": "no subject"} {
		write(name, text)
		if _, err := outbox.LoadTemplates(dir); err == nil {
			t.Errorf("%s with %q is taken", name, text)
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMailerSettings(t *testing.T) {
	t.Parallel()
	for _, server := range []string{"", "http://x", "smtp://", "smtp://u:" + password + "@host:not a port"} {
		if _, err := outbox.NewMailer(server, "a@example.com", nil); err == nil || strings.Contains(err.Error(), password) {
			t.Errorf("%q: %v", server, err)
		}
	}
	if _, err := outbox.NewMailer("smtp://host", "nobody", nil); err == nil {
		t.Error("no sender is a sender")
	}
}

// What a mail says of money is what happened.
func TestMailsSayWhatHappened(t *testing.T) {
	t.Parallel()
	p := newPostOffice(t, nil)
	s := newSender(t, p, "")
	account, _ := s.owner()
	failed := func(more map[string]any) map[string]any {
		more["amount"], more["currency"], more["hosted_invoice_url"] = 900, "usd", "https://pay.example.com/in_1"
		return more
	}
	received := func(balance any) map[string]any {
		return map[string]any{"number": "A-1", "amount": 600, "from_balance": balance, "currency": "usd", "hosted_invoice_url": ""}
	}
	tests := []struct {
		kind    string
		payload map[string]any
		has     []string
		lacks   string
	}{
		{"receipt", received(400), []string{"your payment of 6.00 USD.\n", "from your balance, beside that: 4.00 USD\n"}, "10.00"},
		{"receipt", received(0), []string{"your payment of 6.00 USD.\n\nInvoice number: A-1"}, "balance"},
		{"receipt", received(nil), []string{"your payment of 6.00 USD.\n\nInvoice number: A-1"}, "balance"},
		{"payment_failed", failed(map[string]any{"next_payment_attempt": noon, "last_attempt": false}), []string{"We will try again on 1 March 2026."}, "last attempt"},
		{"payment_failed", failed(map[string]any{"next_payment_attempt": nil, "last_attempt": true}), []string{"This was the last attempt"}, "We will try again"},
		{"payment_failed", failed(map[string]any{}), []string{"We will try again within the next days."}, "last attempt"}, // of an earlier release
		{"change_payment_failed", failed(map[string]any{"expires_at": noon}), []string{"Nothing has changed", "If nobody pays by 1 March 2026, the change is dropped"}, "ends"},
		{"checkout_payment_failed", map[string]any{"session": "cs_1", "amount": 500, "currency": "usd"}, []string{"your payment of 5.00 USD for your order has not come in"}, "no value"},
		{"checkout_payment_failed", map[string]any{"session": "cs_1"}, []string{"your payment for your order has not come in"}, "no value"}, // of an earlier release
		{"receipt", map[string]any{"session": "cs_1", "amount": 500, "currency": "usd"}, []string{"we have received your payment of 5.00 USD.\n"}, "nvoice"},
		{"change_payment_failed", failed(map[string]any{"expires_at": nil}), []string{"If nobody pays, the change is dropped"}, "ends"},
	}
	for i, tt := range tests {
		add(t, s.pool, outbox.Message{AccountID: &account, Kind: tt.kind, NaturalKey: fmt.Sprint(tt.kind, i), Payload: tt.payload})
		s.deliver(1)
		mails := p.got(t)
		text := strings.ReplaceAll(body(t, mails[len(mails)-1]), "\r\n", "\n")
		for _, want := range tt.has {
			if !strings.Contains(text, want) {
				t.Errorf("%s %d lacks %q:\n%s", tt.kind, i, want, text)
			}
		}
		if strings.Contains(text, tt.lacks) {
			t.Errorf("%s %d has %q:\n%s", tt.kind, i, tt.lacks, text)
		}
	}
}
