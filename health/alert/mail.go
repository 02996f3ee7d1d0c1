package alert

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/smtp"
	"strings"
	"time"

	"github.com/golb/golb/health/internal/budget"
	"github.com/golb/golb/health/printable"
)

// Security is how mail uses TLS.
type Security string

// The ways to use TLS.
const (
	IfOffered Security = ""      // STARTTLS where the server offers it; its certificate is verified where TLS or Login is set
	Required  Security = "start" // STARTTLS, else an error
	Implicit  Security = "yes"   // TLS from the first byte (RFC 8314)
	Plain     Security = "no"    // no TLS
)

// Mail sends messages by SMTP (RFC 5321), in UTF-8: by way of a server, or to the mail
// exchangers of the recipients' domains.
type Mail struct {
	Server   string // host:port; "" means the exchangers, port 25
	Security Security
	TLS      *tls.Config // nil verifies that the certificate is of Server
	// Login and Password are for AUTH PLAIN, which needs TLS or a server on this host; ""
	// does not log in.
	Login, Password string
	From            string                                                               // address
	To              []string                                                             // addresses
	Hello           string                                                               // name in EHLO; "" means localhost
	Dial            func(ctx context.Context, network, address string) (net.Conn, error) // nil is the host's own
	LookupMX        func(ctx context.Context, domain string) ([]*net.MX, error)          // nil is the host's own
}

// Send sends m to all of To. Where some of them do not get it the others do, and the error
// is a [PartlySent]. It ends with ctx.
func (c *Mail) Send(ctx context.Context, m Message) error {
	if len(c.To) == 0 {
		return errors.New("mail: no recipient")
	}
	text := c.compose(m)
	if c.Server != "" {
		return printable.Error(c.by(ctx, c.Server, text), maxText)
	}
	var failed []error
	reached := false
	for _, one := range c.ByDomain() {
		err := one.exchange(ctx, text)
		_, some := errors.AsType[*PartlySent](err)
		reached = reached || err == nil || some
		failed = append(failed, err)
	}
	err := errors.Join(failed...)
	if err != nil && reached {
		err = &PartlySent{err}
	}
	return printable.Error(err, maxText)
}

// by sends a mail by way of a server.
func (c *Mail) by(ctx context.Context, server string, text []byte) error {
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		return fmt.Errorf("mail: server %q: %w", server, err)
	}
	if err := c.deliver(ctx, server, host, text); err != nil {
		return fmt.Errorf("mail by %s: %w", server, err)
	}
	return nil
}

func (c *Mail) deliver(ctx context.Context, server, host string, text []byte) error {
	client, err := c.connect(ctx, server, host)
	if err != nil {
		return err
	}
	defer client.Close()
	if c.Login != "" {
		if err := client.Auth(smtp.PlainAuth("", c.Login, c.Password, host)); err != nil {
			return fmt.Errorf("auth: %w", err)
		}
	}
	if err := client.Mail(c.From); err != nil {
		return fmt.Errorf("from %s: %w", c.From, err)
	}
	var refused []string
	for _, to := range c.To {
		if err := client.Rcpt(to); err != nil {
			refused = append(refused, fmt.Sprintf("to %s: %v", to, err))
		}
	}
	notTo := errors.New(strings.Join(refused, "; "))
	if len(refused) == len(c.To) {
		return notTo
	}
	w, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_ = client.Quit() // the mail is accepted: an error changes nothing
	if len(refused) > 0 {
		return &PartlySent{notTo}
	}
	return nil
}

// connect returns a client that has sent EHLO and started TLS, as Security says.
func (c *Mail) connect(ctx context.Context, server, host string) (*smtp.Client, error) {
	dial := c.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	raw, err := dial(ctx, "tcp", server)
	if err != nil {
		return nil, err
	}
	// The connection ends with the context. Once closed, the next use fails.
	context.AfterFunc(ctx, func() { _ = raw.Close() })
	var conn net.Conn = &limited{raw, budget.Reader{From: raw, Left: maxRead, Spent: errTooMuch}}
	cfg := &tls.Config{ServerName: host}
	if c.TLS != nil {
		cfg = c.TLS.Clone()
		if cfg.ServerName == "" {
			cfg.ServerName = host
		}
	}
	if c.Security == Implicit {
		conn = tls.Client(conn, cfg)
	}
	client, err := smtp.NewClient(conn, host)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	if err := c.secure(client, cfg); err != nil {
		_ = client.Close()
		return nil, err
	}
	return client, nil
}

// maxRead bounds what is read of a mail server in bytes: package smtp keeps a reply of
// any length.
const maxRead = 256 << 10

var errTooMuch = fmt.Errorf("server sends more than %d KiB", maxRead>>10)

// limited is a connection of which a budget is read.
type limited struct {
	net.Conn
	budget budget.Reader
}

func (l *limited) Read(p []byte) (int, error) { return l.budget.Read(p) }

// secure sends EHLO and starts TLS, as Security says.
func (c *Mail) secure(client *smtp.Client, cfg *tls.Config) error {
	if c.Hello != "" {
		if err := client.Hello(c.Hello); err != nil {
			return err
		}
	}
	offered, _ := client.Extension("STARTTLS")
	switch {
	case c.Security == Required && !offered:
		return errors.New("server does not offer STARTTLS")
	case c.Security == Required, c.Security == IfOffered && offered:
		// Opportunistic security (RFC 7435 section 3): without STARTTLS the mail would go
		// in the clear, and many mail servers have a self-signed certificate.
		cfg.InsecureSkipVerify = cfg.InsecureSkipVerify || c.Security == IfOffered && c.TLS == nil && c.Login == ""
		if err := client.StartTLS(cfg); err != nil {
			return fmt.Errorf("starttls: %w", err)
		}
	}
	return nil
}

// compose returns the mail (RFC 5322, RFC 2045).
func (c *Mail) compose(m Message) []byte {
	var b bytes.Buffer
	header := func(name, value string) {
		fmt.Fprintf(&b, "%s: %s\r\n", name, strings.NewReplacer("\r", "", "\n", " ").Replace(value))
	}
	header("From", c.From)
	header("To", strings.Join(c.To, ", "))
	header("Subject", mime.QEncoding.Encode("utf-8", m.Subject))
	header("Date", time.Now().Format(time.RFC1123Z))
	_, domain, _ := strings.Cut(c.From, "@")
	header("Message-ID", "<"+rand.Text()+"@"+strings.Trim(domain, "<> ")+">")
	header("Auto-Submitted", "auto-generated") // RFC 3834: prevents automatic replies
	header("MIME-Version", "1.0")
	header("Content-Type", "text/plain; charset=utf-8")
	header("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(strings.ReplaceAll(m.Text, "\n", "\r\n"))) // to memory: no error
	_ = w.Close()
	return b.Bytes()
}
