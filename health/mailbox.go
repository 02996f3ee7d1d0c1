package health

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
)

// POP3 reads the greeting of a mailbox server and logs in where Login is set (RFC 1939;
// STLS: RFC 2595): ldirectord's pop and pops.
type POP3 struct {
	Addr     netip.AddrPort
	Security Security // "" means Plain
	TLSOptions
	Login, Password string // "" does not log in
	Dial            DialFunc
}

// Check reads the greeting, starts TLS and logs in as set, and quits.
func (c *POP3) Check(ctx context.Context) error {
	return c.reach(ctx, c.Login != "", c.check)
}

func (c *POP3) check(ctx context.Context) error {
	s, err := dialSession(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer s.close()
	ok := func(what, command string) error {
		if command != "" {
			if err := s.send(what, command+"\r\n"); err != nil {
				return err
			}
		}
		line, err := s.readLine(what)
		if err == nil && !strings.HasPrefix(line, "+OK") {
			err = mismatch(what, line, "+OK")
		}
		return err
	}
	steps := []step{
		{on: c.Security == Implicit, do: s.tlsStep(&c.TLSOptions, c.Addr)},
		{on: true, do: func() error { return ok("greeting", "") }},
		{on: c.Security == StartTLS, do: func() error { return ok("STLS", "STLS") }},
		{on: c.Security == StartTLS, do: s.tlsStep(&c.TLSOptions, c.Addr)},
		{on: c.Login != "", do: func() error { return ok("USER", "USER "+c.Login) }},
		{on: c.Login != "", do: func() error { return ok("PASS", "PASS "+c.Password) }},
	}
	if err := runSteps(steps); err != nil {
		return err
	}
	s.quit("QUIT")
	return nil
}

// IMAP reads the greeting of a mailbox server and logs in where Login is set (RFC
// 9051): ldirectord's imap and imaps.
type IMAP struct {
	Addr     netip.AddrPort
	Security Security // "" means Plain
	TLSOptions
	Login, Password string // "" does not log in
	Dial            DialFunc
}

// Check reads the greeting, starts TLS and logs in as set, and logs out.
func (c *IMAP) Check(ctx context.Context) error {
	return c.reach(ctx, c.Login != "", c.check)
}

func (c *IMAP) check(ctx context.Context) error {
	s, err := dialSession(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer s.close()
	tag := 0
	ok := func(what, command string) error {
		tag++
		if err := s.send(what, fmt.Sprintf("a%d %s\r\n", tag, command)); err != nil {
			return err
		}
		for range 100 { // untagged responses come first
			line, err := s.readLine(what)
			if err != nil {
				return err
			}
			answer, mine := strings.CutPrefix(line, fmt.Sprintf("a%d ", tag))
			if mine && strings.HasPrefix(answer, "OK") {
				return nil
			}
			if mine || !strings.HasPrefix(line, "* ") {
				return mismatch(what, line, fmt.Sprintf("a%d OK", tag))
			}
		}
		return fmt.Errorf("%s: more than 100 lines without an answer", what)
	}
	greeting := func() error {
		line, err := s.readLine("greeting")
		if err == nil && !strings.HasPrefix(line, "* OK") && !strings.HasPrefix(line, "* PREAUTH") {
			err = mismatch("greeting", line, "* OK")
		}
		return err
	}
	steps := []step{
		{on: c.Security == Implicit, do: s.tlsStep(&c.TLSOptions, c.Addr)},
		{on: true, do: greeting},
		{on: c.Security == StartTLS, do: func() error { return ok("STARTTLS", "STARTTLS") }},
		{on: c.Security == StartTLS, do: s.tlsStep(&c.TLSOptions, c.Addr)},
		{on: c.Login != "", do: func() error { return ok("LOGIN", "LOGIN "+imapString(c.Login)+" "+imapString(c.Password)) }},
	}
	if err := runSteps(steps); err != nil {
		return err
	}
	s.quit("z LOGOUT")
	return nil
}

// imapString returns s as a quoted string (RFC 9051 section 4.3).
func imapString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// POP3Type returns the type of [POP3] on port 110.
func POP3Type() Type { return pop3Type("pop3", "pop", "POP3 greeting, and login", 110, Plain) }

// POP3SType returns the type of [POP3] over TLS, on port 995.
func POP3SType() Type {
	return pop3Type("pop3s", "pops", "POP3 greeting, and login, over TLS", 995, Implicit)
}

func pop3Type(name, also, about string, port uint16, def Security) Type {
	return Type{Name: name, Also: []string{also}, About: about, Transport: "tcp", Port: port,
		Bind: func(k *Keys, p Peer) Checker {
			c := &POP3{Addr: p.Addr, Dial: p.Dial, TLSOptions: TLSOptions{ServerName: p.Name}}
			k.Login(&c.Login, &c.Password)
			bindSecurity(k, &c.Security, def, &c.TLSOptions)
			return c
		}}
}

// IMAPType returns the type of [IMAP] on port 143.
func IMAPType() Type { return imapType("imap", "IMAP greeting, and login", 143, Plain) }

// IMAPSType returns the type of [IMAP] over TLS, on port 993.
func IMAPSType() Type {
	return imapType("imaps", "IMAP greeting, and login, over TLS", 993, Implicit)
}

func imapType(name, about string, port uint16, def Security) Type {
	return Type{Name: name, About: about, Transport: "tcp", Port: port,
		Bind: func(k *Keys, p Peer) Checker {
			c := &IMAP{Addr: p.Addr, Dial: p.Dial, TLSOptions: TLSOptions{ServerName: p.Name}}
			k.Login(&c.Login, &c.Password)
			bindSecurity(k, &c.Security, def, &c.TLSOptions)
			return c
		}}
}
