package lab_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/golb/golb/lb/lbtest/lab"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestSolveARPProblem(t *testing.T) {
	vip4, vip6 := netip.MustParseAddr("192.0.2.100"), netip.MustParseAddr("2001:db8::100")
	plain := func(h *lab.Host, vip netip.Addr) error {
		return h.AddAddr("lo", netip.PrefixFrom(vip, vip.BitLen()))
	}
	solved := func(h *lab.Host, vip netip.Addr) error { return h.SolveARPProblem(vip) }
	for _, tc := range []struct {
		name    string
		vip     netip.Addr
		sender  string
		setUp   func(*lab.Host, netip.Addr) error
		answers bool
	}{
		{"IPv4 VIP on lo alone is answered for", vip4, "192.0.2.2", plain, true},
		{"IPv4 VIP is not answered for when solved", vip4, "192.0.2.2", solved, false},
		{"IPv6 VIP on lo is never answered for", vip6, "2001:db8::2", plain, false},
		{"IPv6 VIP is not answered for when solved", vip6, "2001:db8::2", solved, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLab(t)
			client, server, _ := newPair(t, l, 0)
			must(t, tc.setUp(server, tc.vip))
			if !tc.answers { // until the kernel gives up; an answer may take its time
				dir := map[bool]string{true: "net.ipv4.neigh.eth0.", false: "net.ipv6.neigh.eth0."}[tc.vip.Is4()]
				must(t, client.Sysctl(dir+"retrans_time_ms", "100"))
			}
			if got := answered(t, client, tc.vip); got != tc.answers {
				t.Errorf("asked for %s on the wire: answered %t, want %t", tc.vip, got, tc.answers)
			}
			// Sent to its MAC all the same, as DSR does, the server takes the packet.
			must(t, client.AddRoute(netip.PrefixFrom(tc.vip, tc.vip.BitLen()), netip.MustParseAddr(tc.sender), "eth0"))
			transfer(t, client, server, netip.AddrPortFrom(tc.vip, 80).String(), 1<<20)
		})
	}
}

// answered has the host's kernel ask for the MAC of addr and says whether it got one.
func answered(t *testing.T, h *lab.Host, addr netip.Addr) bool {
	t.Helper()
	family := netlink.FAMILY_V4
	if addr.Is6() {
		family = netlink.FAMILY_V6
	}
	c, err := h.DialContext(t.Context(), "udp", netip.AddrPortFrom(addr, 9).String())
	must(t, err)
	defer c.Close()
	_, err = c.Write([]byte("x"))
	must(t, err)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		switch state := neighborState(t, h, family, addr); {
		case state&(unix.NUD_REACHABLE|unix.NUD_STALE|unix.NUD_DELAY) != 0:
			return true
		case state&unix.NUD_FAILED != 0:
			return false
		case time.Now().After(deadline):
			t.Fatalf("neighbor %s is still in state %#x", addr, state)
		}
	}
}

func neighborState(t *testing.T, h *lab.Host, family int, addr netip.Addr) (state int) {
	t.Helper()
	must(t, h.Do(func() error {
		neighs, err := netlink.NeighList(0, family)
		for _, n := range neighs {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == addr {
				state = n.State
			}
		}
		return err
	}))
	return state
}
