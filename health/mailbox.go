package health

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
)

// POP3 checks that a mailbox server greets, and takes a login where one is given
// (RFC 1939, STLS: RFC 2595): ldirectord's pop and pops.
type POP3 struct {
	Addr     netip.AddrPort
	Security Security // "" means Plain
	TLSOptions
	Login, Password string // "" does not log in
	Dial            DialFunc
}

// Check greets, secures, logs in as far as it is told to, and quits.
func (c *POP3) Check(ctx context.Context) error {
	t, err := dialTalk(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer t.close()
	ok := func(what, command string) error {
		if command != "" {
			if err := t.send(what, command+"\r\n"); err != nil {
				return err
			}
		}
		line, err := t.line(what)
		if err == nil && !strings.HasPrefix(line, "+OK") {
			err = wanted(what, line, "+OK")
		}
		return err
	}
	steps := []step{
		{on: c.Security == Implicit, do: t.secure(&c.TLSOptions, c.Addr)},
		{on: true, do: func() error { return ok("greeting", "") }},
		{on: c.Security == StartTLS, do: func() error { return ok("STLS", "STLS") }},
		{on: c.Security == StartTLS, do: t.secure(&c.TLSOptions, c.Addr)},
		{on: c.Login != "", do: func() error { return ok("USER", "USER "+c.Login) }},
		{on: c.Login != "", do: func() error { return ok("PASS", "PASS "+c.Password) }},
	}
	if err := walk(steps); err != nil {
		return err
	}
	t.bye("QUIT")
	return nil
}

// IMAP checks that a mailbox server greets, and takes a login where one is given
// (RFC 9051): ldirectord's imap and imaps.
type IMAP struct {
	Addr     netip.AddrPort
	Security Security // "" means Plain
	TLSOptions
	Login, Password string // "" does not log in
	Dial            DialFunc
}

// Check greets, secures, logs in as far as it is told to, and logs out.
func (c *IMAP) Check(ctx context.Context) error {
	t, err := dialTalk(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer t.close()
	tag := 0
	ok := func(what, command string) error {
		tag++
		if err := t.send(what, fmt.Sprintf("a%d %s\r\n", tag, command)); err != nil {
			return err
		}
		for range 100 { // untagged lines come first
			line, err := t.line(what)
			if err != nil {
				return err
			}
			answer, mine := strings.CutPrefix(line, fmt.Sprintf("a%d ", tag))
			if mine && strings.HasPrefix(answer, "OK") {
				return nil
			}
			if mine || !strings.HasPrefix(line, "* ") {
				return wanted(what, line, fmt.Sprintf("a%d OK", tag))
			}
		}
		return fmt.Errorf("%s: more than 100 lines without an answer", what)
	}
	greeting := func() error {
		line, err := t.line("greeting")
		if err == nil && !strings.HasPrefix(line, "* OK") && !strings.HasPrefix(line, "* PREAUTH") {
			err = wanted("greeting", line, "* OK")
		}
		return err
	}
	steps := []step{
		{on: c.Security == Implicit, do: t.secure(&c.TLSOptions, c.Addr)},
		{on: true, do: greeting},
		{on: c.Security == StartTLS, do: func() error { return ok("STARTTLS", "STARTTLS") }},
		{on: c.Security == StartTLS, do: t.secure(&c.TLSOptions, c.Addr)},
		{on: c.Login != "", do: func() error { return ok("LOGIN", "LOGIN "+imapString(c.Login)+" "+imapString(c.Password)) }},
	}
	if err := walk(steps); err != nil {
		return err
	}
	t.bye("z LOGOUT")
	return nil
}

// imapString is s as a quoted string (RFC 9051 section 4.3).
func imapString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// POP3Types are the registry's entries of [POP3]: pop3, and pop3s with TLS.
func POP3Types() []Type {
	make := func(name, also, about string, port uint16, def Security) Type {
		return Type{Name: name, Also: []string{also}, About: about, Transport: "tcp", Port: port,
			Bind: func(k *Keys, p Peer) Checker {
				c := &POP3{Addr: p.Addr, Dial: p.Dial, TLSOptions: TLSOptions{ServerName: p.Name}}
				k.Login(&c.Login, &c.Password)
				bindSecurity(k, &c.Security, def, &c.TLSOptions)
				return c
			}}
	}
	return []Type{
		make("pop3", "pop", "POP3 greeting and login", 110, Plain),
		make("pop3s", "pops", "POP3 greeting and login over TLS", 995, Implicit),
	}
}

// IMAPTypes are the registry's entries of [IMAP]: imap, and imaps with TLS.
func IMAPTypes() []Type {
	make := func(name, about string, port uint16, def Security) Type {
		return Type{Name: name, About: about, Transport: "tcp", Port: port,
			Bind: func(k *Keys, p Peer) Checker {
				c := &IMAP{Addr: p.Addr, Dial: p.Dial, TLSOptions: TLSOptions{ServerName: p.Name}}
				k.Login(&c.Login, &c.Password)
				bindSecurity(k, &c.Security, def, &c.TLSOptions)
				return c
			}}
	}
	return []Type{
		make("imap", "IMAP greeting and login", 143, Plain),
		make("imaps", "IMAP greeting and login over TLS", 993, Implicit),
	}
}
