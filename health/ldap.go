package health

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
)

// LDAP binds to a directory and, where Base or Root is set, reads that entry, which must
// exist (RFC 4511): ldirectord's ldap and ldaps.
type LDAP struct {
	Addr            netip.AddrPort
	Login, Password string         // DN and password of a simple bind; "" binds anonymously
	Base            string         // DN of the entry to read; "" reads none
	Root            bool           // read the root DSE, whose DN is empty
	Expect          *regexp.Regexp // must match the DN of the entry that was read
	Security        Security       // "" means Plain
	TLSOptions
	Dial DialFunc
}

// Protocol operations as BER tags (RFC 4511 section 4.2 and following).
const (
	ldapBindRequest    = 0x60
	ldapBindResponse   = 0x61
	ldapUnbind         = 0x42
	ldapSearchRequest  = 0x63
	ldapSearchEntry    = 0x64
	ldapSearchDone     = 0x65
	ldapSearchRef      = 0x73
	ldapExtended       = 0x77
	ldapExtendedAnswer = 0x78

	ldapStartTLS = "1.3.6.1.4.1.1466.20037"
	maxLDAP      = 64 << 10
)

// Check binds, and reads the entry if there is one.
func (c *LDAP) Check(ctx context.Context) error {
	return c.reach(ctx, c.Login != "" || c.Base != "" || c.Root, c.check)
}

func (c *LDAP) check(ctx context.Context) error {
	s, err := dialSession(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer s.close()
	l := &ldapSession{session: s}
	err = runSteps([]step{
		{on: c.Security == Implicit, do: l.tlsStep(&c.TLSOptions, c.Addr)},
		{on: c.Security == StartTLS, do: func() error {
			return l.do("StartTLS", berTLV(ldapExtended, berTLV(0x80, []byte(ldapStartTLS))), ldapExtendedAnswer)
		}},
		{on: c.Security == StartTLS, do: l.tlsStep(&c.TLSOptions, c.Addr)},
		{on: true, do: func() error {
			return l.do("bind", berTLV(ldapBindRequest, berInt(3), berString(c.Login), berTLV(0x80, []byte(c.Password))), ldapBindResponse)
		}},
		{on: c.Base != "" || c.Root, do: func() error { return l.readEntry(c.Base, c.Expect) }},
	})
	if err == nil {
		_ = l.send("unbind", berTLV(ldapUnbind)) // the server has passed: an error changes nothing
	}
	return err
}

// ldapSession is a session of LDAPMessages.
type ldapSession struct {
	*session
	id int
}

func (l *ldapSession) send(what string, op []byte) error {
	l.id++
	return l.session.send(what, string(berTLV(0x30, berInt(l.id), op)))
}

// receive reads the next message for the last request and returns its operation, as
// tag and content.
func (l *ldapSession) receive(what string) (tag byte, op []byte, err error) {
	head := make([]byte, 2)
	if err := l.readFull(what, head); err != nil {
		return 0, nil, err
	}
	length := int(head[1])
	if length&0x80 != 0 {
		more := make([]byte, length&0x7f)
		if head[0] != 0x30 || len(more) == 0 || len(more) > 4 {
			return 0, nil, mismatch(what, l.withBuffered(head), "an LDAP message")
		}
		if err := l.readFull(what, more); err != nil {
			return 0, nil, err
		}
		head, length = append(head, more...), 0
		for _, b := range more {
			length = length<<8 | int(b)
		}
	}
	if head[0] != 0x30 || length > maxLDAP {
		return 0, nil, mismatch(what, l.withBuffered(head), "an LDAP message")
	}
	body := make([]byte, length)
	if err := l.readFull(what, body); err != nil {
		return 0, nil, err
	}
	kind, id, tail, ok := berNext(body)
	tag, op, _, ok2 := berNext(tail)
	if !ok || !ok2 || kind != 2 || berValue(id) != l.id {
		return 0, nil, mismatch(what, body, "an LDAP message")
	}
	return tag, op, nil
}

// do sends a request, whose answer must have the result success.
func (l *ldapSession) do(what string, op []byte, want byte) error {
	if err := l.send(what, op); err != nil {
		return err
	}
	tag, answer, err := l.receive(what)
	if err == nil {
		err = ldapResult(what, tag, answer, want)
	}
	return err
}

// ldapResult is an error unless an answer is an LDAPResult with success.
func ldapResult(what string, tag byte, answer []byte, want byte) error {
	kind, code, tail, ok := berNext(answer)
	_, _, tail, ok2 := berNext(tail)
	_, message, _, ok3 := berNext(tail)
	if tag != want || kind != 0x0a || !ok || !ok2 || !ok3 {
		return mismatch(what, answer, "a result")
	}
	if n := berValue(code); n != 0 {
		names := map[int]string{1: "operationsError", 8: "strongerAuthRequired", 32: "noSuchObject", 34: "invalidDNSyntax", 48: "inappropriateAuthentication", 49: "invalidCredentials", 50: "insufficientAccessRights", 51: "busy", 52: "unavailable", 53: "unwillingToPerform"}
		return fmt.Errorf("%s: got result %d %s %s, want 0", what, n, names[n], quote(message))
	}
	return nil
}

// readEntry reads one entry, without its attributes.
func (l *ldapSession) readEntry(base string, expect *regexp.Regexp) error {
	const what = "search"
	request := berTLV(ldapSearchRequest,
		berString(base),
		berTLV(0x0a, []byte{0}), // scope: the entry itself
		berTLV(0x0a, []byte{0}), // aliases: never dereferenced
		berInt(1), berInt(0),    // at most one entry, no time limit
		berTLV(1, []byte{0}),                // attributes with their values
		berTLV(0x87, []byte("objectClass")), // filter: present
		berTLV(0x30, berString("1.1")))      // no attributes
	if err := l.send(what, request); err != nil {
		return err
	}
	found, dn := 0, ""
	for range 100 {
		tag, op, err := l.receive(what)
		switch {
		case err != nil:
			return err
		case tag == ldapSearchEntry:
			_, name, _, _ := berNext(op)
			found, dn = found+1, string(name)
			continue
		case tag == ldapSearchRef:
			continue
		}
		if err := ldapResult(what, tag, op, ldapSearchDone); err != nil {
			return err
		}
		if found != 1 {
			return fmt.Errorf("search: got %d entries, want 1", found)
		}
		if expect != nil && !expect.MatchString(dn) {
			return mismatch(what, dn, fmt.Sprintf("a match of %q", expect))
		}
		return nil
	}
	return fmt.Errorf("search: more than 100 messages")
}

// LDAPType returns the type of [LDAP] on port 389.
func LDAPType() Type { return ldapType("ldap", "LDAP bind, and read an entry", 389, Plain) }

// LDAPSType returns the type of [LDAP] over TLS, on port 636.
func LDAPSType() Type {
	return ldapType("ldaps", "LDAP bind, and read an entry, over TLS", 636, Implicit)
}

func ldapType(name, about string, port uint16, def Security) Type {
	return Type{Name: name, About: about, Transport: "tcp", Port: port,
		Bind: func(k *Keys, p Peer) Checker {
			c := &LDAP{Addr: p.Addr, Dial: p.Dial, TLSOptions: TLSOptions{ServerName: p.Name}}
			k.Login(&c.Login, &c.Password)
			k.String(&c.Base, "base,request", "", "DN of the entry to read; none where not given")
			k.Bool(&c.Root, "root", "read the root DSE")
			k.Expect(&c.Expect, "the DN of the entry that was read")
			bindSecurity(k, &c.Security, def, &c.TLSOptions)
			return c
		}}
}
