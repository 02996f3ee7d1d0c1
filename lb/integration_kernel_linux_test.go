package lb_test

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/golb/golb/lb/lbtest/lab"
)

// The host's stack sees what golb forwards, and must neither forward it again nor
// tell anybody that it cannot.
func TestHostKernelStaysOutOfIt(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(s *site) error
	}{
		{"as it is", func(*site) error { return nil }},
		{"strict reverse path filter", func(s *site) error { return s.golb.Sysctl("net.ipv4.conf.all.rp_filter", "1") }},
		{"forwarding, with a blackhole for the VIP", func(s *site) error {
			if err := s.golb.Sysctl("net.ipv4.ip_forward", "1"); err != nil {
				return err
			}
			return blackhole(s, vips[0])
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, 0)
			must(t, tt.prepare(s))
			_, stop := s.run(s.config())
			defer stop()
			c := newHTTPClient(s.client)
			for range 20 {
				if _, err := get(c, urlOf(vips[0], 100_000), 100_000); err != nil {
					t.Fatal(err)
				}
			}
			seen := counters(t, s.golb)
			if seen["Ip InReceives"] < 20 {
				t.Errorf("the host's stack saw %d packets: this test shows nothing", seen["Ip InReceives"])
			}
			for _, name := range []string{"Ip ForwDatagrams", "Icmp OutMsgs"} {
				if n := seen[name]; n != 0 {
					t.Errorf("%s is %d, want 0", name, n)
				}
			}
		})
	}
}

// blackhole does what ip route add blackhole does.
func blackhole(s *site, vip netip.Addr) error {
	return s.golb.Do(func() error {
		dst := netlink.NewIPNet(net.IP(vip.AsSlice()))
		return netlink.RouteAdd(&netlink.Route{Dst: dst, Type: unix.RTN_BLACKHOLE})
	})
}

// counters reads the IPv4 counters of a host, and those of TCP.
func counters(t *testing.T, h *lab.Host) map[string]int {
	t.Helper()
	var text []byte
	must(t, h.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/snmp")
		return err
	}))
	values := map[string]int{}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, counts := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		for j := 1; j < len(names); j++ {
			n, err := strconv.Atoi(counts[j])
			must(t, err)
			values[strings.TrimSuffix(names[0], ":")+" "+names[j]] = n
		}
	}
	return values
}
