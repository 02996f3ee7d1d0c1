package arp_test

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golb/golb/arp"
	"github.com/golb/golb/lb/lbtest/lab"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// oneBurst announces without waiting.
var oneBurst = arp.Announcement{Delay: -1}

func TestNeighborWithTwoHostsStaysAtTheFirst(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *network, fam family) {
		told := make(chan arp.NeighborConflict, 10)
		l, _ := n.link(n.golb, arp.Config{
			Refresh:            100 * time.Millisecond,
			OnNeighborConflict: func(c arp.NeighborConflict) { told <- c },
		})
		var at atomic.Pointer[net.HardwareAddr]
		defer l.Resolve(fam.peer, func(mac [6]byte, _ bool) {
			m := net.HardwareAddr(mac[:])
			at.Store(&m)
		})()
		is := func(want net.HardwareAddr) func() bool {
			return func() bool { m := at.Load(); return m != nil && bytes.Equal(*m, want) }
		}
		eventually(t, "peer resolved", is(peerMAC))

		thiefMAC := net.HardwareAddr{0x02, 0, 0, 0, 1, 9}
		thief, _ := n.add("thief", thiefMAC)
		claims, _ := n.link(thief, arp.Config{})
		must(t, claims.SetVIPs([]arp.VIP{{Addr: fam.peer, Announce: oneBurst}}))
		must(t, claims.Announce(t.Context(), fam.peer))
		select {
		case c := <-told:
			want := arp.NeighborConflict{Addr: fam.peer, MAC: [6]byte(peerMAC), Claimant: [6]byte(thiefMAC), Interface: "eth0"}
			if c != want {
				t.Errorf("told %+v, want %+v", c, want)
			}
		case <-time.After(time.Minute):
			t.Fatal("not told")
		}
		if !is(peerMAC)() {
			t.Errorf("peer is at %s", *at.Load())
		}

		setMAC(t, n.peer, net.HardwareAddr{0x02, 0, 0, 0, 1, 0x20}) // its old one is silent from now on
		must(t, n.peer.DelAddr("eth0", netip.PrefixFrom(fam.peer, fam.bits)))
		must(t, claims.Announce(t.Context(), fam.peer))
		eventually(t, "peer moved", is(thiefMAC))
	})
}

func TestTwoInterfacesOnOneNetworkAreOneHost(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *network, fam family) {
		_, err := n.lab.Attach(n.golb, n.sw, lab.LinkConfig{Name: "eth1"})
		must(t, err)
		cfg := arp.Config{OnConflict: func(c arp.Conflict) { t.Errorf("conflict %+v", c) }}
		eth0, _ := n.link(n.golb, cfg)
		cfg.Interface = "eth1"
		eth1, _ := n.link(n.golb, cfg)
		must(t, eth0.SetVIPs([]arp.VIP{{Addr: fam.vip, Announce: oneBurst}}))
		must(t, eth1.Probe(t.Context(), fam.vip))
		must(t, eth1.SetVIPs([]arp.VIP{{Addr: fam.vip, Announce: oneBurst}}))
		must(t, eth0.Announce(t.Context(), fam.vip))
		must(t, eth1.Announce(t.Context(), fam.vip))
		eventually(t, "each hears the other", func() bool { return received(eth0) >= 3 && received(eth1) >= 3 })
		if a, b := eth0.Stats(), eth1.Stats(); a.Conflicts+b.Conflicts != 0 {
			t.Errorf("stats\n%+v\n%+v", a, b)
		}
		// Another host is another host.
		err = eth1.Probe(t.Context(), fam.peer)
		var c *arp.ConflictError
		if !errors.As(err, &c) || !bytes.Equal(c.MAC[:], peerMAC) {
			t.Errorf("probe for the peer's address: %v", err)
		}
	})
}

// received is how many messages a link has received.
func received(l *arp.Link) uint64 {
	s := l.Stats()
	return s.RequestsReceived + s.RepliesReceived + s.SolicitationsReceived + s.AdvertisementsReceived
}

func TestTwoWhoProbeAtOnceAreNoConflict(t *testing.T) {
	eachFamily(t, func(t *testing.T, n *network, fam family) {
		a, _ := n.link(n.golb, arp.Config{})
		b, _ := n.link(n.peer, arp.Config{})
		end := make(chan error, 1)
		go func() { end <- a.Probe(t.Context(), fam.free) }()
		must(t, b.Probe(t.Context(), fam.free))
		must(t, <-end)
	})
}

// letIn says which MACs eth0 of a host lets in beside its own.
func letIn(t *testing.T, h *lab.Host) (macs string) {
	t.Helper()
	must(t, h.Do(func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		entries, err := netlink.NeighList(link.Attrs().Index, unix.AF_BRIDGE)
		for _, e := range entries {
			macs += e.HardwareAddr.String() + "\n"
		}
		return err
	}))
	return macs
}

func TestVIPsOfSeveralVirtualRouters(t *testing.T) {
	n := newNetwork(t)
	l, _ := n.link(n.golb, arp.Config{MAC: virtual})
	vips := []arp.VIP{
		{Addr: netip.MustParseAddr("192.0.2.100")}, // at the MAC of the link
		{Addr: netip.MustParseAddr("192.0.2.101"), MAC: [6]byte{0, 0, 0x5e, 0, 1, 8}},
		{Addr: netip.MustParseAddr("2001:db8::101"), MAC: [6]byte{0, 0, 0x5e, 0, 2, 8}},
	}
	if got := letIn(t, n.golb); strings.Contains(got, "00:00:5e:") {
		t.Errorf("let in before a VIP is set:\n%s", got)
	}
	must(t, l.SetVIPs(vips))
	for i, want := range []string{"00:00:5e:00:01:07", "00:00:5e:00:01:08", "00:00:5e:00:02:08"} {
		fam := families[0]
		if vips[i].Addr.Is6() {
			fam = families[1]
		}
		sendDatagram(t, n.peer, vips[i].Addr)
		eventually(t, vips[i].Addr.String()+" is known", func() bool {
			mac, state := neighbor(t, n.peer, fam, vips[i].Addr)
			return mac == want && state&(unix.NUD_FAILED|unix.NUD_INCOMPLETE) == 0
		})
		if !strings.Contains(letIn(t, n.golb), want) {
			t.Errorf("%s is not let in", want)
		}
	}
	must(t, l.SetVIPs(vips[:1]))
	if got := letIn(t, n.golb); !strings.Contains(got, "00:00:5e:00:01:07") || strings.Contains(got, ":08") {
		t.Errorf("let in for the VIP that is left:\n%s", got)
	}
	must(t, l.SetVIPs(nil)) // on standby
	if got := letIn(t, n.golb); strings.Contains(got, "00:00:5e:") {
		t.Errorf("let in without VIPs:\n%s", got)
	}
}

func TestSetVIPsWithoutIPv6OnTheInterfaceChangesNothing(t *testing.T) {
	n := newNetwork(t)
	must(t, n.golb.Do(func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(link, 1000)
	}))
	l, _ := n.link(n.golb, arp.Config{})
	must(t, l.SetVIPs([]arp.VIP{{Addr: families[0].vip}}))
	err := l.SetVIPs([]arp.VIP{{Addr: families[0].free, MAC: virtual}, {Addr: families[1].vip}})
	if !errors.Is(err, arp.ErrNoIPv6) {
		t.Errorf("got %v", err)
	}
	if got := letIn(t, n.golb); strings.Contains(got, "00:00:5e:") {
		t.Errorf("let in:\n%s", got)
	}
	sendDatagram(t, n.peer, families[0].free)
	sendDatagram(t, n.peer, families[0].vip)
	eventually(t, "the VIP is answered for", func() bool {
		mac, _ := neighbor(t, n.peer, families[0], families[0].vip)
		return mac == golbMAC.String()
	})
	if mac, _ := neighbor(t, n.peer, families[0], families[0].free); mac != "" {
		t.Errorf("the VIP that failed is at %s", mac)
	}
}
