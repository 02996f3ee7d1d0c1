package health

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// DNS sends a query to a name server (RFC 1035): keepalived's DNS_CHECK, ldirectord's
// dns. By default it queries the SOA record of the root, as keepalived does, and any
// answer with NOERROR is up.
type DNS struct {
	Addr     netip.AddrPort
	Name     string             // to query; "" means the root. An address stands for its name in in-addr.arpa or ip6.arpa
	Type     dnsmessage.Type    // A, AAAA, NS, CNAME, SOA, PTR, MX or TXT; 0 means SOA for the root, PTR for an address, else A
	Expect   *regexp.Regexp     // must match the address, name or text of a record; nil needs no record
	RCodes   []dnsmessage.RCode // that mean up; nil means NOERROR
	AnyRCode bool               // every code means up, SERVFAIL and REFUSED too
	TCP      bool
	Dial     DialFunc
}

// dnsTypes are the types of records that can be queried, by name.
func dnsTypes() map[string]dnsmessage.Type {
	return map[string]dnsmessage.Type{
		"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "NS": dnsmessage.TypeNS, "CNAME": dnsmessage.TypeCNAME,
		"SOA": dnsmessage.TypeSOA, "PTR": dnsmessage.TypePTR, "MX": dnsmessage.TypeMX, "TXT": dnsmessage.TypeTXT,
	}
}

// Check sends the query, over UDP again until there is an answer, whose ID and question
// must be those of the query.
func (c *DNS) Check(ctx context.Context) error {
	q, err := c.buildQuestion()
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%s %s", strings.TrimPrefix(q.Type.String(), "Type"), q.Name)
	id := uint16(rand.Uint32())
	query := dnsmessage.Message{Header: dnsmessage.Header{ID: id, RecursionDesired: true}, Questions: []dnsmessage.Question{q}}
	packed, err := query.Pack()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	answer, err := c.exchange(ctx, what, packed)
	if err != nil {
		return err
	}
	return c.checkAnswer(what, id, q, answer)
}

// buildQuestion returns the question to send, with the defaults.
func (c *DNS) buildQuestion() (dnsmessage.Question, error) {
	name, kind := c.Name, c.Type
	if addr, err := netip.ParseAddr(name); err == nil && (kind == 0 || kind == dnsmessage.TypePTR) {
		name, kind = reverseName(addr), dnsmessage.TypePTR
	}
	if kind == 0 {
		kind = dnsmessage.TypeA
		if name == "" || name == "." {
			kind = dnsmessage.TypeSOA
		}
	}
	if !strings.HasSuffix(name, ".") {
		name += "."
	}
	n, err := dnsmessage.NewName(name)
	q := dnsmessage.Question{Name: n, Type: kind, Class: dnsmessage.ClassINET}
	if err == nil { // Pack is what checks the parts of the name
		_, err = (&dnsmessage.Message{Questions: []dnsmessage.Question{q}}).Pack()
	}
	if err != nil {
		return q, fmt.Errorf("name %s: longer than 255 bytes, or a part empty or longer than 63", quote(c.Name))
	}
	return q, nil
}

// reverseName returns the name of addr in in-addr.arpa (RFC 1035 section 3.5) or ip6.arpa (RFC 3596
// section 2.5).
func reverseName(addr netip.Addr) string {
	var b strings.Builder
	octets := addr.Unmap().AsSlice()
	for i := len(octets) - 1; i >= 0; i-- {
		if len(octets) == 4 {
			fmt.Fprintf(&b, "%d.", octets[i])
		} else {
			fmt.Fprintf(&b, "%x.%x.", octets[i]&15, octets[i]>>4)
		}
	}
	if len(octets) == 4 {
		return b.String() + "in-addr.arpa."
	}
	return b.String() + "ip6.arpa."
}

// exchange sends a query and reads the answer.
func (c *DNS) exchange(ctx context.Context, what string, query []byte) ([]byte, error) {
	if !c.TCP {
		return exchangeDatagram(ctx, c.Dial, c.Addr, what, query, retransmission{udpInitial, udpMax})
	}
	s, err := dialSession(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return nil, err
	}
	defer s.close()
	framed := binary.BigEndian.AppendUint16(nil, uint16(len(query))) // RFC 1035 section 4.2.2
	if err := s.send(what, string(append(framed, query...))); err != nil {
		return nil, err
	}
	const header = 12 // of a message
	head := make([]byte, 2+header)
	if err := s.readFull(what, head[:2]); err != nil {
		return nil, err
	}
	length := int(binary.BigEndian.Uint16(head))
	if length < header {
		return nil, mismatch(what, s.withBuffered(head[:2]), "a DNS message")
	}
	if err := s.readFull(what, head[2:]); err != nil {
		return nil, err
	}
	if !bytes.Equal(head[2:4], query[:2]) { // before the rest: the length may be of another protocol
		return nil, mismatch(what, s.withBuffered(head), "an answer to this question")
	}
	answer := append(make([]byte, 0, length), head[2:]...)[:length]
	return answer, s.readFull(what, answer[header:])
}

// checkAnswer is the reason where an answer is not one that means up.
func (c *DNS) checkAnswer(what string, id uint16, q dnsmessage.Question, answer []byte) error {
	var p dnsmessage.Parser
	h, err := p.Start(answer)
	if err != nil {
		return mismatch(what, answer, "a DNS message")
	}
	got, err := p.AllQuestions()
	if err != nil || h.ID != id || !h.Response || len(got) > 1 || len(got) == 1 && !sameQuestion(got[0], q) {
		return fmt.Errorf("%s: got an answer to another question", what)
	}
	if !c.AnyRCode && !slices.Contains(c.rcodes(), h.RCode) {
		return fmt.Errorf("%s: got %s, want %s", what, rcodeName(h.RCode), rcodeNames(c.rcodes()))
	}
	if c.Expect == nil {
		return nil
	}
	records, err := p.AllAnswers()
	if err != nil {
		return fmt.Errorf("%s: answer that does not parse: %w", what, err)
	}
	var texts []string
	for _, r := range records {
		text := recordText(r.Body)
		if c.Expect.MatchString(text) {
			return nil
		}
		texts = append(texts, text)
	}
	err = mismatch(what, strings.Join(texts, ", "), fmt.Sprintf("a match of %q", c.Expect))
	if h.Truncated {
		err = fmt.Errorf("%w; the answer is truncated: set tcp to get all of it", err)
	}
	return err
}

// rcodes returns the codes that mean up.
func (c *DNS) rcodes() []dnsmessage.RCode {
	if c.RCodes == nil {
		return []dnsmessage.RCode{dnsmessage.RCodeSuccess}
	}
	return c.RCodes
}

func sameQuestion(a, b dnsmessage.Question) bool {
	return a.Type == b.Type && a.Class == b.Class && strings.EqualFold(a.Name.String(), b.Name.String())
}

// rcodeNamesByNumber are the names of the codes in the RFCs, by number (RFC 1035 section
// 4.1.1, RFC 2136 section 2.2).
func rcodeNamesByNumber() []string {
	return []string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE"}
}

// rcodeName returns the name of a code in the RFCs.
func rcodeName(c dnsmessage.RCode) string {
	if names := rcodeNamesByNumber(); int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("rcode %d", c)
}

func rcodeNames(codes []dnsmessage.RCode) string {
	var names []string
	for _, c := range codes {
		names = append(names, rcodeName(c))
	}
	return strings.Join(names, " or ")
}

// bindRCodes binds the key rcode.
func (c *DNS) bindRCodes(k *Keys) {
	names := rcodeNamesByNumber()
	k.Func("rcode", "NOERROR", "codes that mean up", "any, or of "+strings.Join(names, ", ")+", with commas between them", func(s string) error {
		c.AnyRCode = strings.EqualFold(s, "any")
		if c.AnyRCode {
			return nil
		}
		for name := range strings.SplitSeq(s, ",") {
			i := slices.Index(names, strings.ToUpper(strings.TrimSpace(name)))
			if i < 0 {
				return errNotAllowed
			}
			c.RCodes = append(c.RCodes, dnsmessage.RCode(i))
		}
		return nil
	})
}

// recordText returns the text of a record that Expect must match.
func recordText(body dnsmessage.ResourceBody) string {
	switch b := body.(type) {
	case *dnsmessage.AResource:
		return netip.AddrFrom4(b.A).String()
	case *dnsmessage.AAAAResource:
		return netip.AddrFrom16(b.AAAA).String()
	case *dnsmessage.PTRResource:
		return b.PTR.String()
	case *dnsmessage.CNAMEResource:
		return b.CNAME.String()
	case *dnsmessage.NSResource:
		return b.NS.String()
	case *dnsmessage.MXResource:
		return b.MX.String()
	case *dnsmessage.SOAResource:
		return b.NS.String()
	case *dnsmessage.TXTResource:
		return strings.Join(b.TXT, "")
	}
	return ""
}

// DNSType returns the type of [DNS].
func DNSType() Type {
	return Type{Name: "dns", About: "DNS query, over UDP sent again after 1 s, 3 s, ...", Transport: "udp", Port: 53,
		Bind: func(k *Keys, p Peer) Checker {
			c := &DNS{Addr: p.Addr, Dial: p.Dial}
			k.String(&c.Name, "name,request", "", "name to query, or an address for its PTR record; the root where not given")
			types := dnsTypes()
			k.Func("record", "", "type of record; SOA for the root, PTR for an address, else A", "A, AAAA, CNAME, MX, NS, PTR, SOA, TXT", func(s string) error {
				kind, ok := types[strings.ToUpper(s)]
				if !ok {
					return errNotAllowed
				}
				c.Type = kind
				return nil
			})
			k.Expect(&c.Expect, "a record: its address, name or text")
			c.bindRCodes(k)
			k.Bool(&c.TCP, "tcp", "use TCP")
			k.Then(func() error {
				if _, err := c.buildQuestion(); err != nil {
					return ParamError{Key: "name", Value: c.Name, Problem: "not a name", Allowed: "at most 255 bytes, of parts of 1 to 63 with dots between them"}
				}
				return nil
			})
			return c
		}}
}
