package lab_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golb/golb/lb/lbtest/lab"
	"github.com/vishvananda/netlink"
)

func TestTCPPassesASwitchUnharmed(t *testing.T) {
	for _, tc := range []struct {
		name, addr string
		mtu        int
	}{
		{"IPv4 MTU 1500", "192.0.2.2:80", 0},
		{"IPv6 MTU 1500", "[2001:db8::2]:80", 0},
		{"IPv4 MTU 9000", "192.0.2.2:80", 9000},
		{"IPv6 MTU 9000", "[2001:db8::2]:80", 9000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLab(t)
			a, b, _ := newPair(t, l, tc.mtu)
			transfer(t, a, b, tc.addr, 16<<20)
		})
	}
}

func TestTCPPassesACableBetweenHosts(t *testing.T) {
	l := newLab(t)
	a, b := newHost(t, l, "a"), newHost(t, l, "b")
	must(t, l.Connect(a, lab.LinkConfig{Name: "up0", Addrs: prefixes("192.0.2.1/31", "2001:db8::1/64")},
		b, lab.LinkConfig{Addrs: prefixes("192.0.2.0/31", "2001:db8::2/64")}))
	transfer(t, a, b, "192.0.2.0:80", 1<<20)
	transfer(t, a, b, "[2001:db8::2]:80", 1<<20)
}

func TestTCPPassesARouter(t *testing.T) {
	l := newLab(t)
	a, r, b := newHost(t, l, "a"), newHost(t, l, "router"), newHost(t, l, "b")
	must(t, l.Connect(a, lab.LinkConfig{Addrs: prefixes("192.0.2.1/24")}, r, lab.LinkConfig{Addrs: prefixes("192.0.2.254/24")}))
	must(t, l.Connect(b, lab.LinkConfig{Addrs: prefixes("198.51.100.1/24")},
		r, lab.LinkConfig{Name: "eth1", Addrs: prefixes("198.51.100.254/24")}))
	must(t, r.Sysctl("net.ipv4.ip_forward", "1"))
	must(t, a.DefaultRoute(netip.MustParseAddr("192.0.2.254")))
	must(t, b.AddRoute(netip.MustParsePrefix("192.0.2.0/24"), netip.MustParseAddr("198.51.100.254"), "eth0"))
	transfer(t, a, b, "198.51.100.1:80", 1<<20)
}

func TestLinkIsAsConfigured(t *testing.T) {
	l := newLab(t)
	h := newHost(t, l, "a")
	mac := net.HardwareAddr{2, 1, 2, 3, 4, 5}
	_, err := l.Attach(h, newSwitch(t, l), lab.LinkConfig{Name: "wan.7", MTU: 9000, MAC: mac, Queues: 2})
	must(t, err)
	must(t, h.Sysctl("net/ipv4/conf/wan.7/arp_ignore", "3"))
	must(t, h.Do(func() error {
		link, err := netlink.LinkByName("wan.7")
		if err != nil {
			return err
		}
		if a := link.Attrs(); a.MTU != 9000 || a.HardwareAddr.String() != mac.String() || a.NumTxQueues != 2 || a.NumRxQueues != 2 {
			t.Errorf("MTU %d, MAC %s, %d transmit and %d receive queues", a.MTU, a.HardwareAddr, a.NumTxQueues, a.NumRxQueues)
		}
		got, err := os.ReadFile("/proc/sys/net/ipv4/conf/wan.7/arp_ignore")
		if strings.TrimSpace(string(got)) != "3" {
			t.Errorf("arp_ignore is %q, want 3", got)
		}
		return err
	}))
}

func TestHostsDoNotShareTheirNetwork(t *testing.T) {
	l := newLab(t)
	a, b := newHost(t, l, "a"), newHost(t, l, "b")
	namespace := namespaceOfThread(t)
	var inA, inB, back string
	must(t, a.Do(func() error {
		inA = namespaceOfThread(t)
		err := b.Do(func() error { inB = namespaceOfThread(t); return nil })
		back = namespaceOfThread(t)
		return err
	}))
	if inA == namespace || inB == namespace || inA == inB {
		t.Errorf("process %s, a %s, b %s: want three namespaces", namespace, inA, inB)
	}
	if back != inA || namespaceOfThread(t) != namespace {
		t.Errorf("a nested Do ends in %s, want %s; the outer one in %s, want %s", back, inA, namespaceOfThread(t), namespace)
	}
	if got, err := os.Readlink(a.NS()); err != nil || got != inA {
		t.Errorf("NS() leads to %s, %v; want %s", got, err, inA)
	}
}

func TestDoGivesTheThreadBackWhenTheFunctionPanics(t *testing.T) {
	l := newLab(t)
	h := newHost(t, l, "a")
	namespace := namespaceOfThread(t)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was lost")
			}
		}()
		_ = h.Do(func() error { panic("inside") })
	}()
	if got := namespaceOfThread(t); got != namespace {
		t.Errorf("the thread stayed in %s, want %s", got, namespace)
	}
}

func TestDoReturnsTheFunctionsError(t *testing.T) {
	l := newLab(t)
	want := errors.New("inside")
	if err := newHost(t, l, "a").Do(func() error { return want }); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func namespaceOfThread(t *testing.T) string {
	t.Helper()
	ns, err := os.Readlink("/proc/thread-self/ns/net")
	must(t, err)
	return ns
}

func TestACutCableCarriesNothing(t *testing.T) {
	l := newLab(t)
	a, b, link := newPair(t, l, 0)
	transfer(t, a, b, "192.0.2.2:80", 1000)
	must(t, link.SetUp(false))
	// The host sees the carrier go, forgets the neighbor, and finds no other.
	must(t, a.Sysctl("net.ipv4.neigh.eth0.retrans_time_ms", "20"))
	if _, err := a.DialContext(t.Context(), "tcp", "192.0.2.2:80"); !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("dialling over a cut cable: %v, want %v", err, syscall.EHOSTUNREACH)
	}
	must(t, link.SetUp(true))
	transfer(t, a, b, "192.0.2.2:80", 1000)
	transfer(t, a, b, "[2001:db8::2]:80", 1000)
}

func TestAddressesComeAndGo(t *testing.T) {
	l := newLab(t)
	a, b, _ := newPair(t, l, 0)
	for _, p := range prefixes("192.0.2.7/24", "2001:db8::7/64") {
		at := netip.AddrPortFrom(p.Addr(), 80).String()
		must(t, b.AddAddr("eth0", p))
		transfer(t, a, b, at, 1000)
		must(t, b.DelAddr("eth0", p))
		if _, err := b.Listen(t.Context(), "tcp", at); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("listen on %s after its removal: %v, want %v", at, err, syscall.EADDRNOTAVAIL)
		}
	}
}

func TestAnAddressWorksAtOnce(t *testing.T) {
	l := newLab(t)
	a, b, _ := newPair(t, l, 0)
	for i := range 100 {
		for _, p := range []netip.Prefix{
			netip.MustParsePrefix(fmt.Sprintf("203.0.113.%d/32", i)), netip.MustParsePrefix(fmt.Sprintf("2001:db8:1::%d/128", i)),
		} {
			gateway := netip.MustParseAddr("192.0.2.2")
			if p.Addr().Is6() {
				gateway = netip.MustParseAddr("2001:db8::2")
			}
			must(t, a.AddRoute(p, gateway, ""))
			must(t, b.AddAddr("lo", p))
			pc, err := b.ListenPacket(t.Context(), "udp", netip.AddrPortFrom(p.Addr(), 9).String())
			must(t, err)
			c, err := a.DialContext(t.Context(), "udp", netip.AddrPortFrom(p.Addr(), 9).String())
			must(t, err)
			_, err = c.Write([]byte("x"))
			must(t, err)
			must(t, pc.SetReadDeadline(time.Now().Add(time.Minute)))
			if _, _, err = pc.ReadFrom(make([]byte, 1)); err != nil {
				t.Fatalf("the first datagram to %s: %v", p.Addr(), err)
			}
			must(t, errors.Join(c.Close(), pc.Close()))
		}
	}
}

func TestErrorsNameHostAndPlace(t *testing.T) {
	l := newLab(t)
	h, s := newHost(t, l, "web-1"), newSwitch(t, l)
	attach(t, l, h, s, 0, "192.0.2.1/24")
	attachTwice := func() error { _, err := l.Attach(h, s, lab.LinkConfig{}); return err }
	sameName := func() error { _, err := l.Host("web-1"); return err }
	badName := func() error { _, err := l.Switch("a/b"); return err }
	byName := func() error { _, err := h.DialContext(t.Context(), "tcp", "localhost:80"); return err }
	for _, tc := range []struct {
		name string
		err  error
		want []string
	}{
		{"address twice", h.AddAddr("eth0", netip.MustParsePrefix("192.0.2.1/24")), []string{"web-1", "192.0.2.1/24", "eth0", "file exists"}},
		{"no such interface", h.AddAddr("eth9", netip.MustParsePrefix("192.0.2.1/24")), []string{"web-1", "eth9", "not found"}},
		{"unreachable gateway", h.DefaultRoute(netip.MustParseAddr("203.0.113.1")), []string{"web-1", "0.0.0.0/0", "203.0.113.1"}},
		{"no such sysctl", h.Sysctl("net.ipv4.nothing", "1"), []string{"web-1", "net.ipv4.nothing", "no such file"}},
		{"bad sysctl value", h.Sysctl("net.ipv4.ip_forward", "x"), []string{"web-1", "net.ipv4.ip_forward=x", "invalid argument"}},
		{"interface name taken", attachTwice(), []string{"web-1", "eth0", "file exists"}},
		{"host name taken", sameName(), []string{`"web-1"`, "taken"}},
		{"bad name", badName(), []string{`"a/b"`, "letters"}},
		{"dial by name", byName(), []string{"web-1", "localhost"}},
	} {
		for _, want := range tc.want {
			if tc.err == nil || !strings.Contains(tc.err.Error(), want) {
				t.Errorf("%s: error %q lacks %q", tc.name, tc.err, want)
			}
		}
	}
}

func TestAClosedLabMakesNothing(t *testing.T) {
	l := newLab(t)
	h, s := newHost(t, l, "a"), newSwitch(t, l)
	must(t, l.Close())
	must(t, l.Close())
	if _, err := l.Host("b"); err == nil {
		t.Error("made a host")
	}
	if _, err := l.Attach(h, s, lab.LinkConfig{}); err == nil {
		t.Error("attached a host")
	}
	if err := h.Start(exec.Command("/proc/self/exe")); err == nil {
		t.Error("started a process")
	}
	if err := h.Do(func() error { return nil }); err == nil {
		t.Error("entered a host")
	}
	if err := h.AddAddr("lo", netip.MustParsePrefix("192.0.2.1/32")); err == nil {
		t.Error("added an address")
	}
}

func TestDialRespectsItsContextAndHoldsNoThread(t *testing.T) {
	l := newLab(t)
	a, _, link := newPair(t, l, 0)
	must(t, a.Sysctl("net.ipv4.neigh.eth0.mcast_solicit", "1000"))
	must(t, link.SetUp(false))
	const dials = 300
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, dials)
	for range dials {
		go func() {
			_, err := a.DialContext(ctx, "tcp", "192.0.2.2:80")
			errs <- err
		}()
	}
	awaitSockets(t, a, dials)
	if n := len(threads(t)); n > dials/3 {
		t.Errorf("%d dials hold %d threads", dials, n)
	}
	cancel()
	for range dials {
		if err := <-errs; !errors.Is(err, context.Canceled) && !strings.Contains(err.Error(), "operation was canceled") {
			t.Fatalf("dial ended with %v", err)
		}
	}
}
