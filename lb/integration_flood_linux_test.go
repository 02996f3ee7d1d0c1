package lb_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/forward/afpacket"
	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest"
	"github.com/golb/golb/lb/lbtest/lab"
)

// floodedVIPs are of a persistent service of DSR, and of two of NAT, one of them persistent.
var floodedVIPs = []netip.Addr{netip.MustParseAddr("192.0.2.100"), netip.MustParseAddr("192.0.2.101"), netip.MustParseAddr("192.0.2.102")}

// floodedServers are those of the VIPs. Two VIPs of one NAT server cannot be told apart by a reply where a
// client uses one port for both.
var floodedServers = []netip.Addr{netip.MustParseAddr("192.0.2.11"), netip.MustParseAddr("10.8.0.11"), netip.MustParseAddr("10.8.0.12")}

// newFloodedSite is a client and a server of DSR on golb's first link, and a server of NAT on its second.
func newFloodedSite(t *testing.T) *site {
	t.Helper()
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	l, err := lab.New()
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	host := func(name string) *lab.Host {
		h, err := l.Host(name)
		must(t, err)
		return h
	}
	s := &site{t: t, client: host("client"), golb: host("golb")}
	near, far := host("near"), host("far")
	plug := func(sw *lab.Switch, h *lab.Host, name string, addrs ...string) {
		cfg := lab.LinkConfig{Name: name}
		for _, a := range addrs {
			cfg.Addrs = append(cfg.Addrs, netip.MustParsePrefix(a))
		}
		_, err := l.Attach(h, sw, cfg)
		must(t, err)
	}
	front, err := l.Switch("front")
	must(t, err)
	back, err := l.Switch("back")
	must(t, err)
	plug(front, s.client, "eth0", "192.0.2.10/24")
	plug(front, s.golb, "eth0", "192.0.2.2/24")
	plug(front, near, "eth0", "192.0.2.11/24")
	plug(back, s.golb, "eth1", "10.8.0.2/24")
	plug(back, far, "eth0", "10.8.0.11/24", "10.8.0.12/24")
	must(t, near.SolveARPProblem(floodedVIPs[0]))
	must(t, far.DefaultRoute(netip.MustParseAddr("10.8.0.2")))
	serveHTTP(t, near, "near", 80)
	serveHTTP(t, far, "far", 80)
	return s
}

// claim is an ARP reply to golb by which an address is at a MAC.
func claim(to, at forward.MAC, addr netip.Addr) []byte {
	b := slices.Concat(to[:], at[:], []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 2}, at[:], addr.AsSlice(), to[:], []byte{192, 0, 2, 2})
	return append(b, make([]byte, 18)...)
}

// flood sends SYNs of addresses that are nobody's to all VIPs, each second one followed by an
// ACK, 6,000 packets a second, and as many claims that the server of the client's link, and
// the client, are at other MACs, until stop is closed.
func (s *site) flood(to forward.MAC, stop chan struct{}) error {
	var ports []*afpacket.Port
	err := s.client.Do(func() (err error) {
		ports, err = afpacket.OpenGroup(afpacket.Config{Interface: "eth0", SendOnly: true}, 1)
		return err
	})
	if err != nil {
		return err
	}
	defer ports[0].Close()
	every := time.NewTicker(10 * time.Millisecond)
	defer every.Stop()
	for n := 0; ; {
		select {
		case <-stop:
			return nil
		case <-every.C:
		}
		var frames []forward.Frame
		add := func(b []byte) {
			buf := append(make([]byte, forward.Headroom, forward.Headroom+len(b)), b...)
			frames = append(frames, forward.Frame{Buf: buf, Head: forward.Headroom, Tail: len(buf)})
		}
		for i := range 60 {
			add(claim(to, forward.MAC{2, 0, 0, 9, byte(n), byte(i)}, []netip.Addr{floodedServers[0], netip.MustParseAddr("192.0.2.10")}[i%2]))
		}
		for range 40 {
			p := lbtest.Packet{
				SrcMAC: forward.MAC{2, 0, 0, 0, 9, 9}, DstMAC: to, Flags: forward.FlagSYN,
				Src: netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, 64 + byte(n>>16)&63, byte(n >> 8), byte(n)}), 4000),
				Dst: netip.AddrPortFrom(floodedVIPs[n%len(floodedVIPs)], 80),
			}
			n++
			for _, flags := range []uint8{forward.FlagSYN, forward.FlagACK}[:1+n%2] {
				p.Flags = flags
				add(p.Frame().Data)
			}
		}
		if _, err := ports[0].Send(frames); err != nil {
			return err
		}
	}
}

// heldConnection is one that asks now and then.
type heldConnection struct {
	net.Conn
	r *bufio.Reader
}

func (c *heldConnection) ask() error {
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprint(c, "GET /?bytes=10 HTTP/1.1\r\nHost: vip\r\n\r\n"); err != nil {
		return err
	}
	a, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	_, err = io.Copy(io.Discard, a.Body)
	return err
}

// TestKernelsAreServedThroughAFlood: real clients and servers with a table that is full.
func TestKernelsAreServedThroughAFlood(t *testing.T) {
	s := newFloodedSite(t)
	cfg := lb.Config{Interfaces: []string{"eth0", "eth1"}, MaxConnections: 4096, Workers: 1}
	for i, vip := range floodedVIPs {
		v := lb.Service{VIP: vip, Port: 80, Check: lb.Check{Type: "none"}, Method: lb.NAT}
		if i == 0 {
			v.Method = lb.DSR
		}
		v.Servers = []lb.Server{{Address: floodedServers[i]}}
		if i != 1 {
			v.Persistence.Timeout = 5 * time.Minute
		}
		cfg.Services = append(cfg.Services, v)
	}
	b, stop := s.run(cfg)
	defer stop()
	var mac forward.MAC
	must(t, s.golb.Do(func() error {
		i, err := net.InterfaceByName("eth0")
		if err == nil {
			mac = forward.MAC(i.HardwareAddr)
		}
		return err
	}))
	var held []*heldConnection
	for i := range 30 {
		c, err := s.client.DialContext(t.Context(), "tcp", netip.AddrPortFrom(floodedVIPs[i%3], 80).String())
		must(t, err)
		defer c.Close()
		h := &heldConnection{c, bufio.NewReader(c)}
		must(t, h.ask())
		held = append(held, h)
	}
	end, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.flood(mac, end) }()
	for deadline := time.Now().Add(time.Minute); !b.Stats().TableFull; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the table is not full: %d", b.Stats().Connections)
		}
	}
	c := newHTTPClient(s.client)
	c.Timeout = 20 * time.Second
	get := func(n int) (failed int) {
		for i := range n {
			a, err := c.Get(urlOf(floodedVIPs[i%3], 10))
			if err != nil {
				failed++
				t.Log(err)
				continue
			}
			_, _ = io.Copy(io.Discard, a.Body)
			_ = a.Body.Close()
		}
		return failed
	}
	const during, after = 200, 50
	failed := get(during)
	close(end)
	must(t, <-ended)
	if failed += get(after); failed > (during+after)/100 {
		t.Errorf("%d of %d connections failed; %+v", failed, during+after, b.Stats().GivenUp)
	}
	for i, h := range held {
		if err := h.ask(); err != nil {
			t.Errorf("established connection %d: %v", i, err)
		}
	}
	st := b.Stats()
	if n := st.Interfaces[0].Link.NeighborClaims; n < 1000 {
		t.Errorf("%d claims: this shows nothing", n)
	}
	if n := st.Interfaces[0].Link.NeighborsMoved; n > 0 {
		t.Errorf("%d neighbors moved", n)
	}
	if given := st.GivenUp; given["young"]+given["established"] > 0 {
		t.Errorf("given up %v", given)
	}
}
