package health

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
)

// LDAP binds to a directory and, where a base is given, reads that entry, which must
// be there (RFC 4511): ldirectord's ldap and ldaps.
type LDAP struct {
	Addr            netip.AddrPort
	Login, Password string         // DN and password of a simple bind; "" binds anonymously
	Base            string         // DN of the entry to read; "" reads none
	Root            bool           // read the root DSE, whose DN is empty
	Expect          *regexp.Regexp // must match the DN of the entry found
	Security        Security       // "" means Plain
	TLSOptions
	Dial DialFunc
}

// Protocol operations (RFC 4511 section 4.2 and following) as BER tags.
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

// Check binds and reads as far as it is told to.
func (c *LDAP) Check(ctx context.Context) error {
	t, err := dialTalk(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer t.close()
	l := &ldapTalk{talk: t}
	err = walk([]step{
		{on: c.Security == Implicit, do: l.secure(&c.TLSOptions, c.Addr)},
		{on: c.Security == StartTLS, do: func() error {
			return l.ask("StartTLS", berTLV(ldapExtended, berTLV(0x80, []byte(ldapStartTLS))), ldapExtendedAnswer)
		}},
		{on: c.Security == StartTLS, do: l.secure(&c.TLSOptions, c.Addr)},
		{on: true, do: func() error {
			return l.ask("bind", berTLV(ldapBindRequest, berInt(3), berString(c.Login), berTLV(0x80, []byte(c.Password))), ldapBindResponse)
		}},
		{on: c.Base != "" || c.Root, do: func() error { return l.search(c.Base, c.Expect) }},
	})
	if err == nil {
		_ = l.send("unbind", berTLV(ldapUnbind)) // the verdict has fallen
	}
	return err
}

// ldapTalk is a talk in LDAPMessages.
type ldapTalk struct {
	*talk
	id int
}

func (l *ldapTalk) send(what string, op []byte) error {
	l.id++
	return l.talk.send(what, string(berTLV(0x30, berInt(l.id), op)))
}

// receive reads the next message of the last request: its operation's tag and
// content.
func (l *ldapTalk) receive(what string) (tag byte, op []byte, err error) {
	head := make([]byte, 2)
	if err := l.full(what, head); err != nil {
		return 0, nil, err
	}
	length := int(head[1])
	if length&0x80 != 0 {
		more := make([]byte, length&0x7f)
		if head[0] != 0x30 || len(more) == 0 || len(more) > 4 {
			return 0, nil, wanted(what, l.seen(head), "an LDAP message")
		}
		if err := l.full(what, more); err != nil {
			return 0, nil, err
		}
		head, length = append(head, more...), 0
		for _, b := range more {
			length = length<<8 | int(b)
		}
	}
	if head[0] != 0x30 || length > maxLDAP {
		return 0, nil, wanted(what, l.seen(head), "an LDAP message")
	}
	body := make([]byte, length)
	if err := l.full(what, body); err != nil {
		return 0, nil, err
	}
	kind, id, rest, ok := berNext(body)
	tag, op, _, ok2 := berNext(rest)
	if !ok || !ok2 || kind != 2 || berValue(id) != l.id {
		return 0, nil, wanted(what, body, "an LDAP message")
	}
	return tag, op, nil
}

// ask sends a request and wants success in the answer.
func (l *ldapTalk) ask(what string, op []byte, want byte) error {
	if err := l.send(what, op); err != nil {
		return err
	}
	tag, answer, err := l.receive(what)
	if err == nil {
		err = ldapResult(what, tag, answer, want)
	}
	return err
}

// ldapResult is an error where an answer is not an LDAPResult with success.
func ldapResult(what string, tag byte, answer []byte, want byte) error {
	kind, code, rest, ok := berNext(answer)
	_, _, rest, ok2 := berNext(rest)
	_, message, _, ok3 := berNext(rest)
	if tag != want || kind != 0x0a || !ok || !ok2 || !ok3 {
		return wanted(what, answer, "a result")
	}
	if n := berValue(code); n != 0 {
		names := map[int]string{1: "operationsError", 8: "strongerAuthRequired", 32: "noSuchObject", 34: "invalidDNSyntax", 48: "inappropriateAuthentication", 49: "invalidCredentials", 50: "insufficientAccessRights", 51: "busy", 52: "unavailable", 53: "unwillingToPerform"}
		return fmt.Errorf("%s: got result %d %s %s, want 0", what, n, names[n], quote(message))
	}
	return nil
}

// search reads one entry, without its attributes.
func (l *ldapTalk) search(base string, expect *regexp.Regexp) error {
	const what = "search"
	request := berTLV(ldapSearchRequest,
		berString(base),
		berTLV(0x0a, []byte{0}), // scope: the entry itself
		berTLV(0x0a, []byte{0}), // aliases: never followed
		berInt(1), berInt(0),    // at most one entry, no limit of time
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
			return wanted(what, dn, fmt.Sprintf("a match of %q", expect))
		}
		return nil
	}
	return fmt.Errorf("search: more than 100 messages")
}

// LDAPTypes are the registry's entries of [LDAP]: ldap, and ldaps with TLS.
func LDAPTypes() []Type {
	make := func(name, about string, port uint16, def Security) Type {
		return Type{Name: name, About: about, Transport: "tcp", Port: port,
			Bind: func(k *Keys, p Peer) Checker {
				c := &LDAP{Addr: p.Addr, Dial: p.Dial, TLSOptions: TLSOptions{ServerName: p.Name}}
				k.Login(&c.Login, &c.Password)
				k.String(&c.Base, "base,request", "", "DN of the entry that must be there; none where not given")
				k.Bool(&c.Root, "root", "the root DSE must be there")
				k.Expect(&c.Expect, "the DN of the entry found")
				bindSecurity(k, &c.Security, def, &c.TLSOptions)
				return c
			}}
	}
	return []Type{
		make("ldap", "LDAP bind, and an entry", 389, Plain),
		make("ldaps", "LDAP bind, and an entry, over TLS", 636, Implicit),
	}
}
