package arp_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golb/golb/arp"
	"github.com/golb/golb/lb/lbtest/lab"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { lab.Main(m) }

// network is a switch with golb's host (192.0.2.1, 2001:db8::1) and a peer (.2, ::2), both with Linux's own stack.
//
//	golb ── switch ── peer
//	            └──── others, by add
type network struct {
	t          *testing.T
	lab        *lab.Lab
	sw         *lab.Switch
	golb, peer *lab.Host
	golbCable  *lab.Link
}

var (
	golbMAC = net.HardwareAddr{0x02, 0, 0, 0, 1, 1}
	peerMAC = net.HardwareAddr{0x02, 0, 0, 0, 1, 2}
	virtual = [6]byte{0, 0, 0x5e, 0, 1, 7}
)

// family is what differs between the protocols.
type family struct {
	name            string
	peer, vip, free netip.Addr
	bits            int
	netlink         int
	neigh           string // directory of the neighbor table's settings
}

var families = []family{
	{"IPv4", netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.100"), netip.MustParseAddr("192.0.2.101"),
		24, netlink.FAMILY_V4, "net.ipv4.neigh.eth0."},
	{"IPv6", netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8::100"), netip.MustParseAddr("2001:db8::101"),
		64, netlink.FAMILY_V6, "net.ipv6.neigh.eth0."},
}

// eachFamily runs f once per protocol, in networks of their own at the same time: they mostly wait for their kernels.
func eachFamily(t *testing.T, f func(t *testing.T, n *network, fam family)) {
	t.Helper()
	t.Parallel()
	for _, fam := range families {
		t.Run(fam.name, func(t *testing.T) {
			t.Parallel()
			f(t, newNetwork(t), fam)
		})
	}
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	if err := lab.Unavailable(); err != nil {
		t.Skip(err)
	}
	l, err := lab.New()
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	n := &network{t: t, lab: l}
	n.sw, err = l.Switch("switch")
	must(t, err)
	n.golb, n.golbCable = n.add("golb", golbMAC, "192.0.2.1/24", "2001:db8::1/64")
	n.peer, _ = n.add("peer", peerMAC, "192.0.2.2/24", "2001:db8::2/64")
	return n
}

func (n *network) add(name string, mac net.HardwareAddr, addrs ...string) (*lab.Host, *lab.Link) {
	n.t.Helper()
	h, err := n.lab.Host(name)
	must(n.t, err)
	cfg := lab.LinkConfig{MAC: mac}
	for _, a := range addrs {
		cfg.Addrs = append(cfg.Addrs, netip.MustParsePrefix(a))
	}
	k, err := n.lab.Attach(h, n.sw, cfg)
	must(n.t, err)
	return h, k
}

// link opens and runs a link in a host, on eth0 if no other interface is given; end ends it, and returns what Run did.
func (n *network) link(h *lab.Host, cfg arp.Config) (l *arp.Link, end func() error) {
	n.t.Helper()
	if cfg.Interface == "" {
		cfg.Interface = "eth0"
	}
	must(n.t, h.Do(func() (err error) {
		l, err = arp.Open(cfg)
		return err
	}))
	ctx, cancel := context.WithCancel(n.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	var err error
	done := false
	end = func() error {
		if !done {
			done = true
			cancel()
			err = <-ended
		}
		return err
	}
	n.t.Cleanup(func() { must(n.t, end()) })
	return l, end
}

// answered is how many requests and solicitations a link has answered.
func answered(l *arp.Link) uint64 {
	s := l.Stats()
	return s.RequestsAnswered + s.SolicitationsAnswered
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in a minute: %s", what)
		}
	}
}

// sendDatagram makes a host's kernel send a datagram, and so look for addr.
func sendDatagram(t *testing.T, h *lab.Host, addr netip.Addr) {
	t.Helper()
	c, err := h.DialContext(t.Context(), "udp", netip.AddrPortFrom(addr, 9).String())
	must(t, err)
	defer c.Close()
	_, err = c.Write([]byte("x"))
	must(t, err)
}

// neighbor is what a host's kernel knows of addr.
func neighbor(t *testing.T, h *lab.Host, fam family, addr netip.Addr) (mac string, state int) {
	t.Helper()
	must(t, h.Do(func() error {
		neighs, err := netlink.NeighList(0, fam.netlink)
		for _, n := range neighs {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == addr {
				mac, state = n.HardwareAddr.String(), n.State
			}
		}
		return err
	}))
	return mac, state
}

func setMAC(t *testing.T, h *lab.Host, mac net.HardwareAddr) {
	t.Helper()
	must(t, h.Do(func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkSetHardwareAddr(link, mac)
	}))
}

func TestKernelResolvesAVIPThatNoHostHas(t *testing.T) {
	for _, tc := range []struct {
		name string
		mac  [6]byte
		want net.HardwareAddr
	}{{"interface's MAC", [6]byte{}, golbMAC}, {"virtual MAC", virtual, virtual[:]}} {
		t.Run(tc.name, func(t *testing.T) {
			eachFamily(t, func(t *testing.T, n *network, fam family) {
				must(t, n.peer.Sysctl(fam.neigh+"base_reachable_time_ms", "50"))
				must(t, n.peer.Sysctl(fam.neigh+"delay_first_probe_time", "0"))
				l, _ := n.link(n.golb, arp.Config{})
				must(t, l.SetVIPs([]arp.VIP{{Addr: fam.vip, MAC: tc.mac}}))
				sendDatagram(t, n.peer, fam.vip)
				eventually(t, "the peer's kernel knows the VIP", func() bool {
					mac, state := neighbor(t, n.peer, fam, fam.vip)
					return mac == tc.want.String() && state&(unix.NUD_FAILED|unix.NUD_INCOMPLETE) == 0
				})
				// Its entry ages, and the next packet has it ask that MAC alone.
				before := answered(l)
				eventually(t, "the peer's kernel confirms the VIP by unicast", func() bool {
					sendDatagram(t, n.peer, fam.vip)
					return answered(l) >= before+2
				})
				if _, state := neighbor(t, n.peer, fam, fam.vip); state&unix.NUD_FAILED != 0 {
					t.Errorf("state %#x", state)
				}
				sendDatagram(t, n.peer, fam.free)
				if mac, _ := neighbor(t, n.golb, fam, fam.vip); mac != "" {
					t.Errorf("golb's own kernel has the VIP as a neighbor at %s", mac)
				}
			})
		})
	}
}

func TestKernelsFollowAnAnnouncement(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *network, fam family) {
		otherMAC := net.HardwareAddr{0x02, 0, 0, 0, 1, 9}
		other, _ := n.add("other", otherMAC)
		first, end := n.link(n.golb, arp.Config{})
		must(t, first.SetVIPs([]arp.VIP{{Addr: fam.vip}}))
		at := func(mac net.HardwareAddr) func() bool {
			return func() bool {
				got, state := neighbor(t, n.peer, fam, fam.vip)
				return got == mac.String() && state&(unix.NUD_FAILED|unix.NUD_INCOMPLETE) == 0
			}
		}
		sendDatagram(t, n.peer, fam.vip)
		eventually(t, "the VIP is at golb", at(golbMAC))
		must(t, end())

		second, _ := n.link(other, arp.Config{})
		must(t, second.SetVIPs([]arp.VIP{{Addr: fam.vip, Announce: oneBurst}}))
		must(t, second.Announce(t.Context(), fam.vip))
		eventually(t, "the VIP is at the other", at(otherMAC))
	})
}

func TestResolveARealHost(t *testing.T) {
	for _, tc := range []struct {
		name     string
		announce string // arp_notify, ndisc_notify
	}{{"that announces its new MAC", "1"}, {"that is silent about its new MAC", "0"}} {
		t.Run(tc.name, func(t *testing.T) {
			eachFamily(t, func(t *testing.T, n *network, fam family) {
				must(t, n.peer.Sysctl("net.ipv4.conf.eth0.arp_notify", tc.announce))
				must(t, n.peer.Sysctl("net.ipv6.conf.eth0.ndisc_notify", tc.announce))
				cfg := arp.Config{Retry: 50 * time.Millisecond, Refresh: 100 * time.Millisecond}
				if tc.announce == "1" {
					cfg.Refresh = time.Hour
				}
				l, _ := n.link(n.golb, cfg)
				var at atomic.Pointer[net.HardwareAddr]
				defer l.Resolve(fam.peer, func(mac [6]byte, ok bool) {
					var m net.HardwareAddr
					if ok {
						m = mac[:]
					}
					at.Store(&m)
				})()
				is := func(want net.HardwareAddr) func() bool {
					return func() bool { m := at.Load(); return m != nil && bytes.Equal(*m, want) }
				}
				eventually(t, "peer resolved", is(peerMAC))
				moved := net.HardwareAddr{0x02, 0, 0, 0, 1, 3}
				setMAC(t, n.peer, moved)
				eventually(t, "new MAC followed", is(moved))
				if tc.announce == "1" {
					return
				}
				must(t, n.peer.DelAddr("eth0", netip.PrefixFrom(fam.peer, fam.bits)))
				eventually(t, "silence told", is(nil))
			})
		})
	}
}

// A host without an address of the family, and servers with the VIP on loopback: DSR at its barest.
func TestResolveDSRServersWithoutAnAddress(t *testing.T) {
	for _, disabled := range []bool{false, true} {
		t.Run(map[bool]string{false: "IPv6 enabled", true: "IPv6 disabled"}[disabled], func(t *testing.T) {
			eachFamily(t, func(t *testing.T, n *network, fam family) {
				noAddr, _ := n.add("bare", nil)
				if disabled {
					must(t, noAddr.Sysctl("net.ipv6.conf.eth0.disable_ipv6", "1"))
				}
				must(t, n.peer.SolveARPProblem(fam.vip))
				l, _ := n.link(noAddr, arp.Config{Retry: 5 * time.Second, Refresh: 50 * time.Millisecond})
				must(t, l.SetVIPs([]arp.VIP{{Addr: fam.vip}}))
				var calls atomic.Int32
				defer l.Resolve(fam.peer, func(mac [6]byte, ok bool) {
					if !ok || !bytes.Equal(mac[:], peerMAC) {
						t.Errorf("%x %t", mac, ok)
					}
					calls.Add(1)
				})()
				eventually(t, "several confirmations", func() bool { return l.Stats().RequestsSent > 5 && calls.Load() > 0 })
			})
		})
	}
}

func TestProbeFindsARealHost(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *network, fam family) {
		l, _ := n.link(n.golb, arp.Config{})
		must(t, l.Probe(t.Context(), fam.vip, fam.free))
		must(t, n.peer.AddAddr("eth0", netip.PrefixFrom(fam.vip, fam.bits)))
		err := l.Probe(t.Context(), fam.free, fam.vip)
		var c *arp.ConflictError
		if !errors.As(err, &c) || c.VIP != fam.vip || !bytes.Equal(c.MAC[:], peerMAC) || !strings.Contains(err.Error(), peerMAC.String()) {
			t.Errorf("got %v", err)
		}
	})
}

func TestConflictWithARealHostIsTold(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *network, fam family) {
		told := make(chan arp.Conflict, 10)
		l, _ := n.link(n.golb, arp.Config{OnConflict: func(c arp.Conflict) { told <- c }})
		must(t, l.SetVIPs([]arp.VIP{{Addr: fam.vip}}))
		thiefMAC := net.HardwareAddr{0x02, 0, 0, 0, 1, 9}
		thief, _ := n.add("thief", thiefMAC, netip.PrefixFrom(fam.vip, fam.bits).String())
		sendDatagram(t, thief, fam.free) // asks for it with the VIP as its own address
		select {
		case c := <-told:
			if c.VIP != fam.vip || !bytes.Equal(c.MAC[:], thiefMAC) || c.Interface != "eth0" {
				t.Errorf("%+v", c)
			}
		case <-time.After(time.Minute):
			t.Error("not told")
		}
	})
}

func TestCarrierLostAndFoundAnnouncesAgain(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *network, fam family) {
		l, _ := n.link(n.golb, arp.Config{})
		must(t, l.SetVIPs([]arp.VIP{{Addr: fam.vip}}))
		must(t, n.golbCable.SetUp(false))
		eventually(t, "probes refused", func() bool { return l.Probe(t.Context(), fam.free) != nil })
		must(t, n.golbCable.SetUp(true))
		eventually(t, "announced", func() bool { return l.Stats().AnnouncementsSent > 0 })
		sendDatagram(t, n.peer, fam.vip)
		eventually(t, "answers", func() bool { mac, _ := neighbor(t, n.peer, fam, fam.vip); return mac == golbMAC.String() })
	})
}

func TestInterfaceDownAndUpIsSatOut(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *network, fam family) {
		l, _ := n.link(n.golb, arp.Config{})
		must(t, l.SetVIPs([]arp.VIP{{Addr: fam.vip}}))
		set := func(f func(netlink.Link) error) {
			must(t, n.golb.Do(func() error {
				link, err := netlink.LinkByName("eth0")
				if err != nil {
					return err
				}
				return f(link)
			}))
		}
		set(netlink.LinkSetDown)
		eventually(t, "probes refused", func() bool { return l.Probe(t.Context(), fam.free) != nil })
		set(netlink.LinkSetUp)
		eventually(t, "announced", func() bool { return l.Stats().AnnouncementsSent > 0 })
		sendDatagram(t, n.peer, fam.vip)
		eventually(t, "answers", func() bool { mac, _ := neighbor(t, n.peer, fam, fam.vip); return mac == golbMAC.String() })
	})
}

func TestDeletedInterfaceEndsRun(t *testing.T) {
	n := newNetwork(t)
	h, _ := n.add("doomed", nil)
	var l *arp.Link
	must(t, h.Do(func() (err error) {
		l, err = arp.Open(arp.Config{Interface: "eth0"})
		return err
	}))
	ended := make(chan error, 1)
	go func() { ended <- l.Run(t.Context()) }()
	must(t, h.Do(func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkDel(link)
	}))
	select {
	case err := <-ended:
		if err == nil || err.Error() != "arp: eth0: interface deleted" {
			t.Errorf("got %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("Run goes on")
	}
}

func TestNothingIsLeftOfALink(t *testing.T) {
	n := newNetwork(t)
	running := goleak.IgnoreCurrent()
	// Groups, packet sockets and raw sockets of golb's host, as its kernel sees them.
	state := func() (all string) {
		must(t, n.golb.Do(func() error {
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			let, err := netlink.NeighList(link.Attrs().Index, unix.AF_BRIDGE) // what the interface lets in
			if err != nil {
				return err
			}
			for _, e := range let {
				all += "let in " + e.HardwareAddr.String() + "\n"
			}
			for _, f := range []string{"igmp6", "dev_mcast", "packet", "raw6", "netlink"} {
				b, err := os.ReadFile("/proc/thread-self/net/" + f)
				if err != nil {
					return err
				}
				if f == "netlink" || f == "packet" || f == "raw6" {
					b = []byte{byte('0' + bytes.Count(b, []byte("\n"))), '\n'}
				}
				all += f + "\n" + string(b)
			}
			return nil
		}))
		return all
	}
	before := state()
	l, end := n.link(n.golb, arp.Config{MAC: virtual})
	vips := []arp.VIP{{Addr: families[0].vip}, {Addr: families[1].vip}, {Addr: netip.MustParseAddr("2001:db8::7:abcd")}}
	must(t, l.SetVIPs(vips))
	during := state()
	for _, want := range []string{"ff0200000000000000000001ff07abcd", "ff0200000000000000000001ff000100", "let in " + net.HardwareAddr(virtual[:]).String()} {
		if !strings.Contains(during, want) {
			t.Errorf("%s is missing:\n%s", want, during)
		}
	}
	must(t, l.Probe(t.Context(), families[1].free))
	l.Resolve(families[0].peer, func([6]byte, bool) {})
	must(t, end())
	if now := state(); now != before {
		t.Errorf("left behind; before:\n%s\nafter:\n%s", before, now)
	}
	if err := goleak.Find(running); err != nil {
		t.Error(err)
	}
}

func TestManyIPv6VIPs(t *testing.T) {
	n := newNetwork(t)
	l, _ := n.link(n.golb, arp.Config{})
	var vips []arp.VIP
	for i := range 250 {
		vips = append(vips, arp.VIP{Addr: netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i), 15: 1})})
	}
	must(t, l.SetVIPs(vips))
	must(t, l.SetVIPs(nil))
}

func TestOpenRefusesLoopback(t *testing.T) {
	n := newNetwork(t)
	err := n.golb.Do(func() error {
		_, err := arp.Open(arp.Config{Interface: "lo"})
		return err
	})
	if err == nil || err.Error() != "arp: lo: not an Ethernet interface" {
		t.Errorf("got %v", err)
	}
}
