package health

import (
	"context"
	"net/netip"
)

// NNTP checks that a news server greets with 200 or 201 (RFC 3977 section 5.1):
// ldirectord's nntp.
type NNTP struct {
	Addr netip.AddrPort
	Dial DialFunc
}

// Check reads the greeting and quits.
func (c *NNTP) Check(ctx context.Context) error {
	s, err := dialSession(ctx, c.Dial, "tcp", c.Addr.String())
	if err != nil {
		return err
	}
	defer s.close()
	if _, err := s.readReply("greeting", "2"); err != nil {
		return err
	}
	s.quit("QUIT")
	return nil
}

// NNTPType returns the type of [NNTP].
func NNTPType() Type {
	return Type{Name: "nntp", About: "NNTP greeting", Transport: "tcp", Port: 119,
		Bind: func(_ *Keys, p Peer) Checker { return &NNTP{Addr: p.Addr, Dial: p.Dial} }}
}
