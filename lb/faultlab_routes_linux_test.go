package lb_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/lbtest/lab"
)

// onGolb changes a route of golb's host.
func (x *faultLab) onGolb(change func(*netlink.Route) error, dst netip.Addr, r netlink.Route) {
	x.t.Helper()
	r.Dst = &net.IPNet{IP: dst.AsSlice(), Mask: net.CIDRMask(dst.BitLen(), dst.BitLen())}
	must(x.t, x.golb.Do(func() error { return change(&r) }))
}

// awaitReason waits until the last server of a service is down for a reason, or up where
// that is "".
func (x *faultLab) awaitReason(service int, reason string) {
	x.t.Helper()
	for deadline := time.Now().Add(giveUpAfter); ; time.Sleep(5 * time.Millisecond) {
		list := x.b.Stats().Services[service].Servers
		if s := list[len(list)-1]; s.Up == (reason == "") && strings.Contains(s.Reason, reason) {
			return
		} else if time.Now().After(deadline) {
			x.t.Fatalf("server %s is up: %v, for %q; want %q", s.Name, s.Up, s.Reason, reason)
		}
	}
}

// second adds a second server to the front's network.
func (x *faultLab) second() {
	x.t.Helper()
	h := x.host("second", 0, faultServer+1)
	vip := frontNet.at(faultVIP)
	must(x.t, h.SolveARPProblem(vip[0], vip[1]))
	serveHTTP(x.t, h, "second", httpPort)
}

// held is a connection on which a client asks again and again.
type held struct {
	net.Conn
	in *bufio.Reader
}

func (x *faultLab) hold(from int, vip netip.Addr) *held {
	x.t.Helper()
	c, err := x.clients[from].DialContext(x.t.Context(), "tcp", netip.AddrPortFrom(vip, httpPort).String())
	must(x.t, err)
	x.t.Cleanup(func() { c.Close() })
	return &held{c, bufio.NewReader(c)}
}

// ask returns who answered.
func (h *held) ask() (server string, err error) {
	if err := h.SetDeadline(time.Now().Add(giveUpAfter)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(h, "GET /?bytes=0 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(h.in, nil)
	if err != nil {
		return "", err
	}
	return resp.Header.Get("Server"), resp.Body.Close()
}

// TestFaultLabRouteOfAServer: clients and connections of all servers go on, those of the
// server once its route is back.
func TestFaultLabRouteOfAServer(t *testing.T) {
	x := newFaultLab(t)
	x.second()
	x.plug(0)
	x.plug(1)
	cfg := x.config()
	for _, f := range families {
		s := &cfg.Services[3*int(f)]
		s.Scheduler = "rr"
		s.Servers = append(s.Servers, lb.Server{Address: frontNet.at(faultServer + 1)[f]})
	}
	x.run(cfg)
	for _, f := range families {
		vip, server := frontNet.at(faultVIP)[f], frontNet.at(faultServer + 1)[f]
		var conns []*held
		for range 4 {
			conns = append(conns, x.hold(0, vip))
		}
		at := map[*held]string{}
		for _, c := range conns {
			var err error
			at[c], err = c.ask()
			must(t, err)
		}
		front := x.flow("front", 0, vip)
		for reason, kind := range map[string]int{"blackhole": unix.RTN_BLACKHOLE, "unreachable": unix.RTN_UNREACHABLE, "prohibit": unix.RTN_PROHIBIT} {
			t.Run(fmt.Sprintf("%v %s", f, reason), func(t *testing.T) {
				x.t = t
				x.onGolb(netlink.RouteAdd, server, netlink.Route{Type: kind})
				x.awaitReason(3*int(f), reason)
				for range 4 {
					if who, err := x.hold(0, vip).ask(); err != nil || who != "server0" {
						t.Errorf("a new client was served by %q: %v", who, err)
					}
				}
				x.onGolb(netlink.RouteDel, server, netlink.Route{Type: kind})
				x.awaitReason(3*int(f), "")
				for _, c := range conns {
					if who, err := c.ask(); err != nil || who != at[c] {
						t.Errorf("a connection of %s was answered by %q: %v", at[c], who, err)
					}
				}
			})
			x.t = t
		}
		front.checkUnharmed(t)
	}
}

// TestFaultLabRoutesWithOtherNextHops: IPv4 by a neighbor of IPv6, and one of several next
// hops that nobody is at.
func TestFaultLabRoutesWithOtherNextHops(t *testing.T) {
	for name, route := range map[string]netlink.Route{
		"by IPv6": {Via: &netlink.Via{AddrFamily: unix.AF_INET6, Addr: frontNet.at(faultServer)[1].AsSlice()}},
		"several": {MultiPath: []*netlink.NexthopInfo{
			{Gw: frontNet.at(98)[0].AsSlice()}, {Gw: frontNet.at(faultServer)[0].AsSlice()}, {Gw: frontNet.at(99)[0].AsSlice()},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			x := newFaultLab(t)
			x.plug(0)
			x.plug(1)
			far := netip.MustParseAddr("172.20.0.1")
			x.onLink("eth0", func(eth0 netlink.Link) error {
				if route.Via != nil {
					route.LinkIndex = eth0.Attrs().Index
				}
				return nil
			})
			x.onGolb(netlink.RouteAdd, far, route)
			cfg := x.config()
			cfg.Services[0].Servers[0].Address = far
			x.run(cfg)
			for range 4 {
				if who, err := x.hold(0, frontNet.at(faultVIP)[0]).ask(); err != nil || who != "server0" {
					t.Errorf("a client was served by %q: %v", who, err)
				}
			}
		})
	}
}

// TestFaultLabRouterDiesDuringDownload: replies of NAT go by the other router, also where
// the client sends nothing.
func TestFaultLabRouterDiesDuringDownload(t *testing.T) {
	x := newFaultLab(t)
	x.plug(0)
	x.plug(1)
	const virtual, first, second, far = 1, 3, 4, 10
	lan := newSwitch(t, x.lab, "lan")
	router := func(name string, n int) (h *lab.Host, links []*lab.Link) {
		h = x.host(name, 0, n)
		must(t, h.Sysctl("net.ipv4.ip_forward", "1"))
		must(t, h.Sysctl("net.ipv6.conf.all.forwarding", "1"))
		k, err := x.lab.Attach(h, lan, lab.LinkConfig{Name: "eth1", Addrs: farNet.prefixes(n)})
		must(t, err)
		return h, []*lab.Link{k}
	}
	one, links := router("first", first)
	two, _ := router("second", second)
	client, err := x.lab.Host("far")
	must(t, err)
	_, err = x.lab.Attach(client, lan, lab.LinkConfig{Addrs: farNet.prefixes(far)})
	must(t, err)
	for _, f := range families {
		must(t, one.AddAddr("eth0", netip.PrefixFrom(frontNet.at(virtual)[f], frontNet[f].Bits())))
		must(t, client.DefaultRoute(farNet.at(first)[f]))
		must(t, x.golb.AddRoute(farNet[f], frontNet.at(virtual)[f], ""))
	}
	cfg := x.config()
	streams := map[string]*stream{}
	for _, f := range families {
		for proto, name := range map[lb.Protocol]string{lb.TCP: "tcp", lb.UDP: "udp"} {
			s := &stream{network: name, vip: netip.AddrPortFrom(frontNet.at(faultNATVIP)[f], streamPort)}
			s.serve(t, x.servers[1], backNet.at(faultServer)[f])
			streams[fmt.Sprintf("%v %s", f, name)] = s
			cfg.Services = append(cfg.Services, lb.Service{
				VIP: s.vip.Addr(), Port: streamPort, Protocol: proto, Method: lb.NAT, Check: lb.Check{Type: "none"},
				Servers: []lb.Server{{Address: backNet.at(faultServer)[f]}},
			})
		}
	}
	x.run(cfg)
	for name, s := range streams {
		t.Log(name)
		s.open(t, client)
		s.receive(t, name, 3)
	}
	must(t, links[0].SetUp(false))
	must(t, one.Do(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkSetDown(eth0)
	}))
	for _, f := range families {
		must(t, two.AddAddr("eth0", netip.PrefixFrom(frontNet.at(virtual)[f], frontNet[f].Bits())))
		must(t, client.Do(func() error {
			all := &net.IPNet{IP: make(net.IP, farNet[f].Addr().BitLen()/8), Mask: net.CIDRMask(0, farNet[f].Addr().BitLen())}
			return netlink.RouteReplace(&netlink.Route{Dst: all, Gw: farNet.at(second)[f].AsSlice()})
		}))
	}
	for name, s := range streams {
		s.receive(t, name, s.sent.Load()+3)
	}
}

const streamPort = 9000

// stream is a server that sends lines for as long as the client, which says one word, is
// there. They are numbered.
type stream struct {
	network string
	vip     netip.AddrPort
	sent    atomic.Int64
	in      *bufio.Reader
	conn    net.Conn
}

func (s *stream) serve(t *testing.T, h *lab.Host, at netip.Addr) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	send := func(to func([]byte) error) {
		for ctx.Err() == nil && to([]byte(fmt.Sprintf("%d\n", s.sent.Add(1)))) == nil {
			time.Sleep(50 * time.Millisecond)
		}
	}
	addr := netip.AddrPortFrom(at, streamPort).String()
	if s.network == "udp" {
		c, err := h.ListenPacket(ctx, "udp", addr)
		must(t, err)
		t.Cleanup(func() { c.Close() })
		go func() {
			if _, from, err := c.ReadFrom(make([]byte, 100)); err == nil {
				send(func(b []byte) error { _, _ = c.WriteTo(b, from); return nil })
			}
		}()
		return
	}
	ln, err := h.Listen(ctx, "tcp", addr)
	must(t, err)
	t.Cleanup(func() { ln.Close() })
	go func() {
		if c, err := ln.Accept(); err == nil {
			defer c.Close()
			send(func(b []byte) error { _, err := c.Write(b); return err })
		}
	}()
}

func (s *stream) open(t *testing.T, from *lab.Host) {
	t.Helper()
	c, err := from.DialContext(t.Context(), s.network, s.vip.String())
	must(t, err)
	t.Cleanup(func() { c.Close() })
	_, err = c.Write([]byte("go\n"))
	must(t, err)
	s.conn, s.in = c, bufio.NewReader(c)
}

// receive waits for the line of a number, or a later one.
func (s *stream) receive(t *testing.T, name string, want int64) {
	t.Helper()
	must(t, s.conn.SetReadDeadline(time.Now().Add(giveUpAfter)))
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v, waiting for line %d", name, err, want)
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64); err != nil || n >= want {
			return
		}
	}
}
