package outbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// sendTimeout bounds the delivery of one mail, connection and all.
const sendTimeout = 15 * time.Second

// A Mailer sends mails to one SMTP server.
type Mailer struct {
	address, host string
	implicit      bool // TLS from the first byte
	auth          smtp.Auth
	from          *mail.Address
	templates     Templates
}

// NewMailer returns a mailer to a server: smtp://user:password@host:port, with STARTTLS where the server offers it, or smtps://,
// which is TLS from the beginning. A password goes over an encrypted connection only, or to this machine. Errors do not repeat
// the address, for the password is in it.
func NewMailer(server, from string, templates Templates) (*Mailer, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "" {
		return nil, errors.New("the mail server's address is not smtp://user:password@host:port")
	}
	sender, err := mail.ParseAddress(from)
	if err != nil {
		return nil, fmt.Errorf("the sender of mails is no address: %w", err)
	}
	m := &Mailer{host: u.Hostname(), implicit: u.Scheme == "smtps", from: sender, templates: templates}
	port := u.Port()
	if port == "" {
		port = map[bool]string{false: "587", true: "465"}[m.implicit]
	}
	m.address = net.JoinHostPort(m.host, port)
	if password, ok := u.User.Password(); ok {
		m.auth = smtp.PlainAuth("", u.User.Username(), password, m.host)
	}
	return m, nil
}

// A refused error is the server's last word on one address: trying again is of no use. Whatever else fails may succeed later.
type refused struct{ answer string }

// Error has the codes alone: the text of a refusal may repeat address and content.
func (r *refused) Error() string { return "refused with " + r.answer }

// errUnreachable is a server that does not answer or does not take mails from us at all: others need not be tried now.
var errUnreachable = errors.New("the mail server cannot be used")

// send delivers one mail.
func (m *Mailer) send(ctx context.Context, to string, text []byte) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	client, err := m.connect(ctx)
	if err != nil {
		return fmt.Errorf("%w: %s", errUnreachable, safe(err))
	}
	defer client.Close()
	if err := client.Mail(m.from.Address); err != nil {
		return fmt.Errorf("%w: sender: %s", errUnreachable, safe(err))
	}
	if err := client.Rcpt(to); err != nil {
		return judged("recipient", err)
	}
	w, err := client.Data()
	if err != nil {
		return judged("data", err)
	}
	if _, err := w.Write(text); err != nil {
		return judged("content", err)
	}
	if err := w.Close(); err != nil {
		return judged("content", err)
	}
	_ = client.Quit() // the mail is the server's already
	return nil
}

func (m *Mailer) connect(ctx context.Context) (*smtp.Client, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", m.address)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	secure := &tls.Config{ServerName: m.host, MinVersion: tls.VersionTLS12}
	if m.implicit {
		conn = tls.Client(conn, secure)
	}
	client, err := smtp.NewClient(conn, m.host)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := m.greet(client, secure); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return client, nil
}

func (m *Mailer) greet(client *smtp.Client, secure *tls.Config) error {
	if offered, _ := client.Extension("STARTTLS"); offered && !m.implicit {
		if err := client.StartTLS(secure); err != nil {
			return err
		}
	}
	if m.auth == nil {
		return nil
	}
	return client.Auth(m.auth)
}

// enhanced is the code of RFC 3463 with which a refusal begins, where the server gives one.
var enhanced = regexp.MustCompile(`^5\.\d{1,3}\.\d{1,3}\b`)

// ofUs are words of refusals that are of us and not of the address, from servers that say so without an enhanced code.
var ofUs = regexp.MustCompile(`(?i)relay|rcpthosts|authenti|sender`)

// judged tells a refusal of the address from what may pass. A server that does not relay for us, wants a password or does not like what we
// send, refuses with 5xx as well: that is for the operator to put right, and the mail is not lost meanwhile.
func judged(step string, err error) error {
	var answer *textproto.Error
	if errors.As(err, &answer) && ofAddress(answer) {
		return fmt.Errorf("%s: %w", step, &refused{codes(answer)})
	}
	return fmt.Errorf("%s: %s", step, safe(err))
}

// ofAddress tells whether nobody can write to the address. 5.7 is a matter of policy, and 5.1.7 and 5.1.8 speak of the sender.
func ofAddress(answer *textproto.Error) bool {
	code := enhanced.FindString(answer.Msg)
	switch {
	case answer.Code < 500 || strings.HasPrefix(code, "5.7.") || code == "5.1.7" || code == "5.1.8":
		return false
	case strings.HasPrefix(code, "5.1."):
		return true
	}
	return (answer.Code == 550 || answer.Code == 551 || answer.Code == 553) && !ofUs.MatchString(answer.Msg)
}

func codes(answer *textproto.Error) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", answer.Code, enhanced.FindString(answer.Msg)))
}

// safe is an error without the server's own words, which may repeat what we have sent.
func safe(err error) string {
	var answer *textproto.Error
	if errors.As(err, &answer) {
		return "answered " + codes(answer)
	}
	return err.Error()
}

// compose writes a mail. Its id follows from the message's natural key, so that one which is sent twice is the same mail.
func (m *Mailer) compose(to *mail.Address, key, subject, body string, at time.Time) ([]byte, error) {
	sum := sha256.Sum256([]byte(key))
	_, domain, _ := strings.Cut(m.from.Address, "@")
	var text bytes.Buffer
	for _, header := range [][2]string{
		{"From", m.from.String()}, {"To", to.String()}, {"Subject", mime.QEncoding.Encode("utf-8", strings.Join(strings.Fields(subject), " "))},
		{"Date", at.UTC().Format(time.RFC1123Z)}, {"Message-ID", "<" + hex.EncodeToString(sum[:16]) + "@" + domain + ">"},
		{"Auto-Submitted", "auto-generated"}, {"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "quoted-printable"},
	} {
		fmt.Fprintf(&text, "%s: %s\r\n", header[0], header[1])
	}
	text.WriteString("\r\n")
	w := quotedprintable.NewWriter(&text)
	if _, err := w.Write([]byte(body)); err != nil {
		return nil, fmt.Errorf("write mail: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("write mail: %w", err)
	}
	return text.Bytes(), nil
}
