package health

import (
	"cmp"
	"context"
	"encoding/base64"
	"net/netip"
)

// SMTP reads the greeting of a mail server, sends EHLO, and logs in where Login is set
// (RFC 5321): keepalived's SMTP_CHECK, ldirectord's smtp and submission. Unlike
// keepalived it knows replies of several lines.
type SMTP struct {
	Addr     netip.AddrPort
	Hello    string   // name in EHLO; "" means localhost
	Security Security // "" means Plain
	TLSOptions
	Login, Password string // for AUTH PLAIN; "" does not log in
	Dial            DialFunc
}

// Check reads the greeting, starts TLS and logs in as set, and quits.
func (c *SMTP) Check(ctx context.Context) error {
	return c.reach(ctx, c.Login != "", c.check)
}

func (c *SMTP) check(ctx context.Context) error {
	s, err := dialSession(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer s.close()
	hello := func() error { return c.hello(s) }
	login := base64.StdEncoding.EncodeToString([]byte("\x00" + c.Login + "\x00" + c.Password))
	steps := []step{
		{on: c.Security == Implicit, do: s.tlsStep(&c.TLSOptions, c.Addr)},
		{on: true, do: func() error { _, err := s.readReply("greeting", "220"); return err }},
		{on: true, do: hello},
		{on: c.Security == StartTLS, do: s.commandStep("STARTTLS", "STARTTLS", "220")},
		{on: c.Security == StartTLS, do: s.tlsStep(&c.TLSOptions, c.Addr)},
		{on: c.Security == StartTLS, do: hello},
		{on: c.Login != "", do: s.commandStep("AUTH", "AUTH PLAIN "+login, "235")},
	}
	if err := runSteps(steps); err != nil {
		return err
	}
	s.quit("QUIT")
	return nil
}

// hello sends EHLO, or HELO to an old server that does not know it (RFC 5321 section
// 3.2).
func (c *SMTP) hello(s *session) error {
	name := cmp.Or(c.Hello, "localhost")
	answer, err := s.command("EHLO", "EHLO "+name, "250", "500", "502")
	if err == nil && answer[0] == '5' {
		_, err = s.command("HELO", "HELO "+name, "250")
	}
	return err
}

// SMTPType returns the type of [SMTP] on port 25.
func SMTPType() Type { return smtpType("smtp", "SMTP greeting, EHLO, and login", 25) }

// SubmissionType returns the type of [SMTP] on port 587.
func SubmissionType() Type {
	return smtpType("submission", "SMTP greeting, EHLO, and login, on the submission port", 587)
}

func smtpType(name, about string, port uint16) Type {
	return Type{Name: name, About: about, Transport: "tcp", Port: port,
		Bind: func(k *Keys, p Peer) Checker {
			c := &SMTP{Addr: p.Addr, Dial: p.Dial, TLSOptions: TLSOptions{ServerName: p.Name}}
			k.String(&c.Hello, "hello", "localhost", "name in EHLO")
			k.Login(&c.Login, &c.Password)
			bindSecurity(k, &c.Security, Plain, &c.TLSOptions)
			return c
		}}
}
