package health

import (
	"context"
	"encoding/base64"
	"net/netip"
)

// SMTP checks that a mail server greets and takes our hello (RFC 5321):
// keepalived's SMTP_CHECK, ldirectord's smtp and submission. Replies on several
// lines are taken as one, which keepalived fails.
type SMTP struct {
	Addr     netip.AddrPort
	Hello    string   // our name; "" means localhost
	Security Security // "" means Plain
	TLSOptions
	Login, Password string // AUTH PLAIN after the hello; "" does not log in
	Dial            DialFunc
}

// Check greets, secures, logs in as far as it is told to, and quits.
func (c *SMTP) Check(ctx context.Context) error {
	t, err := dialTalk(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer t.close()
	say := func(what, command, want string) func() error {
		return func() error { _, err := t.command(what, command, want); return err }
	}
	hello := func() error { return c.hello(t) }
	login := base64.StdEncoding.EncodeToString([]byte("\x00" + c.Login + "\x00" + c.Password))
	steps := []step{
		{on: c.Security == Implicit, do: t.secure(&c.TLSOptions, c.Addr)},
		{on: true, do: func() error { _, err := t.reply("greeting", "220"); return err }},
		{on: true, do: hello},
		{on: c.Security == StartTLS, do: say("STARTTLS", "STARTTLS", "220")},
		{on: c.Security == StartTLS, do: t.secure(&c.TLSOptions, c.Addr)},
		{on: c.Security == StartTLS, do: hello},
		{on: c.Login != "", do: say("AUTH", "AUTH PLAIN "+login, "235")},
	}
	if err := walk(steps); err != nil {
		return err
	}
	t.bye("QUIT")
	return nil
}

// hello says hello, as old servers know it where they do not know EHLO (RFC 5321
// section 3.2).
func (c *SMTP) hello(t *talk) error {
	name := or(c.Hello, "localhost")
	answer, err := t.command("EHLO", "EHLO "+name, "250", "500", "502")
	if err == nil && answer[0] == '5' {
		_, err = t.command("HELO", "HELO "+name, "250")
	}
	return err
}

// or is s, or def where s is empty.
func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// SMTPType is the registry's entry of [SMTP] on port 25.
func SMTPType() Type { return smtpType("smtp", "SMTP greeting and hello", 25, Plain) }

// SubmissionType is the registry's entry of [SMTP] on port 587.
func SubmissionType() Type {
	return smtpType("submission", "SMTP greeting and hello on the submission port", 587, Plain)
}

func smtpType(name, about string, port uint16, def Security) Type {
	return Type{Name: name, About: about, Transport: "tcp", Port: port,
		Bind: func(k *Keys, p Peer) Checker {
			c := &SMTP{Addr: p.Addr, Dial: p.Dial, TLSOptions: TLSOptions{ServerName: p.Name}}
			k.String(&c.Hello, "hello", "localhost", "name to say hello with")
			k.Login(&c.Login, &c.Password)
			bindSecurity(k, &c.Security, def, &c.TLSOptions)
			return c
		}}
}
