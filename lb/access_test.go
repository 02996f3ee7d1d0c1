package lb

import (
	"context"
	"net/netip"
	"testing"

	"github.com/golb/golb/forward"
)

func clientPrefixes(texts ...string) (list []Prefix) {
	for _, s := range texts {
		var p Prefix
		if err := p.UnmarshalText([]byte(s)); err != nil {
			panic(err)
		}
		list = append(list, p)
	}
	return list
}

// TestDeniedClientsBeginNothing: none of what may begin a connection, or be answered
// without one, passes for a client that may not come.
func TestDeniedClientsBeginNothing(t *testing.T) {
	for name, s := range map[string]Service{
		"plain":      {},
		"persistent": {Persistence: Persistence{Timeout: 300e9}},
		"UDP":        {Protocol: UDP},
		"one packet": {Protocol: UDP, OnePacket: true},
		"page":       {Fallback: Fallback{Page: DefaultPage}},
	} {
		t.Run(name, func(t *testing.T) {
			s.Deny = clientPrefixes("198.51.100.0/24")
			s.Allow = clientPrefixes("198.51.100.7", "198.51.0.0/16")
			weights := []int{1}
			if s.Fallback.Page != "" {
				weights = nil
			}
			x := newHealthRig(t, s, weights...)
			x.advance(2 * ticksPerSecond)
			to := netip.MustParseAddrPort("192.0.2.80:80")
			denied := uint64(0)
			for _, c := range []struct {
				client string
				ok     bool
			}{{"198.51.100.1", false}, {"198.51.100.7", true}, {"198.51.99.1", true}, {"198.52.0.1", false}} {
				from := netip.AddrPortFrom(netip.MustParseAddr(c.client), 4000)
				reason, sent := x.handle(0, rigFrame(rigClient, s.protocol(), from, to, forward.FlagSYN))
				if !c.ok {
					denied++
				}
				if (len(sent) == 1) != c.ok || (reason == Denied) == c.ok {
					t.Errorf("%s: %d frames, %v", c.client, len(sent), reason)
				}
			}
			if _, sent := x.handle(0, rigFrame(rigClient, UDP, netip.MustParseAddrPort("198.51.100.1:4000"), netip.AddrPortFrom(to.Addr(), 81), 0)); len(sent) != 1 {
				t.Error("a packet to no service is not answered")
			}
			st := x.b.Stats()
			if st.Services[0].Denied != denied || st.Drops[Denied] != denied {
				t.Errorf("counted %d for the service and %d in all, want %d", st.Services[0].Denied, st.Drops[Denied], denied)
			}
		})
	}
}

// TestAReloadEndsTheConnectionsOfThoseItShutsOut, and no others.
func TestAReloadEndsTheConnectionsOfThoseItShutsOut(t *testing.T) {
	for _, method := range []Method{DSR, NAT, TUN} {
		t.Run(method.String(), func(t *testing.T) {
			x := newHealthRig(t, Service{Method: method}, 1)
			to := netip.MustParseAddrPort("192.0.2.80:80")
			shutOut, other := netip.MustParseAddrPort("198.51.100.1:4000"), netip.MustParseAddrPort("203.0.113.1:4000")
			for _, c := range []netip.AddrPort{shutOut, other} {
				for _, flags := range []uint8{forward.FlagSYN, forward.FlagACK} {
					if reason, _ := x.handle(0, rigFrame(rigClient, TCP, c, to, flags)); reason != forwarded {
						t.Fatal(reason)
					}
				}
				if method == NAT {
					x.handle(0, rigFrame(rigServerMAC(rigServer(1)), TCP, netip.AddrPortFrom(rigServer(1), 80), c, forward.FlagSYN|forward.FlagACK))
					x.handle(0, rigFrame(rigClient, TCP, c, to, forward.FlagACK))
				}
			}
			cfg := x.b.Config()
			cfg.Services[0].Deny = clientPrefixes("198.51.100.0/24")
			if err := x.b.Apply(context.Background(), cfg); err != nil {
				t.Fatal(err)
			}
			x.advance(1)
			if reason, sent := x.handle(0, rigFrame(rigClient, TCP, shutOut, to, forward.FlagACK)); reason != Denied || len(sent) != 0 {
				t.Errorf("a segment of the one shut out: %v, %d frames", reason, len(sent))
			}
			if reason, _ := x.handle(0, rigFrame(rigClient, TCP, other, to, forward.FlagACK)); reason != forwarded {
				t.Errorf("a segment of the other: %v", reason)
			}
			if n := x.b.Stats().Connections; n != 1 {
				t.Errorf("%d connections in the table", n)
			}
			if method == NAT {
				reply := rigFrame(rigServerMAC(rigServer(1)), TCP, netip.AddrPortFrom(rigServer(1), 80), shutOut, forward.FlagACK)
				x.advance(2 * ticksPerSecond)
				if reason, sent := x.handle(0, reply); reason != NoConnection || len(sent) != 1 || sent[0][47]&forward.FlagRST == 0 {
					t.Errorf("the server goes on: %v, %d frames, want a reset", reason, len(sent))
				}
			}
			cfg.Services[0].Deny = nil
			if err := x.b.Apply(context.Background(), cfg); err != nil {
				t.Fatal(err)
			}
			if reason, _ := x.handle(0, rigFrame(rigClient, TCP, shutOut, to, forward.FlagSYN)); reason != forwarded {
				t.Errorf("let in again: %v", reason)
			}
		})
	}
}

func TestAccessListsAreChecked(t *testing.T) {
	wrong := netip.MustParsePrefix("198.51.100.7/24")
	for _, c := range []struct {
		allow, deny []Prefix
		mistakes    int
	}{
		{clientPrefixes("198.51.100.0/24", "2001:db8::/32"), clientPrefixes("198.51.100.7"), 0},
		{clientPrefixes("198.51.100.0/24"), clientPrefixes("198.51.100.0/24"), 1},
		{clientPrefixes("198.51.100.0/24", "198.51.100.0/24"), nil, 0},
		{[]Prefix{{wrong}}, []Prefix{{}}, 2},
		{nil, clientPrefixes("::ffff:198.51.100.7"), 1},
	} {
		s := Service{VIP: netip.MustParseAddr("192.0.2.80"), Port: 80, Allow: c.allow, Deny: c.deny}
		err := (&Config{Interfaces: []string{"eth0"}, Services: []Service{s}}).Validate(Env{})
		errs, _ := err.(ConfigErrors)
		if len(errs) != c.mistakes {
			t.Errorf("allow %v, deny %v: %v, want %d mistakes", c.allow, c.deny, err, c.mistakes)
		}
	}
}
