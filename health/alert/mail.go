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
)

// Security is how a mail server is spoken to.
type Security string

// The ways to speak to a mail server.
const (
	IfOffered Security = ""      // STARTTLS where the server offers it; verified where TLS or Login is given
	Required  Security = "start" // STARTTLS, or no mail
	Implicit  Security = "yes"   // TLS from the first byte
	Plain     Security = "no"    // never TLS
)

// Mail sends messages by SMTP (RFC 5321), in UTF-8.
type Mail struct {
	Server   string // host:port
	Security Security
	TLS      *tls.Config // nil verifies the server by its name, as far as Security says
	// Login and Password are for AUTH PLAIN, which is only done over TLS or to this
	// host; "" does not log in.
	Login, Password string
	From            string
	To              []string
	Hello           string // our name; "" means localhost
	Dial            func(ctx context.Context, network, address string) (net.Conn, error)
}

// Send sends m to all of To. Those whom the server refuses do not keep it from the
// others: the error is then a [PartlySent].
func (c *Mail) Send(ctx context.Context, m Message) error {
	host, _, err := net.SplitHostPort(c.Server)
	if err != nil {
		return fmt.Errorf("mail: server %q: %w", c.Server, err)
	}
	if len(c.To) == 0 {
		return errors.New("mail: to nobody")
	}
	if err := c.deliver(ctx, host, c.compose(m)); err != nil {
		return fmt.Errorf("mail by %s: %w", c.Server, err)
	}
	return nil
}

func (c *Mail) deliver(ctx context.Context, host string, text []byte) error {
	client, err := c.connect(ctx, host)
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
	_ = client.Quit() // it has taken the mail
	if len(refused) > 0 {
		return &PartlySent{notTo}
	}
	return nil
}

// connect returns a client that has said hello, secured as asked.
func (c *Mail) connect(ctx context.Context, host string) (*smtp.Client, error) {
	dial := c.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	raw, err := dial(ctx, "tcp", c.Server)
	if err != nil {
		return nil, err
	}
	// The connection ends with the context; a closed one says so on the next use.
	context.AfterFunc(ctx, func() { _ = raw.Close() })
	var conn net.Conn = &limited{raw, budget.Reader{From: raw, Left: maxTalk, Spent: errTooMuch}}
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

// maxTalk bounds what is read of a mail server in bytes: package smtp keeps a reply
// of any length.
const maxTalk = 256 << 10

var errTooMuch = fmt.Errorf("server says more than %d KiB", maxTalk>>10)

type limited struct {
	net.Conn
	from budget.Reader
}

func (l *limited) Read(p []byte) (int, error) { return l.from.Read(p) }

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
		// Mail that would go in the clear otherwise is no reason to insist on a
		// certificate (RFC 7435 section 3); the usual one of a mail server is its own.
		cfg.InsecureSkipVerify = cfg.InsecureSkipVerify || c.Security == IfOffered && c.TLS == nil && c.Login == ""
		if err := client.StartTLS(cfg); err != nil {
			return fmt.Errorf("starttls: %w", err)
		}
	}
	return nil
}

// compose writes the mail (RFC 5322, RFC 2045).
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
	header("Auto-Submitted", "auto-generated") // RFC 3834: no holiday replies
	header("MIME-Version", "1.0")
	header("Content-Type", "text/plain; charset=utf-8")
	header("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(strings.ReplaceAll(m.Text, "\n", "\r\n"))) // to memory
	_ = w.Close()
	return b.Bytes()
}
