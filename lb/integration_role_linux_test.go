package lb_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
)

// TestRolesOnTheWire: a kernel finds the VIPs of a group only while it is active, and at
// the group's virtual MAC.
func TestRolesOnTheWire(t *testing.T) {
	s := newSite(t, 0)
	for _, family := range []string{"ipv4", "ipv6"} { // so that the kernel soon gives up
		must(t, s.client.Sysctl("net."+family+".neigh.eth0.retrans_time_ms", "100"))
	}
	cfg := s.config()
	mac := forward.MAC{0, 0, 0x5e, 0, 1, 0x33}
	cfg.Groups = []lb.Group{{Name: "pair", Standby: true, MAC: mac}}
	for i := range cfg.Services {
		cfg.Services[i].Group = "pair"
	}
	b, stop := s.run(cfg)
	defer stop()
	for round := range 2 {
		for _, vip := range vips {
			if got := s.neighbor(vip); got != nil {
				t.Errorf("round %d: standby answers for %s, at %v", round, vip, got)
			}
		}
		must(t, b.SetRole(t.Context(), "pair", lb.RoleActive))
		for _, vip := range vips {
			if _, err := get(newHTTPClient(s.client), urlOf(vip, 100_000), 100_000); err != nil {
				t.Errorf("round %d: active, %v", round, err)
			}
			if got := s.neighbor(vip); got.String() != mac.String() {
				t.Errorf("round %d: %s is at %v, want %v", round, vip, got, mac)
			}
		}
		must(t, b.SetRole(t.Context(), "pair", lb.RoleStandby))
	}
}

// neighbor has the client's kernel ask for the MAC of addr, whatever it knows already; nil
// is that nobody answered.
func (s *site) neighbor(addr netip.Addr) net.HardwareAddr {
	s.t.Helper()
	neighborEntry := func() *netlink.Neigh { // nil where there is none
		family := netlink.FAMILY_V4
		if addr.Is6() {
			family = netlink.FAMILY_V6
		}
		var found *netlink.Neigh
		must(s.t, s.client.Do(func() error {
			list, err := netlink.NeighList(0, family)
			for i := range list {
				if ip, ok := netip.AddrFromSlice(list[i].IP); ok && ip.Unmap() == addr {
					found = &list[i]
				}
			}
			return err
		}))
		return found
	}
	if old := neighborEntry(); old != nil {
		must(s.t, s.client.Do(func() error { return netlink.NeighDel(old) }))
	}
	c, err := s.client.DialContext(s.t.Context(), "udp", netip.AddrPortFrom(addr, 9).String())
	must(s.t, err)
	defer c.Close()
	_, err = c.Write([]byte("x"))
	must(s.t, err)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		switch now := neighborEntry(); {
		case now != nil && now.State&(unix.NUD_REACHABLE|unix.NUD_STALE|unix.NUD_DELAY) != 0:
			return now.HardwareAddr
		case now != nil && now.State&unix.NUD_FAILED != 0:
			return nil
		case time.Now().After(deadline):
			s.t.Fatalf("the client's kernel still asks for %s", addr)
		}
	}
}
