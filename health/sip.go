package health

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// SIP sends OPTIONS and expects a final response (RFC 3261 section 11): ldirectord's sip.
type SIP struct {
	Addr   netip.AddrPort
	User   string    // in sip:USER@address; "" means none
	Status StatusSet // that mean up; nil means 200 to 299
	TCP    bool
	Dial   DialFunc
}

// RFC 3261 section 17.1.1.1: T1 and T2, between which timer E of section 17.1.2.2
// doubles.
const (
	sipT1 = 500 * time.Millisecond
	sipT2 = 4 * time.Second
)

// Check sends the request, over UDP again until there is an answer.
func (c *SIP) Check(ctx context.Context) error {
	transport, dial := "UDP", func() (*session, error) {
		return dialDatagram(ctx, c.Dial, c.Addr, retransmission{sipT1, sipT2})
	}
	if c.TCP {
		transport, dial = "TCP", func() (*session, error) { return dialSession(ctx, c.Dial, "tcp", c.Addr.String()) }
	}
	s, err := dial()
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.send("OPTIONS", c.request(s.conn.LocalAddr(), transport)); err != nil {
		return err
	}
	for range 10 { // 1xx come before the final response
		head, err := s.readLine("OPTIONS")
		if err != nil {
			return err
		}
		version, statusAndReason, _ := strings.Cut(head, " ")
		code, err := strconv.Atoi(statusAndReason[:min(3, len(statusAndReason))])
		if version != "SIP/2.0" || err != nil {
			return mismatch("OPTIONS", head, "SIP/2.0 and a status")
		}
		if c.TCP || code < 200 { // a final response in a datagram may be longer than was read
			if err := sipHeaders(s); err != nil {
				return err
			}
		}
		if code >= 200 {
			if !c.Status.has(code) {
				return fmt.Errorf("OPTIONS: got %s, want %s", quote(statusAndReason), c.Status)
			}
			return nil
		}
	}
	return fmt.Errorf("OPTIONS: got more than 10 answers with 1xx")
}

// sipHeaders reads the headers of a response, up to the empty line.
func sipHeaders(s *session) error {
	for {
		if line, err := s.readLine("OPTIONS"); err != nil || line == "" {
			return err
		}
	}
}

func (c *SIP) request(local net.Addr, transport string) string {
	uri := "sip:" + c.Addr.String()
	if c.User != "" {
		uri = "sip:" + c.User + "@" + c.Addr.String()
	}
	id := strconv.FormatUint(rand.Uint64(), 16)
	return strings.Join([]string{
		"OPTIONS " + uri + " SIP/2.0",
		"Via: SIP/2.0/" + transport + " " + local.String() + ";branch=z9hG4bK" + id + ";rport",
		"Max-Forwards: 70",
		"From: <sip:golb@" + local.String() + ">;tag=" + id,
		"To: <" + uri + ">",
		"Call-ID: " + id,
		"CSeq: 1 OPTIONS",
		"Contact: <sip:golb@" + local.String() + ">",
		"Accept: application/sdp",
		"User-Agent: golb",
		"Content-Length: 0",
		"", "",
	}, "\r\n")
}

// SIPType returns the type of [SIP].
func SIPType() Type {
	return Type{Name: "sip", About: "SIP OPTIONS, over UDP sent again after 0.5 s, 1.5 s, ...", Transport: "udp", Port: 5060,
		Bind: func(k *Keys, p Peer) Checker {
			c := &SIP{Addr: p.Addr, Dial: p.Dial}
			k.String(&c.User, "user,login", "", "user in the request's URI")
			k.Status(&c.Status)
			k.Bool(&c.TCP, "tcp", "use TCP")
			return c
		}}
}
